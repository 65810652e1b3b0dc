//! One step of a member towards its target (Kafka's `CurrentAssignmentBuilder`).
//!
//! ```text
//!              has to give back                     gave back
//!   Stable ────────────────────► Unrevoked ──────────────────────┐
//!     ▲ │ someone else still has what it is to get               │
//!     │ └────────────────────► Unreleased ◄──────────────────────┤
//!     └── all there ─────────────────┴───────────────────────────┘
//! ```
//!
//! A member first gives back, and only then goes to the new epoch: while it owns a partition that is
//! not its own any more it keeps its epoch, so its commits are still good.

use std::collections::BTreeSet;

use super::member::{ConsumerMember, MemberState};
use super::{Draft, Parts};
use uuid::Uuid;

/// Whether any of `parts` is among `owned`. A client that does not say what it owns may own all.
fn owns_any(owned: Option<&Parts>, parts: &Parts) -> bool {
    let Some(owned) = owned else { return !parts.is_empty() };
    parts
        .iter()
        .any(|(topic, indexes)| owned.get(topic).is_some_and(|owned| !owned.is_disjoint(indexes)))
}

impl Draft<'_> {
    /// Moves a member one step. `owned` is what the client says it owns, if it says.
    pub(super) fn reconcile(&mut self, id: &str, owned: Option<&Parts>) {
        let Some(member) = self.member(id).cloned() else { return };
        let target_epoch = self.group.epochs.assignment;
        if member.is_at(target_epoch) {
            return;
        }
        let (epoch, may_go) = match member.state {
            MemberState::Stable | MemberState::Unreleased => (member.epoch, true),
            // The client still holds what it is to give back, or does not say.
            MemberState::Unrevoked => (member.epoch, !owns_any(owned, &member.revoking)),
        };
        if !may_go {
            return;
        }
        let next = self.next_assignment(&member, epoch, target_epoch, owned);
        if next == *member {
            return;
        }
        if next.classic.is_none() {
            let within_ms = next.rebalance_timeout_ms;
            let revoking = next.state == MemberState::Unrevoked;
            self.act_by(id, revoking.then_some(within_ms));
        }
        self.put(next);
    }

    fn next_assignment(
        &self,
        member: &ConsumerMember,
        epoch: i32,
        target_epoch: i32,
        owned: Option<&Parts>,
    ) -> ConsumerMember {
        let mut kept = Parts::new();
        let mut revoking = Parts::new();
        for (topic, indexes) in &member.assigned {
            let target = member.target.get(topic);
            let stays = |index: &&i32| target.is_some_and(|target| target.contains(index));
            let (keep, give): (BTreeSet<i32>, BTreeSet<i32>) =
                indexes.iter().partition(|index| stays(index));
            add(&mut kept, *topic, keep);
            add(&mut revoking, *topic, give);
        }
        let mut next = member.clone();
        if !revoking.is_empty() && owns_any(owned, &revoking) {
            next.state = MemberState::Unrevoked;
            next.go_to(epoch);
            next.assigned = kept;
            next.revoking = revoking;
            return next;
        }
        let mut waits = false;
        for (topic, indexes) in &member.target {
            let has = kept.get(topic);
            let new: BTreeSet<i32> = indexes
                .iter()
                .filter(|index| !has.is_some_and(|has| has.contains(index)))
                .copied()
                .collect();
            let (taken, free): (BTreeSet<i32>, BTreeSet<i32>) =
                new.into_iter().partition(|index| self.is_taken(&member.id, *topic, *index));
            waits |= !taken.is_empty();
            if !free.is_empty() {
                kept.entry(*topic).or_default().extend(free);
            }
        }
        next.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        next.go_to(target_epoch);
        next.assigned = kept;
        next.revoking = Parts::new();
        next
    }

    /// Whether another member has a partition, or has not given it back yet.
    fn is_taken(&self, by_other_than: &str, topic: Uuid, index: i32) -> bool {
        let holds = |parts: &Parts| parts.get(&topic).is_some_and(|held| held.contains(&index));
        self.group.members.values().any(|other| {
            other.id != by_other_than && (holds(&other.assigned) || holds(&other.revoking))
        })
    }

    /// Whether something a member waits for is still with another.
    pub(super) fn waits_for_others(&self, member: &ConsumerMember) -> bool {
        let has = |topic: &Uuid, index: &i32| {
            member.assigned.get(topic).is_some_and(|held| held.contains(index))
        };
        member.target.iter().any(|(topic, indexes)| {
            let missing = indexes.iter().filter(|index| !has(topic, index));
            missing.into_iter().any(|index| self.is_taken(&member.id, *topic, *index))
        })
    }
}

fn add(parts: &mut Parts, topic: Uuid, indexes: BTreeSet<i32>) {
    if !indexes.is_empty() {
        parts.insert(topic, indexes);
    }
}
