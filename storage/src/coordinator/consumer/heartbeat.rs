//! ConsumerGroupHeartbeat: the one request by which a member joins, stays, changes and leaves.
//!
//! The order is Kafka's (`GroupMetadataManager.consumerGroupHeartbeat`): find or make the member and
//! check its epoch; take in what it subscribes to; bring epoch and target up to date; move the member
//! one step; answer with the assignment if it changed or the client asked for all.

use super::assignor::ASSIGNORS;
use super::member::{ConsumerMember, MemberState};
use super::topics::compile;
use super::{AWAY_EPOCH, Draft, Parts};
use crate::error::{ErrorCode, Refused};

/// The epoch a member joins with, and those it leaves with.
const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;

/// What a member says.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub group: String,
    pub member: String,
    /// 0 to join, -1 to leave, -2 for a static member that will come back.
    pub epoch: i32,
    pub instance: Option<String>,
    pub rack: Option<String>,
    /// -1 if unchanged.
    pub rebalance_timeout_ms: i32,
    /// `None` if unchanged.
    pub topics: Option<Vec<String>>,
    /// `None` if unchanged, empty for none.
    pub regex: Option<String>,
    pub assignor: Option<String>,
    /// What the client has at this moment; `None` if unchanged.
    pub owned: Option<Parts>,
    pub client_id: String,
    pub client_host: String,
    /// The client makes its member id itself (version 1).
    pub brings_id: bool,
    /// The id for a member of version 0 that has none.
    pub fresh_id: String,
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    pub member: String,
    pub epoch: i32,
    /// 0 for a member that left.
    pub interval_ms: i32,
    /// Everything it may read; `None` if unchanged.
    pub assignment: Option<Parts>,
}

impl Heartbeat {
    /// Checks what needs no group.
    pub(in crate::coordinator) fn check(&self) -> Result<(), Refused> {
        let refuse = |words: &str| Err(Refused::new(ErrorCode::InvalidRequest, words));
        let empty = |text: &Option<String>| text.as_deref() == Some("");
        if (self.brings_id || self.epoch != JOIN_EPOCH) && self.member.is_empty() {
            return refuse("MemberId can't be empty.");
        }
        if self.group.is_empty() {
            return refuse("GroupId can't be empty.");
        }
        if empty(&self.instance) {
            return refuse("InstanceId can't be empty.");
        }
        if empty(&self.rack) {
            return refuse("RackId can't be empty.");
        }
        match self.epoch {
            JOIN_EPOCH if self.rebalance_timeout_ms == -1 => {
                return refuse("RebalanceTimeoutMs must be provided in first request.");
            }
            JOIN_EPOCH if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
                return refuse("TopicPartitions must be empty when (re-)joining.");
            }
            JOIN_EPOCH if self.topics.is_none() && self.regex.is_none() => {
                return refuse(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                     (re-)joining.",
                );
            }
            AWAY_EPOCH if self.instance.is_none() => return refuse("InstanceId can't be null."),
            epoch if epoch < AWAY_EPOCH => {
                return refuse(&format!(
                    "MemberEpoch is {epoch}, but must be greater than or equal to -2."
                ));
            }
            _ => {}
        }
        if let Some(name) = &self.assignor
            && !ASSIGNORS.contains(&name.as_str())
        {
            let known = ASSIGNORS.join(", ");
            let message =
                format!("ServerAssignor {name} is not supported. Supported assignors: {known}.");
            return Err(Refused::new(ErrorCode::UnsupportedAssignor, message));
        }
        if let Some(pattern) = self.regex.as_deref().filter(|pattern| !pattern.is_empty()) {
            compile(pattern)?;
        }
        Ok(())
    }

    /// Whether the member wants to join; only then a group is made for it.
    pub(in crate::coordinator) fn joins(&self) -> bool {
        self.epoch == JOIN_EPOCH
    }

    /// The id the member has, or is given.
    pub(in crate::coordinator) fn id(&self) -> &str {
        if self.member.is_empty() { &self.fresh_id } else { &self.member }
    }

    fn leaves(&self) -> bool {
        matches!(self.epoch, LEAVE_EPOCH | AWAY_EPOCH)
    }

    /// A client that tells everything is to be told everything.
    fn is_full(&self) -> bool {
        let subscribed = self.topics.is_some() || self.regex.is_some();
        self.joins() || (self.rebalance_timeout_ms != -1 && subscribed && self.owned.is_some())
    }
}

