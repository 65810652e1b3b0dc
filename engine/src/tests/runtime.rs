//! The runtime over a log in memory: results are right whatever is stopped, killed or fails between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_sql::plan::{PullPlan, TimeRange};
use millstream_sql::syntax::ast::RelationKind::{Stream, Table};
use parking_lot::Mutex;

use super::memory_io::{Log, MemoryIo, SharedLog};
use super::*;
use crate::io::{Budget, StartAt};
use crate::runtime::{Engine, Options, PushEvent, QueryState, StartQuery};
use crate::state::{RocksOptions, RocksStore};

fn options() -> Options {
    Options {
        budget: Budget { rows: 100, bytes: 1 << 20 },
        retry_first_ms: 20,
        flush_bytes: 2_000,
        parallelism: 4,
        parallel_rows: 0,
        ..Options::default()
    }
}

fn start(log: &SharedLog, dir: &std::path::Path, most: usize) -> Engine {
    start_with(log, dir, most, options())
}

fn start_with(
    log: &SharedLog,
    dir: &std::path::Path,
    most: usize,
    options: Options,
) -> Engine {
    let backend: SharedBackend =
        Arc::new(RocksStore::open(dir, RocksOptions { memory_bytes: 4 << 20 }).unwrap());
    let (journal, epoch) = {
        let log = log.lock();
        (log.journal.clone(), log.epoch)
    };
    let (state, _) = NodeState::recover(backend, &journal, epoch).unwrap();
    Engine::start(Box::new(MemoryIo::new(log.clone(), most)), state, options).unwrap()
}

fn query(dataflow: Dataflow) -> StartQuery {
    StartQuery {
        dataflow,
        start: StartAt::Earliest,
        persistent: true,
        paused: false,
        receiver: None,
        until_caught_up: false,
    }
}

/// S → (V > 0) → T, and T → COUNT, SUM per key → OUT: two queries, one fed by the other. A third reads
/// T's topic as a relation of its own, so it must get its rows from the log.
fn chain() -> Vec<StartQuery> {
    let first = vec![source("S", Stream), filter(0, greater(value(), number(0)), Stream)];
    let second = vec![source("T", Stream), count_and_sum(0, key(), None, false)];
    let mut other = source("T2", Stream);
    if let Op::Source(source) = &mut other.op {
        source.topic = "T".into();
    }
    let third = vec![other, count_and_sum(0, key(), None, false)];
    vec![
        query(dataflow("CSAS_T", first, "T")),
        query(dataflow("CTAS_OUT", second, "OUT")),
        query(dataflow("CTAS_OUT2", third, "OUT2")),
    ]
}

fn started(answers: Option<Vec<crate::Result<()>>>) {
    answers.unwrap().into_iter().for_each(|answer| answer.unwrap());
}

fn append(log: &SharedLog, topic: &str, input: &[(i64, &str, Option<i64>)]) {
    log.lock().append(topic, 0, &rows(input, 0));
}

