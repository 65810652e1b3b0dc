//! The coordinator alone: scripts of requests, and what must come of each.
//!
//! The protocol's rules that have cost others lost or torn transactions are here by name; see also
//! `kafka/tests/transactions.rs`, which has the log under them.

use bytes::Bytes;
use uuid::Uuid;

use super::records::TransactionRecord;
use super::*;

const HOUR_MS: i64 = 3_600_000;

struct Coordinator {
    transactions: Transactions,
    next_id: i64,
    now_ms: i64,
    /// What the last step ended: marker epoch, and how.
    ended: Vec<(i64, i16, bool)>,
    /// As the journal keeps it.
    stored: BTreeMap<Bytes, Bytes>,
}

impl Coordinator {
    fn new() -> Self {
        let transactions = Transactions::new(TransactionConfig::standard());
        Self {
            transactions,
            next_id: 100,
            now_ms: 1_000_000,
            ended: Vec::new(),
            stored: BTreeMap::new(),
        }
    }

    /// Carries a decision out, and checks that the stored form gives the same coordinator back.
    fn settle<R>(
        &mut self,
        decide: impl FnOnce(&Transactions, FreshId<'_>, i64) -> Decision<R>,
    ) -> R {
        let next_id = &mut self.next_id;
        let mut fresh = || {
            *next_id += 1;
            Ok(*next_id - 1)
        };
        let Decision { response, steps } = decide(&self.transactions, &mut fresh, self.now_ms);
        for step in steps {
            let gone = step.end.as_ref().map_or_else(Vec::new, |end| step.record.taken_away(end));
            for (key, value) in gone.into_iter().chain(step.record.to_entries()) {
                assert!(TransactionRecord::owns(&key));
                let Some(value) = value else {
                    self.stored.remove(&key);
                    continue;
                };
                let cut = TransactionRecord::from_entry(&key, &value[..value.len() - 1]);
                assert_eq!(cut, None, "a record that is cut short is refused");
                self.stored.insert(key, value);
            }
            self.transactions.apply(&step.record);
            let mut again = Transactions::new(TransactionConfig::standard());
            for (key, value) in &self.stored {
                again.apply(&TransactionRecord::from_entry(key, value).expect("it reads back"));
            }
            assert_eq!(again.by_id, self.transactions.by_id, "what is stored is the coordinator");
            if let Some(End { marker, .. }) = step.end {
                self.ended.push((marker.producer_id, marker.producer_epoch, marker.commit));
            }
        }
        for (id, transaction) in self.transactions.all() {
            let open = transaction.state == State::Ongoing;
            let holds = !transaction.partitions.is_empty() || !transaction.groups.is_empty();
            assert_eq!(open, holds, "{id}: only an open transaction holds anything");
        }
        response
    }

    fn set_epoch(&mut self, epoch: i16) {
        let transaction = self.transactions.by_id.get_mut("t").unwrap();
        transaction.epoch = epoch;
        let record =
            TransactionRecord::Changed { id: "t".into(), transaction: transaction.clone() };
        let entries = record.to_entries().into_iter();
        self.stored.extend(entries.filter_map(|(key, value)| Some((key, value?))));
    }

    /// One request, as `name arguments`, and its answer in words.
    fn ask(&mut self, line: &str) -> String {
        self.ended.clear();
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |i: usize| words[i].parse::<i64>().unwrap();
        let by = |id: usize| By { id: "t", producer_id: number(id), epoch: number(id + 1) as i16 };
        let at = TopicPartition { topic: Uuid::from_u128(1), partition: 0 };
        let producer = |answer: Result<(i64, i16), ErrorCode>| match answer {
            Ok((id, epoch)) => format!("{id} {epoch}"),
            Err(code) => format!("{code:?}"),
        };
        let done = |answer: Result<(), ErrorCode>| match answer {
            Ok(()) => "ok".to_owned(),
            Err(code) => format!("{code:?}"),
        };
        let mut told = match words[0] {
            "init" => {
                let known = (words.len() > 1).then(|| (number(1), number(2) as i16));
                producer(
                    self.settle(|all, fresh, now| all.decide_init("t", 60_000, known, fresh, now)),
                )
            }
            "add" => done(self.settle(|all, _, now| all.decide_add(&by(1), &[at], &[], now))),
            "offsets" => done(self.settle(|all, _, now| all.decide_add(&by(1), &[], &["g"], now))),
            "write" => done(self.transactions.verify(&by(1), &at)),
            "end" | "end2" => {
                let (commit, bumps) = (words[3] == "commit", words[0] == "end2");
                producer(
                    self.settle(|all, fresh, now| {
                        all.decide_end(&by(1), commit, bumps, fresh, now)
                    }),
                )
            }
            "later" => {
                self.now_ms += number(1);
                self.settle(|all, _, now| all.decide_tick(now));
                self.transactions.get("t").map_or("unknown".into(), |t| t.state.name().into())
            }
            "epoch" => {
                self.set_epoch(number(1) as i16);
                "ok".to_owned()
            }
            other => panic!("{other}"),
        };
        for (id, epoch, commit) in &self.ended {
            let how = if *commit { "commit" } else { "abort" };
            told.push_str(&format!(" [{how} {id} {epoch}]"));
        }
        told
    }
}

/// Lines of `request -> answer`; in brackets the markers that go with it.
#[track_caller]
fn check(script: &str) {
    let mut coordinator = Coordinator::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, expected) = line.split_once("->").unwrap();
        assert_eq!(coordinator.ask(request), expected.trim(), "in line {line}");
    }
}

