//! Clients of both protocols in one group that come and go, are late, lose answers, crash, while the
//! coordinator restarts.
//!
//! After each step: no partition has two owners, what a client was given and the coordinator knows
//! agree, and what a restart would give back is what runs. In the end, when the faults stop, every
//! partition has exactly one owner.

use super::*;

const CLIENTS: usize = 5;

/// What a client does next.
#[derive(Clone, Debug)]
enum Act {
    /// It does what is next for it.
    Turn(usize),
    /// The same, but the answer is lost.
    Deaf(usize),
    Leave(usize),
    /// It is gone without a word. Its next turn starts anew, under a new id.
    Crash(usize),
    Pass(i64),
    Restart,
    /// Topic `t` gets so many partitions.
    Grow(i32),
}

/// A client of either protocol. Those with an odd number speak the classic one.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    /// Epoch or generation; `None` outside the group.
    epoch: Option<i32>,
    owned: Parts,
    /// Classic: it has joined (1), or asked for its assignment (2).
    waits: u8,
}

struct World {
    play: Play,
    clients: Vec<Client>,
    fresh: u32,
}

impl World {
    fn new() -> Self {
        let clients = vec![Client::default(); CLIENTS];
        Self { play: Play::new(), clients, fresh: 0 }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Turn(at) => self.turn(*at),
            Act::Deaf(at) => {
                let before = self.clients[*at].clone();
                self.turn(*at);
                // A client that has an id keeps it; what it was told it does not know.
                self.clients[*at] = before;
            }
            Act::Leave(at) => self.leave(*at),
            Act::Crash(at) => self.clients[*at] = Client::default(),
            Act::Pass(ms) => {
                self.play.now_ms += ms;
                self.play.step("tick");
            }
            Act::Restart => {
                self.play.step("restart");
            }
            Act::Grow(partitions) => {
                let (_, now) = self.play.topics.topic("t").expect("the topic is there");
                self.play.topics.set("t", now.max(*partitions));
            }
        }
    }

    fn turn(&mut self, at: usize) {
        if self.clients[at].id.is_empty() {
            self.fresh += 1;
            self.clients[at] = Client { id: format!("c{at}-{}", self.fresh), ..Client::default() };
        }
        match at % 2 {
            0 => self.beat(at),
            _ => self.classic_turn(at),
        }
    }

    /// A KIP-848 heartbeat. The client says what it owns, gives back at once, and says so next time.
    fn beat(&mut self, at: usize) {
        let client = self.clients[at].clone();
        let mut said = self.play.said(&client.id, client.epoch.unwrap_or(0));
        said.rebalance_timeout_ms = 20_000;
        said.topics = Some(vec!["t".into()]);
        said.owned = Some(if client.epoch.is_some() { client.owned } else { Parts::new() });
        let decision = self.play.groups.consumer_heartbeat(&said, &|_| true, self.play.now_ms);
        match self.play.settle(decision) {
            Ok(told) => {
                let client = &mut self.clients[at];
                client.epoch = Some(told.epoch);
                if let Some(assignment) = told.assignment {
                    client.owned = assignment;
                }
            }
            // What a fenced client does: it lets go of everything and joins again.
            Err(_) => self.clients[at] = Client { id: client.id, ..Client::default() },
        }
    }

    fn classic_turn(&mut self, at: usize) {
        let client = self.clients[at].clone();
        match (client.waits, client.epoch) {
            (1, _) => self.poll_join(at),
            (2, Some(generation)) => {
                let polled =
                    self.play.groups.poll_sync("g", &client.id, None, generation, self.play.now_ms);
                match self.play.settle(polled) {
                    Poll::Wait { .. } => {}
                    Poll::Ready(answer) => self.synced(at, answer),
                }
            }
            (_, Some(generation)) => {
                let now_ms = self.play.now_ms;
                let beat = self.play.groups.heartbeat("g", &client.id, None, generation, now_ms);
                match self.play.settle(beat) {
                    Ok(()) => {}
                    Err(ErrorCode::RebalanceInProgress) => self.join(at),
                    Err(_) => self.forget(at),
                }
            }
            _ => self.join(at),
        }
    }

    /// An eager client: it gives everything back before it joins.
    fn join(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.owned = Parts::new();
        client.waits = 0;
        let known = self.play.groups.get("g").is_some_and(|group| {
            let classic = group.members.contains_key(&client.id);
            classic || group.promised.contains_key(&client.id) || group.consumer.is_some()
        });
        let request = JoinRequest {
            group: "g".into(),
            member: if known { client.id.clone() } else { String::new() },
            instance: None,
            client_id: "c".into(),
            client_host: "h".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), subscription(&NamedParts::new()))],
            requires_known_member: true,
            can_skip_assignment: true,
            fresh_id: client.id.clone(),
        };
        let joined = self.play.groups.submit_join(&request, self.play.now_ms);
        match self.play.settle(joined) {
            Ok(JoinStep::Done(joined)) => self.joined(at, &joined),
            Ok(JoinStep::Wait { .. }) => self.clients[at].waits = 1,
            // The next turn joins with the id.
            Err(_) => self.clients[at].epoch = None,
        }
    }

    fn poll_join(&mut self, at: usize) {
        let id = self.clients[at].id.clone();
        let polled = self.play.groups.poll_join("g", &id, None, self.play.now_ms);
        match self.play.settle(polled) {
            Poll::Wait { .. } => {}
            Poll::Ready(Ok(joined)) => self.joined(at, &joined),
            Poll::Ready(Err(_)) => self.forget(at),
        }
    }

    /// The leader gives out the partitions in turn.
    fn joined(&mut self, at: usize, joined: &Joined) {
        let id = self.clients[at].id.clone();
        let (_, partitions) = self.play.topics.topic("t").expect("the topic is there");
        let count = joined.members.len() as i32;
        let share = |place: i32| {
            let mine = (0..partitions).filter(|index| index % count == place).collect();
            write_assignment(1, &NamedParts::from([("t".to_owned(), mine)]))
        };
        let given = (0_i32..).zip(&joined.members).map(|(n, member)| (member.id.clone(), share(n)));
        let request = SyncRequest {
            group: "g".into(),
            generation: joined.generation,
            member: id,
            instance: None,
            protocol_type: None,
            protocol: None,
            assignments: given.collect(),
        };
        self.clients[at].epoch = Some(joined.generation);
        self.clients[at].waits = 2;
        let synced = self.play.groups.submit_sync(&request, self.play.now_ms);
        match self.play.settle(synced) {
            Ok(SyncStep::Wait) => {}
            Ok(SyncStep::Done(synced)) => self.synced(at, Ok(synced)),
            Err(error) => self.synced(at, Err(error)),
        }
    }

    fn synced(&mut self, at: usize, answer: Result<Synced, ErrorCode>) {
        match answer {
            Ok(synced) => {
                let named = read_assignment(&synced.assignment).expect("an assignment");
                let client = &mut self.clients[at];
                client.waits = 0;
                client.owned = named
                    .iter()
                    .filter(|(_, indexes)| !indexes.is_empty())
                    .map(|(name, indexes)| (topic_id(name), indexes.iter().copied().collect()))
                    .collect();
            }
            Err(ErrorCode::RebalanceInProgress) => self.join(at),
            Err(_) => self.forget(at),
        }
    }

    fn forget(&mut self, at: usize) {
        let id = std::mem::take(&mut self.clients[at].id);
        self.clients[at] = Client { id, ..Client::default() };
    }

    fn leave(&mut self, at: usize) {
        let id = self.clients[at].id.clone();
        self.clients[at] = Client::default();
        if at.is_multiple_of(2) {
            let said = self.play.said(&id, -1);
            let left = self.play.groups.consumer_heartbeat(&said, &|_| true, self.play.now_ms);
            let _ = self.play.settle(left);
        } else {
            let left = self.play.groups.leave("g", &id, None, self.play.now_ms);
            let _ = self.play.settle(left);
        }
    }

    /// What must hold after each step.
    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.play.rebuilt().snapshot(), self.play.groups.snapshot());
        let Some(group) = self.play.groups.get("g") else { return Ok(()) };
        let Some(consumer) = &group.consumer else { return Ok(()) };
        let mut owners = BTreeMap::new();
        for (id, member) in consumer.members.iter() {
            prop_assert!(member.epoch <= consumer.epochs.assignment);
            for (topic, index) in member.assigned.iter().chain(&member.revoking).flat_map(pairs) {
                let other = owners.insert((topic, index), id.clone());
                prop_assert!(other.is_none(), "{index} is {id}'s and {other:?}'s");
            }
        }
        prop_assert!(consumer.epochs.assignment <= consumer.epochs.group);
        // Whoever is in its epoch has nothing but what the coordinator knows to be its own.
        for client in &self.clients {
            let Some(member) = consumer.members.get(&client.id) else { continue };
            if client.epoch == Some(member.epoch) && client.waits == 0 {
                for place in client.owned.iter().flat_map(pairs) {
                    prop_assert_eq!(owners.get(&place), Some(&client.id), "{:?}", place);
                }
            }
        }
        Ok(())
    }

    /// Without faults every partition finds one owner among those who are there.
    fn settle_down(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..120 {
            self.play.now_ms += 1_000;
            for at in 0..CLIENTS {
                self.turn(at);
            }
            self.play.step("tick");
            self.check()?;
        }
        let (_, partitions) = self.play.topics.topic("t").expect("the topic is there");
        let mut owned: Vec<i32> = self
            .clients
            .iter()
            .flat_map(|client| client.owned.iter().flat_map(pairs))
            .map(|(_, index)| index)
            .collect();
        owned.sort_unstable();
        prop_assert_eq!(owned, (0..partitions).collect::<Vec<_>>(), "{:#?}", self.clients);
        Ok(())
    }
}

fn pairs<'a>(
    of: (&'a Uuid, &'a std::collections::BTreeSet<i32>),
) -> impl Iterator<Item = (Uuid, i32)> {
    let (topic, indexes) = of;
    indexes.iter().map(move |index| (*topic, *index))
}

fn any_act() -> impl Strategy<Value = Act> {
    let client = || 0..CLIENTS;
    prop_oneof![
        12 => client().prop_map(Act::Turn),
        2 => client().prop_map(Act::Deaf),
        1 => client().prop_map(Act::Leave),
        1 => client().prop_map(Act::Crash),
        3 => (1..4_000_i64).prop_map(Act::Pass),
        1 => (10_000..50_000_i64).prop_map(Act::Pass),
        1 => Just(Act::Restart),
        1 => (4..9_i32).prop_map(Act::Grow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_partition_has_two_owners_and_all_have_one_in_the_end(
        acts in prop::collection::vec(any_act(), 1..150)
    ) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
            world.check()?;
        }
        world.settle_down()?;
    }
}
