//! The joins against their definition, on random rows.
//!
//! Streams: the results are the same however the records are cut into epochs, with restarts between,
//! and however little memory there is; INNER ones are all pairs within the window. Tables: at the end of every epoch, however the changes are cut into epochs and whether or not they are
//! consolidated: the emitted changes applied one after the other give the join of what was put in, each
//! says correctly what it replaces, and a pull query reads the same. Consolidated, no key changes twice
//! in an epoch.

use std::collections::{BTreeMap, HashSet};

use crate::script::{Query, shown};

/// A small generator, so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Rows of one side: key → value words.
type Side = BTreeMap<String, String>;

const LEFT: &str = "CREATE TABLE l (k STRING PRIMARY KEY, f STRING, a BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON');";
const RIGHT: &str = "CREATE TABLE r (k STRING PRIMARY KEY, b BIGINT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON');";

/// The join by its definition: for each left row its partner by `partner`, for each right row without
/// one itself.
fn joined(left: &Side, right: &Side, kind: &str, foreign: bool) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (key, value) in left {
        let (f, a) = value.split_once(' ').unwrap();
        match right.get(if foreign { f } else { key }) {
            Some(b) => drop(out.insert(key.clone(), format!("{a} {b}"))),
            None if kind == "LEFT" || kind == "FULL" => {
                out.insert(key.clone(), format!("{a} null"));
            }
            None => {}
        }
    }
    if kind == "RIGHT" || kind == "FULL" {
        for (key, b) in right.iter().filter(|(key, _)| !left.contains_key(*key)) {
            out.insert(key.clone(), format!("null {b}"));
        }
    }
    out
}

fn run(kind: &str, foreign: bool, consolidate: bool, seed: u64) {
    let (key, on) = match (kind, foreign) {
        (_, true) => ("l.k AS k", "f = r.k"),
        ("FULL", _) => ("ROWKEY AS k", "l.k = r.k"),
        ("RIGHT", _) => ("r.k AS k", "l.k = r.k"),
        _ => ("l.k AS k", "l.k = r.k"),
    };
    let sql =
        format!("{LEFT}{RIGHT} CREATE TABLE o AS SELECT {key}, a, b FROM l {kind} JOIN r ON {on};");
    let mut query = Query::new(&sql, consolidate);
    let mut random = Random(seed);
    let (mut left, mut right) = (Side::new(), Side::new());
    let mut folded: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..40 {
        let mut lines = Vec::new();
        for time in 0..=random.below(12) {
            let key = format!("k{}", random.below(5));
            let delete = random.below(4) == 0;
            let (name, side, value) = if random.below(2) == 0 {
                let f = random.below(5);
                ("l", &mut left, format!("k{f} {}", random.below(3)))
            } else {
                ("r", &mut right, random.below(3).to_string())
            };
            if delete {
                side.remove(&key);
                lines.push(format!("{name} {time} {key} -"));
            } else {
                lines.push(format!("{name} {time} {key} {value}"));
                side.insert(key, value);
            }
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        if random.below(4) == 0 {
            query.epoch(&lines, false);
            query.restart();
        }
        let mut seen = HashSet::new();
        for change in query.epoch(&lines, true).iter().flat_map(shown) {
            let (now, was) = change.split_once(" was ").unwrap();
            let [_, key, value] = now.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{now}")
            };
            let before = match value {
                "-" => folded.remove(key),
                value => folded.insert(key.to_owned(), value.to_owned()),
            };
            assert_eq!(before.as_deref().unwrap_or("-"), was, "seed {seed}: {change}");
            if consolidate {
                assert!(seen.insert(key.to_owned()), "seed {seed}: {key} changes twice");
                assert_ne!(value, was, "seed {seed}: {key} does not change");
            }
        }
        let expected = joined(&left, &right, kind, foreign);
        assert_eq!(folded, expected, "seed {seed}: {kind} {foreign} {consolidate}");
        let read: BTreeMap<String, String> = query
            .table()
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.splitn(3, ' ').collect();
                (words[1].to_owned(), words[2].to_owned())
            })
            .collect();
        assert_eq!(read, expected, "seed {seed}: what a pull query reads");
    }
}

#[test]
fn tables_are_their_join_at_every_epoch() {
    for kind in ["INNER", "LEFT", "RIGHT", "FULL"] {
        for seed in 0..6 {
            run(kind, false, seed % 2 == 0, seed);
        }
    }
}

