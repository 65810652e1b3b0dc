//! A group of the KIP-848 protocol: the coordinator itself hands out the partitions.
//!
//! ```text
//!   subscription changed, member came or went, topics changed     → epoch + 1
//!   epoch > assignment epoch: the assignor makes a new target     → assignment epoch = epoch
//!   each heartbeat moves its member one step towards its target   → member epoch = assignment epoch
//! ```
//!
//! No member waits for another at a barrier. What keeps a partition from having two owners is
//! `reconcile.rs`: a member gets a partition only when nobody has it, neither assigned nor still
//! to be given back.
//!
//! What must survive a restart is [`ConsumerGroup`]: it changes only by applying records that are in
//! the journal. Timers and resolved regular expressions ([`Volatile`]) are rebuilt. A step works on a
//! [`Draft`], a cheap copy (members are shared); what differs at its end becomes the records.
//!
//! - `member.rs`: one member, durable
//! - `heartbeat.rs`: ConsumerGroupHeartbeat: joining, leaving, changing one's mind
//! - `reconcile.rs`: one member's step towards its target
//! - `assignor.rs`: `uniform` and `range`
//! - `topics.rs`: what a group subscribes to: names, regular expressions, the shape of topics
//! - `classic.rs`: members that speak the classic protocol in such a group
//!
//! Invariants:
//! - a partition is in `assigned` or `revoking` of at most one member;
//! - no epoch goes back, and no member's epoch is above the assignment epoch, nor that above the
//!   group's.

pub mod assignor;
mod classic;
mod heartbeat;
pub mod member;
mod reconcile;
pub mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use heartbeat::{Beat, Heartbeat};
pub use member::{ClassicPart, ConsumerMember, MemberState};
pub(super) use topics::Speaker;
pub use topics::Topology;
use uuid::Uuid;

use super::records::{GroupRecord, StoredEpochs};
use topics::Matched;

/// Partitions by topic id. A topic without partitions is left out.
pub type Parts = BTreeMap<Uuid, BTreeSet<i32>>;

/// The member epoch of a static member that is away and will come back.
pub const AWAY_EPOCH: i32 = -2;

/// The durable half of a KIP-848 group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerGroup {
    pub epochs: StoredEpochs,
    /// Shared with the drafts made of it, so that a step which changes nothing copies nothing.
    pub members: Arc<BTreeMap<String, Arc<ConsumerMember>>>,
}

/// What a restart may forget.
#[derive(Clone, Debug, Default)]
pub struct Volatile {
    timers: BTreeMap<String, Timers>,
    /// Whether members that were there before a restart, or before the group was converted, have
    /// got their timers.
    restored: bool,
    /// Each regular expression a member subscribes to, with the topics that match.
    regexes: BTreeMap<String, Matched>,
    /// The version of the topology that `regexes` and the stored hash were last compared with.
    seen: Option<u64>,
}

/// Until when a member must be heard of.
#[derive(Clone, Copy, Debug)]
struct Timers {
    session_ends_ms: i64,
    /// Until when it must have given back its partitions, or joined again, or fetched its assignment.
    act_by_ms: Option<i64>,
}

impl ConsumerGroup {
    /// Kafka's name of the state.
    pub fn state(&self) -> &'static str {
        let reconciled = |member: &Arc<ConsumerMember>| member.is_at(self.epochs.assignment);
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epochs.group > self.epochs.assignment => "Assigning",
            () if !self.members.values().all(reconciled) => "Reconciling",
            () => "Stable",
        }
    }

    /// The member of an instance name.
    pub fn by_instance(&self, instance: &str) -> Option<&Arc<ConsumerMember>> {
        self.members.values().find(|member| member.instance.as_deref() == Some(instance))
    }

    /// The assignor most members ask for; the first of Kafka's defaults if none does.
    pub fn assignor(&self) -> &'static str {
        let mut votes = BTreeMap::<&str, usize>::new();
        for name in self.members.values().filter_map(|member| member.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let votes_for = |name: &str| votes.get(name).copied().unwrap_or(0);
        match votes_for(assignor::RANGE) > votes_for(assignor::UNIFORM) {
            true => assignor::RANGE,
            false => assignor::UNIFORM,
        }
    }

    /// The facts that lead from `before` to this group.
    pub(super) fn changes_since(&self, before: &Self, group: &str, out: &mut Vec<GroupRecord>) {
        let group = || group.to_owned();
        if self.epochs != before.epochs {
            out.push(GroupRecord::ConsumerEpochs { group: group(), epochs: self.epochs });
        }
        if Arc::ptr_eq(&self.members, &before.members) {
            return;
        }
        for id in before.members.keys().filter(|id| !self.members.contains_key(*id)) {
            out.push(GroupRecord::ConsumerMemberForgotten { group: group(), id: id.clone() });
        }
        for (id, member) in self.members.iter() {
            let same = |old: &Arc<ConsumerMember>| Arc::ptr_eq(old, member) || old == member;
            if !before.members.get(id).is_some_and(same) {
                let member = member.clone();
                out.push(GroupRecord::ConsumerMember { group: group(), member });
            }
        }
    }

    /// The facts that forget this group.
    pub(super) fn forget(&self, group: &str, out: &mut Vec<GroupRecord>) {
        for id in self.members.keys() {
            let (group, id) = (group.to_owned(), id.clone());
            out.push(GroupRecord::ConsumerMemberForgotten { group, id });
        }
        out.push(GroupRecord::ConsumerForgotten { group: group.to_owned() });
    }
}

