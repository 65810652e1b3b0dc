//! The coordinator as its members see it, and the one test that matters most: rebuild and compare.
//!
//! A script is one step per line, `step => what comes of it`. Steps:
//!
//! ```text
//! +100                     let 100 ms pass
//! join a [range,sticky]    member a asks to join (with its id, if it has one)
//! connect a                the same as a Connect worker
//! static a as x            the same under the instance name x, always without an id
//! poll a                   has a's join been answered?
//! sync a 1 a=P b=Q         a asks for its assignment in generation 1, and hands one in
//! fetch a 1                is a's assignment there?
//! beat a 1                 a heartbeat in generation 1
//! leave a                  a leaves
//! commit a 1 t/0=5         a commits offset 5 for partition 0 of t; `commit - -1 …` without a group
//! commit-as a 1 t/0=5      the same by the KIP-848 member a
//! offset t/0               what is committed
//! tick                     let time pass for all
//! restart                  throw the coordinator away and rebuild it from the records
//! state                    Kafka's name of the state, and the members
//! delete                   delete the group
//! kind                     classic or consumer
//! topic u 3                topic u has 3 partitions; none: it is deleted
//! in a t,u                 a joins by KIP-848, subscribing to t and u; `in a ^t.*` by regular expression
//! in a t as x              the same under the instance name x
//! hb a                     a heartbeat in a's last epoch; `hb a 3` in epoch 3
//! own a t0 t1              the same, and a says what it owns
//! sub a u                  a heartbeat that changes the subscription
//! out a                    a leaves; `away a` as a static member that will come back
//! ```
//!
//! A KIP-848 answer is `epoch: partitions`, `epoch` alone if the assignment did not change.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use uuid::Uuid;

mod consumer;
mod convert;
mod random;

use super::consumer::{Beat, ClassicPart, ConsumerMember, Heartbeat, MemberState, Parts};
use super::group::State;
use super::protocol::{NamedParts, read_assignment, write_assignment};
use super::*;

/// Topics of a test: name to id and number of partitions.
#[derive(Debug, Default)]
struct Topics(Mutex<BTreeMap<String, (Uuid, i32)>>);

impl Topics {
    /// Makes a topic, gives it more partitions, or deletes it (0).
    fn set(&self, name: &str, partitions: i32) {
        let mut topics = self.0.lock();
        match partitions {
            0 => topics.remove(name),
            _ => topics.insert(name.to_owned(), (topic_id(name), partitions)),
        };
    }
}

/// `t` is 74…, so that a test can tell ids apart.
fn topic_id(name: &str) -> Uuid {
    Uuid::from_u128(u128::from(name.as_bytes()[0]))
}