impl Draft<'_> {
    /// Carries out a checked heartbeat. A refusal leaves the draft as it was.
    pub(in crate::coordinator) fn heartbeat(&mut self, said: &Heartbeat) -> Result<Beat, Refused> {
        if said.leaves() {
            let left = self.leave(said)?;
            self.refresh();
            return Ok(left);
        }
        let id = said.id();
        let before = self.find_or_make(id, said)?;
        let after = take_in(&before, said);
        if after.subscribes_as(&before) && self.member(id).is_some() {
            if after != before {
                self.put(after);
            }
        } else {
            self.put(after);
            self.subscriptions_changed();
            self.bump();
        }
        self.touch(id);
        self.refresh();
        self.reconcile(id, said.owned.as_ref());
        let now = self.member(id).ok_or(ErrorCode::UnknownMemberId)?;
        let changed = now.assigned != before.assigned;
        Ok(Beat {
            member: now.id.clone(),
            epoch: now.epoch,
            interval_ms: self.pace.heartbeat_interval_ms,
            assignment: (changed || said.is_full()).then(|| now.assigned.clone()),
        })
    }

    /// The member a heartbeat speaks for, as it is before what the heartbeat says.
    fn find_or_make(&mut self, id: &str, said: &Heartbeat) -> Result<ConsumerMember, Refused> {
        if let Some(instance) = &said.instance
            && let Some(holder) = self.group.by_instance(instance).cloned()
            && holder.id != id
        {
            if !said.joins() {
                return Err(fenced_instance(instance));
            }
            return self.take_over(&holder, id);
        }
        match self.member(id) {
            Some(member) if said.instance.is_some() && member.instance != said.instance => {
                Err(unknown(id, &said.group))
            }
            Some(member) => {
                check_epoch(member, said.epoch, said.owned.as_ref())?;
                let mut member = ConsumerMember::clone(member);
                if member.epoch == AWAY_EPOCH {
                    member.epoch = JOIN_EPOCH;
                    member.previous_epoch = JOIN_EPOCH;
                }
                Ok(member)
            }
            None if said.joins() => {
                self.check_room()?;
                Ok(ConsumerMember::new(id))
            }
            None => Err(unknown(id, &said.group)),
        }
    }

    /// A new process comes under the name of a static member that is away: it gets all it had.
    fn take_over(&mut self, holder: &ConsumerMember, id: &str) -> Result<ConsumerMember, Refused> {
        let instance = holder.instance.clone().unwrap_or_default();
        if holder.epoch != AWAY_EPOCH {
            let message = format!(
                "Static member {id} with instance id {instance} was fenced by the group coordinator: \
                 the instance id is still used by member {}, which has not left.",
                holder.id
            );
            return Err(Refused::new(ErrorCode::UnreleasedInstanceId, message));
        }
        Ok(self.replace(holder, id))
    }

    /// The member `id` takes the place of a static member, with its partitions.
    pub(super) fn replace(&mut self, holder: &ConsumerMember, id: &str) -> ConsumerMember {
        self.members_mut().remove(&holder.id);
        self.volatile.timers.remove(&holder.id);
        let member = ConsumerMember {
            id: id.to_owned(),
            epoch: JOIN_EPOCH,
            previous_epoch: JOIN_EPOCH,
            state: MemberState::Stable,
            revoking: Parts::new(),
            ..holder.clone()
        };
        self.put(member.clone());
        member
    }

    pub(super) fn check_room(&self) -> Result<(), Refused> {
        let max = self.pace.members_max;
        if self.group.members.len() < max {
            return Ok(());
        }
        let message =
            format!("The consumer group has reached its maximum capacity of {max} members.");
        Err(Refused::new(ErrorCode::GroupMaxSizeReached, message))
    }

    fn leave(&mut self, said: &Heartbeat) -> Result<Beat, Refused> {
        let member = match &said.instance {
            None => self.member(&said.member).ok_or_else(|| unknown(&said.member, &said.group))?,
            Some(instance) => {
                let holder = self.group.by_instance(instance);
                let holder = holder.ok_or_else(|| unknown(&said.member, &said.group))?;
                if holder.id != said.member {
                    return Err(fenced_instance(instance));
                }
                holder
            }
        };
        let member = ConsumerMember::clone(member);
        let id = member.id.clone();
        if said.epoch == AWAY_EPOCH {
            // It keeps its place until its session ends; what it was to give back it has given back.
            self.act_by(&id, None);
            self.put(ConsumerMember {
                epoch: AWAY_EPOCH,
                revoking: Parts::new(),
                state: MemberState::Stable,
                ..member
            });
        } else {
            self.fence(&id);
        }
        Ok(Beat { member: id, epoch: said.epoch, interval_ms: 0, assignment: None })
    }
}

