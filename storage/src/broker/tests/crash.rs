//! Random work, a crash at a random disk operation, a restart: nothing acknowledged may be missing,
//! nothing may be there twice, seals are whole.
//!
//! The work is kept as a list of what was submitted, by lsn. After the restart the broker must be what
//! the list up to *some* lsn makes, at or after the last one acknowledged. Then the work goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use uuid::Uuid;

use super::{batch_of, open, read_all, small_config};
use crate::broker::{Broker, Recovered, Seal, Ticket, TopicPartition};
use crate::config::{Durability, StorageConfig};
use crate::disk::MemDisk;
use crate::error::Error;

const PRODUCERS: u64 = 3;
/// Stands for a record that went with the power.
const LOST: &str = "lost";

#[derive(Debug, Clone)]
enum Op {
    Create {
        id: Uuid,
        partitions: i32,
    },
    Delete {
        id: Uuid,
    },
    Append {
        at: TopicPartition,
        base: i64,
        values: Vec<String>,
        producer: Option<(i64, i32)>,
        /// Nobody waits for the disk; so a power cut may take the records.
        os: bool,
        lost: bool,
    },
    Seal {
        epoch: u64,
        payload: Bytes,
        appends: Vec<(TopicPartition, i64, Vec<String>)>,
    },
    App {
        bytes: Bytes,
    },
    ReplaceApp {
        bytes: Bytes,
    },
    Group {
        key: Bytes,
        value: Option<Bytes>,
    },
    LogStart {
        at: TopicPartition,
        offset: i64,
    },
    ProducerIds,
}

/// What the list makes.
#[derive(Debug, Default, PartialEq)]
struct State {
    topics: BTreeMap<Uuid, i32>,
    records: BTreeMap<TopicPartition, Vec<(i64, String)>>,
    starts: BTreeMap<TopicPartition, i64>,
    app: Vec<Bytes>,
    groups: BTreeMap<Bytes, Bytes>,
    seals: Vec<(u64, u64, Bytes)>,
    /// Per partition and producer, the last batch: first sequence, base offset, values.
    produced: BTreeMap<(TopicPartition, i64), (i32, i64, Vec<String>)>,
}

impl State {
    fn of(ops: &BTreeMap<u64, Op>) -> State {
        let mut state = State::default();
        for (lsn, op) in ops {
            state.apply(*lsn, op);
        }
        state
    }

    fn append(&mut self, at: TopicPartition, base: i64, values: &[String]) {
        let records = self.records.entry(at).or_default();
        assert_eq!(records.len() as i64, base, "offsets are dense");
        records.extend(values.iter().cloned().zip(base..).map(|(value, offset)| (offset, value)));
    }

    fn apply(&mut self, lsn: u64, op: &Op) {
        match op.clone() {
            Op::Create { id, partitions } => {
                self.topics.insert(id, partitions);
            }
            Op::Delete { id } => {
                self.topics.remove(&id);
                self.records.retain(|at, _| at.topic != id);
                self.starts.retain(|at, _| at.topic != id);
                self.produced.retain(|(at, _), _| at.topic != id);
            }
            Op::Append { at, base, values, producer, lost, .. } => {
                let lost_values = vec![LOST.to_owned(); values.len()];
                self.append(at, base, if lost { &lost_values } else { &values });
                if let Some((id, sequence)) = producer.filter(|_| !lost) {
                    self.produced.insert((at, id), (sequence, base, values));
                }
            }
            Op::Seal { epoch, payload, appends } => {
                for (at, base, values) in &appends {
                    self.append(*at, *base, values);
                }
                self.seals.push((lsn, epoch, payload));
            }
            Op::App { bytes } => self.app.push(bytes),
            Op::ReplaceApp { bytes } => self.app = vec![bytes],
            Op::Group { key, value } => {
                match value {
                    Some(value) => self.groups.insert(key, value),
                    None => self.groups.remove(&key),
                };
            }
            Op::LogStart { at, offset } => {
                self.starts.insert(at, offset);
            }
            Op::ProducerIds => {}
        }
    }
}

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
}

struct Run {
    seed: u64,
    dice: Dice,
    ops: BTreeMap<u64, Op>,
    /// What `ops` makes.
    state: State,
    values: u64,
    epoch: u64,
    low_water: u64,
}

