//! Aggregates compared with a naive fold, over random rows in random epochs, with crashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_sql::syntax::ast::RelationKind::{Stream, Table};
use proptest::prelude::*;

use super::*;
use crate::state::{RocksOptions, RocksStore};

type Input = Vec<Vec<(i64, usize, Option<i64>)>>;

const KEYS: [&str; 4] = ["a", "b", "cc", ""];

/// What groups hold after all rows: count and sum; groups never go.
fn naive(input: &Input, table: bool) -> Vec<String> {
    let mut groups: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
    let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
    for &(time, key, value) in input.iter().flatten() {
        let key = KEYS[key];
        let old = if table { rows.remove(key) } else { None };
        let group = |value: i64| if table { (value % 3).to_string() } else { key.to_owned() };
        for (value, sign) in old.map(|v| (v, -1)).into_iter().chain(value.map(|v| (v, 1))) {
            let (count, sum, latest) = groups.entry(group(value)).or_insert((0, 0, i64::MIN));
            *count += sign;
            *sum += sign * value;
            *latest = time.max(*latest);
        }
        if let (true, Some(value)) = (table, value) {
            rows.insert(key, value);
        }
    }
    let mut lines: Vec<String> =
        groups.iter().map(|(g, (n, sum, _))| format!("{g} {n} {sum}")).collect();
    lines.sort();
    lines
}

fn without_time(lines: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> =
        lines.iter().map(|l| l.split(" @").next().unwrap_or_default().to_owned()).collect();
    lines.sort();
    lines
}

/// What a reader of the changes knows at the end; checks that each change's old value is what it knew.
fn fold(changes: &[String]) -> Vec<String> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for change in changes {
        let (new, old) = change.split_once(" was ").unwrap();
        let (row, _) = new.split_once(" @").unwrap();
        let (key, value) = row.split_once(' ').unwrap();
        let before = known.insert(key.to_owned(), value.to_owned());
        assert_eq!(before.as_deref().unwrap_or("-"), old, "{change}");
    }
    let mut lines: Vec<String> = known.iter().map(|(k, v)| format!("{k} {v}")).collect();
    lines.sort();
    lines
}

fn run(table: bool, consolidate: bool, input: &Input, backend: SharedBackend, mut crash: impl FnMut(usize, &mut Bench)) {
    let kind = if table { Table } else { Stream };
    let group = if table { modulo(value(), number(3)) } else { key() };
    let steps = vec![source("S", kind), count_and_sum(0, group, None, false)];
    let mut bench = Bench::new(dataflow("Q", steps, "OUT"), backend, consolidate);
    let mut changes = Vec::new();
    for (i, epoch) in input.iter().enumerate() {
        let rows: Vec<_> = epoch.iter().map(|&(time, key, value)| (0, (time, KEYS[key], value))).collect();
        // Without consolidation an epoch is one record.
        let parts: Vec<&[_]> = if consolidate { vec![&rows] } else { rows.chunks(1).collect() };
        for part in parts {
            changes.extend(bench.epoch(part).0);
        }
        crash(i, &mut bench);
    }
    let expected = naive(input, table);
    // A group whose count came back to what it was may never have been seen.
    let seen = fold(&changes);
    assert!(seen.iter().all(|line| expected.contains(line)), "{seen:?} of {expected:?}");
    if !consolidate {
        assert_eq!(seen, expected);
    }
    assert_eq!(without_time(bench.table()), seen);
}

fn input() -> impl Strategy<Value = Input> {
    let row = (0i64..50, 0usize..4, prop_oneof![1 => Just(None), 4 => (0i64..20).prop_map(Some)]);
    prop::collection::vec(prop::collection::vec(row, 1..8), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn groups_hold_what_a_fold_over_all_rows_gives(
        input in input(), table: bool, consolidate: bool, crash_every in 1usize..6,
    ) {
        let backend: SharedBackend = Arc::new(MemoryStore::default());
        run(table, consolidate, &input, backend, |i, bench| {
            if i % crash_every == 0 {
                bench.crash();
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn so_they_do_over_rocksdb(input in input(), table: bool) {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksOptions { memory_bytes: 4 << 20 };
        let backend: SharedBackend = Arc::new(RocksStore::open(dir.path(), options).unwrap());
        run(table, true, &input, backend, |_, bench| bench.crash());
    }
}
