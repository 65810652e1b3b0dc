//! Aggregates from SQL to changes, as data; and windows and sessions compared with naive folds.
//!
//! Every case runs with a record to the epoch, again with a crash after each epoch, again with no
//! memory to keep anything in, and once more as one epoch that lets only the net change leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::cast;
use millstream_sql::catalog::Catalog;
use millstream_sql::plan::{Dataflow, NoTopics, Op, Plan, PlanConfig, plan};
use millstream_sql::syntax::parse_statement;
use millstream_sql::types::Schema;
use proptest::prelude::*;

use crate::graph::{Graph, GraphOptions, StepContext};
use crate::rows::{Rows, Triggers, batch};
use crate::snapshot::Selection;
use crate::state::{MemoryStore, NodeState, SharedBackend};
use crate::tests::show;

const COLUMNS: &str = "I INT, B BIGINT, D DOUBLE, N DECIMAL(4, 2), T STRING, Y BYTES, G STRING";

/// The dataflow of a query over a stream S and a table U of the same columns, and their schema.
fn planned(query: &str) -> (Dataflow, Schema) {
    let mut catalog = Catalog::default();
    let mut started = None;
    let s = format!("CREATE STREAM S (K STRING KEY, {COLUMNS})");
    let u = format!("CREATE TABLE U (K STRING PRIMARY KEY, {COLUMNS})");
    let with = "WITH (kafka_topic='t', value_format='JSON', partitions=1);";
    for text in
        [format!("{s} {with}"), format!("{u} {with}"), format!("CREATE TABLE R AS {query};")]
    {
        let statement = parse_statement(&text, &|_: &str| None).unwrap();
        let ddl = match plan(&statement, &catalog, &PlanConfig::default(), &NoTopics) {
            Ok(Plan::Ddl(ddl)) => ddl,
            Ok(_) => panic!("no definition: {text}"),
            Err(error) => panic!("{}", error.render(&text)),
        };
        catalog = catalog.with(&ddl.changes);
        started = ddl.start;
    }
    let dataflow = started.unwrap();
    let Op::Source(source) = &dataflow.steps[0].op else { panic!("a source comes first") };
    let schema = source.schema.clone();
    (dataflow, schema)
}

/// `time key column=value …`, or `time key -` for a tombstone.
fn row(line: &str, schema: &Schema, order: u64) -> Rows {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = |name: &str| {
        let named = format!("{name}=");
        words.iter().find_map(|word| word.strip_prefix(named.as_str()))
    };
    let columns = schema.columns().map(|column| -> ArrayRef {
        let text = if column.name == "K" { Some(words[1]) } else { value(&column.name) };
        cast(&StringArray::from(vec![text]), &column.ty.to_arrow()).unwrap()
    });
    let present = words.get(2) != Some(&"-");
    Rows {
        columns: batch(&schema.to_arrow(), columns.collect(), 1).unwrap(),
        key_len: 1,
        times: vec![words[0].parse().unwrap()].into(),
        windows: None,
        present: (!present).then(|| vec![false].into()),
        old: None,
        triggers: Triggers {
            order: vec![order].into(),
            partitions: vec![0].into(),
            offsets: vec![order as i64].into(),
            headers: None,
        },
    }
}

struct Bench {
    dataflow: Dataflow,
    backend: SharedBackend,
    node: NodeState,
    graph: Graph,
    cache_bytes: usize,
}

fn build(dataflow: &Dataflow, node: &mut NodeState, cache_bytes: usize) -> Graph {
    let options = GraphOptions { cache_bytes, ..GraphOptions::default() };
    Graph::build(dataflow, node, &options).unwrap()
}

impl Bench {
    fn new(dataflow: &Dataflow, cache_bytes: usize) -> Bench {
        let backend: SharedBackend = Arc::new(MemoryStore::default());
        let mut node = NodeState::open(backend.clone()).unwrap();
        let graph = build(dataflow, &mut node, cache_bytes);
        Bench { dataflow: dataflow.clone(), backend, node, graph, cache_bytes }
    }

    fn crash(&mut self) {
        self.node = NodeState::open(self.backend.clone()).unwrap();
        self.graph = build(&self.dataflow, &mut self.node, self.cache_bytes);
    }

