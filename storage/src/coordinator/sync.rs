//! A member's life between two joins: assignment, heartbeats, leaving.
//!
//! The assignment comes in two steps as a join does: `submit_sync` takes the request in, `poll_sync`
//! looks for the answer.

use super::group::{Group, State};
use super::rebalance::Effects;
use super::records::GroupRecord;
use super::{GroupConfig, Poll, SyncRequest, Synced};
use crate::error::ErrorCode;

impl Group {
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
        instance: Option<&str>,
        generation: i32,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Poll<Result<Synced, ErrorCode>> {
        if let Some(member) = self.members.get_mut(member) {
            member.touch(now_ms);
        }
        self.advance(config, now_ms, effects);
        let found = match self.member(member, instance) {
            Ok(found) => found,
            Err(error) => return Poll::Ready(Err(error)),
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
}