impl Run {
    fn values(&mut self) -> Vec<String> {
        let count = 1 + self.dice.below(4);
        // Beyond 2 KiB a batch is placed, where nobody waits for the disk.
        let most = if self.dice.below(3) == 0 { 3000 } else { 300 };
        let values = (0..count).map(|_| {
            self.values += 1;
            format!("v{}{}", self.values, "x".repeat(self.dice.below(most) as usize))
        });
        values.collect()
    }

    fn note(&mut self, lsn: u64, op: Op) {
        self.state.apply(lsn, &op);
        self.ops.insert(lsn, op);
    }

    /// One random submission. Errors are the disk's.
    fn step(&mut self, broker: &Broker) -> Result<(), Error> {
        let topics = broker.topics();
        let pick = |dice: &mut Dice| -> Option<TopicPartition> {
            let topic = topics.get(dice.below(topics.len().max(1) as u64) as usize)?;
            let partition = dice.below(topic.partition_count() as u64) as i32;
            Some(TopicPartition { topic: topic.id, partition })
        };
        match self.dice.below(40) {
            0 | 1 => {
                let id = Uuid::from_u128(u128::from(self.dice.next()) << 64 | 1);
                let name = format!("t{}", self.dice.below(6));
                let partitions = 1 + self.dice.below(3) as i32;
                let segment = ["2000", "20000"][self.dice.below(2) as usize];
                let mut configs = vec![("segment.bytes".to_owned(), segment.to_owned())];
                if self.dice.below(2) == 0 {
                    configs.push(("millstream.durability".to_owned(), "os".to_owned()));
                }
                if let Ok(ticket) = broker.create_topic(&name, partitions, &configs, id) {
                    self.note(ticket.0, Op::Create { id, partitions });
                }
            }
            2 if self.dice.below(3) == 0 => {
                let Some(at) = pick(&mut self.dice) else { return Ok(()) };
                if let Ok(ticket) = broker.delete_topic(at.topic) {
                    self.note(ticket.0, Op::Delete { id: at.topic });
                }
            }
            3..=5 => {
                let key = Bytes::from(format!("g{}", self.dice.below(5)));
                let value =
                    (self.dice.below(4) > 0).then(|| Bytes::from(self.dice.next().to_string()));
                let ticket = broker.append_group(&[(key.clone(), value.clone())])?;
                self.note(ticket.0, Op::Group { key, value });
            }
            6 => {
                let bytes = Bytes::from(self.dice.next().to_string());
                let ticket = broker.append_app(7, bytes.clone())?;
                self.note(ticket.0, Op::App { bytes });
            }
            7 if self.dice.below(4) == 0 => {
                let bytes = Bytes::from(self.dice.next().to_string());
                let ticket = broker.replace_app(vec![(7, bytes.clone())])?;
                self.note(ticket.0, Op::ReplaceApp { bytes });
            }
            8..=12 => self.seal(broker, pick)?,
            13 => {
                let (_, ticket) = broker.allocate_producer_id()?;
                if ticket.0 > 0 {
                    self.ops.entry(ticket.0).or_insert(Op::ProducerIds);
                }
            }
            14 => broker.checkpoint(0)?,
            15 => {
                let Some(at) = pick(&mut self.dice) else { return Ok(()) };
                let end = broker.high_watermark(at).unwrap_or(0);
                let offset = self.dice.below(end as u64 + 1) as i64;
                if let Ok((start, ticket)) = broker.delete_records(at, offset)
                    && ticket.0 > 0
                {
                    self.note(ticket.0, Op::LogStart { at, offset: start });
                }
            }
            16..=22 => {
                broker.commit_pending(0)?;
                let seals = &self.state.seals;
                if self.dice.below(4) == 0
                    && let Some((lsn, ..)) =
                        seals.get(self.dice.below(1 + seals.len() as u64) as usize)
                {
                    self.low_water = self.low_water.max(*lsn);
                    broker.set_app_low_water(Ticket(self.low_water));
                }
            }
            _ => {
                let Some(at) = pick(&mut self.dice) else { return Ok(()) };
                self.append(broker, at)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, broker: &Broker, at: TopicPartition) -> Result<(), Error> {
        let values = self.values();
        let producer = self.dice.below(PRODUCERS + 1) as i64;
        let producer = (producer > 0).then(|| {
            let last = self.state.produced.get(&(at, producer));
            (producer, last.map_or(0, |(first, _, values)| first + values.len() as i32))
        });
        let batch = batch_of(&values, producer.map(|(id, sequence)| (id, 0, sequence)));
        match broker.append(at, batch, 0) {
            Ok(appended) => {
                assert!(!appended.duplicate);
                let base = appended.base_offset;
                let topic = broker.topic_by_id(at.topic).unwrap();
                let os = !broker.wants_sync(&topic);
                let op = Op::Append { at, base, values, producer, os, lost: false };
                self.note(appended.ticket.0, op);
                Ok(())
            }
            // Deleted, or stopped: the next commit will tell.
            Err(_) => Ok(()),
        }
    }

    fn seal(
        &mut self,
        broker: &Broker,
        pick: impl Fn(&mut Dice) -> Option<TopicPartition>,
    ) -> Result<(), Error> {
        let mut parts = Vec::new();
        for _ in 0..self.dice.below(4) {
            if let Some(at) = pick(&mut self.dice) {
                parts.push((at, self.values()));
            }
        }
        let epoch = self.epoch + 1 + self.dice.below(3);
        let payload = Bytes::from(format!("epoch {epoch}"));
        let appends = parts.iter().map(|(at, values)| (*at, batch_of(values, None))).collect();
        match broker.seal(Seal { epoch, appends, payload: payload.clone() }, 0) {
            Ok(sealed) => {
                let appends = parts.into_iter().zip(sealed.base_offsets);
                let appends = appends.map(|((at, values), base)| (at, base, values)).collect();
                self.note(sealed.ticket.0, Op::Seal { epoch, payload, appends });
                self.epoch = epoch;
                Ok(())
            }
            // A topic that was deleted meanwhile.
            Err(Error::Invalid(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Finds what only the page cache had: whole batches of topics that ask for no more, and nothing
    /// from before the last change that was synced.
    fn note_lost(&mut self, broker: &Broker, acknowledged: u64) {
        let mut there = BTreeMap::new();
        for (lsn, op) in self.ops.range_mut(acknowledged + 1..) {
            let Op::Append { at, base, values, os: true, lost, .. } = op else { continue };
            let Ok(start) = broker.log_start(*at) else { continue };
            let found = there.entry(*at).or_insert_with(|| read_all(broker, *at));
            let end = *base + values.len() as i64;
            let missing = (*base..end)
                .filter(|offset| *offset >= start && found.iter().all(|(have, _)| have != offset))
                .count();
            let visible = (end - start.max(*base)).max(0) as usize;
            assert!(missing == 0 || missing == visible, "half of {lsn} is lost");
            *lost |= missing > 0;
        }
    }

    /// The last published change that was synced.
    fn synced(&self, broker: &Broker) -> u64 {
        let published = broker.published_lsn.load(Ordering::Acquire);
        let mut before = self.ops.range(..=published).rev();
        before.find(|(_, op)| !matches!(op, Op::Append { os: true, .. })).map_or(0, |(lsn, _)| *lsn)
    }

    /// Compares a restarted broker with the list, cut to what it has.
    fn check(&mut self, broker: &Broker, recovered: &Recovered, acknowledged: u64) {
        let last = broker.published_lsn.load(Ordering::Acquire);
        assert!(
            last >= acknowledged,
            "{acknowledged} was acknowledged, the journal ends at {last}"
        );
        self.ops.split_off(&(last + 1));
        self.note_lost(broker, acknowledged);
        self.state = State::of(&self.ops);
        let state = &self.state;
        let topics: BTreeMap<Uuid, i32> =
            broker.topics().iter().map(|topic| (topic.id, topic.partition_count())).collect();
        assert_eq!(topics, state.topics);
        for (id, partitions) in &topics {
            for partition in 0..*partitions {
                let at = TopicPartition { topic: *id, partition };
                let start = state.starts.get(&at).copied().unwrap_or(0);
                assert_eq!(broker.log_start(at).unwrap(), start);
                let expected = state.records.get(&at).map_or(&[][..], |records| records);
                let found = read_all(broker, at);
                let expected: Vec<_> = expected[start as usize..]
                    .iter()
                    .filter(|(_, value)| value != LOST)
                    .cloned()
                    .collect();
                let differs =
                    found.iter().zip(&expected).find(|(found, expected)| found != expected);
                assert_eq!(differs, None, "seed {}, {at:?}", self.seed);
                assert_eq!(found.len(), expected.len(), "seed {}, {at:?}", self.seed);
            }
        }
        let app: Vec<Bytes> = recovered.app.iter().map(|record| record.bytes.clone()).collect();
        assert_eq!(app, state.app);
        let groups: BTreeMap<Bytes, Bytes> = recovered.groups.iter().cloned().collect();
        assert_eq!(groups, state.groups);
        self.epoch = state.seals.last().map_or(0, |(_, epoch, _)| *epoch);
        assert_eq!(recovered.last_epoch, self.epoch);
        let seals: Vec<_> =
            recovered.seals.iter().map(|s| (s.ticket.0, s.epoch, s.payload.clone())).collect();
        assert!(state.seals.ends_with(&seals), "seals are the newest ones: {seals:?}");
        let needed = state.seals.iter().filter(|(lsn, ..)| *lsn >= self.low_water).count();
        assert!(seals.len() >= needed, "{needed} seals were needed, {} came back", seals.len());
        for ((at, id), (sequence, base, values)) in &state.produced {
            let again = batch_of(values, Some((*id, 0, *sequence)));
            let appended = broker.append(*at, again, 0).unwrap();
            assert!(appended.duplicate && appended.base_offset == *base);
        }
    }
}

/// Several lives of one data directory. With `power`, unsynced bytes are lost at random.
fn check(seed: u64, power: bool, config: StorageConfig) {
    let mut run = Run {
        seed,
        dice: Dice(seed),
        ops: BTreeMap::new(),
        state: State::default(),
        values: 0,
        epoch: 0,
        low_water: 0,
    };
    let mut disk = MemDisk::new();
    let mut acknowledged = 0;
    for life in 0..4u64 {
        let shared = Arc::new(disk);
        let entropy = u128::from(seed) << 64 | u128::from(life);
        // A crash may also hit the restart itself.
        if run.dice.below(3) == 0 {
            shared.fail_after(run.dice.below(20), std::io::ErrorKind::Other);
            let died = open(shared.clone(), config.clone(), entropy + 100).is_err();
            if died {
                disk = if power { shared.crash(run.dice.next()) } else { shared.kill() };
                continue;
            }
        }
        let shared = Arc::new(if power { shared.crash(run.dice.next()) } else { shared.kill() });
        let (broker, recovered) = open(shared.clone(), config.clone(), entropy).unwrap();
        run.check(&broker, &recovered, acknowledged);
        let steps = run.dice.below(150);
        for _ in 0..steps {
            run.step(&broker).unwrap();
        }
        shared.fail_after(run.dice.below(30), std::io::ErrorKind::StorageFull);
        for _ in 0..60 {
            if run.step(&broker).and_then(|()| broker.commit_pending(0)).is_err() {
                break;
            }
        }
        // What was only in the page cache may go with the power; the rest must still fit together.
        if !(power && config.durability == Durability::Os) {
            acknowledged = match power {
                true => acknowledged.max(run.synced(&broker)),
                false => broker.published_lsn.load(Ordering::Acquire),
            };
        }
        disk = if power { shared.crash(run.dice.next()) } else { shared.kill() };
    }
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    for seed in 0..200 {
        check(seed, true, small_config());
    }
}

#[test]
fn a_kill_loses_nothing_acknowledged_whatever_the_durability() {
    for seed in 1000..1060 {
        check(seed, false, small_config());
        check(seed, false, StorageConfig { durability: Durability::Os, ..small_config() });
    }
}

#[test]
fn a_power_cut_leaves_a_prefix_when_nothing_was_synced() {
    for seed in 2000..2060 {
        check(seed, true, StorageConfig { durability: Durability::Os, ..small_config() });
    }
}

/// Paste a seed here.
#[test]
fn one_seed() {
    check(0, true, small_config());
}