#[test]
fn the_first_protocol_keeps_the_epoch_and_answers_repetitions_alike() {
    check(
        "init -> 100 0
         write 100 0 -> TransactionAbortable
         end 100 0 commit -> InvalidTxnState
         add 100 0 -> ok
         write 100 0 -> ok
         add 100 0 -> ok
         end 100 0 commit -> 100 0 [commit 100 0]
         end 100 0 commit -> 100 0
         end 100 0 abort -> InvalidTxnState
         offsets 100 0 -> ok
         end 100 0 abort -> 100 0 [abort 100 0]
         end 100 0 abort -> 100 0
         end 100 0 commit -> InvalidTxnState
         end 100 1 commit -> ProducerFenced
         end 99 0 commit -> InvalidProducerIdMapping",
    );
}

#[test]
fn each_end_of_the_second_protocol_moves_the_epoch_up() {
    check(
        "init -> 100 0
         add 100 0 -> ok
         end2 100 0 commit -> 100 1 [commit 100 1]
         end2 100 0 commit -> 100 1
         end2 100 0 abort -> InvalidTxnState
         end2 100 1 commit -> InvalidTxnState
         add 100 1 -> ok
         end2 100 0 commit -> ProducerFenced
         write 100 0 -> ProducerFenced
         end2 100 1 abort -> 100 2 [abort 100 2]
         end2 100 1 abort -> 100 2
         end2 100 1 commit -> InvalidTxnState",
    );
}

/// A client may end what it never wrote to (KIP-890).
#[test]
fn an_empty_transaction_can_be_aborted_in_the_second_protocol() {
    check(
        "init -> 100 0
         end2 100 0 abort -> 100 1
         end2 100 1 abort -> 100 2
         end2 100 1 abort -> 100 2
         end2 100 2 commit -> InvalidTxnState",
    );
}

#[test]
fn a_new_instance_fences_and_aborts() {
    check(
        "init -> 100 0
         add 100 0 -> ok
         init -> 100 2 [abort 100 1]
         write 100 0 -> ProducerFenced
         end 100 0 commit -> ProducerFenced
         end2 100 0 commit -> ProducerFenced
         end2 100 1 commit -> ProducerFenced
         init -> 100 3",
    );
}

/// KIP-360: a client that goes on after an error, and its repetitions; another instance fences it.
#[test]
fn a_producer_may_bump_its_own_epoch() {
    check(
        "init -> 100 0
         init 100 0 -> 100 1
         init 100 0 -> 100 1
         init 100 1 -> 100 2
         init -> 100 3
         init 100 2 -> ProducerFenced
         init 99 0 -> ProducerFenced
         add 100 3 -> ok
         init 100 3 -> 100 5 [abort 100 4]
         init 100 3 -> 100 5",
    );
}

