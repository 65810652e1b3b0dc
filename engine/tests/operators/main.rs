//! Every operator against a naive model of what it means, on random, disordered, late, NULL-ridden input
//! cut into random epochs, with crashes between and inside them.
//!
//! A test is a query in SQL, the shape of its input (`case.rs`) and its model (`model/`): a plain function
//! of all that was ever put in, which knows nothing of epochs, state or batches. What leaves the engine
//! (`play.rs`) must be what the model says, row by row: unconsolidated each change in its order, with its
//! time and the record that caused it; consolidated the net change of each key in each epoch. So must the
//! rows that are reported, and what a pull query reads at the end.
//!
//! ```text
//! MILLSTREAM_CASES=100000 cargo test -p millstream-engine --test operators       more cases of each
//! MILLSTREAM_SEED=42 cargo test -p millstream-engine --test operators filter     one case again
//! ```

#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test")]

mod case;
mod model;
mod play;

use std::panic::{AssertUnwindSafe, catch_unwind};

use case::{Case, Random, Record, Shape};
use millstream_sql::plan::Dataflow;
use model::joins::{Kind, Within};
use model::{Expected, Meaning, Model, Net, Out, aggregates, compared, expected, joins, simple};
use play::{dataflow, play};

/// So many epochs of each operator are compared: each is a case, its input all that was put in so far.
const CASES: u64 = 10_000;

/// Plays a case. How many epochs were compared with the model, each with all that was put in before it;
/// or what differs.
fn compare(dataflow: &Dataflow, model: &Model, case: &Case) -> Result<u64, String> {
    let rows: Vec<_> = case.rows.iter().map(|(record, _)| *record).collect();
    let played = catch_unwind(AssertUnwindSafe(|| play(dataflow, case))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        format!("the engine panics: {}", text.unwrap_or_default())
    })?;
    let ends: Vec<usize> = played.epochs.iter().map(|(end, _)| *end).collect();
    let Expected { epochs, errors, table } = expected(model, &rows, case.consolidate, &ends);
    for (i, ((end, found), wanted)) in played.epochs.iter().zip(&epochs).enumerate() {
        let [same, as_this] = [found, wanted].map(|o| compared(o, case.consolidate, model.net));
        if same != as_this {
            let lines =
                |outs: &[Out]| outs.iter().map(|o| format!("    {o}\n")).collect::<String>();
            let (epoch, last) = (i + 1, end - 1);
            let (found, wanted) = (lines(found), lines(wanted));
            return Err(format!(
                "epoch {epoch}, up to row #{last}\n  engine:\n{found}  model:\n{wanted}"
            ));
        }
    }
    if let Some(mut wanted) = errors {
        let mut found = played.errors.clone();
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted {
            return Err(format!("reported rows: engine {found:?}, model {wanted:?}"));
        }
    }
    if let (Some(found), Some(wanted)) = (&played.table, &table) {
        let timed = |line: &String| match model.net {
            Net::Exact => Some(line.clone()),
            Net::Groups if case.consolidate && line.contains(" 0 0 0 ") => None,
            _ => Some(line.split(" @").next().unwrap_or_default().to_owned()),
        };
        let [same, as_this] =
            [found, wanted].map(|t| t.iter().filter_map(timed).collect::<Vec<_>>());
        if same != as_this {
            return Err(format!("a pull query reads {found:#?}, model {wanted:#?}"));
        }
    }
    Ok(played.epochs.len() as u64)
}

/// Plays random cases of one operator until [`CASES`] epochs were compared.
#[track_caller]
fn check(sql: &str, shape: Shape, model: Model) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let dataflow = dataflow(sql);
    let again = number("MILLSTREAM_SEED");
    let most = if again.is_some() { 1 } else { number("MILLSTREAM_CASES").unwrap_or(CASES) };
    // Each query has seeds of its own.
    let own =
        sql.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random::new(own);
    let mut done = 0;
    while done < most {
        let seed = again.unwrap_or_else(|| random.next());
        let case = Case::random(seed, &shape);
        match compare(&dataflow, &model, &case) {
            Ok(epochs) => done += epochs,
            Err(_) => {
                let small = case.shrink(&|case| compare(&dataflow, &model, case).is_err());
                let difference = compare(&dataflow, &model, &small).err().unwrap_or_default();
                panic!("MILLSTREAM_SEED={seed}\n{sql}\n{}{difference}", small.text());
            }
        }
    }
}