    /// What an epoch emits; reported rows as `! reason`.
    fn epoch(&mut self, rows: Vec<Rows>, consolidate: bool) -> Vec<String> {
        let rows = Rows::concat(&rows).unwrap().into_iter().collect();
        let epoch = self.node.last_epoch() + 1;
        let context = StepContext { epoch, now_ms: 0, consolidate };
        let output = self.graph.step(vec![(0, rows)], &context).unwrap();
        let mut lines: Vec<String> =
            output.sinks.iter().flat_map(|(_, rows)| rows).flat_map(show).collect();
        lines.extend(output.errors.iter().map(|error| format!("! {}", error.reason)));
        let (epoch, payload) = self.node.finish(self.graph.stores());
        self.node.apply(&payload).unwrap();
        self.graph.stores().for_each(|(_, store)| store.applied(epoch));
        lines
    }

    fn table(&mut self) -> Vec<String> {
        let parts = self.graph.read(&Selection::default(), 0).unwrap().unwrap();
        parts.iter().flat_map(show).collect()
    }
}

/// What someone knows who read these changes: each row without its time. Checks that what a change says
/// it replaces was known.
fn known(changes: &[String], windowed: bool) -> Vec<String> {
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for change in changes.iter().filter(|change| !change.starts_with('!')) {
        let (now, was) = change.split_once(" was ").unwrap();
        let (now, _) = now.split_once(" @").unwrap();
        let key_words = if windowed { 2 } else { 1 };
        let words: Vec<&str> = now.split(' ').collect();
        let (key, value) = (words[..key_words].join(" "), words[key_words..].join(" "));
        let before = if value == "-" { rows.remove(&key) } else { rows.insert(key, value) };
        assert_eq!(before.as_deref().unwrap_or("-"), was, "{change}");
    }
    rows.into_iter().map(|(key, value)| format!("{key} {value}")).collect()
}

fn without_times(lines: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> =
        lines.iter().map(|line| line.split(" @").next().unwrap_or_default().to_owned()).collect();
    lines.sort();
    lines
}

/// Input stands at the margin of the script, what it makes leave is indented under it.
fn check(query: &str, script: &str) {
    let (table, known) = play(query, script);
    assert_eq!(table, known, "{query}: what a pull query reads");
}

/// The result's table at the end of a script, and what a reader of the changes knows then.
fn play(query: &str, script: &str) -> (Vec<String>, Vec<String>) {
    let (dataflow, schema) = planned(query);
    let lines: Vec<&str> = script.lines().filter(|line| !line.trim().is_empty()).collect();
    let margin = lines.iter().map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
    let mut epochs: Vec<(Rows, Vec<&str>)> = Vec::new();
    for line in lines {
        if line.len() - line.trim_start().len() > margin {
            epochs.last_mut().unwrap().1.push(line.trim());
        } else {
            epochs.push((row(line, &schema, epochs.len() as u64), vec![]));
        }
    }
    for (crash_after, cache) in (0..=epochs.len()).map(|n| (n, 1 << 20)).chain([(0, 0)]) {
        let mut bench = Bench::new(&dataflow, cache);
        for (i, (input, expected)) in epochs.iter().enumerate() {
            let lines = bench.epoch(vec![input.clone()], false);
            assert_eq!(&lines, expected, "{query}: line {i}, crash after {crash_after}");
            if i + 1 == crash_after {
                bench.crash();
            }
        }
    }
    let (is_final, windowed) = (query.contains("EMIT FINAL"), query.contains("WINDOW "));
    let all: Vec<String> =
        epochs.iter().flat_map(|(_, out)| out).map(|line| (*line).to_owned()).collect();
    let mut bench = Bench::new(&dataflow, 1 << 20);
    // A table's rows that come and go within an epoch are never seen: there each has its own.
    let together = if query.contains("FROM U") { 1 } else { epochs.len() };
    let rows: Vec<Rows> = epochs.into_iter().map(|(input, _)| input).collect();
    let net: Vec<String> =
        rows.chunks(together).flat_map(|rows| bench.epoch(rows.to_vec(), true)).collect();
    if !is_final {
        assert_eq!(known(&net, windowed), known(&all, windowed), "{query} in one epoch");
    }
    (without_times(bench.table()), known(&net, windowed))
}

/// One group's values after each of several rows, separated by `|`; `-` before them: from then on the
/// rows are taken back in this order.
fn check_function(call: &str, rows: &str, values: &str) {
    let mut script = String::new();
    let mut was = "-".to_owned();
    for (i, (row, value)) in rows.split('|').zip(values.split('|')).enumerate() {
        let value = value.trim();
        script += &format!("{i} k {}\n", row.trim());
        if value.starts_with('!') {
            script += &format!("  {value}\n");
            continue;
        }
        script += &format!("  k {value} @{i} was {was}\n");
        was = value.to_owned();
    }
    check(&format!("SELECT K, {call} FROM S GROUP BY K"), &script);
}

