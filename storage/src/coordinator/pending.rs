//! Offsets inside open transactions: put there by TxnOffsetCommit, decided by the transaction's end.
//!
//! A pending offset is not seen by readers, but one who asks for stable offsets (KIP-447) is told to
//! come back. At the end of the transaction it is forgotten, and committed first if the transaction is.
//!
//! Who wins when several write the same partition is decided by who *put* its offset last, as in Kafka:
//! a plain commit, or the commit of a transaction, forgets every pending offset that was put before.
//! So the outcome does not depend on when a transaction ends, and the journal replays to the same.

use std::collections::{BTreeMap, BTreeSet};

use super::group::Group;
use super::records::{CommittedOffset, GroupRecord};
use super::{Commit, CommitAs, Decision, Groups, refused};
use crate::error::ErrorCode;

/// An offset a transaction will commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Counts up within the group.
    pub order: u64,
    pub offset: CommittedOffset,
}

/// The pending offsets of a group, by topic, partition and producer id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    by_place: BTreeMap<(String, i32), BTreeMap<i64, Staged>>,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// Whether some open transaction holds an offset for the partition.
    pub fn is_open(&self, topic: &str, partition: i32) -> bool {
        !self.is_empty() && self.by_place.contains_key(&(topic.to_owned(), partition))
    }

    fn next_order(&self) -> u64 {
        let orders = self.by_place.values().flat_map(BTreeMap::values).map(|staged| staged.order);
        orders.max().map_or(0, |order| order + 1)
    }

    pub(super) fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetPending {
                topic, partition, producer_id, staged, offset, ..
            } => {
                let staged = Staged { order: *staged, offset: offset.clone() };
                let at = self.by_place.entry((topic.clone(), *partition)).or_default();
                at.insert(*producer_id, staged);
            }
            GroupRecord::PendingForgotten { topic, partition, producer_id, .. } => {
                let place = (topic.clone(), *partition);
                if let Some(at) = self.by_place.get_mut(&place) {
                    at.remove(producer_id);
                    if at.is_empty() {
                        self.by_place.remove(&place);
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn snapshot(&self, group: &str, out: &mut Vec<GroupRecord>) {
        for ((topic, partition), by_producer) in &self.by_place {
            for (producer_id, staged) in by_producer {
                out.push(GroupRecord::OffsetPending {
                    group: group.to_owned(),
                    topic: topic.clone(),
                    partition: *partition,
                    producer_id: *producer_id,
                    staged: staged.order,
                    offset: staged.offset.clone(),
                });
            }
        }
    }

    /// Forgets what was put for a partition before `order`.
    pub(super) fn forget(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        order: u64,
        out: &mut Vec<GroupRecord>,
    ) {
        if self.is_empty() {
            return;
        }
        let at = self.by_place.get(&(topic.to_owned(), partition));
        for (producer_id, staged) in at.into_iter().flatten() {
            if staged.order < order {
                out.push(forgotten(group, topic, partition, *producer_id));
            }
        }
    }

    pub(super) fn forget_topic(&self, group: &str, topic: &str, out: &mut Vec<GroupRecord>) {
        for (place, by_producer) in self.by_place.iter().filter(|(place, _)| place.0 == topic) {
            out.extend(by_producer.keys().map(|id| forgotten(group, topic, place.1, *id)));
        }
    }

    pub(super) fn forget_all(&self, group: &str, out: &mut Vec<GroupRecord>) {
        for ((topic, partition), by_producer) in &self.by_place {
            out.extend(by_producer.keys().map(|id| forgotten(group, topic, *partition, *id)));
        }
    }
}

fn forgotten(group: &str, topic: &str, partition: i32, producer_id: i64) -> GroupRecord {
    let (group, topic) = (group.to_owned(), topic.to_owned());
    GroupRecord::PendingForgotten { group, topic, partition, producer_id }
}

impl Groups {
    /// Decides on offsets put into a producer's open transaction. The whole is refused, or each
    /// partition gets its own answer, in the order of `commits`.
    pub fn commit_in_transaction(
        &mut self,
        by: &CommitAs<'_>,
        producer_id: i64,
        commits: Vec<Commit>,
        now_ms: i64,
    ) -> Decision<Result<Vec<ErrorCode>, ErrorCode>> {
        if by.group.is_empty() {
            return refused(Err(ErrorCode::InvalidGroupId));
        }
        if !self.groups.contains_key(by.group) {
            if by.generation >= 0 {
                return refused(Err(ErrorCode::IllegalGeneration));
            }
            self.groups.insert(by.group.to_owned(), Group::new(by.group));
        }
        let passed = self.pass_time(by.group, now_ms);
        let decided = self.with(by.group, |group, config, effects| {
            group.may_commit_in_transaction(by)?;
            let mut order = group.pending.next_order();
            let mut one = |commit: Commit| {
                if commit.metadata.len() > config.offset_metadata_max {
                    return ErrorCode::OffsetMetadataTooLarge;
                }
                effects.records.push(GroupRecord::OffsetPending {
                    group: group.name.clone(),
                    topic: commit.topic,
                    partition: commit.partition,
                    producer_id,
                    staged: order,
                    offset: CommittedOffset {
                        offset: commit.offset,
                        leader_epoch: commit.leader_epoch,
                        metadata: commit.metadata,
                        committed_at_ms: now_ms,
                    },
                });
                order += 1;
                ErrorCode::None
            };
            Ok(commits.into_iter().map(&mut one).collect())
        });
        let mut decided =
            decided.unwrap_or_else(|| refused(Err(ErrorCode::CoordinatorNotAvailable)));
        decided.put_first(passed);
        decided
    }

    /// What the end of a producer's transaction does to the offsets it holds.
    pub fn end_transaction(
        &self,
        producer_id: i64,
        groups: &BTreeSet<String>,
        commit: bool,
    ) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for group in groups.iter().filter_map(|name| self.groups.get(name)) {
            for ((topic, partition), by_producer) in &group.pending.by_place {
                let Some(staged) = by_producer.get(&producer_id) else { continue };
                if commit {
                    records.push(GroupRecord::OffsetCommitted {
                        group: group.name.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        offset: staged.offset.clone(),
                    });
                    let (name, order) = (&group.name, staged.order);
                    group.pending.forget(name, topic, *partition, order, &mut records);
                }
                records.push(forgotten(&group.name, topic, *partition, producer_id));
            }
        }
        records
    }
}

impl Group {
    /// Who may put offsets into a transaction (Kafka `validateOffsetCommit` of either kind of group): older
    /// clients name no member, and then nothing is checked; else the member must be the group's, of
    /// this generation. It may do so during a rebalance: it writes what it read before.
    fn may_commit_in_transaction(&self, by: &CommitAs<'_>) -> Result<(), ErrorCode> {
        let anonymous = by.member.is_empty() && by.instance.is_none();
        if by.generation < 0 && (self.is_empty() || anonymous) {
            return Ok(());
        }
        if let Some(group) = &self.consumer {
            // The API knows no errors of epochs.
            let checked = group.check_epoch(by.member, by.generation);
            return checked.map_err(|code| match code {
                ErrorCode::StaleMemberEpoch | ErrorCode::FencedMemberEpoch => {
                    ErrorCode::IllegalGeneration
                }
                code => code,
            });
        }
        self.member(by.member, by.instance)?;
        match by.generation == self.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }
}
