//! KIP-848 groups, as scripts: see the head of `mod.rs`. Topic `t` has four partitions.

use super::*;

impl Play {
    /// A heartbeat as a client sends it that has nothing new to say.
    pub(super) fn said(&self, name: &str, epoch: i32) -> Heartbeat {
        Heartbeat {
            group: "g".into(),
            member: name.to_owned(),
            epoch,
            instance: None,
            rack: None,
            rebalance_timeout_ms: -1,
            topics: None,
            regex: None,
            assignor: None,
            owned: None,
            client_id: "c".into(),
            client_host: "h".into(),
            brings_id: true,
            fresh_id: String::new(),
        }
    }

    pub(super) fn enter(&mut self, name: &str, topics: &str, instance: Option<String>) -> String {
        let mut said = self.said(name, 0);
        said.rebalance_timeout_ms = 30_000;
        said.owned = Some(Parts::new());
        match topics.starts_with('^') {
            true => said.regex = Some(topics.to_owned()),
            false => said.topics = Some(topics.split(',').map(str::to_owned).collect()),
        }
        said.instance = instance;
        self.send(name, &said)
    }

    pub(super) fn beat(
        &mut self,
        name: &str,
        epoch: Option<i32>,
        also: impl FnOnce(&mut Heartbeat),
    ) -> String {
        let known = self.told.get(name).map_or(0, |(epoch, _)| *epoch);
        let mut said = self.said(name, epoch.unwrap_or(known));
        let group = self.groups.get("g").and_then(|group| group.consumer.as_ref());
        let member = group.and_then(|group| group.members.get(name));
        said.instance = member.and_then(|member| member.instance.clone());
        also(&mut said);
        self.send(name, &said)
    }

    fn send(&mut self, name: &str, said: &Heartbeat) -> String {
        let decision = self.groups.consumer_heartbeat(said, &|_| true, self.now_ms);
        match self.settle(decision) {
            Ok(Beat { epoch, assignment, .. }) => {
                let told = self.told.entry(name.to_owned()).or_default();
                told.0 = epoch;
                if let Some(assignment) = assignment {
                    told.1 = assignment;
                    return format!("{epoch}: {}", write_parts(&told.1)).trim().to_owned();
                }
                format!("{epoch}")
            }
            Err(refused) => format!("{:?}", refused.code),
        }
    }
}

#[test]
fn one_member_gets_all_and_a_second_half_of_it() {
    check(
        "in a t => 1: t0 t1 t2 t3
        hb a => 1
        in b t => 2:
        state => Reconciling a,b
        hb a => 1: t0 t1
        hb b => 2
        own a t0 t1 => 2
        hb b => 2: t2 t3
        state => Stable a,b
        hb a => 2",
    );
}

#[test]
fn what_a_member_still_owns_is_given_to_nobody() {
    check(
        "in a t => 1: t0 t1 t2 t3
        in b t => 2:
        hb a => 1: t0 t1
        own a t0 t1 t2 t3 => 1
        hb b => 2
        own a t0 t1 t3 => 1
        hb b => 2
        own a t0 t1 => 2
        hb b => 2: t2 t3",
    );
}

#[test]
fn a_member_that_does_not_give_back_in_time_is_gone() {
    check(
        "in a t => 1: t0 t1 t2 t3
        in b t => 2:
        hb a => 1: t0 t1
        +29000
        hb b => 2
        hb a => 1
        +1000
        hb b => 3: t0 t1 t2 t3
        hb a => UnknownMemberId",
    );
}

#[test]
fn a_silent_member_is_gone_and_its_partitions_go_to_the_rest() {
    check(
        "in a t => 1: t0 t1 t2 t3
        in b t => 2:
        hb a => 1: t0 t1
        own a t0 t1 => 2
        hb b => 2: t2 t3
        +30000
        hb b => 2
        +15000
        tick
        hb b => 3: t0 t1 t2 t3
        +44000
        restart
        +44000
        hb b => 3
        +45000
        tick
        state => Empty",
    );
}

