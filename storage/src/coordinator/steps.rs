//! Requests to KIP-848 groups: which group a heartbeat means, and how a step is carried out.
//!
//! A step lets time pass, acts on a [`Draft`], brings epoch and target up to date, and turns the
//! difference into facts. A refusal takes back what the step did, but not the passing of time.

use super::consumer::{AWAY_EPOCH, Beat, ConsumerGroup, Draft, Heartbeat, OwnPace, Pace, Speaker};
use super::group::{Group, State};
use super::rebalance::Effects;
use super::records::GroupRecord;
use super::{Decision, Groups, refused};
use crate::error::{ErrorCode, Refused};

impl Groups {
    /// A heartbeat of the KIP-848 protocol. Who joins makes the group, or turns a classic one of
    /// consumers into a KIP-848 one. `sees` says which topics the member may describe.
    pub fn consumer_heartbeat(
        &mut self,
        said: &Heartbeat,
        sees: &dyn Fn(&str) -> bool,
        now_ms: i64,
    ) -> Decision<Result<Beat, Refused>> {
        if let Err(wrong) = said.check() {
            return refused(Err(wrong));
        }
        let name = &said.group;
        let speaker = Some(Speaker { member: said.id(), sees });
        if said.joins() && !self.groups.contains_key(name) {
            self.groups.insert(name.clone(), Group::new(name));
        }
        match self.groups.get(name) {
            None => refused(Err(missing(name))),
            Some(group) if group.consumer.is_some() => self
                .step_of(name, speaker, now_ms, |draft| draft.heartbeat(said))
                .unwrap_or_else(|| refused(Err(missing(name)))),
            Some(_) if !said.joins() => refused(Err(other_type(name, "consumer"))),
            Some(_) => self.upgrade(said, speaker, now_ms),
        }
    }

    fn upgrade(
        &mut self,
        said: &Heartbeat,
        speaker: Option<Speaker<'_>>,
        now_ms: i64,
    ) -> Decision<Result<Beat, Refused>> {
        let name = &said.group;
        let (topology, pace) = (self.topology.clone(), self.pace(name));
        let Some(group) = self.groups.get_mut(name) else {
            return refused(Err(missing(name)));
        };
        let mut effects = Effects::default();
        group.advance(&self.config, now_ms, &mut effects);
        let start = match group.state {
            State::Empty => Ok(ConsumerGroup::default()),
            _ => group.upgraded(&*topology),
        };
        let mut wake = vec![];
        let response = start.and_then(|start| {
            let mut volatile = std::mem::take(&mut group.volatile);
            let topology = &*topology;
            let volatile_now = &mut volatile;
            let mut draft =
                Draft { group: start, volatile: volatile_now, topology, pace, now_ms, speaker };
            draft.advance();
            let response = draft.heartbeat(said);
            let after = draft.group;
            if response.is_ok() {
                effects.records.push(GroupRecord::ClassicForgotten { group: name.clone() });
                after.changes_since(&ConsumerGroup::default(), name, &mut effects.records);
                group.volatile = volatile;
                wake.push(name.clone());
            }
            response
        });
        Decision { response, records: effects.records, wake }
    }

    /// Says what is set for one group only.
    pub fn set_pace(&mut self, group: &str, own: OwnPace) {
        match own == OwnPace::default() {
            true => self.paces.remove(group),
            false => self.paces.insert(group.to_owned(), own),
        };
    }

    /// What holds for one group.
    fn pace(&self, group: &str) -> Pace {
        let own = self.paces.get(group).copied().unwrap_or_default();
        let config = &self.config;
        Pace {
            session_timeout_ms: own
                .session_timeout_ms
                .unwrap_or(config.consumer_session_timeout_ms),
            heartbeat_interval_ms: own
                .heartbeat_interval_ms
                .unwrap_or(config.consumer_heartbeat_interval_ms),
            members_max: config.members_max,
        }
    }

    /// Acts on a KIP-848 group; `None` if it is not one.
    pub(super) fn consumer_step<R, E>(
        &mut self,
        name: &str,
        now_ms: i64,
        act: impl FnOnce(&mut Draft<'_>) -> Result<R, E>,
    ) -> Option<Decision<Result<R, E>>> {
        self.step_of(name, None, now_ms, act)
    }

    fn step_of<R, E>(
        &mut self,
        name: &str,
        speaker: Option<Speaker<'_>>,
        now_ms: i64,
        act: impl FnOnce(&mut Draft<'_>) -> Result<R, E>,
    ) -> Option<Decision<Result<R, E>>> {
        let pace = self.pace(name);
        let group = self.groups.get_mut(name)?;
        let before = group.consumer.clone()?;
        let topology = &*self.topology;
        let mut volatile = std::mem::take(&mut group.volatile);
        let start = before.clone();
        let volatile_now = &mut volatile;
        let mut draft =
            Draft { group: start, volatile: volatile_now, topology, pace, now_ms, speaker };
        draft.advance();
        draft.refresh();
        let advanced = draft.group.clone();
        let response = act(&mut draft);
        match response {
            Ok(_) => draft.refresh(),
            Err(_) => draft.group = advanced,
        }
        let mut after = draft.group;
        group.volatile = volatile;
        if !after.members.is_empty() {
            after.epochs.emptied_at_ms = 0;
        } else if !before.members.is_empty() {
            after.epochs.emptied_at_ms = now_ms;
        }
        let mut records = Vec::new();
        let mut wake = Vec::new();
        if after.is_to_go_down(&before) {
            before.forget(name, &mut records);
            records.push(after.downgraded(name, topology));
            group.rejoin = true;
            wake.push(name.to_owned());
        } else {
            after.changes_since(&before, name, &mut records);
        }
        Some(Decision { response, records, wake })
    }
}

/// Kafka's words for a group that is not there.
pub(super) fn missing(group: &str) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, format!("Group {group} not found."))
}

/// Kafka's words for a group of the other type.
pub(super) fn other_type(group: &str, wanted: &str) -> Refused {
    let message = format!("Group {group} is not a {wanted} group.");
    Refused::new(ErrorCode::GroupIdNotFound, message)
}

impl ConsumerGroup {
    /// Whether `member` may commit or read offsets at `epoch`.
    pub(crate) fn check_epoch(&self, member: &str, epoch: i32) -> Result<(), ErrorCode> {
        let member = self.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        match epoch == member.epoch && epoch != AWAY_EPOCH {
            true => Ok(()),
            false if member.classic.is_some() => Err(ErrorCode::IllegalGeneration),
            false => Err(ErrorCode::StaleMemberEpoch),
        }
    }
}
