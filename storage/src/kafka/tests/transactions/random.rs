//! Random transactional clients of both protocols, with repeated and delayed requests, lost answers,
//! timeouts and crashes at any point.
//!
//! Kept by all of it:
//! - a `read_committed` reader never sees a record of a transaction that was aborted, sees no record
//!   twice, and up to a cut sees all of a committed transaction or nothing
//! - what was acknowledged as committed is there in the end, with the group's offset
//! - last stable offsets and cuts never go back
//! - a restart gives back exactly what was there, in the coordinators and in each partition
//!
//! Delayed ends and offsets of the first protocol are left out: that they may reach a later transaction
//! of the same epoch is a fault of the protocol, which the second one mends.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::log::Aborted;

const CLIENTS: usize = 4;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
    /// The answer to its commit was lost.
    Unknown,
}

/// What a client knows of one of its transactions.
#[derive(Debug)]
struct Story {
    fate: Fate,
    /// Written and acknowledged.
    sure: BTreeSet<String>,
    /// Written, but no answer came.
    perhaps: BTreeSet<String>,
    offset: Option<i64>,
}

struct Run {
    seed: u64,
    dice: Dice,
    client: Client,
    disk: Arc<MemDisk>,
    txs: Vec<Tx>,
    /// The number of each client's present transaction, if one is open.
    open: Vec<Option<usize>>,
    stories: Vec<Story>,
    /// Requests that come a second time, later: version and frame.
    network: Vec<Bytes>,
    values: u64,
    stable: [i64; 3],
    cut: Vec<i64>,
    /// Per client, the group offset that must be there, or one of those that may be.
    offsets: Vec<BTreeSet<i64>>,
}

