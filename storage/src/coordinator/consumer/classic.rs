//! Members that speak the classic protocol in a KIP-848 group, so that a group can move from one
//! protocol to the other while it works.
//!
//! To such a member the coordinator plays a group in which somebody else leads: its generation is its
//! member epoch, its assignment comes from the target, and "rebalance in progress" means that it should
//! join again, to give back what it must or to get what has become free.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::heartbeat::{fenced_instance, unknown};
use super::member::{ClassicPart, ConsumerMember, MemberState};
use super::{ConsumerGroup, Draft, Parts};
use crate::coordinator::protocol::{
    CONSUMER, NamedParts, Subscription, read_subscription, write_assignment,
};
use crate::coordinator::{JoinRefused, JoinRequest, Joined, SyncRequest, Synced};
use crate::error::{ErrorCode, Refused};

impl ConsumerGroup {
    /// Whether a member with these protocols can work beside the classic members there are.
    fn fits(&self, request: &JoinRequest) -> bool {
        let classic = || {
            let others = self.members.values().filter(|member| member.id != request.member);
            others.filter_map(|member| member.classic.as_ref())
        };
        let spoken_by_all = |name: &str| {
            classic().all(|other| other.protocols.iter().any(|(known, _)| known == name))
        };
        request.protocol_type == CONSUMER
            && request.protocols.iter().any(|(name, _)| spoken_by_all(name))
    }
}

