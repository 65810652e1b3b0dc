//! One consumer group: its members, its generation and its committed offsets.
//!
//! ```text
//!            join                 all joined, or time up          leader's assignment
//!   Empty ─────────► Joining ───────────────────────► Syncing ───────────────────► Stable
//!     ▲                 │ ▲                              │                            │
//!     └── nobody left ──┘ └──── join, leave, expiry ─────┴────────────────────────────┘
//! ```
//!
//! A group has two halves. What must survive a restart (the generation with its assignment, the
//! offsets) changes only in [`Group::apply`], by a record that is in the journal. Who is joining,
//! who has been heard of and until when (this file's `Member` flags and [`State`]) is volatile:
//! after a restart the members of the stored generation get a fresh session and go on.
//!
//! Time is an argument. Nothing fires by itself: each request first lets time pass for its group
//! ([`Group::advance`] in `rebalance.rs`), so a session that ended is seen by whoever looks next.
//!
//! Invariants:
//! - `generation` never goes back;
//! - only members of the group are leaders, and each `instance` names a member;
//! - in `Stable` every member has been in the stored generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::consumer::{ConsumerGroup, Volatile};
use super::pending::Pending;
use super::records::{CommittedOffset, GroupRecord, StoredGeneration, StoredMember};
use crate::error::ErrorCode;

/// Where a group is between two assignments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No members; offsets may exist.
    Empty,
    /// Members are joining the next generation.
    Joining {
        /// When the phase ends with those who are there.
        deadline_ms: i64,
        /// Set while a new group collects its first members: how far the deadline may move.
        first: Option<FirstJoin>,
    },
    /// The generation is formed, the leader's assignment is awaited until the deadline.
    Syncing { deadline_ms: i64 },
    /// Every member can fetch its assignment.
    Stable,
}

/// A new group waits a moment for more members before it forms its first generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstJoin {
    /// The deadline never moves past this.
    pub limit_ms: i64,
    /// Whether a member came since the deadline was last moved.
    pub grew: bool,
}

impl State {
    /// Kafka's name, as DescribeGroups and ListGroups give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Joining { .. } => "PreparingRebalance",
            Self::Syncing { .. } => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member as the group sees it now.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    /// Static members keep their assignment over a restart of the client (KIP-345).
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// Assignment protocols with the member's metadata for each, the preferred first.
    pub protocols: Vec<(String, Vec<u8>)>,
    pub assignment: Vec<u8>,
    /// When the member is given up unless it is heard of before.
    pub session_ends_ms: i64,
    /// It has asked to join and the join phase is not over.
    pub joining: bool,
    /// It has asked for its assignment in this generation.
    pub synced: bool,
}

impl Member {
    /// The member was heard of: its session starts again.
    pub fn touch(&mut self, now_ms: i64) {
        self.session_ends_ms = now_ms.saturating_add(i64::from(self.session_timeout_ms));
    }

    /// What the client made us keep, bytes.
    pub(super) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len());
        protocols.sum::<usize>() + self.assignment.len()
    }

    /// The metadata for `protocol`, empty if the member does not speak it.
    pub fn metadata(&self, protocol: Option<&str>) -> &[u8] {
        let named = |name: &str| self.protocols.iter().find(|(known, _)| known == name);
        protocol.and_then(named).map_or(&[], |(_, metadata)| metadata)
    }

    fn stored(&self, protocol: Option<&str>) -> StoredMember {
        StoredMember {
            id: self.id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            subscription: self.metadata(protocol).to_vec(),
            assignment: self.assignment.clone(),
        }
    }

    fn restored(stored: &StoredMember, protocol: Option<&str>) -> Self {
        Self {
            id: stored.id.clone(),
            instance: stored.instance.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            session_timeout_ms: stored.session_timeout_ms,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            protocols: protocol
                .map(|name| (name.to_owned(), stored.subscription.clone()))
                .into_iter()
                .collect(),
            assignment: stored.assignment.clone(),
            session_ends_ms: i64::MAX,
            joining: false,
            synced: true,
        }
    }
}

/// One group. See the head of this file.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub state: State,
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub members: BTreeMap<String, Member>,
    /// Static members: instance name to member id.
    pub instances: BTreeMap<String, String>,
    /// Member ids handed out but not yet joined with, and until when they may be (KIP-394).
    pub promised: BTreeMap<String, i64>,
    /// Committed offsets by topic and partition.
    pub offsets: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
    /// Offsets in open transactions.
    pub pending: Pending,
    /// Since when there are no members; offsets expire counted from here.
    pub emptied_at_ms: i64,
    /// The last generation that was written to the journal.
    pub stored: StoredGeneration,
    /// Set if the group speaks KIP-848; what is said above of generation and members is empty then.
    pub consumer: Option<ConsumerGroup>,
    /// What a restart may forget of `consumer`.
    pub(super) volatile: Volatile,
    /// The group has just become a classic one: its members are to join again.
    pub(super) rejoin: bool,
}

