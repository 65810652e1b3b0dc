//! How a group comes to its next generation: phases, their deadlines, and the passing of time.
//!
//! Nothing here fires by itself. Each request first lets time pass for its group
//! ([`Group::advance`]); whoever waits says when to look again ([`Group::look_again`]).
//!
//! An answer is derived from the group as it is now, never kept aside for a member: who looks late
//! learns the newest truth.

use super::GroupConfig;
use super::group::{FirstJoin, Group, Member, State};
use super::records::GroupRecord;

/// What a step leaves behind besides its answer.
#[derive(Debug, Default)]
pub struct Effects {
    /// Facts to be put in the journal and then applied.
    pub records: Vec<GroupRecord>,
    /// Whether somebody who waits on this group should look again.
    pub wake: bool,
}

impl Group {
    pub(super) fn remove(&mut self, id: &str) {
        if let Some(member) = self.members.remove(id)
            && let Some(instance) = member.instance
        {
            self.instances.remove(&instance);
        }
    }

    /// Lets time pass: ends sessions and phases whose time is up, and completes a join phase for
    /// which nobody is missing.
    pub fn advance(&mut self, config: &GroupConfig, now_ms: i64, effects: &mut Effects) {
        if std::mem::take(&mut self.rejoin) && !self.members.is_empty() {
            self.members.values_mut().for_each(|member| member.touch(now_ms));
            self.start_joining(config, now_ms, effects);
        }
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
    pub(super) fn start_joining(
        &mut self,
        config: &GroupConfig,
        now_ms: i64,
        effects: &mut Effects,
    ) {
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
    pub(super) fn common_protocols(&self, except: Option<&str>) -> impl Iterator<Item = &str> {
        let heard: Vec<&Member> =
            self.members.values().filter(|member| Some(&*member.id) != except).collect();
        let names = heard.first().map_or(&[][..], |member| &member.protocols[..]);
        names.iter().map(|(name, _)| name.as_str()).filter(move |name| {
            heard.iter().all(|other| other.protocols.iter().any(|(known, _)| known == name))
        })
    }

    /// Each member votes for the protocol it prefers among those all speak; most votes win, and
    /// among equals the first by name.
    pub(super) fn choose_protocol(&self) -> Option<String> {
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
    pub(super) fn look_again(&self, member: &Member, now_ms: i64) -> i64 {
        let alive_ms = now_ms.saturating_add(i64::from(member.session_timeout_ms / 3).max(1));
        match self.state {
            State::Joining { deadline_ms, .. } | State::Syncing { deadline_ms } => {
                deadline_ms.min(alive_ms).max(now_ms.saturating_add(1))
            }
            State::Empty | State::Stable => alive_ms,
        }
    }
}