#[test]
fn foreign_keys_are_their_join_at_every_epoch() {
    for kind in ["INNER", "LEFT"] {
        for seed in 0..10 {
            run(kind, true, seed % 2 == 0, seed);
        }
    }
}

const STREAMS: &str = "
    CREATE STREAM l (k STRING KEY, a BIGINT) WITH (KAFKA_TOPIC = 'l', VALUE_FORMAT = 'JSON');
    CREATE STREAM r (k STRING KEY, b BIGINT) WITH (KAFKA_TOPIC = 'r', VALUE_FORMAT = 'JSON');";

/// Records of two streams, some of them late, some with a NULL key or value.
fn records(random: &mut Random, count: u64, late_ms: u64) -> Vec<String> {
    let record = |i: u64| {
        let side = ["l", "r"][random.below(2) as usize];
        let time = i * 700 + late_ms - random.below(late_ms);
        let key = ["a", "b", "c", "null"][(random.below(10) % 4) as usize];
        match random.below(15) {
            0 => format!("{side} {time} {key} -"),
            _ => format!("{side} {time} {key} {i}"),
        }
    };
    (0..count).map(record).collect()
}

/// All results of `records`, cut into epochs by `cut`.
fn stream_results(
    sql: &str,
    records: &[String],
    cache: usize,
    mut cut: impl FnMut() -> usize,
) -> Vec<String> {
    let mut query = Query::with_cache(sql, true, cache);
    let mut results = Vec::new();
    let mut left: Vec<&str> = records.iter().map(String::as_str).collect();
    while !left.is_empty() {
        let epoch: Vec<&str> = left.drain(..cut().clamp(1, left.len())).collect();
        if cut().is_multiple_of(3) {
            query.epoch(&epoch, false);
            query.restart();
        }
        results.extend(query.epoch(&epoch, true).iter().flat_map(shown));
    }
    results
}

#[test]
fn stream_results_do_not_depend_on_epochs() {
    let windows = ["WITHIN 5 SECONDS", "WITHIN (1 SECOND, 8 SECONDS) GRACE PERIOD 2 SECONDS"];
    for kind in ["INNER", "LEFT", "RIGHT", "FULL"] {
        for (window, seed) in windows.into_iter().flat_map(|w| (0..3).map(move |seed| (w, seed))) {
            let key = match kind {
                "FULL" => "ROWKEY",
                "RIGHT" => "r.k",
                _ => "l.k",
            };
            let sql = format!(
                "{STREAMS} CREATE STREAM o AS SELECT {key} AS k, a, b FROM l {kind} JOIN r {window} ON l.k = r.k;"
            );
            let mut random = Random(seed);
            let late = [1, 9_000, 40_000][seed as usize];
            // Buckets are a minute long: some go.
            let records = records(&mut random, 160, late);
            let single = stream_results(&sql, &records, 1 << 20, || 1);
            assert!(single.len() > 10, "{} results", single.len());
            for cache in [0, 2_000, 1 << 20] {
                let cut = stream_results(&sql, &records, cache, || 1 + random.below(30) as usize);
                assert_eq!(cut, single, "{kind} {window} seed {seed} cache {cache}");
            }
            if kind == "INNER" && late == 1 {
                let mut found = single;
                found.sort();
                let within = if window.contains('(') { (1_000, 8_000) } else { (5_000, 5_000) };
                assert_eq!(found, pairs(&records, within), "{window}");
            }
        }
    }
}

/// All pairs of records with one key that are close enough.
fn pairs(records: &[String], (before, after): (i64, i64)) -> Vec<String> {
    let words: Vec<Vec<&str>> = records.iter().map(|r| r.split(' ').collect()).collect();
    let counts = |side: &'static str| {
        words.iter().filter(move |w| w[0] == side && w[2] != "null" && w[3] != "-")
    };
    let time = |w: &[&str]| w[1].parse::<i64>().unwrap();
    let mut out = Vec::new();
    for l in counts("l") {
        for r in counts("r").filter(|r| r[2] == l[2]) {
            if (time(l) - before..=time(l) + after).contains(&time(r)) {
                out.push(format!("{} {} {} {}", time(l).max(time(r)), l[2], l[3], r[3]));
            }
        }
    }
    out.sort();
    out
}
