//! Joining a group.
//!
//! `submit_join` takes the request in once; `poll_join` looks, as often as it likes, whether the
//! answer is there. A poll also counts as a sign of life, so a member whose connection waits in a
//! join does not lose its session, and one whose connection broke does.

use std::collections::BTreeSet;

use super::group::{Group, Member, State};
use super::protocol::{CONSUMER, read_subscription};
use super::rebalance::Effects;
use super::records::GroupRecord;
use super::{GroupConfig, JoinRefused, JoinRequest, JoinStep, Joined, JoinedMember, Poll};
use crate::error::ErrorCode;

impl Group {
    /// Takes in a request to join. The answer comes from [`Group::poll_join`], unless a static
    /// member came back to an assignment that is still good.
    pub fn submit_join(
        &mut self,
        request: &JoinRequest,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<JoinStep, JoinRefused> {
        self.advance(config, now_ms, effects);
        self.check_room(request, config)?;
        self.check_protocols(request)?;
        let step = if request.member.is_empty() {
            self.join_new(request, config, now_ms, effects)
        } else {
            self.join_known(request, config, now_ms, effects)
        };
        self.advance(config, now_ms, effects);
        step
    }

    /// Kafka's rule (`acceptJoiningMember`), which also lets a group that is too large shrink: during
    /// a rebalance the last to join again are turned away. Promised ids and bytes are ours.
    fn check_room(&self, request: &JoinRequest, config: &GroupConfig) -> Result<(), ErrorCode> {
        let known = self.members.get(&request.member);
        let full = match self.state {
            State::Empty => false,
            State::Joining { .. } => {
                let joining = self.members.values().filter(|member| member.joining).count();
                !known.is_some_and(|member| member.joining) && joining >= config.members_max
            }
            State::Syncing { .. } | State::Stable => {
                known.is_none() && self.members.len() >= config.members_max
            }
        };
        let promises = request.member.is_empty() && self.promised.len() >= config.members_max;
        let others = self.members.values().filter(|member| member.id != request.member);
        let held: usize = others.map(Member::bytes).sum();
        let asked: usize = request.protocols.iter().map(|(name, of)| name.len() + of.len()).sum();
        match full || promises || held + asked > config.group_bytes_max {
            true => Err(ErrorCode::GroupMaxSizeReached),
            false => Ok(()),
        }
    }

    fn check_protocols(&self, request: &JoinRequest) -> Result<(), ErrorCode> {
        let by_instance = || request.instance.as_ref().and_then(|name| self.instances.get(name));
        let me = if request.member.is_empty() { by_instance() } else { Some(&request.member) };
        let me = me.map(String::as_str);
        let spoken = |name: &str| request.protocols.iter().any(|(known, _)| known == name);
        let alone = !self.members.keys().any(|id| Some(id.as_str()) != me);
        let fits = if alone {
            !request.protocol_type.is_empty() && !request.protocols.is_empty()
        } else {
            request.protocol_type == self.protocol_type && self.common_protocols(me).any(spoken)
        };
        if fits { Ok(()) } else { Err(ErrorCode::InconsistentGroupProtocol) }
    }

    fn join_new(
        &mut self,
        request: &JoinRequest,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<JoinStep, JoinRefused> {
        if let Some(instance) = &request.instance {
            return match self.instances.get(instance).cloned() {
                Some(old) => Ok(self.replace_static(&old, request, config, now_ms, effects)),
                None => Ok(self.add_member(&request.fresh_id, request, config, now_ms, effects)),
            };
        }
        if request.requires_known_member {
            let until = now_ms.saturating_add(i64::from(request.session_timeout_ms));
            self.promised.insert(request.fresh_id.clone(), until);
            return Err(JoinRefused {
                error: ErrorCode::MemberIdRequired,
                member: request.fresh_id.clone(),
            });
        }
        Ok(self.add_member(&request.fresh_id, request, config, now_ms, effects))
    }

    fn join_known(
        &mut self,
        request: &JoinRequest,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<JoinStep, JoinRefused> {
        if self.promised.remove(&request.member).is_some() {
            return Ok(self.add_member(&request.member, request, config, now_ms, effects));
        }
        let member = self.member(&request.member, request.instance.as_deref())?;
        let unchanged = member.protocols == request.protocols;
        let is_leader = self.leader.as_deref() == Some(&*request.member);
        let wait = JoinStep::Wait { member: request.member.clone() };
        let rebalance = match self.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId.into()),
            State::Joining { .. } => true,
            // A join that was answered already, sent again: the answer was lost on the way.
            State::Syncing { .. } => !unchanged,
            // A leader that joins again asks for a new assignment.
            State::Stable => is_leader || !unchanged,
        };
        let member = self.members.get_mut(&request.member).ok_or(ErrorCode::UnknownMemberId)?;
        member.touch(now_ms);
        if rebalance {
            request.update(member);
            member.joining = true;
            self.start_joining(config, now_ms, effects);
        }
        Ok(wait)
    }

    fn add_member(
        &mut self,
        id: &str,
        request: &JoinRequest,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> JoinStep {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&request.protocol_type);
        }
        let mut member = request.to_member(id);
        member.touch(now_ms);
        member.joining = true;
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.to_owned());
        }
        self.members.insert(id.to_owned(), member);
        if let State::Joining { first: Some(first), .. } = &mut self.state {
            first.grew = true;
        }
        self.start_joining(config, now_ms, effects);
        JoinStep::Wait { member: id.to_owned() }
    }

    /// A static member came back under its instance name: it takes the old one's place, and if it
    /// wants the same as before nobody else need notice.
    fn replace_static(
        &mut self,
        old: &str,
        request: &JoinRequest,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> JoinStep {
        let Some(before) = self.members.remove(old) else {
            return self.add_member(&request.fresh_id, request, config, now_ms, effects);
        };
        let was_leader = self.leader.as_deref() == Some(old);
        let old_leader = self.leader.clone().unwrap_or_default();
        if was_leader {
            self.leader = Some(request.fresh_id.clone());
        }
        let mut member = request.to_member(&request.fresh_id);
        member.assignment.clone_from(&before.assignment);
        member.synced = before.synced;
        member.touch(now_ms);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        let subscribes_anew = subscribes_anew(&before.protocols, request);
        self.members.insert(member.id.clone(), member);

        // Kafka looks only at the protocol: the rest of the metadata (owned partitions, generation)
        // differs with every start of a client. Other topics, though, need another assignment.
        let unchanged = self.choose_protocol() == self.protocol && !subscribes_anew;
        if self.state == State::Stable && unchanged {
            effects.records.push(GroupRecord::Generation {
                group: self.name.clone(),
                generation: self.to_stored(),
            });
            let mut joined = self.joined(&request.fresh_id);
            if was_leader && request.can_skip_assignment {
                joined.skip_assignment = true;
            } else if was_leader {
                // A client that cannot skip must not think it leads, or it would assign anew.
                joined.leader = old_leader;
                joined.members.clear();
            }
            return JoinStep::Done(joined);
        }
        if let Some(member) = self.members.get_mut(&request.fresh_id) {
            member.joining = true;
        }
        self.start_joining(config, now_ms, effects);
        JoinStep::Wait { member: request.fresh_id.clone() }
    }

    /// Looks whether a member's join is answered.
    pub fn poll_join(
        &mut self,
        member: &str,
        instance: Option<&str>,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Poll<Result<Joined, ErrorCode>> {
        if let Some(member) = self.members.get_mut(member) {
            member.touch(now_ms);
        }
        self.advance(config, now_ms, effects);
        match self.member(member, instance) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(found) if found.joining => Poll::Wait { until_ms: self.look_again(found, now_ms) },
            Ok(_) => Poll::Ready(Ok(self.joined(member))),
        }
    }

    /// The answer to a join: only the leader learns who the others are.
    fn joined(&self, member: &str) -> Joined {
        let protocol = self.protocol.as_deref();
        let leads = self.leader.as_deref() == Some(member);
        let member_of = |member: &Member| JoinedMember {
            id: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol).to_vec(),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member: member.to_owned(),
            skip_assignment: false,
            members: if leads { self.members.values().map(member_of).collect() } else { vec![] },
        }
    }
}

/// Whether a consumer that came back wants other topics than before.
fn subscribes_anew(before: &[(String, Vec<u8>)], request: &JoinRequest) -> bool {
    if request.protocol_type != CONSUMER {
        return false;
    }
    let topics = |protocols: &[(String, Vec<u8>)]| {
        let (_, metadata) = protocols.first()?;
        Some(read_subscription(metadata)?.topics.into_iter().collect::<BTreeSet<_>>())
    };
    topics(before) != topics(&request.protocols)
}