/// All that must survive a restart.
#[derive(Debug, PartialEq)]
struct Image {
    transactions: Vec<(String, crate::transactions::Transaction)>,
    groups: Vec<crate::coordinator::GroupRecord>,
    partitions: Vec<(i64, i64, Vec<Aborted>, Vec<(i64, i16, i32, i32, Option<i64>)>)>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let disk = Arc::new(MemDisk::new());
        let mut client = Client::on(disk.clone());
        client.create("t", 3, &[("segment.bytes", "3000")]);
        let txs = (0..CLIENTS).map(|i| Tx::new(&format!("tx{i}"), i % 2 == 1)).collect();
        Run {
            seed,
            dice: Dice(seed),
            client,
            disk,
            txs,
            open: vec![None; CLIENTS],
            stories: Vec::new(),
            network: Vec::new(),
            values: 0,
            stable: [0; 3],
            cut: vec![0; 3],
            offsets: vec![BTreeSet::from([-1]); CLIENTS],
        }
    }

    /// Sends a request; `None` when its answer is lost. It may be carried out twice, now or later.
    fn send<R>(&mut self, version: i16, request: &R, delays: bool) -> Option<R::Response>
    where
        R: RequestResponsePair + KafkaEncode,
    {
        if delays && self.dice.one_in(4) {
            self.network.push(frame(version, request));
        }
        if self.dice.one_in(12) {
            drop(self.client.send(version, request));
        }
        if self.dice.one_in(15) {
            // Carried out or not, the client hears nothing.
            if self.dice.one_in(2) {
                drop(self.client.send(version, request));
            }
            return None;
        }
        Some(self.client.ask(version, request))
    }

    fn step(&mut self) {
        let who = self.dice.below(CLIENTS as u64) as usize;
        match self.dice.below(30) {
            0 => self.restart(),
            1 => self.crash(),
            2 => self.client.node.broker.checkpoint(self.client.now_ms).unwrap(),
            3 if self.dice.one_in(3) => self.pass_time(),
            4..=6 => self.deliver_late(),
            7 => drop(self.client.node.broker.commit_pending(self.client.now_ms).unwrap()),
            8 => self.renew(who),
            9..=14 => self.finish(who),
            15..=17 => self.put_offset(who),
            _ => self.write(who),
        }
        self.check();
    }

    /// A request that the network kept comes again.
    fn deliver_late(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let which = self.dice.below(self.network.len() as u64) as usize;
        let late = self.network.swap_remove(which);
        let Client { node, session, now_ms } = &mut self.client;
        drop(handle(node, session, late, *now_ms));
    }

    /// A new instance of the producer: what was open is aborted.
    fn renew(&mut self, who: usize) {
        loop {
            let goes_on = false;
            let request = self.txs[who].init_request(goes_on);
            if let Some(answer) = self.send(4, &request, false) {
                assert_eq!(answer.error_code, 0);
                self.txs[who].sequences = [0; 3];
                self.txs[who].became(answer.producer_id, answer.producer_epoch);
                break;
            }
        }
        self.settle(who, Fate::Aborted);
    }

    fn settle(&mut self, who: usize, fate: Fate) {
        let Some(number) = self.open[who].take() else { return };
        let story = &mut self.stories[number];
        story.fate = fate;
        let Some(offset) = story.offset else { return };
        match fate {
            Fate::Committed => self.offsets[who] = BTreeSet::from([offset]),
            Fate::Unknown => drop(self.offsets[who].insert(offset)),
            Fate::Open | Fate::Aborted => {}
        }
    }

    /// The number of the client's open transaction; it begins one if there is none.
    fn begin(&mut self, who: usize) -> usize {
        if self.txs[who].producer_id < 0 {
            self.renew(who);
        }
        *self.open[who].get_or_insert_with(|| {
            let nothing = BTreeSet::new();
            let (sure, perhaps) = (nothing.clone(), nothing);
            self.stories.push(Story { fate: Fate::Open, sure, perhaps, offset: None });
            self.stories.len() - 1
        })
    }

    fn write(&mut self, who: usize) {
        let number = self.begin(who);
        let partition = self.dice.below(3) as i32;
        let tx = self.txs[who].clone();
        if !tx.second {
            let added = self.send(3, &tx.add_request(partition), true);
            let code = added.map(|answer| {
                let topics = &answer.results_by_topic_v3_and_below;
                topics[0].results_by_partition[0].partition_error_code
            });
            if code != Some(0) {
                return self.renew(who);
            }
        }
        let count = 1 + self.dice.below(3);
        let values: Vec<String> = (0..count)
            .map(|_| {
                self.values += 1;
                format!("{number}:{}{}", self.values, "x".repeat(self.dice.below(40) as usize))
            })
            .collect();
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let request = tx.write_request(partition, &texts);
        for _ in 0..3 {
            let answer = self.send(tx.produce_version(), &request, true);
            let code = answer.map(|a| a.responses[0].partition_responses[0].error_code);
            match code {
                Some(0) => {
                    self.txs[who].sequences[partition as usize] += values.len() as i32;
                    self.stories[number].sure.extend(values);
                    return;
                }
                None => self.stories[number].perhaps.extend(values.iter().cloned()),
                // Fenced by a timeout.
                Some(_) => return self.renew(who),
            }
        }
        self.renew(who);
    }

    fn put_offset(&mut self, who: usize) {
        let number = self.begin(who);
        let tx = self.txs[who].clone();
        let group = format!("g{who}");
        if !tx.second && self.client.add_group(&tx, &group) != ErrorCode::None {
            return self.renew(who);
        }
        self.values += 1;
        let offset = self.values as i64;
        let request = tx.offsets_request(&group, 0, offset);
        let version = if tx.second { 5 } else { 3 };
        let answer = self.send(version, &request, tx.second);
        match answer.map(|answer| answer.topics[0].partitions[0].error_code) {
            Some(0) => self.stories[number].offset = Some(offset),
            // A client that does not know whether its offset is in cannot commit.
            _ => self.renew(who),
        }
    }

    fn finish(&mut self, who: usize) {
        let Some(number) = self.open[who] else { return };
        let empty = self.stories[number].sure.is_empty() && self.stories[number].offset.is_none();
        let doubtful = !self.stories[number].perhaps.is_subset(&self.stories[number].sure);
        if empty || doubtful {
            return self.renew(who);
        }
        let commit = !self.dice.one_in(3);
        let tx = self.txs[who].clone();
        let request = tx.end_request(commit);
        let mut lost = false;
        for _ in 0..4 {
            let Some(answer) = self.send(tx.end_version(), &request, tx.second) else {
                lost = true;
                continue;
            };
            if answer.error_code == 0 {
                if tx.second {
                    self.txs[who].sequences = [0; 3];
                    self.txs[who].became(answer.producer_id, answer.producer_epoch);
                }
                return self.settle(who, if commit { Fate::Committed } else { Fate::Aborted });
            }
            let told = name(answer.error_code);
            assert!(
                matches!(told, ErrorCode::ProducerFenced | ErrorCode::InvalidTxnState),
                "{told:?}"
            );
            break;
        }
        self.settle(who, if commit && lost { Fate::Unknown } else { Fate::Aborted });
        self.renew(who);
    }

    fn pass_time(&mut self) {
        self.client.now_ms += 40_000;
        self.client.node.tick(self.client.now_ms);
    }

    fn reopen(&mut self, disk: MemDisk) {
        let now_ms = self.client.now_ms;
        self.disk = Arc::new(disk);
        self.client = Client::on(self.disk.clone());
        self.client.now_ms = now_ms;
    }

    /// A crash at a moment when nothing waits: what comes back is what was there.
    fn restart(&mut self) {
        self.client.node.broker.commit_pending(self.client.now_ms).unwrap();
        let before = self.image();
        let disk = if self.dice.one_in(2) { self.disk.kill() } else { self.disk.crash(self.seed) };
        self.reopen(disk);
        assert_eq!(self.image(), before, "seed {}", self.seed);
    }

    /// A crash with requests on their way, or in the middle of a write.
    fn crash(&mut self) {
        let who = self.dice.below(CLIENTS as u64) as usize;
        if let Some(number) = self.open[who] {
            let tx = self.txs[who].clone();
            let commit = self.dice.one_in(2);
            drop(self.client.send(tx.end_version(), &tx.end_request(commit)));
            let doubtful = !self.stories[number].perhaps.is_subset(&self.stories[number].sure);
            let fate = if commit { Fate::Unknown } else { Fate::Aborted };
            assert!(!doubtful || self.stories[number].fate == Fate::Open);
            self.settle(who, fate);
        }
        self.disk.fail_after(self.dice.below(6), std::io::ErrorKind::Other);
        let _ = self.client.node.broker.commit_pending(self.client.now_ms);
        let disk = self.disk.crash(self.dice.next());
        self.reopen(disk);
        self.renew(who);
    }

    fn image(&self) -> Image {
        let node = &self.client.node;
        let partition = |index| {
            let (at, broker) = (self.client.place(index), &node.broker);
            let end = broker.high_watermark(at).unwrap();
            let stable = broker.last_stable(at).unwrap();
            let aborted =
                broker.read(at, 0, 100_000_000, Isolation::ReadCommitted).unwrap().aborted;
            let producers = broker.producers(at).unwrap().into_iter();
            let producers = producers
                .map(|p| (p.producer_id, p.epoch, p.last_sequence, p.coordinator_epoch, p.open));
            (end, stable, aborted, producers.collect())
        };
        Image {
            transactions: node
                .look_at_transactions(|all| {
                    all.all().map(|(id, one)| (id.to_owned(), one.clone())).collect()
                })
                .response,
            groups: node.look(|groups| groups.snapshot()).response,
            partitions: (0..3).map(partition).collect(),
        }
    }

    fn check(&mut self) {
        let broker = self.client.node.broker.clone();
        let places: Vec<TopicPartition> = (0..3).map(|i| self.client.place(i)).collect();
        let cut = broker.cut(&places).unwrap();
        for (i, at) in places.iter().enumerate() {
            let stable = broker.last_stable(*at).unwrap();
            assert!(
                stable >= self.stable[i],
                "seed {}: {stable} after {:?}",
                self.seed,
                self.stable
            );
            assert!(cut[i] <= stable && cut[i] >= self.cut[i], "seed {}: {cut:?}", self.seed);
            self.stable[i] = stable;
        }
        self.cut = cut;
        if !self.dice.one_in(4) {
            return;
        }
        let mut whole = BTreeMap::new();
        for (i, at) in places.iter().enumerate() {
            self.collect(read_committed(&broker, *at, i64::MAX), &mut BTreeMap::new());
            self.collect(read_committed(&broker, *at, self.cut[i]), &mut whole);
        }
        for (number, seen) in whole {
            let story = &self.stories[number];
            assert!(story.sure.is_subset(&seen), "seed {}: half of {number}: {seen:?}", self.seed);
        }
    }

    /// Sorts values by transaction, and checks that they may be seen.
    fn collect(&self, values: Vec<String>, into: &mut BTreeMap<usize, BTreeSet<String>>) {
        for value in values {
            let number: usize = value.split_once(':').unwrap().0.parse().unwrap();
            let story = &self.stories[number];
            let seed = self.seed;
            assert!(story.fate != Fate::Aborted, "seed {seed}: an aborted record is read: {value}");
            let known = story.sure.contains(&value) || story.perhaps.contains(&value);
            assert!(known, "seed {seed}: {value} was never written");
            let again = !into.entry(number).or_default().insert(value);
            assert!(!again, "seed {seed}: a record of {number} is read twice");
        }
    }

    /// Ends everything, then all that was committed must be there.
    fn finish_all(&mut self) {
        for who in 0..CLIENTS {
            self.renew(who);
        }
        self.restart();
        let mut seen = BTreeMap::new();
        for partition in 0..3 {
            self.collect(self.client.committed(partition), &mut seen);
        }
        for (number, story) in self.stories.iter().enumerate() {
            let found = seen.remove(&number).unwrap_or_default();
            let all = story.sure.is_subset(&found);
            let right = match story.fate {
                Fate::Committed => all,
                Fate::Unknown => all || found.is_empty(),
                Fate::Open | Fate::Aborted => found.is_empty(),
            };
            assert!(right, "seed {}: {number} {story:?} came to {found:?}", self.seed);
        }
        for who in 0..CLIENTS {
            let found = self.client.offset_of(&format!("g{who}"), 0, true).unwrap();
            let may = &self.offsets[who];
            assert!(may.contains(&found), "seed {}: offset {found}, not {may:?}", self.seed);
        }
        let stable: Vec<i64> = (0..3).map(|partition| self.client.last_stable(partition)).collect();
        let places: Vec<TopicPartition> = (0..3).map(|i| self.client.place(i)).collect();
        let broker = &self.client.node.broker;
        let ends: Vec<i64> = places.iter().map(|at| broker.high_watermark(*at).unwrap()).collect();
        assert_eq!(stable, ends, "seed {}: nothing is left open", self.seed);
        assert_eq!(broker.cut(&places).unwrap(), ends);
    }
}

fn check(seed: u64) {
    let mut run = Run::new(seed);
    for _ in 0..150 {
        run.step();
    }
    run.finish_all();
}

#[test]
fn random_clients_and_crashes_break_no_transaction() {
    for seed in 0..60 {
        check(seed);
    }
}

/// Paste a seed here.
#[test]
fn one_seed() {
    check(0);
}