impl Topology for Topics {
    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        self.0.lock().get(name).copied()
    }

    fn name_of(&self, id: Uuid) -> Option<String> {
        let topics = self.0.lock();
        topics.iter().find(|(_, (of, _))| *of == id).map(|(name, _)| name.clone())
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// The sum of what may change is enough for tests.
    fn version(&self) -> u64 {
        let topics = self.0.lock();
        let one = |(name, (_, partitions)): (&String, &(Uuid, i32))| {
            u64::from(name.as_bytes()[0]) * 1000 + *partitions as u64
        };
        topics.iter().map(one).sum()
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// A consumer's subscription to topic `t`.
fn subscription(owned: &NamedParts) -> Vec<u8> {
    // Version 1: topics, no user data, owned partitions: an assignment has the same tail.
    let mut out = vec![0, 1, 0, 0, 0, 1, 0, 1, b't', 255, 255, 255, 255];
    let parts = write_assignment(1, owned);
    out.extend(&parts[2..parts.len() - 4]);
    out
}

struct Play {
    groups: Groups,
    topics: Arc<Topics>,
    /// The newest value of each key, as the broker's journal keeps it.
    journal: BTreeMap<Bytes, Bytes>,
    now_ms: i64,
    /// Member names of the script to the ids they were given.
    ids: BTreeMap<String, String>,
    fresh: u32,
    /// KIP-848 members of the script: the epoch and the assignment they were last told.
    told: BTreeMap<String, (i32, Parts)>,
}

impl Play {
    fn new() -> Self {
        let topics = Arc::new(Topics::default());
        topics.set("t", 4);
        let groups = Groups::new(GroupConfig::standard(), topics.clone());
        Self {
            groups,
            topics,
            journal: BTreeMap::new(),
            now_ms: 0,
            ids: BTreeMap::new(),
            fresh: 0,
            told: BTreeMap::new(),
        }
    }

    /// What the node does with a decision: journal, then apply.
    fn settle<R>(&mut self, decision: Decision<R>) -> R {
        for record in &decision.records {
            match record.to_entry() {
                (key, Some(value)) => self.journal.insert(key, value),
                (key, None) => self.journal.remove(&key),
            };
            self.groups.apply(record);
        }
        decision.response
    }

    fn rebuilt(&self) -> Groups {
        let mut groups = Groups::new(GroupConfig::standard(), self.topics.clone());
        for (key, value) in &self.journal {
            groups.apply(&GroupRecord::from_entry(key, value).expect("our own entry"));
        }
        groups
    }

    fn id(&self, name: &str) -> String {
        self.ids.get(name).cloned().unwrap_or_default()
    }

    /// Ids as the names the script knows them by.
    fn name(&self, id: &str) -> String {
        let known = self.ids.iter().find(|(_, known)| *known == id);
        known.map_or_else(|| id.to_owned(), |(name, _)| name.clone())
    }

    fn join(
        &mut self,
        name: &str,
        instance: Option<&str>,
        protocols: &str,
        protocol_type: &str,
    ) -> String {
        self.fresh += 1;
        let member = if instance.is_some() { String::new() } else { self.id(name) };
        let request = JoinRequest {
            group: "g".into(),
            member,
            instance: instance.map(str::to_owned),
            client_id: "c".into(),
            client_host: "h".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: protocol_type.into(),
            protocols: protocols
                .split(',')
                .map(|p| (p.to_owned(), subscription(&NamedParts::new())))
                .collect(),
            requires_known_member: true,
            can_skip_assignment: true,
            fresh_id: format!("id-{}", self.fresh),
        };
        let decision = self.groups.submit_join(&request, self.now_ms);
        match self.settle(decision) {
            Ok(JoinStep::Done(joined)) => {
                self.ids.insert(name.to_owned(), joined.member.clone());
                self.joined(&joined)
            }
            Ok(JoinStep::Wait { member }) => {
                self.ids.insert(name.to_owned(), member);
                self.poll(name)
            }
            Err(JoinRefused { error: ErrorCode::MemberIdRequired, member }) => {
                self.ids.insert(name.to_owned(), member);
                "id".into()
            }
            Err(refused) => format!("{:?}", refused.error),
        }
    }

    fn joined(&self, joined: &Joined) -> String {
        let mut names: Vec<String> = joined.members.iter().map(|m| self.name(&m.id)).collect();
        names.sort();
        let leads = if joined.leader == joined.member { " leads " } else { "" };
        let skip = if joined.skip_assignment { " skip" } else { "" };
        let protocol = joined.protocol.clone().unwrap_or_default();
        format!("{} {protocol}{leads}{}{skip}", joined.generation, names.join(","))
    }

    fn poll(&mut self, name: &str) -> String {
        let decision = self.groups.poll_join("g", &self.id(name), None, self.now_ms);
        match self.settle(decision) {
            Poll::Wait { .. } => "wait".into(),
            Poll::Ready(Ok(joined)) => self.joined(&joined),
            Poll::Ready(Err(error)) => format!("{error:?}"),
        }
    }

    fn sync(&mut self, name: &str, generation: i32, parts: &[&str]) -> String {
        let assignments = parts
            .iter()
            .filter_map(|part| part.split_once('='))
            .map(|(name, given)| (self.id(name), given_assignment(given)))
            .collect();
        let request = SyncRequest {
            group: "g".into(),
            generation,
            member: self.id(name),
            instance: None,
            protocol_type: None,
            protocol: None,
            assignments,
        };
        let decision = self.groups.submit_sync(&request, self.now_ms);
        match self.settle(decision) {
            Ok(SyncStep::Done(synced)) => Self::synced(&synced),
            Ok(SyncStep::Wait) => self.fetch(name, generation),
            Err(error) => format!("{error:?}"),
        }
    }

    fn synced(synced: &Synced) -> String {
        match read_assignment(&synced.assignment) {
            Some(parts) => {
                let each = parts.iter().flat_map(|(topic, indexes)| {
                    indexes.iter().map(move |index| format!("{topic}{index}"))
                });
                each.collect::<Vec<_>>().join(",")
            }
            None => String::from_utf8_lossy(&synced.assignment).into_owned(),
        }
    }

    fn fetch(&mut self, name: &str, generation: i32) -> String {
        let decision = self.groups.poll_sync("g", &self.id(name), None, generation, self.now_ms);
        match self.settle(decision) {
            Poll::Wait { .. } => "wait".into(),
            Poll::Ready(Ok(synced)) => Self::synced(&synced),
            Poll::Ready(Err(error)) => format!("{error:?}"),
        }
    }

    fn commit(&mut self, name: &str, member: &str, generation: i32, what: &str) -> String {
        let (place, offset) = what.split_once('=').expect("topic/partition=offset");
        let (topic, partition) = place.split_once('/').expect("topic/partition");
        let commit = Commit {
            topic: topic.into(),
            partition: partition.parse().expect("a partition"),
            offset: offset.parse().expect("an offset"),
            leader_epoch: -1,
            metadata: format!("by {name}"),
        };
        let by = CommitAs { group: "g", member, instance: None, generation, knows_epochs: true };
        let decision = self.groups.commit(&by, vec![commit], self.now_ms);
        match self.settle(decision) {
            Ok(each) => format!("{:?}", each[0]),
            Err(error) => format!("{error:?}"),
        }
    }

    fn state(&self) -> String {
        let Some(group) = self.groups.get("g") else { return "none".into() };
        let modern = group.consumer.iter().flat_map(|group| group.members.keys());
        let all = group.members.keys().chain(modern);
        let mut names: Vec<String> = all.map(|id| self.name(id)).collect();
        names.sort();
        format!("{} {}", group.state_name(), names.join(",")).trim_end().to_owned()
    }

    fn outcome(result: Result<(), ErrorCode>) -> String {
        result.map_or_else(|error| format!("{error:?}"), |()| "ok".into())
    }

    fn step(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split_whitespace().collect();
        let generation = |at: usize| words[at].parse::<i32>().expect("a generation");
        match words[0] {
            time if time.starts_with('+') => {
                self.now_ms += time[1..].parse::<i64>().expect("milliseconds");
                String::new()
            }
            "join" => self.join(words[1], None, words.get(2).unwrap_or(&"range"), "consumer"),
            "connect" => self.join(words[1], None, "range", "connect"),
            "static" => self.join(words[1], Some(words[3]), "range", "consumer"),
            "poll" => self.poll(words[1]),
            "sync" => self.sync(words[1], generation(2), &words[3..]),
            "fetch" => self.fetch(words[1], generation(2)),
            "beat" => {
                let id = self.id(words[1]);
                let beat = self.groups.heartbeat("g", &id, None, generation(2), self.now_ms);
                Self::outcome(self.settle(beat))
            }
            "leave" => {
                let left = self.groups.leave("g", &self.id(words[1]), None, self.now_ms);
                Self::outcome(self.settle(left))
            }
            "commit" => self.commit(words[1], &self.id(words[1]), generation(2), words[3]),
            "commit-as" => self.commit(words[1], words[1], generation(2), words[3]),
            "offset" => {
                let (topic, partition) = words[1].split_once('/').expect("topic/partition");
                let partition = partition.parse().expect("a partition");
                let found = self.groups.get("g").and_then(|group| group.offset(topic, partition));
                found.map_or("none".into(), |found| format!("{} {}", found.offset, found.metadata))
            }
            "tick" => {
                let tick = self.groups.tick(self.now_ms);
                self.settle(tick);
                String::new()
            }
            "restart" => {
                self.groups = self.rebuilt();
                self.groups.recovered(self.now_ms);
                String::new()
            }
            "state" => self.state(),
            "topic" => {
                self.topics.set(words[1], words[2].parse().unwrap_or(0));
                String::new()
            }
            "in" => {
                let instance = words.get(4).map(|name| (*name).to_owned());
                self.enter(words[1], words[2], instance)
            }
            "hb" => {
                let epoch = words.get(2).map(|epoch| epoch.parse().expect("an epoch"));
                self.beat(words[1], epoch, |_| ())
            }
            "own" => {
                let owned = read_parts(&words[2..]);
                self.beat(words[1], None, |said| said.owned = Some(owned))
            }
            "sub" => {
                let topics = words[2].split(',').map(str::to_owned).collect();
                self.beat(words[1], None, |said| said.topics = Some(topics))
            }
            "out" => self.beat(words[1], Some(-1), |_| ()),
            "away" => self.beat(words[1], Some(-2), |_| ()),
            "kind" => {
                let group = self.groups.get("g");
                let kind = |group: &group::Group| match group.consumer {
                    Some(_) => "consumer",
                    None => "classic",
                };
                group.map_or("none", kind).to_owned()
            }
            "delete" => {
                let deleted = self.groups.delete("g", self.now_ms);
                Self::outcome(self.settle(deleted))
            }
            other => panic!("unknown step {other}"),
        }
    }
}

/// `t0,t1` as a consumer's assignment of topic `t`; anything else as it is.
fn given_assignment(text: &str) -> Vec<u8> {
    let index = |part: &str| part.strip_prefix('t').and_then(|index| index.parse().ok());
    let indexes: Option<Vec<i32>> = text.split(',').map(index).collect();
    match indexes {
        Some(indexes) => write_assignment(1, &NamedParts::from([("t".to_owned(), indexes)])),
        None => text.as_bytes().to_vec(),
    }
}

/// `t0 t1 u2` as partitions; topics have names of one letter.
fn read_parts(words: &[&str]) -> Parts {
    let mut parts = Parts::new();
    for word in words {
        let index = word[1..].parse().expect("a partition");
        parts.entry(topic_id(&word[..1])).or_default().insert(index);
    }
    parts
}

fn write_parts(parts: &Parts) -> String {
    let each = parts.iter().flat_map(|(topic, indexes)| {
        let letter = topic.as_u128() as u8 as char;
        indexes.iter().map(move |index| format!("{letter}{index}"))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(script: &str) {
    let mut play = Play::new();
    let mut seen = String::new();
    let mut wanted = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once("=>").unwrap_or((line, ""));
        let came = play.step(step.trim());
        seen.push_str(&format!("{} => {came}\n", step.trim()));
        wanted.push_str(&format!("{} => {}\n", step.trim(), expected.trim()));
    }
    assert_eq!(seen, wanted);
    assert_eq!(play.rebuilt().snapshot(), play.groups.snapshot());
}

/// Brings two members into generation 1, `a` leading.
const TWO: &str = "
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
    sync a 1 a=A b=B => A
    fetch b 1 => B
    state => Stable a,b
";

#[test]
fn a_new_member_is_given_an_id_and_joins_with_it() {
    check("join a => id\n join a => wait\n +100\n poll a => 1 range leads a");
}

#[test]
fn two_members_get_the_assignment_the_leader_made() {
    check(TWO);
}

#[test]
fn a_third_member_makes_the_others_join_again() {
    check(&format!(
        "{TWO}
        join c => id
        join c => wait
        beat a 1 => RebalanceInProgress
        join a => wait
        join b => 2 range
        poll c => 2 range
        poll a => 2 range leads a,b,c
        beat c 1 => IllegalGeneration
        fetch a 1 => RebalanceInProgress"
    ));
}

#[test]
fn a_member_that_leaves_hands_its_partitions_to_the_rest() {
    check(&format!(
        "{TWO}
        leave b => ok
        beat b 1 => UnknownMemberId
        beat a 1 => RebalanceInProgress
        join a => 2 range leads a
        sync a 2 a=AB => AB"
    ));
}

#[test]
fn a_silent_member_loses_its_session_and_a_beating_one_keeps_it() {
    check(&format!(
        "{TWO}
        +6000
        beat a 1 => ok
        +6000
        beat a 1 => RebalanceInProgress
        state => PreparingRebalance a"
    ));
}

#[test]
fn members_that_do_not_rejoin_in_time_are_left_behind() {
    check(&format!(
        "{TWO}
        join a => wait
        +9000
        beat b 1 => RebalanceInProgress
        poll a => wait
        +9000
        beat b 1 => RebalanceInProgress
        poll a => wait
        +9000
        beat b 1 => RebalanceInProgress
        poll a => wait
        +3000
        poll a => 2 range leads a
        beat b 2 => UnknownMemberId"
    ));
}

#[test]
fn followers_join_anew_when_the_leader_never_hands_in() {
    check(
        "join a => id
        join a => wait
        join b => id
        join b => wait
        +100
        poll a => wait
        +100
        poll a => 1 range leads a,b
        sync b 1 => wait
        +9000
        fetch b 1 => wait
        +9000
        fetch b 1 => RebalanceInProgress
        join b => 2 range leads b",
    );
}

#[test]
fn a_restart_keeps_members_assignments_and_offsets() {
    check(&format!(
        "{TWO}
        commit a 1 t/0=5 => None
        restart
        state => Stable a,b
        beat b 1 => ok
        fetch b 1 => B
        offset t/0 => 5 by a
        commit b 1 t/1=7 => None
        offset t/1 => 7 by b"
    ));
}

#[test]
fn commits_are_fenced_by_generation() {
    check(&format!(
        "{TWO}
        commit a 0 t/0=1 => IllegalGeneration
        commit x 1 t/0=1 => UnknownMemberId
        commit - -1 t/0=1 => UnknownMemberId
        leave a => ok
        leave b => ok
        commit - -1 t/0=9 => None
        offset t/0 => 9 by -"
    ));
}

#[test]
fn a_group_is_deleted_only_without_members() {
    check(&format!(
        "{TWO}
        commit a 1 t/0=5 => None
        delete => NonEmptyGroup
        leave a => ok
        leave b => ok
        state => Empty
        delete => ok
        state => none
        delete => GroupIdNotFound"
    ));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    check(
        "static a as x => wait
        static b as y => wait
        +100
        poll a => wait
        +100
        poll a => 1 range leads a,b
        sync a 1 a=A b=B => A
        fetch b 1 => B
        static b as y => 1 range
        fetch b 1 => B
        static a as x => 1 range leads a,b skip
        state => Stable a,b",
    );
}

#[test]
fn the_protocol_is_one_all_members_speak() {
    check(
        "join a range,sticky => id
        join a range,sticky => wait
        join b sticky => id
        join b sticky => wait
        join c other => InconsistentGroupProtocol
        +200
        poll a => wait
        +100
        poll a => 1 sticky leads a,b",
    );
}

#[test]
fn offsets_outlive_the_members_for_a_week() {
    check(&format!(
        "{TWO}
        commit a 1 t/0=5 => None
        leave a => ok
        leave b => ok
        +604799000
        restart
        tick
        offset t/0 => 5 by a
        +2000
        tick
        state => none"
    ));
}

#[test]
fn damaged_entries_are_refused() {
    let generation =
        records::StoredGeneration { generation: 3, emptied_at_ms: 7, ..Default::default() };
    let epochs =
        records::StoredEpochs { group: 4, assignment: 3, topics_hash: u64::MAX, emptied_at_ms: 9 };
    let mut member = ConsumerMember::new("m");
    member.instance = Some("i".into());
    member.topics = vec!["t".into(), "u".into()];
    member.regex = Some("^t".into());
    member.state = MemberState::Unreleased;
    member.assigned = read_parts(&["t0", "t2"]);
    member.revoking = read_parts(&["u1"]);
    member.classic = Some(ClassicPart {
        session_timeout_ms: 5,
        protocols: vec![("range".into(), b"words".to_vec())],
    });
    let group = || "g".to_owned();
    let all = [
        GroupRecord::Generation { group: group(), generation },
        GroupRecord::ConsumerEpochs { group: group(), epochs },
        GroupRecord::ConsumerMember { group: group(), member: Arc::new(member) },
    ];
    for record in all {
        let (key, value) = record.to_entry();
        let value = value.expect("these have values");
        assert_eq!(GroupRecord::from_entry(&key, &value), Ok(record.clone()));
        let old = matches!(record, GroupRecord::Generation { .. });
        for cut in 0..value.len() {
            assert!(GroupRecord::from_entry(&key, &value[..cut]).is_err(), "cut at {cut}");
        }
        let longer = [&value[..], &[0]].concat();
        assert_eq!(GroupRecord::from_entry(&key, &longer), Err(records::RecordError::Trailing));
        if old {
            // Version 1 did not say since when the group was empty.
            let short = [&[1], &value[1..value.len() - 8]].concat();
            assert!(GroupRecord::from_entry(&key, &short).is_ok());
            // A count that nothing backs allocates nothing.
            let boasting = [&value[..value.len() - 12], &[255; 4]].concat();
            let refused = GroupRecord::from_entry(&key, &boasting);
            assert_eq!(refused, Err(records::RecordError::Cut));
        }
    }
}

fn any_step() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let generation = || 0..4_i32;
    prop_oneof![
        (1..12_000_i64).prop_map(|ms| format!("+{ms}")),
        name().prop_map(|n| format!("join {n}")),
        name().prop_map(|n| format!("join {n} sticky,range")),
        name().prop_map(|n| format!("static {n} as {n}")),
        name().prop_map(|n| format!("poll {n}")),
        (name(), generation()).prop_map(|(n, g)| format!("sync {n} {g} a=A b=B c=C")),
        (name(), generation()).prop_map(|(n, g)| format!("fetch {n} {g}")),
        (name(), generation()).prop_map(|(n, g)| format!("beat {n} {g}")),
        name().prop_map(|n| format!("leave {n}")),
        (name(), generation(), 0..3_i32, 0..99_i64)
            .prop_map(|(n, g, p, o)| format!("commit {n} {g} t/{p}={o}")),
        (0..3_i32).prop_map(|p| format!("commit - -1 u/{p}=1")),
        Just("tick".to_owned()),
        Just("delete".to_owned()),
        Just("restart".to_owned()),
    ]
}

proptest! {
    #[test]
    fn a_rebuilt_coordinator_is_the_one_that_ran(
        steps in prop::collection::vec(any_step(), 1..120)
    ) {
        let mut play = Play::new();
        let mut generation = 0;
        for step in &steps {
            play.step(step);
            prop_assert_eq!(play.rebuilt().snapshot(), play.groups.snapshot(), "after {}", step);
            if let Some(group) = play.groups.get("g") {
                let restarted = step == "restart" || step == "delete";
                prop_assert!(restarted || group.generation >= generation);
                generation = group.generation;
                let leader = group.leader.as_deref();
                // A leader may have left: the group then is on its way to the next generation.
                let on_the_way = matches!(group.state, State::Joining { .. });
                prop_assert!(
                    on_the_way || leader.is_none_or(|id| group.members.contains_key(id))
                );
            } else {
                generation = 0;
            }
        }
    }
}