/// The member with what the heartbeat changes.
fn take_in(before: &ConsumerMember, said: &Heartbeat) -> ConsumerMember {
    let mut after = before.clone();
    if said.instance.is_some() {
        after.instance.clone_from(&said.instance);
    }
    if said.rack.is_some() {
        after.rack.clone_from(&said.rack);
    }
    if said.rebalance_timeout_ms != -1 {
        after.rebalance_timeout_ms = said.rebalance_timeout_ms;
    }
    if let Some(topics) = &said.topics {
        after.topics.clone_from(topics);
        after.topics.sort_unstable();
        after.topics.dedup();
    }
    if let Some(regex) = &said.regex {
        after.regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
    }
    if said.assignor.is_some() {
        after.assignor.clone_from(&said.assignor);
    }
    after.client_id.clone_from(&said.client_id);
    after.client_host.clone_from(&said.client_host);
    // Who speaks this protocol speaks the classic one no more.
    after.classic = None;
    after
}

/// Kafka's rule: the epoch must be the member's, or the one before if the answer that brought the new
/// one was lost. A member that knows nothing any more may always join again (KAFKA-19233).
fn check_epoch(member: &ConsumerMember, epoch: i32, owned: Option<&Parts>) -> Result<(), Refused> {
    let has_only_its_own = || {
        owned.is_some_and(|owned| {
            owned.iter().all(|(topic, indexes)| {
                member.assigned.get(topic).is_some_and(|assigned| indexes.is_subset(assigned))
            })
        })
    };
    if epoch == JOIN_EPOCH
        || epoch == member.epoch
        || (epoch == member.previous_epoch && epoch < member.epoch && has_only_its_own())
    {
        return Ok(());
    }
    let (compared, known) = match epoch > member.epoch {
        true => ("greater", member.epoch),
        false => ("smaller", member.epoch),
    };
    let message = format!(
        "The consumer group member has a {compared} member epoch ({epoch}) than the one known by the \
         group coordinator ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refused::new(ErrorCode::FencedMemberEpoch, message))
}

pub(super) fn unknown(member: &str, group: &str) -> Refused {
    let message = format!("Member {member} is not a member of group {group}.");
    Refused::new(ErrorCode::UnknownMemberId, message)
}

pub(super) fn fenced_instance(instance: &str) -> Refused {
    let message = format!("Instance id {instance} is used by another member by now.");
    Refused::new(ErrorCode::FencedInstanceId, message)
}
