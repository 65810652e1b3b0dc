//! Both protocols in one group, and groups that go from one to the other.

use super::*;

/// Two classic members, `a` leading, with two partitions each in generation 1.
const CLASSIC: &str = "
    join a => id
    join a => wait
    join b => id
    join b => wait
    +100
    poll a => wait
    +100
    poll a => 1 range leads a,b
    poll b => 1 range
    sync b 1 => wait
    sync a 1 a=t0,t1 b=t2,t3 => t0,t1
    fetch b 1 => t2,t3
    kind => classic";

#[test]
fn a_kip_848_member_turns_a_classic_group_and_gets_its_share() {
    check(&format!(
        "{CLASSIC}
        in c t => 2:
        kind => consumer
        state => Reconciling a,b,c
        beat b 1 => RebalanceInProgress
        join b => 2 range
        sync b 2 => t2,t3
        beat b 2 => ok
        beat a 1 => RebalanceInProgress
        join a => 2 range
        sync a 2 => t0
        hb c => 2: t1
        state => Stable a,b,c
        commit a 2 t/0=5 => None
        commit b 1 t/2=5 => IllegalGeneration
        commit c 1 t/1=5 => UnknownMemberId
        restart
        beat a 2 => ok
        hb c => 2"
    ));
}

#[test]
fn the_last_kip_848_member_leaves_a_classic_group_behind() {
    check(&format!(
        "{CLASSIC}
        in c t => 2:
        join b => 2 range
        join a => 2 range
        leave b => ok
        kind => consumer
        out c => -1
        kind => classic
        beat a 2 => IllegalGeneration
        state => PreparingRebalance a
        join a => 5 range leads a
        sync a 5 a=t0,t1,t2,t3 => t0,t1,t2,t3
        state => Stable a"
    ));
}

#[test]
fn a_kip_848_member_whose_session_ends_leaves_a_classic_group_behind() {
    check(&format!(
        "{CLASSIC}
        in c t => 2:
        join b => 2 range
        join a => 2 range
        sync a 2 => t0
        sync b 2 => t2,t3
        +9000
        beat a 2 => ok
        beat b 2 => ok
        +9000
        beat a 2 => ok
        beat b 2 => ok
        +9000
        beat a 2 => ok
        beat b 2 => ok
        +9000
        beat a 2 => ok
        beat b 2 => ok
        +9000
        beat a 2 => RebalanceInProgress
        kind => classic
        restart
        state => Stable a,b
        tick
        beat a 3 => ok"
    ));
}

#[test]
fn classic_members_that_are_silent_or_do_not_join_again_are_gone() {
    check(&format!(
        "{CLASSIC}
        in c t => 2:
        +9000
        beat a 1 => RebalanceInProgress
        +1000
        tick
        state => Reconciling a,c
        beat a 1 => RebalanceInProgress
        +9000
        beat a 1 => RebalanceInProgress
        +9000
        beat a 1 => RebalanceInProgress
        +9000
        beat a 1 => RebalanceInProgress
        +3000
        beat a 1 => UnknownMemberId
        hb c => 4: t0 t1 t2 t3"
    ));
}

#[test]
fn classic_members_join_a_kip_848_group_and_an_empty_one_becomes_classic() {
    check(
        "in c t => 1: t0 t1 t2 t3
        join a => id
        join a => 2 range
        sync a 2 =>
        hb c => 1: t0 t1
        beat a 2 => ok
        own c t0 t1 => 2
        beat a 2 => RebalanceInProgress
        join a => 2 range
        sync a 2 => t2,t3
        sync a 1 => IllegalGeneration
        join x other => InconsistentGroupProtocol
        leave a => ok
        hb c => 3: t0 t1 t2 t3
        commit c 3 t/0=7 => UnknownMemberId
        out c => -1
        state => Empty
        join a => UnknownMemberId
        join d => id
        kind => classic
        join d => wait
        +100
        poll d => 1 range leads d",
    );
}

#[test]
fn other_groups_than_consumers_are_not_turned() {
    check(
        "connect a => id
        connect a => wait
        +100
        poll a => 1 range leads a
        in c t => GroupIdNotFound
        kind => classic
        sync a 1 a=A => A
        in c t => GroupIdNotFound
        leave a => ok
        in c t => 1: t0 t1 t2 t3
        connect a => InconsistentGroupProtocol",
    );
}