const DECLARE: [[&str; 3]; 2] = [
    [
        "CREATE STREAM l (k STRING KEY, f STRING, v BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON');",
        "CREATE STREAM r (k STRING KEY, f STRING, v BIGINT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON');",
        "CREATE STREAM x (k STRING KEY, f STRING, v BIGINT) WITH (KAFKA_TOPIC = 'x', VALUE_FORMAT = 'JSON');",
    ],
    [
        "CREATE TABLE l (k STRING PRIMARY KEY, f STRING, v BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON');",
        "CREATE TABLE r (k STRING PRIMARY KEY, f STRING, v BIGINT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON');",
        "CREATE TABLE x (k STRING PRIMARY KEY, f STRING, v BIGINT) WITH (KAFKA_TOPIC = 'x', VALUE_FORMAT = 'JSON');",
    ],
];

/// `query` over relations l, r, x, each a stream (`s`) or a table (`t`).
fn over(kinds: &str, query: &str) -> String {
    let declared = kinds.chars().enumerate().map(|(i, kind)| DECLARE[usize::from(kind == 't')][i]);
    declared.chain([query]).collect::<Vec<_>>().join("\n")
}

const SHAPE: Shape = Shape {
    sources: 1,
    texts: &[Some("a"), Some("b"), Some("c"), Some("a-b"), Some(""), None],
    late_ms: 30,
    jump_ms: 0,
};
const TWO: Shape = Shape { sources: 2, ..SHAPE };
const THREE: Shape = Shape { sources: 3, ..SHAPE };
const TIMED: Shape = Shape { jump_ms: 120, ..SHAPE };

fn model(of: impl Fn(&[Record], bool) -> Meaning + 'static) -> Model {
    Model { of: Box::new(of), net: Net::Exact, reads: true }
}

/// Of a table that follows from tables.
fn over_tables(of: impl Fn(&[Record], bool) -> Meaning + 'static) -> Model {
    Model { of: Box::new(of), net: Net::Values, reads: true }
}

/// Of windows that may be forgotten: what is read is not compared.
fn timed(of: impl Fn(&[Record], bool) -> Meaning + 'static) -> Model {
    Model { of: Box::new(of), net: Net::Exact, reads: false }
}

#[test]
fn project() {
    check(
        &over("s", "CREATE STREAM o AS SELECT k, f, 12 / v AS d FROM l;"),
        SHAPE,
        model(simple::project),
    );
}

#[test]
fn filter() {
    check(
        &over("s", "CREATE STREAM o AS SELECT k, f, v FROM l WHERE v > 1;"),
        SHAPE,
        model(simple::filter),
    );
}

#[test]
fn rekey() {
    let sql = "CREATE STREAM o AS SELECT f, k, v FROM l PARTITION BY f;";
    check(&over("s", sql), SHAPE, model(simple::rekey));
}

#[test]
fn explode() {
    let sql = "CREATE STREAM o AS SELECT k, EXPLODE(SPLIT(f, '-')) AS t, EXPLODE(ARRAY[v, v + 1]) AS n FROM l;";
    check(&over("s", sql), SHAPE, model(simple::explode));
}

#[test]
fn filter_of_a_table() {
    let sql = "CREATE TABLE o AS SELECT k, f, v FROM l WHERE v > 1;";
    check(&over("t", sql), SHAPE, over_tables(simple::filter_table));
}

#[test]
fn aggregate_numbers() {
    let sql = "CREATE TABLE o AS SELECT f, COUNT(*) AS a, COUNT(v) AS b, SUM(v) AS c, MIN(v) AS d, MAX(v) AS e, AVG(v) AS g FROM l GROUP BY f;";
    check(
        &over("s", sql),
        SHAPE,
        model(|rows, _| aggregates::stream(rows, aggregates::numbers, 0)),
    );
}

#[test]
fn aggregate_lists() {
    let sql = "CREATE TABLE o AS SELECT f, COLLECT_LIST(v) AS a, COLLECT_SET(v) AS b, EARLIEST_BY_OFFSET(v) AS c,
        LATEST_BY_OFFSET(v) AS d, LATEST_BY_OFFSET(v, 2, false) AS e, TOPK(v, 2) AS g, TOPKDISTINCT(v, 2) AS h,
        COUNT_DISTINCT(v) AS i, HISTOGRAM(f) AS j, STDDEV_SAMPLE(v) AS m, ATTR(v) AS n FROM l GROUP BY f;";
    check(&over("s", sql), SHAPE, model(|rows, _| aggregates::stream(rows, aggregates::lists, 0)));
}

#[test]
fn aggregate_having() {
    let sql = "CREATE TABLE o AS SELECT f, COUNT(*) AS a, SUM(v) AS b, COLLECT_LIST(v) AS c FROM l GROUP BY f HAVING COUNT(*) > 2;";
    check(&over("s", sql), SHAPE, model(|rows, _| aggregates::stream(rows, aggregates::brief, 2)));
}