/// The newest record of each key of a topic.
fn newest(log: &SharedLog, topic: &str) -> BTreeMap<String, String> {
    let log = log.lock();
    let records = log.topics.get(topic).into_iter().flatten();
    let lines = records.flat_map(|(_, rows)| show(rows));
    lines
        .map(|line| {
            let row = line.split(" @").next().unwrap().to_owned();
            let (key, value) = row.split_once(' ').unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_handed_over(engine: &Engine, log: &SharedLog) -> bool {
    let caught_up = engine.status().wait().unwrap().queries.iter().all(|q| q.caught_up);
    caught_up && log.lock().epoch > 0
}

#[test]
fn every_row_counts_once_through_two_queries_and_many_crashes() {
    for most in [1, 7, 1_000] {
        let log: SharedLog = Arc::new(Mutex::new(Log::default()));
        let dir = tempfile::tempdir().unwrap();
        for topic in ["S", "T"] {
            log.lock().topics.insert(topic.into(), vec![]);
        }
        let (mut count, mut sum) = (0, 0);
        for round in 0..12i64 {
            let engine = start(&log, dir.path(), most);
            started(engine.start_queries(chain()).wait());
            for i in 0..10 {
                append(&log, "S", &[(i, "a", Some(round + 1)), (i, "b", Some(1)), (i, "a", Some(-1))]);
                // Others write the stream between, too.
                append(&log, "T", &[(i, "a", Some(1))]);
                count += 2;
                sum += round + 2;
                if i == 5 && round % 3 == 0 {
                    // Killed wherever it is.
                    break;
                }
            }
            if round % 4 == 0 {
                wait_until("some epochs", || is_handed_over(&engine, &log));
            }
            drop(engine);
        }
        let engine = start(&log, dir.path(), most);
        started(engine.start_queries(chain()).wait());
        let expected = format!("{count} {sum}");
        wait_until(&format!("a is {expected}, {:?}", newest(&log, "OUT")), || {
            newest(&log, "OUT").get("a") == Some(&expected)
        });
        wait_until("the same by way of the log", || {
            newest(&log, "OUT2").get("a") == Some(&expected)
        });
        // Nothing comes after: no row counted twice a little later.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(newest(&log, "OUT").get("a"), Some(&expected));
        assert_eq!(newest(&log, "OUT2").get("a"), Some(&expected));
        engine.shut_down().unwrap();
    }
}

/// All records of all topics after three rounds, each with as many threads as `threads` says.
fn topics_with(threads: [usize; 3]) -> Vec<String> {
    let log: SharedLog = Arc::new(Mutex::new(Log::default()));
    let dir = tempfile::tempdir().unwrap();
    log.lock().topics.insert("S".into(), vec![]);
    let queries = || {
        let mut all = Vec::new();
        for n in 0..4 {
            let kept = vec![source("S", Stream), filter(0, greater(value(), number(n)), Stream)];
            all.push(query(dataflow(&format!("CSAS_F{n}"), kept, &format!("F{n}"))));
            let group = modulo(value(), number(n + 2));
            let counted = vec![source("S", Stream), count_and_sum(0, group, None, false)];
            all.push(query(dataflow(&format!("CTAS_G{n}"), counted, &format!("G{n}"))));
        }
        all
    };
    for (round, parallelism) in threads.into_iter().enumerate() {
        let rows: Vec<_> = (0..40).map(|i| (i, ["a", "b", "c"][i as usize % 3], Some(i % 7))).collect();
        append(&log, "S", &rows);
        let engine = start_with(&log, dir.path(), 1_000, Options { parallelism, ..options() });
        started(engine.start_queries(queries()).wait());
        wait_until(&format!("round {round}"), || is_handed_over(&engine, &log));
        drop(engine);
    }
    let log = log.lock();
    let lines = |(topic, records): (&String, &Vec<(u64, Rows)>)| {
        let shown = records.iter().flat_map(|(_, rows)| show(rows));
        shown.map(|line| format!("{topic} {line}")).collect::<Vec<_>>()
    };
    log.topics.iter().flat_map(lines).collect()
}

#[test]
fn what_comes_out_does_not_depend_on_how_many_threads_there_are() {
    let one = topics_with([1, 1, 1]);
    assert!(one.len() > 400, "{} records", one.len());
    assert_eq!(topics_with([4, 4, 4]), one);
    assert_eq!(topics_with([4, 1, 2]), one);
}

#[test]
fn a_reader_that_pauses_gets_from_the_log_what_it_missed() {
    let log: SharedLog = Arc::new(Mutex::new(Log::default()));
    let dir = tempfile::tempdir().unwrap();
    for topic in ["S", "T"] {
        log.lock().topics.insert(topic.into(), vec![]);
    }
    let engine = start(&log, dir.path(), 100);
    started(engine.start_queries(chain()).wait());
    let mut count = 0;
    for round in 0..6 {
        append(&log, "S", &[(1, "a", Some(1)), (2, "a", Some(1))]);
        count += 2;
        let expected = format!("{count} {count}");
        if round % 2 == 0 {
            wait_until(&expected, || newest(&log, "OUT").get("a") == Some(&expected));
        }
        engine.pause("CTAS_OUT").wait().unwrap().unwrap();
        append(&log, "S", &[(3, "a", Some(1))]);
        count += 1;
        wait_until("the writer goes on", || {
            log.lock().topics["T"].len() == count as usize
        });
        engine.resume("CTAS_OUT").wait().unwrap().unwrap();
        let expected = format!("{count} {count}");
        wait_until(&expected, || newest(&log, "OUT").get("a") == Some(&expected));
    }
    engine.shut_down().unwrap();
}

#[test]
fn a_query_that_fails_waits_alone_and_comes_back() {
    let log: SharedLog = Arc::new(Mutex::new(Log::default()));
    let dir = tempfile::tempdir().unwrap();
    log.lock().topics.insert("S".into(), vec![]);
    let engine = start(&log, dir.path(), 100);
    let answers = engine.start_queries(chain()).wait().unwrap();
    // T is made by the first query's sink, so the second finds it; here a third lacks its topic.
    assert!(answers.iter().all(Result::is_ok));
    let lacking = vec![source("NOWHERE", Stream), count_and_sum(0, key(), None, false)];
    let answer = engine.start_queries(vec![query(dataflow("CTAS_X", lacking, "X"))]).wait().unwrap();
    assert!(answer[0].is_err());
    let state = |id: &str| {
        let status = engine.status().wait().unwrap();
        status.queries.iter().find(|q| q.id == id).map(|q| q.state.clone()).unwrap()
    };
    assert!(matches!(state("CTAS_X"), QueryState::Error { .. }));
    append(&log, "S", &[(1, "a", Some(1))]);
    wait_until("the others run", || newest(&log, "OUT").contains_key("a"));
    append(&log, "NOWHERE", &[(1, "z", Some(5))]);
    wait_until("it comes back", || newest(&log, "X").get("z") == Some(&"1 5".to_owned()));
    assert_eq!(state("CTAS_X"), QueryState::Running);
    engine.terminate("CTAS_X").wait().unwrap().unwrap();
    assert!(engine.terminate("CTAS_X").wait().unwrap().is_err());
    engine.shut_down().unwrap();
}

#[test]
fn pulls_and_pushes_see_whole_epochs() {
    let log: SharedLog = Arc::new(Mutex::new(Log::default()));
    let dir = tempfile::tempdir().unwrap();
    log.lock().topics.insert("S".into(), vec![]);
    let engine = start(&log, dir.path(), 100);
    let counted = vec![source("S", Stream), count_and_sum(0, key(), None, false)];
    let output = counted[1].schema.clone();
    started(engine.start_queries(vec![query(dataflow("CTAS_OUT", counted, "OUT"))]).wait());
    append(&log, "S", &[(1, "a", Some(1)), (2, "b", Some(5)), (3, "a", Some(2))]);
    wait_until("both groups", || newest(&log, "OUT").len() == 2);

    let text = |s: &str| Expr::Literal {
        value: datafusion_common::ScalarValue::Utf8View(Some(s.into())),
        ty: Some(SqlType::String),
    };
    let items: Vec<(String, Expr)> = output
        .columns()
        .enumerate()
        .map(|(index, c)| {
            (c.name.clone(), Expr::Column { index, name: c.name.clone(), ty: c.ty.clone() })
        })
        .collect();
    let plan = |keys: Option<Vec<Vec<Expr>>>, filter: Option<Expr>| PullPlan {
        relation: "OUT".into(),
        kind: Table,
        input: output.clone(),
        pseudo: vec![],
        keys,
        window_start: TimeRange::default(),
        window_end: TimeRange::default(),
        filter,
        items: items.clone(),
        limit: None,
        schema: output.clone(),
    };
    let pull = |plan: PullPlan| {
        let found = engine.pull(plan).wait().unwrap().unwrap();
        (0..found.rows.num_rows()).map(|row| columns_text(found.rows.columns(), row)).collect::<Vec<_>>()
    };
    let sum = || Expr::Column { index: 2, name: "SUM".into(), ty: SqlType::Bigint };
    assert_eq!(pull(plan(None, None)), ["a 2 3", "b 1 5"]);
    let keys = Some(vec![vec![text("b")], vec![text("none")], vec![text("a")]]);
    assert_eq!(pull(plan(keys.clone(), None)), ["b 1 5", "a 2 3"]);
    assert_eq!(pull(plan(keys, Some(greater(sum(), number(4))))), ["b 1 5"]);
    assert!(engine.pull(PullPlan { relation: "NO".into(), ..plan(None, None) }).wait().unwrap().is_err());

    // A push query from the beginning that ends when it has read what was there.
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = events.clone();
    let receiver = Box::new(move |event: PushEvent| {
        seen.lock().push(match event {
            PushEvent::Rows(rows) => rows.iter().flat_map(show).collect::<Vec<_>>().join(", "),
            PushEvent::EpochEnd(_) => "end of epoch".into(),
            PushEvent::Finished => "finished".into(),
            PushEvent::Failed(reason) => reason,
        });
        true
    });
    let mut push = dataflow("transient_1", vec![source("S", Stream)], "none");
    if let Op::Sink(sink) = &mut push.steps[1].op {
        (sink.topic, sink.relation) = (None, None);
    }
    let transient =
        StartQuery { persistent: false, receiver: Some(receiver), until_caught_up: true, ..query(push) };
    started(engine.start_queries(vec![transient]).wait());
    wait_until("it ends", || events.lock().last().is_some_and(|e| e == "finished"));
    assert_eq!(*events.lock(), ["a 1 @1, b 5 @2, a 2 @3", "end of epoch", "finished"]);
    assert_eq!(engine.status().wait().unwrap().queries.len(), 1);
    engine.shut_down().unwrap();
}