/// Settings that hold for one group (its own, or the node's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: i32,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.max.size`
    pub members_max: usize,
}

/// What is set for one group only (config resource GROUP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnPace {
    pub session_timeout_ms: Option<i32>,
    pub heartbeat_interval_ms: Option<i32>,
}

/// A group while a step is made.
pub(super) struct Draft<'a> {
    pub(super) group: ConsumerGroup,
    pub(super) volatile: &'a mut Volatile,
    pub(super) topology: &'a dyn Topology,
    pub(super) pace: Pace,
    pub(super) now_ms: i64,
    /// Whose heartbeat the step is, if it is one.
    pub(super) speaker: Option<Speaker<'a>>,
}

impl Draft<'_> {
    pub(super) fn member(&self, id: &str) -> Option<&Arc<ConsumerMember>> {
        self.group.members.get(id)
    }

    fn members_mut(&mut self) -> &mut BTreeMap<String, Arc<ConsumerMember>> {
        Arc::make_mut(&mut self.group.members)
    }

    fn put(&mut self, member: ConsumerMember) {
        self.members_mut().insert(member.id.clone(), Arc::new(member));
    }

    fn session_timeout_ms(&self, member: &ConsumerMember) -> i64 {
        let own = member.classic.as_ref().map(|classic| classic.session_timeout_ms);
        i64::from(own.unwrap_or(self.pace.session_timeout_ms))
    }

    /// The member was heard of.
    pub(super) fn touch(&mut self, id: &str) {
        let Some(member) = self.member(id) else { return };
        let session_ends_ms = self.now_ms.saturating_add(self.session_timeout_ms(member));
        let act_by_ms = self.volatile.timers.get(id).and_then(|timers| timers.act_by_ms);
        self.volatile.timers.insert(id.to_owned(), Timers { session_ends_ms, act_by_ms });
    }

    /// Gives a member, who must have timers, a time to act; `None` if there is nothing to be done.
    fn act_by(&mut self, id: &str, within_ms: Option<i32>) {
        if let Some(timers) = self.volatile.timers.get_mut(id) {
            timers.act_by_ms =
                within_ms.map(|within_ms| self.now_ms.saturating_add(i64::from(within_ms)));
        }
    }

    /// Starts a member's time to act, unless it runs.
    fn act_soon(&mut self, id: &str, within_ms: i32) {
        if self.volatile.timers.get(id).is_some_and(|timers| timers.act_by_ms.is_none()) {
            self.act_by(id, Some(within_ms));
        }
    }

    /// After a restart nobody has timers: everyone gets fresh ones.
    fn restore_timers(&mut self) {
        if std::mem::replace(&mut self.volatile.restored, true) {
            return;
        }
        let ids: Vec<String> = self.group.members.keys().cloned().collect();
        for id in ids {
            self.touch(&id);
            let Some(member) = self.member(&id) else { continue };
            if member.state == MemberState::Unrevoked && member.classic.is_none() {
                let within_ms = member.rebalance_timeout_ms;
                self.act_by(&id, Some(within_ms));
            }
        }
    }

    /// Lets time pass: members that were not heard of in time are gone.
    pub(super) fn advance(&mut self) {
        self.restore_timers();
        let now_ms = self.now_ms;
        let over = |timers: &Timers| {
            timers.session_ends_ms <= now_ms || timers.act_by_ms.is_some_and(|by| by <= now_ms)
        };
        let gone = self.volatile.timers.iter().filter(|(_, timers)| over(timers));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.fence(&id);
        }
    }

    /// A member is gone: whoever comes next starts a new assignment without it.
    pub(super) fn fence(&mut self, id: &str) {
        self.volatile.timers.remove(id);
        if self.group.members.contains_key(id) {
            self.members_mut().remove(id);
            self.subscriptions_changed();
            self.bump();
        }
    }

    /// A new epoch, unless one is open already that nobody has seen a target of.
    fn bump(&mut self) {
        if self.group.epochs.group == self.group.epochs.assignment {
            self.group.epochs.group = self.group.epochs.group.saturating_add(1);
        }
    }

    /// Brings epoch and target up to date with the members and the topics.
    pub(super) fn refresh(&mut self) {
        self.resolve_topics();
        if self.group.epochs.group > self.group.epochs.assignment {
            self.assign();
        }
    }

    fn assign(&mut self) {
        let target = {
            let members = self.group.members.values();
            let wanted: Vec<assignor::Wish<'_>> = members
                .map(|member| assignor::Wish {
                    id: &member.id,
                    instance: member.instance.as_deref(),
                    topics: self.topics_of(member),
                    target: &member.target,
                })
                .collect();
            assignor::assign(self.group.assignor(), &wanted)
        };
        for (id, target) in target {
            if let Some(member) = self.member(&id).cloned()
                && member.target != target
            {
                self.put(ConsumerMember { target, ..ConsumerMember::clone(&member) });
            }
        }
        self.group.epochs.assignment = self.group.epochs.group;
    }
}
