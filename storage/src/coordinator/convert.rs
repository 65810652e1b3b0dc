//! From a classic group to a KIP-848 one and back, while its members work
//! (`group.consumer.migration.policy` = `bidirectional`, Kafka's default).
//!
//! Up: a member of the new protocol joins a classic group of consumers. The classic members become
//! members of the new group with the assignment they have; their generation becomes its epoch. Who
//! waits in a join or for an assignment is told to join again.
//!
//! Down: the last member of the new protocol goes and classic ones are left. They get a classic group
//! with the epoch as its generation, and are told to join again.

use std::sync::Arc;

use super::consumer::{ClassicPart, ConsumerGroup, ConsumerMember, MemberState, Parts, Topology};
use super::group::{Group, Member};
use super::protocol::{CONSUMER, NamedParts, read_assignment, read_subscription, write_assignment};
use super::records::{GroupRecord, StoredEpochs, StoredGeneration, StoredMember};
use crate::error::{ErrorCode, Refused};

impl Group {
    /// This classic group as a KIP-848 one.
    ///
    /// Errors: `GROUP_ID_NOT_FOUND` for a group of another protocol type (Connect), or one whose
    /// members' metadata does not read as a consumer's.
    pub(super) fn upgraded(&self, topology: &dyn Topology) -> Result<ConsumerGroup, Refused> {
        let refuse = |why: &str| {
            let message = format!("Group {} cannot become a consumer group: {why}.", self.name);
            Refused::new(ErrorCode::GroupIdNotFound, message)
        };
        if self.protocol_type != CONSUMER {
            let other = format!("its protocol type is \"{}\"", self.protocol_type);
            return Err(refuse(&other));
        }
        let generation = self.generation.max(1);
        let epochs =
            StoredEpochs { group: generation, assignment: generation, ..StoredEpochs::default() };
        let mut group = ConsumerGroup { epochs, ..ConsumerGroup::default() };
        for member in self.members.values() {
            let upgraded = upgraded(member, self.protocol.as_deref(), generation, topology);
            let upgraded = upgraded.ok_or_else(|| {
                refuse(&format!("the metadata of member {} is not a consumer's", member.id))
            })?;
            Arc::make_mut(&mut group.members).insert(member.id.clone(), Arc::new(upgraded));
        }
        Ok(group)
    }
}

fn upgraded(
    member: &Member,
    protocol: Option<&str>,
    generation: i32,
    topology: &dyn Topology,
) -> Option<ConsumerMember> {
    let (_, first) = member.protocols.first()?;
    let chosen = member.metadata(protocol);
    let subscription = read_subscription(if chosen.is_empty() { first } else { chosen })?;
    let mut topics = subscription.topics;
    topics.sort_unstable();
    topics.dedup();
    let assigned = by_id(&read_assignment(&member.assignment)?, topology);
    Some(ConsumerMember {
        instance: member.instance.clone(),
        rack: subscription.rack,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        topics,
        state: MemberState::Stable,
        epoch: generation,
        previous_epoch: generation,
        target: assigned.clone(),
        assigned,
        classic: Some(ClassicPart {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        }),
        ..ConsumerMember::new(&member.id)
    })
}

fn by_id(named: &NamedParts, topology: &dyn Topology) -> Parts {
    let one = |(name, indexes): (&String, &Vec<i32>)| {
        let (id, _) = topology.topic(name)?;
        (!indexes.is_empty()).then(|| (id, indexes.iter().copied().collect()))
    };
    named.iter().filter_map(one).collect()
}

impl ConsumerGroup {
    /// Whether only classic members are left where there were others.
    pub(super) fn is_to_go_down(&self, before: &Self) -> bool {
        let modern = |member: &Arc<ConsumerMember>| member.classic.is_none();
        !self.members.is_empty()
            && !self.members.values().any(modern)
            && before.members.values().any(modern)
    }

    /// This group, whose members are all classic, as a classic one.
    pub(super) fn downgraded(&self, group: &str, topology: &dyn Topology) -> GroupRecord {
        let speak = |name: &str| {
            let mut parts = self.members.values().filter_map(|member| member.classic.as_ref());
            parts.all(|part| part.protocols.iter().any(|(known, _)| known == name))
        };
        let classic = || self.members.values().filter_map(|member| member.classic.as_ref());
        let first = classic().next();
        let protocol = first.and_then(|part| part.protocols.iter().find(|(name, _)| speak(name)));
        let protocol = protocol.map(|(name, _)| name.clone());
        let members = self.members.values().filter_map(|member| {
            let part = member.classic.as_ref()?;
            let chosen = part.protocols.iter().find(|(name, _)| Some(name) == protocol.as_ref());
            let subscription = chosen.map(|(_, metadata)| metadata.clone()).unwrap_or_default();
            let version = read_subscription(&subscription).map_or(0, |read| read.version);
            let named = member.target.iter().filter_map(|(id, indexes)| {
                Some((topology.name_of(*id)?, indexes.iter().copied().collect()))
            });
            Some(StoredMember {
                id: member.id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                session_timeout_ms: part.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                subscription,
                assignment: write_assignment(version, &named.collect()),
            })
        });
        GroupRecord::Generation {
            group: group.to_owned(),
            generation: StoredGeneration {
                generation: self.epochs.group,
                protocol_type: CONSUMER.to_owned(),
                leader: self.members.keys().next().cloned(),
                members: members.collect(),
                protocol,
                emptied_at_ms: 0,
            },
        }
    }
}
