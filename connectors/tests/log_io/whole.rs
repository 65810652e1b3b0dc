//! Backlogs of clients' transactions against small budgets: no epoch holds a part of one, for random
//! clients and through restarts; what cannot be held whole is split only beyond the documented limit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_engine::io::{Budget, EpochIo, SourceId};
use millstream_storage::TopicPartition;
use millstream_storage::broker::TransactionEnd;
use millstream_storage::log::batch::{BatchBuilder, Codec};
use millstream_storage::log::control::Marker;

use super::{ALL, World};

/// What an epoch may take to hold transactions whole, in budgets: connectors/src/log/whole.rs.
const EXTENDED_MAX: usize = 16;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// Transactional clients of a world. A record's V says which transaction it is of; 0: none.
struct Clients<'a> {
    world: &'a World,
    /// Producer: transaction, next sequence by partition, partitions of the transaction.
    open: BTreeMap<i64, (i32, BTreeSet<TopicPartition>)>,
    sequences: BTreeMap<(i64, TopicPartition), i32>,
    transactions: i32,
    /// Records of each committed transaction.
    committed: BTreeMap<i32, usize>,
    records: BTreeMap<i32, usize>,
    plain: usize,
}

impl Clients<'_> {
    fn of(world: &World) -> Clients<'_> {
        Clients {
            world,
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
            transactions: 0,
            committed: BTreeMap::new(),
            records: BTreeMap::new(),
            plain: 0,
        }
    }

    fn write(&mut self, producer: i64, at: TopicPartition, time: i64, count: usize) {
        let (transaction, partitions) = self.open.entry(producer).or_insert_with(|| {
            self.transactions += 1;
            (self.transactions, BTreeSet::new())
        });
        partitions.insert(at);
        let transaction = *transaction;
        *self.records.entry(transaction).or_default() += count;
        let sequence = self.sequences.entry((producer, at)).or_default();
        let builder = BatchBuilder::new(Codec::None).producer(producer, 0, *sequence);
        *sequence += count as i32;
        self.append(at, builder.transactional(), transaction, time, count);
    }

    fn write_plain(&mut self, at: TopicPartition, time: i64) {
        self.plain += 1;
        self.append(at, BatchBuilder::new(Codec::None), 0, time, 1);
    }

    fn append(&self, at: TopicPartition, mut to: BatchBuilder, v: i32, time: i64, count: usize) {
        for _ in 0..count {
            to.push(time, Some(b"k"), Some(format!("{{\"v\":{v}}}").as_bytes()), &[]);
        }
        let batch: Bytes = to.build().expect("a batch");
        self.world.broker.append(at, batch, 0).expect("taken");
        self.world.broker.commit_pending(0).expect("committed");
    }

    fn end(&mut self, producer: i64, commit: bool) {
        let Some((transaction, partitions)) = self.open.remove(&producer) else { return };
        let marker =
            Marker { producer_id: producer, producer_epoch: 0, coordinator_epoch: 0, commit };
        let partitions = partitions.into_iter().collect();
        let end = TransactionEnd { marker, partitions, facts: Vec::new(), told: Vec::new() };
        self.world.broker.end_transaction(&end, 0).expect("ended");
        self.world.broker.commit_pending(0).expect("committed");
        if commit {
            self.committed.insert(transaction, self.records[&transaction]);
        }
    }

    fn end_all(&mut self) {
        for producer in self.open.keys().copied().collect::<Vec<_>>() {
            self.end(producer, true);
        }
    }
}

/// Reads to the end in epochs. Gives for each epoch its records by transaction, and how many in all.
fn epochs(world: &mut World, rows: usize, restarts: bool) -> Vec<(BTreeMap<i32, usize>, usize)> {
    let topics = ["a", "b"];
    let mut open: Vec<SourceId> = topics.iter().map(|topic| world.open(topic, None)).collect();
    let mut epochs = Vec::new();
    while !open.iter().all(|id| world.io.is_caught_up(*id)) {
        let taken = world.poll(&open, rows);
        let mut of: BTreeMap<i32, usize> = BTreeMap::new();
        taken.iter().for_each(|(_, _, v)| *of.entry(*v).or_default() += 1);
        epochs.push((of, taken.len()));
        assert!(epochs.len() < 1_000_000, "it comes to an end");
        if restarts {
            let positions = open.iter().map(|id| world.io.position(*id)).collect::<Vec<_>>();
            let again = topics.iter().zip(&positions);
            open = again.map(|(topic, place)| world.open(topic, Some(place))).collect();
        }
    }
    epochs
}

