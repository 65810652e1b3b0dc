//! What a state store promises, as one list of tests run over every backend.

use std::sync::Arc;

use bytes::Bytes;

use super::store::apply_payload;
use super::*;

/// Runs `test` over each kind of backend; `reopen` gives the backend as it is after a crash.
fn each_backend(test: impl Fn(SharedBackend, &mut dyn FnMut(SharedBackend) -> SharedBackend)) {
    test(Arc::new(MemoryStore::default()), &mut |same| same);
    let dir = tempfile::tempdir().unwrap();
    let open = || -> SharedBackend {
        Arc::new(RocksStore::open(dir.path(), RocksOptions { memory_bytes: 8 << 20 }).unwrap())
    };
    // No flush before the handle goes: what was in memtables is lost, as `kill -9` would lose it.
    test(open(), &mut |old| {
        drop(old);
        open()
    });
}

fn contents(store: &StateStore) -> Vec<String> {
    store
        .scan_prefix(b"")
        .unwrap()
        .into_iter()
        .map(|(k, v)| format!("{}={}", String::from_utf8_lossy(&k), String::from_utf8_lossy(&v)))
        .collect()
}

#[test]
fn reads_see_writes_before_and_after_they_are_applied() {
    each_backend(|backend, _| {
        for cache in [0, 1 << 20, 200] {
            let mut node = NodeState::open(backend.clone()).unwrap();
            let name = format!("Aggregate/{cache}");
            let (id, mut store) = node.store("Q", &name, cache).unwrap();
            store.put(b"b", b"1");
            store.put(b"a", b"2");
            store.put(b"c", b"3");
            let (first, payload1) = node.finish([(id, &mut store)]);
            store.delete(b"a");
            store.put(b"b", b"4");
            assert_eq!(contents(&store), ["b=4", "c=3"]);
            node.apply(&payload1).unwrap();
            store.applied(first);
            assert_eq!(contents(&store), ["b=4", "c=3"]);
            assert_eq!(store.get(b"a").unwrap(), None);
            let (second, payload2) = node.finish([(id, &mut store)]);
            node.apply(&payload2).unwrap();
            store.applied(second);
            assert_eq!(contents(&store), ["b=4", "c=3"]);
            let many = store.multi_get(&[b"c", b"x", b"b"]).unwrap();
            assert_eq!(many, [Some(b"3".as_slice().into()), None, Some(b"4".as_slice().into())]);
            store.delete_range(b"b", b"c");
            store.put(b"bb", b"5");
            assert_eq!(contents(&store), ["bb=5", "c=3"]);
            assert_eq!(store.get(b"b").unwrap(), None);
            store.roll_back();
            assert_eq!(contents(&store), ["b=4", "c=3"]);
            assert_eq!(store.get(b"b").unwrap(), Some(b"4".as_slice().into()));
        }
    });
}

#[test]
fn a_small_cache_never_tells_an_old_value() {
    each_backend(|backend, _| {
        let mut node = NodeState::open(backend).unwrap();
        let (id, mut store) = node.store("Q", "Source/0", 1_000).unwrap();
        for round in 0..20u32 {
            for key in 0..50u32 {
                let before = store.get(&key.to_be_bytes()).unwrap();
                let expected = round.checked_sub(1).map(|r| Value::from(r.to_be_bytes()));
                assert_eq!(before, expected, "key {key} round {round}");
                store.put(&key.to_be_bytes(), &round.to_be_bytes());
            }
            let (epoch, payload) = node.finish([(id, &mut store)]);
            node.apply(&payload).unwrap();
            store.applied(epoch);
        }
    });
}

#[test]
fn a_crash_is_healed_from_the_journal_and_a_gap_is_refused() {
    each_backend(|backend, reopen| {
        let mut journal: Vec<Bytes> = Vec::new();
        let mut node = NodeState::open(backend.clone()).unwrap();
        let (id, mut store) = node.store("Q", "Aggregate/0", 0).unwrap();
        for round in 0..5u8 {
            store.put(b"k", &[b'0' + round]);
            node.set_source("Q", "s", &[round]);
            let (epoch, payload) = node.finish([(id, &mut store)]);
            node.apply(&payload).unwrap();
            store.applied(epoch);
            journal.push(payload);
            if round == 1 {
                assert_eq!(backend.flush().unwrap(), 2);
            }
        }
        drop((node, store));
        let backend = reopen(backend);
        assert!(backend.epoch() >= 2);
        let (mut node, _) = NodeState::recover(backend.clone(), &journal, 5).unwrap();
        let (_, store) = node.store("Q", "Aggregate/0", 0).unwrap();
        assert_eq!(contents(&store), ["k=4"]);
        assert_eq!(node.source("Q", "s").unwrap(), Some([4].as_slice().into()));
        assert_eq!(node.last_epoch(), 5);

        let gap = NodeState::recover(backend.clone(), [], 9).err();
        assert_eq!(gap, Some(StateError::Gap { state: 5, journal: 9 }));
        let ahead = NodeState::recover(backend.clone(), [], 3).err();
        assert_eq!(ahead, Some(StateError::Ahead { state: 5, journal: 3 }));
        let far = DeltaBuilder::default().finish(7, 8);
        let gap = NodeState::recover(backend, [&far], 8).err();
        assert_eq!(gap, Some(StateError::Gap { state: 5, journal: 7 }));
    });
}

#[test]
fn a_forgotten_query_leaves_nothing() {
    each_backend(|backend, _| {
        let mut node = NodeState::open(backend.clone()).unwrap();
        for query in ["A", "AB"] {
            let (id, mut store) = node.store(query, "Aggregate/0", 0).unwrap();
            store.put(b"k", query.as_bytes());
            node.set_source(query, "s", b"p");
            let (_, payload) = node.finish([(id, &mut store)]);
            apply_payload(&backend, &payload).unwrap();
        }
        let mut node = NodeState::open(backend.clone()).unwrap();
        assert_eq!(node.queries().unwrap(), ["A", "AB"]);
        node.forget_query("A").unwrap();
        let (_, payload) = node.finish([]);
        node.apply(&payload).unwrap();
        assert_eq!(node.queries().unwrap(), ["AB"]);
        let (_, store) = node.store("AB", "Aggregate/0", 0).unwrap();
        assert_eq!(contents(&store), ["k=AB"]);
        let (_, store) = node.store("A", "Aggregate/0", 0).unwrap();
        assert!(contents(&store).is_empty());
    });
}