#[test]
fn aggregate_of_a_table() {
    let sql = "CREATE TABLE o AS SELECT f, COUNT(*) AS a, COUNT(v) AS b, SUM(v) AS c, AVG(v) AS d, STDDEV_SAMPLE(v) AS e,
        HISTOGRAM(k) AS g FROM l GROUP BY f;";
    check(
        &over("t", sql),
        SHAPE,
        Model { net: Net::Groups, ..over_tables(|rows, _| aggregates::undo(rows)) },
    );
}

fn windowed(window: &str, of: aggregates::Windows, emit_final: bool) {
    let emit = if emit_final { "EMIT FINAL" } else { "EMIT CHANGES" };
    let sql = format!(
        "CREATE TABLE o AS SELECT f, COUNT(*) AS a, SUM(v) AS b, COLLECT_LIST(v) AS c FROM l WINDOW {window} GROUP BY f {emit};"
    );
    let of = move |rows: &[Record], consolidate| {
        aggregates::windows(rows, of, aggregates::brief, emit_final, consolidate)
    };
    check(&over("s", &sql), TIMED, timed(of));
}

const TUMBLING: &str = "TUMBLING (SIZE 10 MILLISECONDS, GRACE PERIOD 12 MILLISECONDS)";
const HOPPING: &str =
    "HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 4 MILLISECONDS, GRACE PERIOD 7 MILLISECONDS)";

#[test]
fn tumbling_windows() {
    windowed(TUMBLING, aggregates::Windows { size: 10, advance: 10, grace: 12 }, false);
}

#[test]
fn hopping_windows() {
    windowed(HOPPING, aggregates::Windows { size: 10, advance: 4, grace: 7 }, false);
}

#[test]
fn final_tumbling_windows() {
    windowed(TUMBLING, aggregates::Windows { size: 10, advance: 10, grace: 12 }, true);
}

#[test]
fn final_hopping_windows() {
    windowed(HOPPING, aggregates::Windows { size: 10, advance: 4, grace: 7 }, true);
}

fn session(emit_final: bool) {
    let emit = if emit_final { "EMIT FINAL" } else { "EMIT CHANGES" };
    let sql = format!(
        "CREATE TABLE o AS SELECT f, COUNT(*) AS a, SUM(v) AS b, COLLECT_LIST(v) AS c FROM l
         WINDOW SESSION (5 MILLISECONDS, RETENTION 40 MILLISECONDS, GRACE PERIOD 15 MILLISECONDS) GROUP BY f {emit};"
    );
    let of = move |rows: &[Record], _| {
        aggregates::sessions(rows, (5, 40, 15), aggregates::brief, emit_final)
    };
    check(&over("s", &sql), TIMED, timed(of));
}

#[test]
fn session_windows() {
    session(false);
}

#[test]
fn final_session_windows() {
    session(true);
}

const SELECTED: &str = "l.f AS lf, l.v AS lv, r.f AS rf, r.v AS rv";

/// The key that a join of this kind selects, and its words in SQL.
fn words(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Inner => ("l.k AS k", "JOIN"),
        Kind::Left => ("l.k AS k", "LEFT JOIN"),
        Kind::Right => ("r.k AS k", "RIGHT JOIN"),
        Kind::Full => ("ROWKEY AS k", "FULL JOIN"),
    }
}

fn streams(kind: Kind, clause: &str, within: Within) {
    let (key, join) = words(kind);
    let sql = format!(
        "CREATE STREAM o AS SELECT {key}, {SELECTED} FROM l {join} r {clause} ON l.k = r.k;"
    );
    let of = move |rows: &[Record], _| {
        let sides = [0, 1].map(|side| joins::stream(rows, side));
        joins::stream_stream(kind, within, &sides[0], &sides[1], [2, 2]).into()
    };
    check(&over("ss", &sql), Shape { sources: 2, ..TIMED }, model(of));
}

const LEGACY: (&str, Within) =
    ("WITHIN 6 MILLISECONDS", Within { before: 6, after: 6, grace: None });
const GRACE: (&str, Within) = (
    "WITHIN (3 MILLISECONDS, 9 MILLISECONDS) GRACE PERIOD 8 MILLISECONDS",
    Within { before: 3, after: 9, grace: Some(8) },
);

#[test]
fn streams_inner() {
    streams(Kind::Inner, LEGACY.0, LEGACY.1);
}