/// Every committed record once; transactions in one epoch each. Gives how many epochs were extended, and
/// how many transactions were split, which takes an epoch that was extended to the limit.
fn check(
    epochs: &[(BTreeMap<i32, usize>, usize)],
    clients: &Committed,
    budget: usize,
) -> (usize, usize) {
    let mut found: BTreeMap<i32, usize> = BTreeMap::new();
    let mut split = 0;
    for (of, rows) in epochs {
        for (transaction, count) in of {
            *found.entry(*transaction).or_default() += count;
            let whole = *transaction == 0 || clients.committed.get(transaction) == Some(count);
            split += usize::from(!whole);
        }
        assert!(*rows <= EXTENDED_MAX * budget, "{rows} rows");
    }
    let mut all = clients.committed.clone();
    all.insert(0, clients.plain);
    all.retain(|_, count| *count > 0);
    assert_eq!(found, all, "every record once");
    let full = epochs.iter().any(|(_, rows)| *rows >= EXTENDED_MAX * budget);
    assert!(split == 0 || full, "{split} are split although no epoch was full");
    (epochs.iter().filter(|(_, rows)| *rows > budget).count(), split)
}

struct Committed {
    committed: BTreeMap<i32, usize>,
    plain: usize,
}

fn random_backlog(world: &World, random: &mut Random, producers: u64, quiet: u64) -> Committed {
    let partitions: Vec<TopicPartition> =
        (0..12).map(|i| world.at(["a", "b"][i % 2], i as i32 / 2)).collect();
    let mut clients = Clients::of(world);
    for step in 0..600 {
        let producer = 1 + random.below(producers) as i64;
        let at = partitions[random.below(12) as usize];
        // The clocks of the partitions differ, so that they do not advance together.
        let time = step * 10 + i64::from(at.partition) * 40;
        match random.below(12) {
            0..7 => clients.write(producer, at, time, 1 + random.below(3) as usize),
            7 => clients.write_plain(at, time),
            8 => clients.end(producer, false),
            _ => clients.end(producer, true),
        }
        if random.below(quiet) == 0 {
            clients.end_all();
        }
    }
    clients.end_all();
    Committed { committed: clients.committed, plain: clients.plain }
}

#[test]
fn epochs_of_a_backlog_split_no_transaction() {
    let (mut extended, mut split, mut read) = (0, 0, 0);
    for seed in 1..=30u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new(&[("a", 6), ("b", 6)]);
        let clients = random_backlog(&world, &mut random, 1 + seed % 5, 6 + seed % 20);
        for (budget, restarts) in [(1 + random.below(40) as usize, false), (12, true)] {
            let epochs = epochs(&mut world, budget, restarts);
            let (more, cut) = check(&epochs, &clients, budget);
            extended += more;
            split += cut;
            read += clients.committed.len();
        }
    }
    assert!(extended > 50, "budgets end inside of transactions: {extended}");
    assert!(
        split * 50 < read,
        "{split} of {read} are split: a chain longer than the limit is rare"
    );
}

/// More partitions than a marker names.
#[test]
fn a_transaction_of_many_partitions_is_found_whole() {
    for partitions in [2, 8, 9, 10, 17, 18, 40] {
        let mut world = World::new(&[("a", partitions), ("b", partitions)]);
        let mut clients = Clients::of(&world);
        for round in 0..3 {
            for partition in 0..partitions {
                // Partitions are far apart in time: only the transaction holds them together.
                let time = i64::from(partition) * 1000 + round;
                clients.write(7, world.at(["a", "b"][partition as usize % 2], partition), time, 1);
            }
            clients.end(7, true);
        }
        let clients = Committed { committed: clients.committed, plain: 0 };
        let epochs = epochs(&mut world, partitions as usize / 2, false);
        assert_eq!(check(&epochs, &clients, partitions as usize / 2).1, 0, "{partitions}");
    }
}

