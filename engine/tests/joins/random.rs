//! The joins of tables against their definition, on random changes.
//!
//! At the end of every epoch, however the changes are cut into epochs and whether or not they are
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