impl Draft<'_> {
    /// A classic member joins, or joins again.
    pub(in crate::coordinator) fn join_classic(
        &mut self,
        request: &JoinRequest,
    ) -> Result<Joined, JoinRefused> {
        let inconsistent = || JoinRefused::from(ErrorCode::InconsistentGroupProtocol);
        if !self.group.fits(request) {
            return Err(inconsistent());
        }
        let (_, metadata) = request.protocols.first().ok_or_else(inconsistent)?;
        let subscription = read_subscription(metadata).ok_or_else(inconsistent)?;
        let before = self.find_or_make_classic(request)?;
        let id = before.id.clone();
        let after = take_in_classic(&before, request, &subscription);
        let new = self.member(&id).is_none();
        let subscribes_anew = !after.subscribes_as(&before);
        self.put(after);
        if new || subscribes_anew {
            self.subscriptions_changed();
            self.bump();
        }
        self.touch(&id);
        self.refresh();
        let owned = self.by_id(&subscription.owned);
        self.reconcile(&id, Some(&owned));
        self.act_by(&id, Some(request.rebalance_timeout_ms));
        let now = self.member(&id).ok_or(ErrorCode::UnknownMemberId)?;
        Ok(Joined {
            generation: now.epoch,
            protocol_type: CONSUMER.to_owned(),
            protocol: request.protocols.first().map(|(name, _)| name.clone()),
            leader: String::new(),
            member: id,
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    fn find_or_make_classic(
        &mut self,
        request: &JoinRequest,
    ) -> Result<ConsumerMember, JoinRefused> {
        let fail = |refused: Refused| JoinRefused::from(refused.code);
        let fresh = request.member.is_empty();
        let id = if fresh { &request.fresh_id } else { &request.member };
        if let Some(instance) = &request.instance {
            let holder = self.group.by_instance(instance).cloned();
            return match holder {
                Some(holder) if fresh => Ok(self.replace(&holder, id)),
                Some(holder) if holder.id == *id => Ok(ConsumerMember::clone(&holder)),
                Some(_) => Err(fail(fenced_instance(instance))),
                None if fresh => {
                    self.check_room().map_err(fail)?;
                    Ok(ConsumerMember::new(id))
                }
                None => Err(fail(unknown(id, &request.group))),
            };
        }
        if fresh && request.requires_known_member {
            let member = request.fresh_id.clone();
            return Err(JoinRefused { error: ErrorCode::MemberIdRequired, member });
        }
        match self.member(id) {
            Some(member) => Ok(ConsumerMember::clone(member)),
            None => {
                self.check_room().map_err(fail)?;
                Ok(ConsumerMember::new(id))
            }
        }
    }

    /// A classic member fetches its assignment.
    pub(in crate::coordinator) fn sync_classic(
        &mut self,
        request: &SyncRequest,
    ) -> Result<Synced, ErrorCode> {
        let (member, classic) =
            self.classic_member(&request.member, request.instance.as_deref())?;
        if request.generation != member.epoch {
            return Err(ErrorCode::IllegalGeneration);
        }
        let protocol = classic.protocols.first();
        let other = |named: &Option<String>, ours: &str| {
            named.as_deref().is_some_and(|named| named != ours)
        };
        if other(&request.protocol_type, CONSUMER)
            || other(&request.protocol, protocol.map_or("", |(name, _)| name))
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let version = protocol.and_then(|(_, metadata)| read_subscription(metadata));
        let version = version.map_or(0, |subscription| subscription.version);
        let synced = Synced {
            protocol_type: CONSUMER.to_owned(),
            protocol: protocol.map(|(name, _)| name.clone()),
            assignment: write_assignment(version, &self.by_name(&member.assigned)),
        };
        self.touch(&request.member);
        if self.group.epochs.group > member.epoch && member.state != MemberState::Unrevoked {
            self.act_soon(&member.id, member.rebalance_timeout_ms);
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.act_by(&request.member, None);
        Ok(synced)
    }

    /// A classic member's sign of life, and how it learns that it should join again.
    pub(in crate::coordinator) fn beat_classic(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<bool, ErrorCode> {
        let (member, _) = self.classic_member(id, instance)?;
        if generation != member.epoch {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.touch(id);
        let rejoin = member.epoch < self.group.epochs.group
            || match member.state {
                MemberState::Stable => false,
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !self.waits_for_others(&member),
            };
        if rejoin {
            self.act_soon(id, member.rebalance_timeout_ms);
        }
        Ok(rejoin)
    }

    /// A classic member leaves, or an administrator removes a member of either protocol.
    pub(in crate::coordinator) fn leave_classic(
        &mut self,
        id: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let id = match instance.filter(|_| id.is_empty()) {
            Some(instance) => {
                let holder = self.group.by_instance(instance);
                holder.ok_or(ErrorCode::UnknownMemberId)?.id.clone()
            }
            None => self.named_member(id, instance)?.id.clone(),
        };
        self.fence(&id);
        Ok(())
    }

    /// The member of this id, whose instance name nobody else has taken.
    fn named_member(
        &self,
        id: &str,
        instance: Option<&str>,
    ) -> Result<&Arc<ConsumerMember>, ErrorCode> {
        if let Some(instance) = instance {
            let holder = self.group.by_instance(instance).ok_or(ErrorCode::UnknownMemberId)?;
            if holder.id != id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        self.member(id).ok_or(ErrorCode::UnknownMemberId)
    }

    /// The member of a classic request. One that speaks KIP-848 is none.
    fn classic_member(
        &self,
        id: &str,
        instance: Option<&str>,
    ) -> Result<(ConsumerMember, ClassicPart), ErrorCode> {
        let member = self.named_member(id, instance)?;
        let classic = member.classic.clone().ok_or(ErrorCode::UnknownMemberId)?;
        Ok((ConsumerMember::clone(member), classic))
    }

    fn by_id(&self, named: &NamedParts) -> Parts {
        let one = |(name, indexes): (&String, &Vec<i32>)| {
            let (id, _) = self.topology.topic(name)?;
            Some((id, indexes.iter().copied().collect()))
        };
        named.iter().filter_map(one).collect()
    }

    pub(in crate::coordinator) fn by_name(&self, parts: &Parts) -> NamedParts {
        let mut named = BTreeMap::new();
        for (id, indexes) in parts {
            if let Some(name) = self.topology.name_of(*id) {
                named.insert(name, indexes.iter().copied().collect());
            }
        }
        named
    }
}

fn take_in_classic(
    before: &ConsumerMember,
    request: &JoinRequest,
    subscription: &Subscription,
) -> ConsumerMember {
    let mut topics = subscription.topics.clone();
    topics.sort_unstable();
    topics.dedup();
    ConsumerMember {
        instance: request.instance.clone().or_else(|| before.instance.clone()),
        rack: subscription.rack.clone().or_else(|| before.rack.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics,
        regex: None,
        assignor: None,
        classic: Some(ClassicPart {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
        }),
        ..before.clone()
    }
}
