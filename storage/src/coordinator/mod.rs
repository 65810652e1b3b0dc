//! The group coordinator: groups of the classic and of the KIP-848 protocol, and their committed
//! offsets.
//!
//! It does no I/O, has no clock and takes no lock. Each call gets the time and returns a
//! [`Decision`]: the answer, the facts ([`GroupRecord`]) to be put in the node journal, and the
//! groups whose waiters should look again. The caller (`kafka/node.rs`) appends the facts, then calls
//! [`Groups::apply`], and answers once they are durable. A restart applies the newest fact of each
//! key again, so a group after a restart is the group before it.
//!
//! - `records.rs`: the facts and their stored form
//! - `group.rs`: one group, and what applying a fact does to it
//! - `join.rs`, `sync.rs`: what members ask for: join; assignment, heartbeat, leave
//! - `rebalance.rs`: how the next generation comes about, and the passing of time
//! - `consumer/`: groups of the KIP-848 protocol; `steps.rs`: requests to them
//! - `convert.rs`: from one protocol to the other; `protocol.rs`: what consumers put into the classic one
//! - `offsets_topic.rs`: facts in Kafka's format, for readers of `__consumer_offsets`
//! - `offsets.rs`: committing, deleting and expiring offsets; `pending.rs`: those in open transactions
//!
//! Invariant: [`Groups::snapshot`] of a rebuilt coordinator equals that of the one that ran.

pub mod consumer;
mod convert;
pub mod group;
mod join;
mod offsets;
pub mod offsets_topic;
pub mod pending;
pub mod protocol;
mod rebalance;
pub mod records;
mod steps;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use consumer::Topology;
use consumer::{Draft, OwnPace};
use group::{Group, Member};
pub use offsets::{Commit, CommitAs};
use rebalance::Effects;
pub use records::{CommittedOffset, GroupRecord};

use crate::error::ErrorCode;

/// Settings of the coordinator.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max_ms: i32,
    /// How long a new group waits for more members before its first generation, ms
    /// (`group.initial.rebalance.delay.ms`; Kafka's default is 3000).
    pub initial_delay_ms: i64,
    /// How long offsets outlive the last member, ms (`offsets.retention.minutes`).
    pub offsets_retention_ms: i64,
    /// Longest metadata string a commit may carry, bytes (`offset.metadata.max.bytes`).
    pub offset_metadata_max: usize,
    /// Most members of one group (`group.max.size`, `group.consumer.max.size`). Kafka has no limit.
    pub members_max: usize,
    /// Most bytes of metadata and assignments of one classic group. Kafka's limit is what fits into
    /// one record.
    pub group_bytes_max: usize,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval_ms: i32,
}

impl GroupConfig {
    /// Kafka's defaults, but for the initial delay, which would make every first start wait 3 s.
    pub fn standard() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_delay_ms: 100,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            offset_metadata_max: 4096,
            members_max: 10_000,
            group_bytes_max: 64 << 20,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
        }
    }
}

/// What a call comes to.
#[derive(Debug)]
pub struct Decision<R> {
    pub response: R,
    /// To be appended to the journal, then given to [`Groups::apply`], in this order.
    pub records: Vec<GroupRecord>,
    /// Groups in which something happened that waiting requests should look at.
    pub wake: Vec<String>,
}

/// The answer to a request that may have to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll<T> {
    Ready(T),
    /// Look again when the group wakes, and at `until_ms` at the latest.
    Wait {
        until_ms: i64,
    },
}

/// A member's request to join. Texts are owned: they outlive the request.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    pub group: String,
    /// Empty for a member that has no id yet.
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    pub protocols: Vec<(String, Vec<u8>)>,
    /// The client understands MEMBER_ID_REQUIRED (JoinGroup 4 and later).
    pub requires_known_member: bool,
    /// The client understands `skip_assignment` (JoinGroup 9 and later).
    pub can_skip_assignment: bool,
    /// The id a new member gets; never used before.
    pub fresh_id: String,
}