#[test]
fn epochs_are_fenced() {
    check(
        "hb a 3 => GroupIdNotFound
        in a t => 1: t0 t1 t2 t3
        hb a 2 => FencedMemberEpoch
        hb b 1 => UnknownMemberId
        in b t => 2:
        hb a => 1: t0 t1
        own a t0 t1 => 2
        hb a 1 => FencedMemberEpoch
        hb a -3 => InvalidRequest
        away a => InvalidRequest
        out a => -1
        out a => UnknownMemberId
        hb b 2 => 3: t0 t1 t2 t3",
    );
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    check(
        "in a t => 1: t0 t1 t2 t3
        in a t => 1: t0 t1 t2 t3
        in b t => 2:
        hb a 1 => 1: t0 t1
        own a t0 t1 => 2
        in a t => 2: t0 t1",
    );
}

#[test]
fn topics_that_grow_go_or_change_start_a_new_epoch() {
    check(
        "in a t,u => 1: t0 t1 t2 t3
        topic t 5
        hb a => 2: t0 t1 t2 t3 t4
        topic u 1
        tick
        hb a => 3: t0 t1 t2 t3 t4 u0
        sub a u => 3: u0
        own a u0 => 4
        topic t 6
        hb a => 4
        topic u -
        hb a => 4:
        own a => 5",
    );
}

#[test]
fn regular_expressions_match_whole_names() {
    check(
        "topic u 1
        in a ^(t|x.*) => 1: t0 t1 t2 t3
        topic x 1
        hb a => 2: t0 t1 t2 t3 x0
        in b ^( => InvalidRegularExpression
        in b ^a)(b => InvalidRegularExpression
        restart
        hb a => 2
        state => Stable a",
    );
}

#[test]
fn a_static_member_keeps_its_partitions_while_it_is_away() {
    check(
        "in a t as x => 1: t0 t1 t2 t3
        in b t as y => 2:
        hb a => 1: t0 t1
        own a t0 t1 => 2
        hb b => 2: t2 t3
        in c t as x => UnreleasedInstanceId
        away a => -2
        hb b => 2
        in c t as x => 2: t0 t1
        hb a 2 => UnknownMemberId
        state => Stable b,c
        away c => -2
        +45000
        hb b => UnknownMemberId
        state => Empty",
    );
}

#[test]
fn commits_are_fenced_by_member_epoch() {
    check(
        "in a t => 1: t0 t1 t2 t3
        commit-as a 0 t/0=5 => StaleMemberEpoch
        commit-as a 1 t/0=5 => None
        commit-as b 1 t/0=5 => UnknownMemberId
        commit - -1 t/0=5 => UnknownMemberId
        delete => NonEmptyGroup
        out a => -1
        commit - -1 t/0=5 => None
        commit - 1 t/0=5 => UnknownMemberId
        delete => ok
        state => none",
    );
}

#[test]
fn a_restart_in_the_middle_changes_nothing() {
    check(
        "in a t => 1: t0 t1 t2 t3
        in b t => 2:
        hb a => 1: t0 t1
        restart
        hb b => 2
        own a t0 t1 => 2
        restart
        hb b => 2: t2 t3
        out a => -1
        restart
        hb b => 3: t0 t1 t2 t3",
    );
}

#[test]
fn an_empty_group_keeps_its_offsets_for_a_week_and_itself_ten_minutes() {
    check(
        "in a t => 1: t0 t1 t2 t3
        commit-as a 1 t/0=5 => None
        out a => -1
        +604799000
        restart
        tick
        offset t/0 => 5 by a
        +2000
        tick
        state => none
        in a t => 1: t0 t1 t2 t3
        out a => -1
        +599000
        tick
        state => Empty
        +1000
        tick
        state => none",
    );
}