#[test]
fn functions_add_up() {
    let overflow = "! SUM overflows DECIMAL(4, 2): the row is not added";
    let cases: &[(&str, &str, &str)] = &[
        ("COUNT(*)", "I=1 | I=2 | T=x", "1 | 2 | 3"),
        ("COUNT(I)", "I=1 | T=x | I=2", "1 | 1 | 2"),
        ("SUM(I)", "T=x | I=2147483647 | I=2", "0 | 2147483647 | -2147483647"),
        ("SUM(B)", "B=1 | B=9223372036854775807", "1 | -9223372036854775808"),
        ("SUM(D)", "D=0.5 | T=x | D=1", "0.5 | 0.5 | 1.5"),
        ("SUM(N)", "N=99.00 | N=1.00 | N=0.99", &format!("99.00 | {overflow} | 99.99")),
        ("MIN(I)", "T=x | I=3 | I=5 | I=-1", "NULL | 3 | 3 | -1"),
        ("MAX(D)", "D=3 | D=1 | D=4.5 | T=x", "3.0 | 3.0 | 4.5 | 4.5"),
        ("MAX(N)", "N=1.10 | N=2.05", "1.10 | 2.05"),
        ("MIN(T)", "T=b | T=a | T=c", "b | a | a"),
        // U+FF5E is after U+10437 in the order of UTF-16.
        ("MAX(T)", "T=\u{10437} | T=\u{ff5e} | T=\u{10437}", "\u{10437} | \u{ff5e} | \u{ff5e}"),
        ("AVG(I)", "T=x | I=1 | I=2", "0.0 | 1.0 | 1.5"),
        ("AVG(I)", "I=2147483647 | I=1", "2147483647.0 | -1073741824.0"),
        ("AVG(D)", "D=1 | D=2", "1.0 | 1.5"),
        ("LATEST_BY_OFFSET(I)", "I=1 | T=x | I=2", "1 | 1 | 2"),
        ("LATEST_BY_OFFSET(T, false)", "T=x | I=1 | T=y", "x | NULL | y"),
        ("LATEST_BY_OFFSET(I, 2)", "I=1 | I=2 | I=3", "[1] | [1, 2] | [2, 3]"),
        ("EARLIEST_BY_OFFSET(T)", "I=1 | T=x | T=y", "NULL | x | x"),
        ("EARLIEST_BY_OFFSET(I, false)", "T=x | I=1", "NULL | NULL"),
        ("EARLIEST_BY_OFFSET(I, 2, false)", "I=1 | T=x | I=3", "[1] | [1, ] | [1, ]"),
        ("COLLECT_LIST(I)", "I=1 | T=x | I=1", "[1] | [1, ] | [1, , 1]"),
        ("COLLECT_SET(T)", "T=b | T=a | T=b", "[b] | [b, a] | [b, a]"),
        ("COUNT_DISTINCT(T)", "T=b | T=a | T=b | I=1", "1 | 2 | 2 | 2"),
        ("HISTOGRAM(T)", "T=b | T=a | T=b", "{b: 1} | {b: 1, a: 1} | {b: 2, a: 1}"),
        ("ATTR(I)", "I=1 | I=1 | T=x", "1 | 1 | NULL"),
        ("SUM_LIST(ARRAY[I, 10])", "I=1 | I=2 | T=x", "11 | 23 | 33"),
        ("TOPK(I, 2)", "I=1 | I=3 | T=x | I=2", "[1] | [3, 1] | [3, 1] | [3, 2]"),
        ("TOPKDISTINCT(D, 2)", "D=1 | D=1 | D=2", "[1.0] | [1.0] | [2.0, 1.0]"),
        (
            "TOPK(I, T, 2)",
            "I=1 T=a | I=1 T=b | I=1 T=c",
            "[{sort_col: 1, col0: a}] | [{sort_col: 1, col0: a}, {sort_col: 1, col0: b}] \
             | [{sort_col: 1, col0: a}, {sort_col: 1, col0: b}]",
        ),
        ("STDDEV_SAMPLE(I)", "I=1 | I=3 | I=5", "0.0 | 1.4142135623730951 | 2.0"),
        ("STDDEV_SAMP(I)", "I=1 | I=3 | I=5", "0.0 | 2.0 | 4.0"),
        ("CORRELATION(I, D)", "I=1 D=2 | I=2 D=4 | I=3", "NaN | 1.0 | 1.0"),
    ];
    for (call, rows, values) in cases {
        check_function(call, rows, values);
    }
}