impl JoinRequest {
    fn to_member(&self, id: &str) -> Member {
        Member {
            id: id.to_owned(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocols: self.protocols.clone(),
            assignment: Vec::new(),
            session_ends_ms: 0,
            joining: false,
            synced: false,
        }
    }

    fn update(&self, member: &mut Member) {
        member.session_timeout_ms = self.session_timeout_ms;
        member.rebalance_timeout_ms = self.rebalance_timeout_ms;
        member.protocols.clone_from(&self.protocols);
    }
}

/// A join that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinStep {
    Done(Joined),
    /// Poll for the answer under this member id.
    Wait {
        member: String,
    },
}

/// A join that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    pub error: ErrorCode,
    /// With MEMBER_ID_REQUIRED the id to join with; empty otherwise.
    pub member: String,
}

impl From<ErrorCode> for JoinRefused {
    fn from(error: ErrorCode) -> Self {
        Self { error, member: String::new() }
    }
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: Option<String>,
    pub leader: String,
    pub member: String,
    /// The leader need not compute an assignment: the old one is still good.
    pub skip_assignment: bool,
    /// For the leader: all members with their metadata.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub id: String,
    pub instance: Option<String>,
    pub metadata: Vec<u8>,
}

/// A member's request for its assignment; the leader brings everyone's.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    pub group: String,
    pub generation: i32,
    pub member: String,
    pub instance: Option<String>,
    /// Checked against the group's if given (SyncGroup 5 and later).
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignments: Vec<(String, Vec<u8>)>,
}

/// A sync that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncStep {
    Done(Synced),
    /// Poll for the answer.
    Wait,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol: Option<String>,
    pub assignment: Vec<u8>,
}

/// All groups of the node.
#[derive(Clone, Debug)]
pub struct Groups {
    config: GroupConfig,
    topology: Arc<dyn Topology>,
    groups: BTreeMap<String, Group>,
    /// What was set for single groups: session timeout and heartbeat interval, ms.
    paces: BTreeMap<String, OwnPace>,
}

impl Groups {
    pub fn new(config: GroupConfig, topology: Arc<dyn Topology>) -> Self {
        Self { config, topology, groups: BTreeMap::new(), paces: BTreeMap::new() }
    }