#[test]
fn a_transaction_beyond_the_limit_is_split_and_reading_goes_on() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    let mut clients = Clients::of(&world);
    for step in 0..100 {
        clients.write(7, world.at(["a", "b"][step % 2], step as i32 % 2), step as i64, 3);
    }
    clients.end(7, true);
    let clients = Committed { committed: clients.committed, plain: 0 };
    let epochs = epochs(&mut world, 10, true);
    let (extended, split) = check(&epochs, &clients, 10);
    assert_eq!((extended, split, epochs[0].1), (2, 2, 160));
}

/// Each transaction begins before the last one ends: no cut is between them, and reading goes on.
#[test]
fn an_endless_chain_of_transactions_does_not_stop_reading() {
    let mut world = World::new(&[("a", 1), ("b", 1)]);
    let mut clients = Clients::of(&world);
    for step in 0..400 {
        clients.write(1 + step % 2, world.at("a", 0), step, 1);
        clients.end(1 + (step + 1) % 2, true);
    }
    // The last one stays open, and 399 are below the last stable offset.
    let open = ["a", "b"].map(|topic| world.open(topic, None));
    let mut taken = Vec::new();
    while let rows = world.poll(&open, 10)
        && !rows.is_empty()
    {
        assert!(rows.len() <= EXTENDED_MAX * 10);
        taken.extend(rows.into_iter().map(|(_, time, _)| time));
    }
    assert!(taken.len() > 200 && taken.is_sorted(), "{}", taken.len());
}

/// A query that begins with all there is, beside one that has read it, is not read in one epoch.
#[test]
fn queries_that_are_not_in_step_do_not_hold_each_other() {
    let mut world = World::new(&[("a", 2)]);
    let mut clients = Clients::of(&world);
    for step in 0..100 {
        clients.write(7, world.at("a", step % 2), i64::from(step), 1);
        clients.end(7, true);
    }
    let early = world.open("a", None);
    assert_eq!(world.io.poll(&[early], ALL).expect("polls").rows[0].1.len(), 100);
    let mut clients = Clients { transactions: 500, ..Clients::of(&world) };
    clients.sequences = (0..2).map(|i| ((7, world.at("a", i)), 50)).collect();
    clients.write(7, world.at("a", 0), 0, 1);
    clients.write(7, world.at("a", 1), 0, 1);
    clients.end(7, true);
    let late = world.open_for("R", "a", None);
    let budget = Budget { rows: 5, ..ALL };
    let polled = world.io.poll(&[early, late], budget).expect("polls");
    let taken: usize = polled.rows.iter().map(|(_, rows)| rows.len()).sum();
    assert!(taken <= 2 * budget.rows, "{taken}");
}

/// What one query shows of a record, every other that reads it shows in the same epoch: also where the
/// budget ends, with equal times, times that go back, and transactions that only one of them reads.
#[test]
fn queries_that_are_equally_far_stay_so() {
    let mut in_pieces = 0;
    for seed in 1..=20u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new(&[("a", 6), ("b", 6)]);
        random_backlog(&world, &mut random, 2, 3);
        let at = world.at("a", 0);
        let clients = Clients::of(&world);
        for _ in 0..200 {
            let mut to = BatchBuilder::new(Codec::None);
            for _ in 0..3 {
                to.push(random.below(4) as i64, Some(b"k"), Some(b"{\"v\":0}"), &[]);
            }
            clients.world.broker.append(at, to.build().expect("a batch"), 0).expect("taken");
        }
        world.broker.commit_pending(0).expect("committed");
        let both = ["P", "Q"].map(|query| world.open_for(query, "a", None));
        let other = world.open_for("Q", "b", None);
        let budget = 1 + random.below(20) as usize;
        let mut polls = 0;
        while !both.iter().all(|id| world.io.is_caught_up(*id)) {
            world.poll(&[both[0], both[1], other], budget);
            let [p, q] = both.map(|id| world.io.position(id));
            assert_eq!(p, q, "seed {seed}, poll {polls}");
            polls += 1;
        }
        in_pieces += usize::from(polls > 20);
    }
    assert!(in_pieces > 10, "budgets end in the middle: {in_pieces}");
}