/// KAFKA-18660, KAFKA-19367, KAFKA-20090: near the last epoch clients fenced themselves, or a
/// transaction stayed open for ever.
#[test]
fn epochs_rotate_to_a_new_producer_id_before_they_run_out() {
    check(
        "init -> 100 0
         epoch 32764 -> ok
         add 100 32764 -> ok
         end2 100 32764 commit -> 100 32765 [commit 100 32765]
         add 100 32765 -> ok
         end2 100 32765 commit -> 100 32766 [commit 100 32766]
         add 100 32766 -> ok
         end2 100 32766 commit -> 101 0 [commit 100 32767]
         end2 100 32766 commit -> 101 0
         add 101 0 -> ok
         end2 100 32766 commit -> ProducerFenced
         end2 101 0 abort -> 101 1 [abort 101 1]
         epoch 32766 -> ok
         init 101 32766 -> 102 0
         init 101 32766 -> 102 0
         epoch 32766 -> ok
         init -> 103 0
         epoch 32765 -> ok
         add 103 32765 -> ok
         init -> 104 0 [abort 103 32766]
         epoch 32766 -> ok
         add 104 32766 -> ok
         init -> 105 0 [abort 104 32767]
         end2 104 32766 commit -> InvalidProducerIdMapping",
    );
}

/// The last epoch may end by timeout too: 32767 fences, and no client is ever given it.
#[test]
fn the_last_epoch_is_never_given_away() {
    check(
        "init -> 100 0
         epoch 32766 -> ok
         add 100 32766 -> ok
         later 61000 -> CompleteAbort [abort 100 32767]
         end2 100 32766 abort -> 101 0
         end2 100 32766 abort -> 101 0
         epoch 32766 -> ok
         add 101 32766 -> ok
         later 61000 -> CompleteAbort [abort 101 32767]
         init 101 32766 -> 102 0
         epoch 32766 -> ok
         add 102 32766 -> ok
         later 61000 -> CompleteAbort [abort 102 32767]
         init -> 103 0",
    );
}

#[test]
fn time_aborts_and_fences() {
    check(
        "init -> 100 0
         add 100 0 -> ok
         later 60000 -> Ongoing
         later 1 -> CompleteAbort [abort 100 1]
         later 60000 -> CompleteAbort
         end 100 0 commit -> ProducerFenced
         write 100 0 -> ProducerFenced
         end2 100 0 commit -> InvalidTxnState
         end2 100 0 abort -> 100 1
         init 100 0 -> 100 1",
    );
}

/// KAFKA-18019: whoever comes back after its transactional id expired must learn that, not go on under
/// another producer's id.
#[test]
fn ids_expire_but_never_while_a_transaction_is_open() {
    let week_ms = 7 * 24 * HOUR_MS;
    check(&format!(
        "init -> 100 0
         later {} -> Empty
         later 1 -> unknown
         add 100 0 -> InvalidProducerIdMapping
         end 100 0 commit -> InvalidProducerIdMapping
         end2 100 0 abort -> InvalidProducerIdMapping
         write 100 0 -> InvalidProducerIdMapping
         init 100 0 -> 101 0",
        week_ms - 1
    ));
    let mut coordinator = Coordinator::new();
    let init = |coordinator: &mut Coordinator, timeout_ms| {
        coordinator.settle(|all, fresh, now| all.decide_init("t", timeout_ms, None, fresh, now))
    };
    assert_eq!(init(&mut coordinator, 900_001), Err(ErrorCode::InvalidTransactionTimeout));
    assert_eq!(init(&mut coordinator, 0), Err(ErrorCode::InvalidTransactionTimeout));
    coordinator.transactions.config.id_expiry_ms = 1000;
    init(&mut coordinator, 900_000).unwrap();
    coordinator.ask("add 100 0");
    assert_eq!(coordinator.ask("later 2000"), "Ongoing");
}

/// What a transaction over many partitions costs the journal, each added by a request of its own.
#[test]
fn a_partition_costs_the_same_however_many_there_are() {
    let bytes_of = |count: i32| {
        let mut coordinator = Coordinator::new();
        coordinator.ask("init");
        let (producer_id, epoch) = {
            let found = coordinator.transactions.get("t").unwrap();
            (found.producer_id, found.epoch)
        };
        let by = By { id: "t", producer_id, epoch };
        let mut bytes = 0;
        let topic = Uuid::from_u128(1);
        for partition in 0..count {
            let at = TopicPartition { topic, partition };
            let decision = coordinator.transactions.decide_add(&by, &[at], &[], 0);
            for Step { record, .. } in &decision.steps {
                let entries = record.to_entries();
                let size = |(key, value): &(Bytes, Option<Bytes>)| {
                    key.len() + value.as_ref().map_or(0, Bytes::len)
                };
                bytes += entries.iter().map(size).sum::<usize>();
                coordinator.transactions.apply(record);
            }
        }
        bytes
    };
    let (few, many) = (bytes_of(10), bytes_of(1000));
    assert!(many < 100 * few && many < 1000 * 64, "{few} for 10, {many} for 1000");
}