    /// Takes in one fact that is in the journal.
    pub fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::GroupForgotten { group } => {
                self.groups.remove(group);
            }
            _ => {
                let group = record.group();
                let of = self.groups.entry(group.to_owned());
                of.or_insert_with(|| Group::new(group)).apply(record);
            }
        }
    }

    /// Ends a rebuild: every member that was restored gets a fresh session.
    pub fn recovered(&mut self, now_ms: i64) {
        for group in self.groups.values_mut() {
            group.members.values_mut().for_each(|member| member.touch(now_ms));
        }
    }

    /// The facts that give this coordinator back: all that must survive a restart, and nothing else.
    pub fn snapshot(&self) -> Vec<GroupRecord> {
        let mut out = Vec::new();
        self.groups.values().for_each(|group| group.snapshot(&mut out));
        out
    }

    /// The group, if it exists.
    pub fn get(&self, group: &str) -> Option<&Group> {
        self.groups.get(group)
    }

    /// All groups by name.
    pub fn all(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Takes in a join; see [`Group::submit_join`].
    pub fn submit_join(
        &mut self,
        request: &JoinRequest,
        now_ms: i64,
    ) -> Decision<Result<JoinStep, JoinRefused>> {
        let allowed = self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms;
        if request.group.is_empty() {
            return refused(Err(ErrorCode::InvalidGroupId.into()));
        }
        if !allowed.contains(&request.session_timeout_ms) {
            return refused(Err(ErrorCode::InvalidSessionTimeout.into()));
        }
        let emptied = self.drop_empty_consumer(&request.group, now_ms);
        let mut decided = self.join(request, now_ms);
        decided.put_first(emptied);
        decided
    }

    fn join(
        &mut self,
        request: &JoinRequest,
        now_ms: i64,
    ) -> Decision<Result<JoinStep, JoinRefused>> {
        if self.is_consumer(&request.group) {
            let step = |draft: &mut Draft<'_>| draft.join_classic(request).map(JoinStep::Done);
            let joined = self.consumer_step(&request.group, now_ms, step);
            return joined.unwrap_or_else(|| refused(Err(ErrorCode::UnknownMemberId.into())));
        }
        if !self.groups.contains_key(&request.group) {
            if !request.member.is_empty() {
                return refused(Err(ErrorCode::UnknownMemberId.into()));
            }
            self.groups.insert(request.group.clone(), Group::new(&request.group));
        }
        self.with(&request.group, |group, config, effects| {
            group.submit_join(request, config, now_ms, effects)
        })
        .unwrap_or_else(|| refused(Err(ErrorCode::UnknownMemberId.into())))
    }

    /// Looks for the answer to a join.
    pub fn poll_join(
        &mut self,
        group: &str,
        member: &str,
        instance: Option<&str>,
        now_ms: i64,
    ) -> Decision<Poll<Result<Joined, ErrorCode>>> {
        if self.is_consumer(group) {
            // The group was converted meanwhile.
            return refused(Poll::Ready(Err(ErrorCode::RebalanceInProgress)));
        }
        self.with(group, |group, config, effects| {
            group.poll_join(member, instance, config, now_ms, effects)
        })
        .unwrap_or_else(|| refused(Poll::Ready(Err(ErrorCode::UnknownMemberId))))
    }

    /// Takes in a sync; see [`Group::submit_sync`].
    pub fn submit_sync(
        &mut self,
        request: &SyncRequest,
        now_ms: i64,
    ) -> Decision<Result<SyncStep, ErrorCode>> {
        let group = &request.group;
        if group.is_empty() {
            return refused(Err(ErrorCode::InvalidGroupId));
        }
        if let Some(synced) = self.consumer_step(group, now_ms, |draft| draft.sync_classic(request))
        {
            return synced.map(|synced| synced.map(SyncStep::Done));
        }
        self.with(group, |group, config, effects| {
            group.submit_sync(request, config, now_ms, effects).map(|()| SyncStep::Wait)
        })
        .unwrap_or_else(|| refused(Err(ErrorCode::UnknownMemberId)))
    }

    /// Looks for an assignment.
    pub fn poll_sync(
        &mut self,
        group: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        now_ms: i64,
    ) -> Decision<Poll<Result<Synced, ErrorCode>>> {
        if self.is_consumer(group) {
            return refused(Poll::Ready(Err(ErrorCode::RebalanceInProgress)));
        }
        self.with(group, |group, config, effects| {
            group.poll_sync(member, instance, generation, config, now_ms, effects)
        })
        .unwrap_or_else(|| refused(Poll::Ready(Err(ErrorCode::UnknownMemberId))))
    }

    /// A member's sign of life.
    pub fn heartbeat(
        &mut self,
        group: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        now_ms: i64,
    ) -> Decision<Result<(), ErrorCode>> {
        if group.is_empty() {
            return refused(Err(ErrorCode::InvalidGroupId));
        }
        let beat = |draft: &mut Draft<'_>| draft.beat_classic(member, instance, generation);
        if let Some(beat) = self.consumer_step(group, now_ms, beat) {
            return beat.map(|beat| match beat? {
                true => Err(ErrorCode::RebalanceInProgress),
                false => Ok(()),
            });
        }
        self.with(group, |group, config, effects| {
            group.heartbeat(member, instance, generation, config, now_ms, effects)
        })
        .unwrap_or_else(|| refused(Err(ErrorCode::UnknownMemberId)))
    }

    /// A member leaves. `member` is empty if only the instance name is known.
    pub fn leave(
        &mut self,
        group: &str,
        member: &str,
        instance: Option<&str>,
        now_ms: i64,
    ) -> Decision<Result<(), ErrorCode>> {
        let left = |draft: &mut Draft<'_>| draft.leave_classic(member, instance);
        if let Some(left) = self.consumer_step(group, now_ms, left) {
            return left;
        }
        self.with(group, |group, config, effects| {
            group.leave(member, instance, config, now_ms, effects)
        })
        .unwrap_or_else(|| refused(Err(ErrorCode::UnknownMemberId)))
    }

    /// Deletes a group that has no members.
    pub fn delete(&mut self, group: &str, now_ms: i64) -> Decision<Result<(), ErrorCode>> {
        if group.is_empty() {
            return refused(Err(ErrorCode::InvalidGroupId));
        }
        let passed = self.pass_time(group, now_ms);
        let mut deleted = self
            .with(group, |group, _, effects| {
                if !group.is_empty() {
                    return Err(ErrorCode::NonEmptyGroup);
                }
                group.forget(effects);
                Ok(())
            })
            .unwrap_or_else(|| refused(Err(ErrorCode::GroupIdNotFound)));
        deleted.put_first(passed);
        deleted
    }

    /// Lets time pass for one group.
    fn pass_time(&mut self, group: &str, now_ms: i64) -> Decision<()> {
        let nothing = |_: &mut Draft<'_>| Ok::<(), ErrorCode>(());
        match self.consumer_step(group, now_ms, nothing) {
            Some(passed) => passed.map(|_| ()),
            None => self
                .with(group, |group, config, effects| group.advance(config, now_ms, effects))
                .unwrap_or_else(|| refused(())),
        }
    }

    /// A KIP-848 group without members becomes a classic one when a classic member joins.
    fn drop_empty_consumer(&mut self, group: &str, now_ms: i64) -> Decision<()> {
        if !self.is_consumer(group) {
            return refused(());
        }
        let mut passed = self.pass_time(group, now_ms);
        // What passed is applied later; who joins now still meets the group as it was.
        if passed.records.is_empty()
            && let Some(found) = self.groups.get_mut(group)
            && let Some(consumer) = found.consumer.take_if(|consumer| consumer.members.is_empty())
        {
            consumer.forget(group, &mut passed.records);
        }
        passed
    }

    fn is_consumer(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| group.consumer.is_some())
    }

    /// Lets time pass for all groups: ends sessions, expires offsets, drops groups nobody needs.
    pub fn tick(&mut self, now_ms: i64) -> Decision<()> {
        let mut all = refused(());
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let passed = self.pass_time(&name, now_ms);
            // What has changed is looked at by the next tick, when it is applied.
            let changed = !passed.records.is_empty();
            all.records.extend(passed.records);
            all.wake.extend(passed.wake);
            if changed {
                continue;
            }
            let expired = self.with(&name, |group, config, effects| {
                group.expire(config, now_ms, effects);
            });
            all.records.extend(expired.into_iter().flat_map(|expired| expired.records));
        }
        self.groups.retain(|_, group| !group.is_forgotten());
        all
    }

    fn with<R>(
        &mut self,
        group: &str,
        act: impl FnOnce(&mut Group, &GroupConfig, &mut Effects) -> R,
    ) -> Option<Decision<R>> {
        let found = self.groups.get_mut(group)?;
        let mut effects = Effects::default();
        let response = act(found, &self.config, &mut effects);
        let wake = if effects.wake { vec![group.to_owned()] } else { vec![] };
        Some(Decision { response, records: effects.records, wake })
    }
}

impl<R> Decision<R> {
    /// The same decision with another answer.
    fn map<S>(self, to: impl FnOnce(R) -> S) -> Decision<S> {
        Decision { response: to(self.response), records: self.records, wake: self.wake }
    }

    /// Adds what was decided before this.
    fn put_first(&mut self, before: Decision<()>) {
        self.records.splice(0..0, before.records);
        self.wake.extend(before.wake);
    }
}

/// A decision that changes nothing.
fn refused<R>(response: R) -> Decision<R> {
    Decision { response, records: vec![], wake: vec![] }
}