#[test]
fn a_table_takes_back_what_a_row_had_added() {
    check(
        "SELECT G, COUNT(*), SUM(I), AVG(I) FROM U GROUP BY G",
        "
        1 a G=x I=1
          x 1 1 1.0 @1 was -
        2 b G=x I=3
          x 2 4 2.0 @2 was 1 1 1.0
        1 a G=x I=5
          x 2 8 4.0 @2 was 2 4 2.0
        4 a G=y I=5
          x 1 3 3.0 @4 was 2 8 4.0
          y 1 5 5.0 @4 was -
        5 b I=3
          x 0 0 0.0 @5 was 1 3 3.0
        6 b -
        7 a -
          y 0 0 0.0 @7 was 1 5 5.0
        ",
    );
    check(
        "SELECT G, COLLECT_LIST(I), HISTOGRAM(T), ATTR(T) FROM U GROUP BY G",
        "
        1 a G=x I=1 T=p
          x [1] {p: 1} p @1 was -
        2 b G=x I=1 T=q
          x [1, 1] {p: 1, q: 1} NULL @2 was [1] {p: 1} p
        3 c G=x I=2 T=p
          x [1, 1, 2] {p: 2, q: 1} NULL @3 was [1, 1] {p: 1, q: 1} NULL
        4 a G=x I=3 T=q
          x [1, 2, 3] {p: 1, q: 2} NULL @4 was [1, 1, 2] {p: 2, q: 1} NULL
        5 c -
          x [1, 3] {q: 2} q @5 was [1, 2, 3] {p: 1, q: 2} NULL
        ",
    );
}

#[test]
fn merged_sessions_merge_values() {
    check(
        "SELECT K, COUNT(*), MIN(T), LATEST_BY_OFFSET(I), COLLECT_LIST(I), WINDOWSTART AS WS, WINDOWEND AS WE \
         FROM S WINDOW SESSION (5 MILLISECONDS, GRACE PERIOD 100 MILLISECONDS) GROUP BY K",
        "
        20 k I=1 T=b
          k [20,20) 1 b 1 [1] 20 20 @20 was -
        10 k I=2 T=c
          k [10,10) 1 c 2 [2] 10 10 @10 was -
        15 k I=3 T=a
          k [10,10) - @10 was 1 c 2 [2] 10 10
          k [20,20) - @20 was 1 b 1 [1] 20 20
          k [10,20) 3 a 3 [2, 1, 3] 10 20 @20 was -
        20 k I=4 T=z
          k [10,20) 4 a 4 [2, 1, 3, 4] 10 20 @20 was 3 a 3 [2, 1, 3] 10 20
        ",
    );
}

#[test]
fn a_session_past_its_retention_is_not_found() {
    let (table, _) = play(
        "SELECT K, COUNT(*) FROM S \
         WINDOW SESSION (10 MILLISECONDS, GRACE PERIOD 20 MILLISECONDS) GROUP BY K",
        "
        5 k
          k [5,5) 1 @5 was -
        36 k
          k [36,36) 1 @36 was -
        5 k
        6 k
          k [6,6) 1 @6 was -
        14 k
          k [14,14) 1 @14 was -
        ",
    );
    assert_eq!(table, ["k [14,14) 1", "k [36,36) 1"]);
}

#[test]
fn final_results_leave_when_a_window_closes() {
    check(
        "SELECT K, SUM(I), WINDOWSTART AS WS FROM S \
         WINDOW HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 5 MILLISECONDS, \
         RETENTION 1 HOURS, GRACE PERIOD 0 MILLISECONDS) GROUP BY K EMIT FINAL",
        "
        7 b I=1
        9 a I=2
        12 b I=4
          a [0,10) 2 0 @9 was -
          b [0,10) 1 0 @7 was -
        9 b I=8
        15 c I=1
          a [5,15) 2 5 @9 was -
          b [5,15) 13 5 @12 was -
        ",
    );
    check(
        "SELECT K, SUM(I) FROM S WINDOW SESSION (5 MILLISECONDS, RETENTION 1 HOURS, \
         GRACE PERIOD 0 MILLISECONDS) GROUP BY K EMIT FINAL",
        "
        7 b I=1
        9 a I=2
        10 b I=4
        15 c I=1
          a [9,9) 2 @9 was -
        16 c I=1
          b [7,10) 5 @10 was -
        ",
    );
}

/// Rows of time and key; each counts one.
type Input = Vec<Vec<(i64, usize)>>;

const KEYS: [&str; 3] = ["a", "b", "cc"];