#[test]
fn streams_inner_grace() {
    streams(Kind::Inner, GRACE.0, GRACE.1);
}

#[test]
fn streams_left() {
    streams(Kind::Left, LEGACY.0, LEGACY.1);
}

#[test]
fn streams_left_grace() {
    streams(Kind::Left, GRACE.0, GRACE.1);
}

#[test]
fn streams_right_grace() {
    streams(Kind::Right, GRACE.0, GRACE.1);
}

#[test]
fn streams_full() {
    streams(Kind::Full, LEGACY.0, LEGACY.1);
}

#[test]
fn streams_full_grace() {
    streams(Kind::Full, GRACE.0, GRACE.1);
}

fn stream_and_table(kind: Kind) {
    let (key, join) = words(kind);
    let sql = format!("CREATE STREAM o AS SELECT {key}, {SELECTED} FROM l {join} r ON l.k = r.k;");
    let of = move |rows: &[Record], _| {
        joins::stream_table(kind, &joins::stream(rows, 0), &simple::table(rows, 1), [2, 2]).into()
    };
    check(&over("st", &sql), TWO, model(of));
}

#[test]
fn stream_and_table_inner() {
    stream_and_table(Kind::Inner);
}

#[test]
fn stream_and_table_left() {
    stream_and_table(Kind::Left);
}

fn tables(kind: Kind) {
    let (key, join) = words(kind);
    let sql = format!("CREATE TABLE o AS SELECT {key}, {SELECTED} FROM l {join} r ON l.k = r.k;");
    let of = move |rows: &[Record], _| {
        joins::table_table(kind, &simple::table(rows, 0), &simple::table(rows, 1), [2, 2]).into()
    };
    check(&over("tt", &sql), TWO, over_tables(of));
}

#[test]
fn tables_inner() {
    tables(Kind::Inner);
}

#[test]
fn tables_left() {
    tables(Kind::Left);
}

#[test]
fn tables_right() {
    tables(Kind::Right);
}

#[test]
fn tables_full() {
    tables(Kind::Full);
}

fn foreign(kind: Kind) {
    let (key, join) = words(kind);
    let sql = format!("CREATE TABLE o AS SELECT {key}, {SELECTED} FROM l {join} r ON l.f = r.k;");
    let of = move |rows: &[Record], _| joins::foreign_key(kind, rows).into();
    check(&over("tt", &sql), TWO, over_tables(of));
}

#[test]
fn foreign_keys_inner() {
    foreign(Kind::Inner);
}

#[test]
fn foreign_keys_left() {
    foreign(Kind::Left);
}

const THIRD: &str = "x.f AS xf, x.v AS xv";

#[test]
fn three_tables() {
    let sql = format!(
        "CREATE TABLE o AS SELECT l.k AS k, {SELECTED}, {THIRD} FROM l LEFT JOIN r ON l.k = r.k LEFT JOIN x ON l.k = x.k;"
    );
    let of = |rows: &[Record], _| {
        let [l, r, x] = [0, 1, 2].map(|source| simple::table(rows, source));
        let first = joins::table_table(Kind::Left, &l, &r, [2, 2]);
        joins::table_table(Kind::Left, &first, &x, [4, 2]).into()
    };
    check(&over("ttt", &sql), THREE, over_tables(of));
}

#[test]
fn a_stream_and_two_tables() {
    let sql = format!(
        "CREATE STREAM o AS SELECT l.k AS k, {SELECTED}, {THIRD} FROM l LEFT JOIN r ON l.k = r.k JOIN x ON l.k = x.k;"
    );
    let of = |rows: &[Record], _| {
        let first = joins::stream_table(
            Kind::Left,
            &joins::stream(rows, 0),
            &simple::table(rows, 1),
            [2, 2],
        );
        joins::stream_table(Kind::Inner, &first, &simple::table(rows, 2), [4, 2]).into()
    };
    check(&over("stt", &sql), THREE, model(of));
}

#[test]
fn three_streams() {
    let sql = format!(
        "CREATE STREAM o AS SELECT l.k AS k, {SELECTED}, {THIRD} FROM l LEFT JOIN r {0} ON l.k = r.k JOIN x {0} ON l.k = x.k;",
        GRACE.0
    );
    let of = |rows: &[Record], _| {
        let [l, r, x] = [0, 1, 2].map(|source| joins::stream(rows, source));
        let first = joins::stream_stream(Kind::Left, GRACE.1, &l, &r, [2, 2]);
        joins::stream_stream(Kind::Inner, GRACE.1, &first, &x, [4, 2]).into()
    };
    check(&over("sss", &sql), Shape { sources: 3, ..TIMED }, model(of));
}
