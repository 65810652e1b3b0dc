//! Committed offsets: who may commit, and when an offset is forgotten.
//!
//! A commit is one decision for all its partitions: its records go to the journal as one entry, so
//! after a crash all of them are there or none.

use std::collections::BTreeSet;

use super::group::{Group, Member, State};
use super::protocol::{CONSUMER, read_subscription};
use super::rebalance::Effects;
use super::records::{CommittedOffset, GroupRecord};
use super::{Decision, GroupConfig, Groups, refused};
use crate::error::ErrorCode;

/// How long a group without members and offsets is kept
/// (Kafka looks every `offsets.retention.check.interval.ms`).
const EMPTY_GROUP_MS: i64 = 600_000;

/// In whose name a commit is made.
#[derive(Clone, Debug)]
pub struct CommitAs<'a> {
    pub group: &'a str,
    /// Empty for a consumer that assigns its partitions itself.
    pub member: &'a str,
    pub instance: Option<&'a str>,
    /// Generation or member epoch; -1 for a consumer that assigns its partitions itself.
    pub generation: i32,
    /// The client understands the errors of member epochs (OffsetCommit 9 and later).
    pub knows_epochs: bool,
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
    /// Decides on a commit. The empty group id may commit too, as consumers without a group once did
    /// (KIP-289). The whole commit is refused, or each partition gets its own answer, in
    /// the order of `commits`.
    pub fn commit(
        &mut self,
        by: &CommitAs<'_>,
        commits: Vec<Commit>,
        now_ms: i64,
    ) -> Decision<Result<Vec<ErrorCode>, ErrorCode>> {
        if !self.groups.contains_key(by.group) {
            if by.generation >= 0 {
                let error = match by.knows_epochs {
                    true => ErrorCode::GroupIdNotFound,
                    false => ErrorCode::IllegalGeneration,
                };
                return refused(Err(error));
            }
            self.groups.insert(by.group.to_owned(), Group::new(by.group));
        }
        let passed = self.pass_time(by.group, now_ms);
        let mut decided = self
            .with(by.group, |group, config, effects| {
                group.may_commit(by, now_ms)?;
                let one = |commit| group.decide_commit(commit, config, now_ms, effects);
                Ok(commits.into_iter().map(one).collect())
            })
            .unwrap_or_else(|| refused(Err(ErrorCode::CoordinatorNotAvailable)));
        decided.put_first(passed);
        decided
    }

    /// Forgets offsets of one group, as an administrator asks. Offsets a member may still read
    /// from are kept: `GROUP_SUBSCRIBED_TO_TOPIC`.
    pub fn forget_offsets(
        &mut self,
        group: &str,
        partitions: &[(String, i32)],
        now_ms: i64,
    ) -> Decision<Result<Vec<ErrorCode>, ErrorCode>> {
        let passed = self.pass_time(group, now_ms);
        let mut decided = self
            .with(group, |group, _, effects| {
                let subscribed = group.subscribed();
                if subscribed == Subscribed::Unknown {
                    return Err(ErrorCode::NonEmptyGroup);
                }
                let one = |(topic, partition): &(String, i32)| {
                    if subscribed.holds(topic) {
                        return ErrorCode::GroupSubscribedToTopic;
                    }
                    group.forget_offset(topic, *partition, effects);
                    ErrorCode::None
                };
                Ok(partitions.iter().map(one).collect())
            })
            .unwrap_or_else(|| refused(Err(ErrorCode::GroupIdNotFound)));
        decided.put_first(passed);
        decided
    }

    /// Forgets the offsets all groups have in a topic that was deleted.
    pub fn forget_topic(&mut self, topic: &str) -> Decision<()> {
        let mut effects = Effects::default();
        for group in self.groups.values() {
            group.pending.forget_topic(&group.name, topic, &mut effects.records);
            for partition in group.offsets.get(topic).into_iter().flat_map(|of| of.keys()) {
                group.forget_offset(topic, *partition, &mut effects);
            }
        }
        Decision { response: (), records: effects.records, wake: vec![] }
    }
}