fn naive_hopping(input: &Input, (size, advance, grace): (i64, i64, i64)) -> Vec<String> {
    let mut stream_time = i64::MIN;
    let mut counts: BTreeMap<(usize, i64), i64> = BTreeMap::new();
    for &(time, key) in input.iter().flatten() {
        stream_time = stream_time.max(time);
        let windows = (0..=time).step_by(advance as usize).filter(|start| start + size > time);
        for start in windows.filter(|start| start + size > stream_time - grace) {
            *counts.entry((key, start)).or_default() += 1;
        }
    }
    let line = |((key, start), n): ((usize, i64), i64)| {
        format!("{} [{start},{}) {n}", KEYS[key], start + size)
    };
    let mut lines: Vec<String> = counts.into_iter().map(line).collect();
    lines.sort();
    lines
}

fn naive_sessions(input: &Input, (gap, grace): (i64, i64)) -> Vec<String> {
    let mut stream_time = i64::MIN;
    let mut sessions: Vec<(usize, i64, i64, i64)> = Vec::new();
    for &(time, key) in input.iter().flatten() {
        stream_time = stream_time.max(time);
        let near =
            |s: &(usize, i64, i64, i64)| s.0 == key && s.1 <= time + gap && s.2 >= time - gap;
        let (joined, rest): (Vec<_>, Vec<_>) = sessions.iter().partition(|s| near(s));
        let fold = |(k, start, end, n), s: &(usize, i64, i64, i64)| {
            (k, s.1.min(start), s.2.max(end), s.3 + n)
        };
        let merged = joined.iter().fold((key, time, time, 1), fold);
        if merged.2 >= stream_time - gap - grace {
            sessions = rest;
            sessions.push(merged);
        }
    }
    let line = |(key, start, end, n)| format!("{} [{start},{end}) {n}", KEYS[key]);
    let mut lines: Vec<String> = sessions.into_iter().map(line).collect();
    lines.sort();
    lines
}

fn compare(query: &str, input: &Input, consolidate: bool, cache: usize, naive: Vec<String>) {
    let (dataflow, schema) = planned(query);
    let mut bench = Bench::new(&dataflow, cache);
    let mut changes = Vec::new();
    for (i, epoch) in input.iter().enumerate() {
        let rows = epoch.iter().enumerate();
        let rows: Vec<Rows> = rows
            .map(|(at, (time, key))| row(&format!("{time} {}", KEYS[*key]), &schema, at as u64))
            .collect();
        changes.extend(bench.epoch(rows, consolidate));
        if i % 3 == 2 {
            bench.crash();
        }
    }
    assert_eq!(known(&changes, true), naive, "{query}: changes");
    assert_eq!(without_times(bench.table()), naive, "{query}: state");
}

fn input() -> impl Strategy<Value = Input> {
    prop::collection::vec(prop::collection::vec((0i64..60, 0usize..3), 1..10), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn windows_hold_what_naive_folds_give(
        input in input(), consolidate: bool, small: bool, grace in 0i64..30,
    ) {
        let cache = if small { 0 } else { 1 << 20 };
        let over = |window: &str| {
            format!(
                "SELECT K, COUNT(*) FROM S WINDOW {window}, RETENTION 1 HOURS, \
                 GRACE PERIOD {grace} MILLISECONDS) GROUP BY K"
            )
        };
        let hopping = over("HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 4 MILLISECONDS");
        compare(&hopping, &input, consolidate, cache, naive_hopping(&input, (10, 4, grace)));
        let session = over("SESSION (4 MILLISECONDS");
        compare(&session, &input, consolidate, cache, naive_sessions(&input, (4, grace)));
    }
}

#[test]
fn old_windows_and_sessions_are_forgotten() {
    for window in ["TUMBLING (SIZE 10 MILLISECONDS", "SESSION (10 MILLISECONDS"] {
        let query = format!(
            "SELECT K, COUNT(*) FROM S WINDOW {window}, RETENTION 100 MILLISECONDS, \
             GRACE PERIOD 10 MILLISECONDS) GROUP BY K"
        );
        let (dataflow, schema) = planned(&query);
        let mut bench = Bench::new(&dataflow, 1 << 20);
        for i in 0..200 {
            bench.epoch(vec![row(&format!("{} k", i * 20), &schema, 0)], true);
        }
        let kept = bench.table().len();
        assert!((5..=6).contains(&kept), "{window}: {kept} windows");
        let mut entries = 0;
        let visit = &mut |_: &[u8], _: &[u8]| {
            entries += 1;
            true
        };
        bench.backend.scan(&[0, 0, 0, 1], &[0, 0, 0, 9], visit).unwrap();
        assert!(entries < 40, "{window}: {entries} entries");
    }
}
