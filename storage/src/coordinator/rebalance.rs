//! How a group comes to its next generation: join, sync, heartbeat, leave, and the passing of time.
//!
//! Requests that wait are split in two. `submit_*` takes the request in once; `poll_*` looks, as
//! often as it likes, whether the answer is there. A poll also counts as a sign of life, so a member
//! whose connection waits in a join does not lose its session, and one whose connection broke does.
//!
//! An answer is derived from the group as it is now, never kept aside for a member: who polls late
//! learns the newest truth.

use super::group::{FirstJoin, Group, Member, State};
use super::records::GroupRecord;
use super::{GroupConfig, JoinRefused, JoinRequest, JoinStep, Joined, JoinedMember, Poll};
use super::{SyncRequest, Synced};
use crate::error::ErrorCode;

/// What a step leaves behind besides its answer.
#[derive(Debug, Default)]
pub struct Effects {
    /// Facts to be put in the journal and then applied.
    pub records: Vec<GroupRecord>,
    /// Whether somebody who waits on this group should look again.
    pub wake: bool,
}

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
        self.check_protocols(request)?;
        let step = if request.member.is_empty() {
            self.join_new(request, config, now_ms, effects)
        } else {
            self.join_known(request, config, now_ms, effects)
        };
        self.advance(config, now_ms, effects);
        step
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
        let unchanged = before.protocols == request.protocols
            || self.protocol.as_deref().is_some_and(|chosen| {
                let wanted = request.protocols.iter().find(|(name, _)| name == chosen);
                wanted.is_some_and(|(_, metadata)| metadata == before.metadata(Some(chosen)))
            });
        let was_leader = self.leader.as_deref() == Some(old);
        let old_leader = self.leader.clone().unwrap_or_default();
        if was_leader {
            self.leader = Some(request.fresh_id.clone());
        }
        let mut member = request.to_member(&request.fresh_id);
        member.assignment = before.assignment;
        member.synced = before.synced;
        member.touch(now_ms);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);

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
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Poll<Result<Joined, ErrorCode>> {
        if let Some(member) = self.members.get_mut(member) {
            member.touch(now_ms);
        }
        self.advance(config, now_ms, effects);
        match self.members.get(member) {
            None => Poll::Ready(Err(ErrorCode::UnknownMemberId)),
            Some(found) if found.joining => Poll::Wait { until_ms: self.look_again(found, now_ms) },
            Some(_) => Poll::Ready(Ok(self.joined(member))),
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

    /// Takes in a request for the assignment, and from the leader the assignment itself.
    pub fn submit_sync(
        &mut self,
        request: &SyncRequest,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        self.advance(config, now_ms, effects);
        self.member(&request.member, request.instance.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let other = |named: &Option<String>, ours: &str| {
            named.as_deref().is_some_and(|named| named != ours)
        };
        if other(&request.protocol_type, &self.protocol_type)
            || other(&request.protocol, self.protocol.as_deref().unwrap_or_default())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            State::Joining { .. } => return Err(ErrorCode::RebalanceInProgress),
            State::Stable => return Ok(()),
            State::Syncing { .. } => {}
        }
        if let Some(member) = self.members.get_mut(&request.member) {
            member.touch(now_ms);
            member.synced = true;
        }
        if self.leader.as_deref() == Some(&*request.member) {
            self.hand_in(request, effects);
        }
        Ok(())
    }

    /// The leader hands in the assignment: from here on it is a fact for the journal.
    fn hand_in(&self, request: &SyncRequest, effects: &mut Effects) {
        let mut generation = self.to_stored();
        for member in &mut generation.members {
            let given = request.assignments.iter().find(|(id, _)| *id == member.id);
            member.assignment = given.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        }
        effects.records.push(GroupRecord::Generation { group: self.name.clone(), generation });
        effects.wake = true;
    }

    /// Looks whether a member's assignment is there.
    pub fn poll_sync(
        &mut self,
        member: &str,
        generation: i32,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Poll<Result<Synced, ErrorCode>> {
        if let Some(member) = self.members.get_mut(member) {
            member.touch(now_ms);
        }
        self.advance(config, now_ms, effects);
        let Some(found) = self.members.get(member) else {
            return Poll::Ready(Err(ErrorCode::UnknownMemberId));
        };
        if generation != self.generation {
            return Poll::Ready(Err(ErrorCode::RebalanceInProgress));
        }
        match self.state {
            State::Syncing { .. } => Poll::Wait { until_ms: self.look_again(found, now_ms) },
            State::Stable => Poll::Ready(Ok(Synced {
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                assignment: found.assignment.clone(),
            })),
            State::Empty | State::Joining { .. } => {
                Poll::Ready(Err(ErrorCode::RebalanceInProgress))
            }
        }
    }

    /// A sign of life, and the moment a member learns of a rebalance.
    pub fn heartbeat(
        &mut self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        self.advance(config, now_ms, effects);
        self.member(member, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if let Some(member) = self.members.get_mut(member) {
            member.touch(now_ms);
        }
        match self.state {
            State::Joining { .. } => Err(ErrorCode::RebalanceInProgress),
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::Syncing { .. } | State::Stable => Ok(()),
        }
    }

    /// A member leaves, or is removed by its instance name (`member` empty then).
    pub fn leave(
        &mut self,
        member: &str,
        instance: Option<&str>,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), ErrorCode> {
        self.advance(config, now_ms, effects);
        if self.promised.remove(member).is_some() {
            self.advance(config, now_ms, effects);
            return Ok(());
        }
        let by_instance = instance.filter(|_| member.is_empty());
        let id = match by_instance {
            Some(instance) => {
                self.instances.get(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?
            }
            None => self.member(member, instance)?.id.clone(),
        };
        self.remove(&id);
        self.start_joining(config, now_ms, effects);
        self.advance(config, now_ms, effects);
        Ok(())
    }

    fn remove(&mut self, id: &str) {
        if let Some(member) = self.members.remove(id)
            && let Some(instance) = member.instance
        {
            self.instances.remove(&instance);
        }
    }

    /// Lets time pass: ends sessions and phases whose time is up, and completes a join phase for
    /// which nobody is missing.
    pub fn advance(&mut self, config: &GroupConfig, now_ms: i64, effects: &mut Effects) {
        self.promised.retain(|_, until_ms| *until_ms > now_ms);
        let gone: Vec<String> = self
            .members
            .values()
            .filter(|member| member.session_ends_ms <= now_ms)
            .map(|member| member.id.clone())
            .collect();
        if !gone.is_empty() {
            gone.iter().for_each(|id| self.remove(id));
            self.start_joining(config, now_ms, effects);
        }
        if let State::Syncing { deadline_ms } = self.state
            && deadline_ms <= now_ms
        {
            let silent = |member: &&Member| !member.synced;
            let silent: Vec<String> =
                self.members.values().filter(silent).map(|member| member.id.clone()).collect();
            silent.iter().for_each(|id| self.remove(id));
            self.start_joining(config, now_ms, effects);
        }
        self.advance_join(config, now_ms, effects);
    }

    fn advance_join(&mut self, config: &GroupConfig, now_ms: i64, effects: &mut Effects) {
        let State::Joining { deadline_ms, first } = self.state else { return };
        let all_here =
            self.promised.is_empty() && self.members.values().all(|member| member.joining);
        match first {
            Some(_) if self.members.is_empty() => self.form_generation(now_ms, effects),
            Some(FirstJoin { limit_ms, grew }) if deadline_ms <= now_ms => {
                let next_ms = now_ms.saturating_add(config.initial_delay_ms).min(limit_ms);
                if grew && next_ms > now_ms {
                    let first = Some(FirstJoin { limit_ms, grew: false });
                    self.state = State::Joining { deadline_ms: next_ms, first };
                } else {
                    self.form_generation(now_ms, effects);
                }
            }
            None if all_here || deadline_ms <= now_ms => self.form_generation(now_ms, effects),
            _ => {}
        }
    }

    /// Opens a join phase, unless one is open.
    fn start_joining(&mut self, config: &GroupConfig, now_ms: i64, effects: &mut Effects) {
        effects.wake = true;
        let limit_ms = now_ms.saturating_add(self.rebalance_timeout_ms());
        self.state = match self.state {
            State::Joining { .. } => return,
            State::Empty => {
                let deadline_ms = now_ms.saturating_add(config.initial_delay_ms).min(limit_ms);
                let first = Some(FirstJoin { limit_ms, grew: false });
                State::Joining { deadline_ms, first }
            }
            State::Syncing { .. } | State::Stable => {
                State::Joining { deadline_ms: limit_ms, first: None }
            }
        };
    }

    /// Ends the join phase with those who came. Static members are kept until their session ends.
    fn form_generation(&mut self, now_ms: i64, effects: &mut Effects) {
        let late = |member: &&Member| !member.joining && member.instance.is_none();
        let late: Vec<String> =
            self.members.values().filter(late).map(|member| member.id.clone()).collect();
        late.iter().for_each(|id| self.remove(id));

        effects.wake = true;
        if self.members.is_empty() {
            return self.form_empty(now_ms, effects);
        }
        let Some(leader) = self.elect() else {
            // Only static members that are away: they have until their sessions end.
            let deadline_ms = now_ms.saturating_add(self.rebalance_timeout_ms().max(1));
            self.state = State::Joining { deadline_ms, first: None };
            return;
        };
        self.leader = Some(leader);
        self.generation = self.generation.saturating_add(1);
        self.protocol = self.choose_protocol();
        let deadline_ms = now_ms.saturating_add(self.rebalance_timeout_ms());
        self.state = State::Syncing { deadline_ms };
        for member in self.members.values_mut().filter(|member| member.joining) {
            member.joining = false;
            member.synced = false;
            member.touch(now_ms);
        }
    }

    fn form_empty(&mut self, now_ms: i64, effects: &mut Effects) {
        self.generation = self.generation.saturating_add(1);
        self.protocol = None;
        self.leader = None;
        self.state = State::Empty;
        self.emptied_at_ms = now_ms;
        effects.records.push(GroupRecord::Generation {
            group: self.name.clone(),
            generation: self.to_stored(),
        });
    }

    /// The leader stays if it joined again; otherwise any member that joined.
    fn elect(&self) -> Option<String> {
        let joined = |id: &&String| self.members.get(*id).is_some_and(|member| member.joining);
        let first = || self.members.values().find(|member| member.joining);
        self.leader.as_ref().filter(joined).cloned().or_else(|| first().map(|m| m.id.clone()))
    }

    /// Protocols every member (but `except`) speaks.
    fn common_protocols(&self, except: Option<&str>) -> impl Iterator<Item = &str> {
        let heard: Vec<&Member> =
            self.members.values().filter(|member| Some(&*member.id) != except).collect();
        let names = heard.first().map_or(&[][..], |member| &member.protocols[..]);
        names.iter().map(|(name, _)| name.as_str()).filter(move |name| {
            heard.iter().all(|other| other.protocols.iter().any(|(known, _)| known == name))
        })
    }

    /// Each member votes for the protocol it prefers among those all speak; most votes win, and
    /// among equals the first by name.
    fn choose_protocol(&self) -> Option<String> {
        let common: Vec<&str> = self.common_protocols(None).collect();
        let mut votes = std::collections::BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let names = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(vote) = names.into_iter().find(|name| common.contains(name)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let winner = votes.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
        winner.map(|(name, _)| name.to_owned())
    }

    /// When one who waits should look again: at the phase's deadline, but often enough to keep its
    /// own session alive.
    fn look_again(&self, member: &Member, now_ms: i64) -> i64 {
        let alive_ms = now_ms.saturating_add(i64::from(member.session_timeout_ms / 3).max(1));
        match self.state {
            State::Joining { deadline_ms, .. } | State::Syncing { deadline_ms } => {
                deadline_ms.min(alive_ms).max(now_ms.saturating_add(1))
            }
            State::Empty | State::Stable => alive_ms,
        }
    }
}