impl Group {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            promised: BTreeMap::new(),
            offsets: BTreeMap::new(),
            pending: Pending::default(),
            emptied_at_ms: 0,
            stored: StoredGeneration::default(),
            consumer: None,
            volatile: Volatile::default(),
            rejoin: false,
        }
    }

    /// Whether nobody is a member.
    pub fn is_empty(&self) -> bool {
        match &self.consumer {
            Some(group) => group.members.is_empty(),
            None => self.state == State::Empty,
        }
    }

    /// Kafka's name of the state.
    pub fn state_name(&self) -> &'static str {
        self.consumer.as_ref().map_or(self.state.name(), ConsumerGroup::state)
    }

    /// Whether there is nothing in it, and nothing to come.
    pub(super) fn is_forgotten(&self) -> bool {
        self.is_empty()
            && self.promised.is_empty()
            && self.offsets.is_empty()
            && self.pending.is_empty()
            && self.stored == StoredGeneration::default()
            && self.consumer.as_ref().is_none_or(|group| *group == ConsumerGroup::default())
    }

    /// Finds the member a request speaks for, and checks that no other process took its place.
    pub fn member(&self, id: &str, instance: Option<&str>) -> Result<&Member, ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get(id).ok_or(ErrorCode::UnknownMemberId)
    }

    /// The longest time any member asks for to join a rebalance.
    pub fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
    }

    /// The present generation in its stored form.
    pub fn to_stored(&self) -> StoredGeneration {
        let protocol = self.protocol.as_deref();
        StoredGeneration {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.values().map(|member| member.stored(protocol)).collect(),
            emptied_at_ms: if self.members.is_empty() { self.emptied_at_ms } else { 0 },
        }
    }

    /// Takes in one fact that is in the journal. The same function serves a running group and one
    /// that is being rebuilt, so both come out alike.
    pub fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::Generation { generation, .. } => self.apply_generation(generation),
            GroupRecord::OffsetCommitted { topic, partition, offset, .. } => {
                let of_topic = self.offsets.entry(topic.clone()).or_default();
                of_topic.insert(*partition, offset.clone());
            }
            GroupRecord::OffsetPending { .. } | GroupRecord::PendingForgotten { .. } => {
                self.pending.apply(record);
            }
            GroupRecord::OffsetForgotten { topic, partition, .. } => {
                if let Some(of_topic) = self.offsets.get_mut(topic) {
                    of_topic.remove(partition);
                    if of_topic.is_empty() {
                        self.offsets.remove(topic);
                    }
                }
            }
            GroupRecord::ClassicForgotten { .. } => self.forget_classic(),
            GroupRecord::ConsumerForgotten { .. } => {
                self.consumer = None;
                self.volatile = Volatile::default();
            }
            GroupRecord::ConsumerEpochs { epochs, .. } => {
                self.consumer.get_or_insert_default().epochs = *epochs;
                self.emptied_at_ms = epochs.emptied_at_ms;
            }
            GroupRecord::ConsumerMember { member, .. } => {
                let members = &mut self.consumer.get_or_insert_default().members;
                Arc::make_mut(members).insert(member.id.clone(), member.clone());
            }
            GroupRecord::ConsumerMemberForgotten { id, .. } => {
                if let Some(group) = &mut self.consumer {
                    Arc::make_mut(&mut group.members).remove(id);
                }
            }
            // The owner of the group drops it as a whole.
            GroupRecord::GroupForgotten { .. } => {}
        }
    }

    fn forget_classic(&mut self) {
        let empty = Self::new(&self.name);
        *self = Self {
            offsets: std::mem::take(&mut self.offsets),
            pending: std::mem::take(&mut self.pending),
            emptied_at_ms: self.emptied_at_ms,
            consumer: self.consumer.take(),
            volatile: std::mem::take(&mut self.volatile),
            ..empty
        };
    }

    fn apply_generation(&mut self, stored: &StoredGeneration) {
        self.stored = stored.clone();
        self.generation = stored.generation;
        self.protocol_type.clone_from(&stored.protocol_type);
        self.protocol.clone_from(&stored.protocol);
        self.leader.clone_from(&stored.leader);
        self.emptied_at_ms = stored.emptied_at_ms;

        let mut known = std::mem::take(&mut self.members);
        self.instances.clear();
        for member in &stored.members {
            let now = match known.remove(&member.id) {
                Some(live) => Member { assignment: member.assignment.clone(), ..live },
                None => Member::restored(member, stored.protocol.as_deref()),
            };
            if let Some(instance) = &now.instance {
                self.instances.insert(instance.clone(), now.id.clone());
            }
            self.members.insert(now.id.clone(), now);
        }
        self.state = if self.members.is_empty() { State::Empty } else { State::Stable };
    }

    /// What the journal would have to hold for this group to come out as it is now.
    pub fn snapshot(&self, out: &mut Vec<GroupRecord>) {
        let group = &self.name;
        if self.stored != StoredGeneration::default() {
            out.push(GroupRecord::Generation {
                group: group.clone(),
                generation: self.stored.clone(),
            });
        }
        if let Some(consumer) = &self.consumer {
            consumer.changes_since(&ConsumerGroup::default(), group, out);
        }
        for (topic, partitions) in &self.offsets {
            for (partition, offset) in partitions {
                out.push(GroupRecord::OffsetCommitted {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    offset: offset.clone(),
                });
            }
        }
        self.pending.snapshot(group, out);
    }
}