impl Group {
    /// Who may commit. Kafka's rules: without a generation only if there are no members; a member
    /// in its own generation or epoch.
    fn may_commit(&mut self, by: &CommitAs<'_>, now_ms: i64) -> Result<(), ErrorCode> {
        if by.generation < 0 && self.is_empty() {
            return Ok(());
        }
        if let Some(group) = &self.consumer {
            let member = group.members.get(by.member).ok_or(ErrorCode::UnknownMemberId)?;
            if member.classic.is_none() && !by.knows_epochs {
                return Err(ErrorCode::UnsupportedVersion);
            }
            return group.check_epoch(by.member, by.generation);
        }
        if by.generation < 0 && by.member.is_empty() && by.instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
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
        // What a transaction put here before is overtaken, however the transaction ends.
        self.pending.forget(
            &self.name,
            &commit.topic,
            commit.partition,
            u64::MAX,
            &mut effects.records,
        );
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
        if let Some(consumer) = &self.consumer {
            consumer.forget(&self.name, &mut effects.records);
        }
        self.pending.forget_all(&self.name, &mut effects.records);
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

    /// Forgets what is older than the retention time and not read by a member, and in the end the
    /// group itself. Not while a transaction holds offsets of the group: it may yet commit them.
    pub(super) fn expire(&self, config: &GroupConfig, now_ms: i64, effects: &mut Effects) {
        if !self.pending.is_empty() {
            return;
        }
        let empty = self.is_empty();
        let subscribed = self.subscribed();
        let horizon_ms = now_ms.saturating_sub(config.offsets_retention_ms);
        let since_ms = if empty { self.emptied_at_ms } else { i64::MIN };
        let old = |offset: &CommittedOffset| offset.committed_at_ms.max(since_ms) <= horizon_ms;
        let mut all = self.offsets.values().flat_map(|of_topic| of_topic.values());
        // An empty group without offsets is of no use to anybody.
        let useless =
            self.offsets.is_empty() && self.emptied_at_ms <= now_ms.saturating_sub(EMPTY_GROUP_MS);
        let expired = self.emptied_at_ms <= horizon_ms && all.all(old);
        if empty && (useless || expired) {
            if !self.is_forgotten() && self.promised.is_empty() {
                self.forget(effects);
            }
            return;
        }
        for (topic, partitions) in self.offsets.iter().filter(|(topic, _)| !subscribed.holds(topic))
        {
            for (partition, _) in partitions.iter().filter(|(_, offset)| old(offset)) {
                self.forget_offset(topic, *partition, effects);
            }
        }
    }

    /// The topics members read.
    pub(super) fn subscribed(&self) -> Subscribed {
        if self.is_empty() {
            return Subscribed::Topics(BTreeSet::new());
        }
        if let Some(group) = &self.consumer {
            let by_name = group.members.values().flat_map(|member| &member.topics).cloned();
            let by_regex = self.volatile.regex_topics().cloned();
            return Subscribed::Topics(by_name.chain(by_regex).collect());
        }
        if self.protocol_type != CONSUMER {
            return Subscribed::Unknown;
        }
        if self.state != State::Stable {
            return Subscribed::All;
        }
        let protocol = self.protocol.as_deref();
        let read = |member: &Member| read_subscription(member.metadata(protocol));
        let each: Option<Vec<_>> = self.members.values().map(read).collect();
        match each {
            Some(each) => {
                Subscribed::Topics(each.into_iter().flat_map(|read| read.topics).collect())
            }
            None => Subscribed::All,
        }
    }
}

/// Which topics a group's members read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subscribed {
    Topics(BTreeSet<String>),
    /// It is a group of consumers, but what they read is not known at this moment.
    All,
    /// It is not a group of consumers.
    Unknown,
}

impl Subscribed {
    pub(super) fn holds(&self, topic: &str) -> bool {
        match self {
            Self::Topics(topics) => topics.contains(topic),
            Self::All | Self::Unknown => true,
        }
    }
}
