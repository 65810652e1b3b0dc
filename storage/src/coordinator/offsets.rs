//! Committed offsets: who may commit, and when an offset is forgotten.
//!
//! A commit is one decision for all its partitions: its records go to the journal as one entry, so
//! after a crash all of them are there or none.

use super::group::{Group, State};
use super::rebalance::Effects;
use super::records::{CommittedOffset, GroupRecord, StoredGeneration};
use super::{Decision, GroupConfig, Groups, refused};
use crate::error::ErrorCode;

/// In whose name a commit is made.
#[derive(Clone, Debug)]
pub struct CommitAs<'a> {
    pub group: &'a str,
    /// Empty for a consumer that assigns its partitions itself.
    pub member: &'a str,
    pub instance: Option<&'a str>,
    /// -1 for a consumer that assigns its partitions itself.
    pub generation: i32,
}

/// One partition's offset to be committed.
#[derive(Clone, Debug)]
pub struct Commit {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

impl Groups {
    /// Decides on a commit. The whole commit is refused, or each partition gets its own answer, in
    /// the order of `commits`.
    pub fn commit(
        &mut self,
        by: &CommitAs<'_>,
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
        self.with(by.group, |group, config, effects| {
            group.may_commit(by, config, now_ms, effects)?;
            let one = |commit| group.decide_commit(commit, config, now_ms, effects);
            Ok(commits.into_iter().map(one).collect())
        })
        .unwrap_or_else(|| refused(Err(ErrorCode::CoordinatorNotAvailable)))
    }

    /// Forgets offsets of one group, as an administrator asks. Offsets a member may still read
    /// from are kept (`GroupSubscribedToTopic`): without opening the members' subscriptions, every
    /// topic of a group with members counts as such.
    pub fn forget_offsets(
        &mut self,
        group: &str,
        partitions: &[(String, i32)],
        now_ms: i64,
    ) -> Decision<Result<Vec<ErrorCode>, ErrorCode>> {
        self.with(group, |group, config, effects| {
            group.advance(config, now_ms, effects);
            let busy = group.state != State::Empty;
            let one = |(topic, partition): &(String, i32)| {
                if busy {
                    return ErrorCode::GroupSubscribedToTopic;
                }
                group.forget_offset(topic, *partition, effects);
                ErrorCode::None
            };
            Ok(partitions.iter().map(one).collect())
        })
        .unwrap_or_else(|| refused(Err(ErrorCode::GroupIdNotFound)))
    }

    /// Forgets the offsets all groups have in a topic that was deleted.
    pub fn forget_topic(&mut self, topic: &str) -> Decision<()> {
        let mut effects = Effects::default();
        for group in self.groups.values() {
            for partition in group.offsets.get(topic).into_iter().flat_map(|of| of.keys()) {
                group.forget_offset(topic, *partition, &mut effects);
            }
        }
        Decision { response: (), records: effects.records, wake: vec![] }
    }
}

impl Group {
    fn may_commit(
        &mut self,
        by: &CommitAs<'_>,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        self.advance(config, now_ms, effects);
        if by.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.member(by.member, by.instance)?;
        if by.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(by.member) {
            member.touch(now_ms);
        }
        match self.state {
            // Before the assignment is known, nobody can have read anything in this generation.
            State::Syncing { .. } => Err(ErrorCode::RebalanceInProgress),
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::Joining { .. } | State::Stable => Ok(()),
        }
    }

    fn decide_commit(
        &self,
        commit: Commit,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> ErrorCode {
        if commit.metadata.len() > config.offset_metadata_max {
            return ErrorCode::OffsetMetadataTooLarge;
        }
        effects.records.push(GroupRecord::OffsetCommitted {
            group: self.name.clone(),
            topic: commit.topic,
            partition: commit.partition,
            offset: CommittedOffset {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata,
                committed_at_ms: now_ms,
            },
        });
        ErrorCode::None
    }

    /// Forgets the group with all it committed.
    pub(super) fn forget(&self, effects: &mut Effects) {
        for (topic, partitions) in &self.offsets {
            for partition in partitions.keys() {
                self.forget_offset(topic, *partition, effects);
            }
        }
        effects.records.push(GroupRecord::GroupForgotten { group: self.name.clone() });
    }

    fn forget_offset(&self, topic: &str, partition: i32, effects: &mut Effects) {
        if self.offset(topic, partition).is_some() {
            effects.records.push(GroupRecord::OffsetForgotten {
                group: self.name.clone(),
                topic: topic.to_owned(),
                partition,
            });
        }
    }

    /// The offset committed for a partition.
    pub fn offset(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.offsets.get(topic)?.get(&partition)
    }

    /// Forgets what is older than the retention time in a group without members, and in the end
    /// the group itself.
    pub(super) fn expire(&self, config: &GroupConfig, now_ms: i64, effects: &mut Effects) {
        if self.state != State::Empty {
            return;
        }
        let horizon_ms = now_ms.saturating_sub(config.offsets_retention_ms);
        let old =
            |offset: &CommittedOffset| offset.committed_at_ms.max(self.emptied_at_ms) <= horizon_ms;
        let all = self.offsets.values().flat_map(|of_topic| of_topic.values());
        if self.emptied_at_ms <= horizon_ms && all.clone().all(old) {
            if self.stored != StoredGeneration::default() || all.count() > 0 {
                self.forget(effects);
            }
            return;
        }
        for (topic, partitions) in &self.offsets {
            for (partition, _) in partitions.iter().filter(|(_, offset)| old(offset)) {
                self.forget_offset(topic, *partition, effects);
            }
        }
    }
}
