//! Who shall have which partitions: the server-side assignors of KIP-848.
//!
//! - `uniform` spreads all partitions evenly and moves as few as it can. A partition moves only if
//!   its owner has at least two more than someone who could take it.
//! - `range` gives each topic's partitions in runs, in the order of the members, so that members with
//!   the same topics get the same partition numbers of each; it forgets what was before.
//!
//! Both are functions of what they are given: no hash order, no randomness.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Parts;

pub const UNIFORM: &str = "uniform";
pub const RANGE: &str = "range";
/// In Kafka's order; the first is the default.
pub const ASSIGNORS: [&str; 2] = [UNIFORM, RANGE];

/// What one member wants, and what it was to have up to now.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    pub id: &'a str,
    pub instance: Option<&'a str>,
    /// Subscribed topics that exist, with their numbers of partitions.
    pub topics: BTreeMap<Uuid, i32>,
    pub target: &'a Parts,
}

/// The target of each member. Members without partitions are in it too.
pub fn assign(name: &str, wishes: &[Wish<'_>]) -> BTreeMap<String, Parts> {
    match name {
        RANGE => range(wishes),
        _ => uniform(wishes),
    }
}

fn range(wishes: &[Wish<'_>]) -> BTreeMap<String, Parts> {
    let mut out: BTreeMap<String, Parts> =
        wishes.iter().map(|wish| (wish.id.to_owned(), Parts::new())).collect();
    let mut order: Vec<&Wish<'_>> = wishes.iter().collect();
    // Static members first, by instance name, so that their place outlives their member id.
    order.sort_by_key(|wish| (wish.instance.is_none(), wish.instance, wish.id));
    let mut topics = BTreeMap::<Uuid, (i32, Vec<&str>)>::new();
    for wish in order {
        for (topic, partitions) in &wish.topics {
            let (_, takers) = topics.entry(*topic).or_insert((*partitions, Vec::new()));
            takers.push(wish.id);
        }
    }
    for (topic, (partitions, takers)) in topics {
        let takers_count = takers.len() as i32;
        let (each, more) = (partitions / takers_count, partitions % takers_count);
        let mut next = 0;
        for (place, taker) in (0_i32..).zip(takers) {
            let end = next + each + i32::from(place < more);
            if end > next
                && let Some(parts) = out.get_mut(taker)
            {
                parts.insert(topic, (next..end).collect());
            }
            next = end;
        }
    }
    out
}

/// A partition as the spread sees it.
type Part = (Uuid, i32);

struct Spread<'a> {
    wishes: &'a [Wish<'a>],
    /// Per wish, what it gets.
    has: Vec<BTreeSet<Part>>,
    /// The wishes that want a topic.
    takers: BTreeMap<Uuid, Vec<usize>>,
}

fn uniform(wishes: &[Wish<'_>]) -> BTreeMap<String, Parts> {
    let mut takers = BTreeMap::<Uuid, Vec<usize>>::new();
    let mut partitions = BTreeMap::<Uuid, i32>::new();
    for (at, wish) in wishes.iter().enumerate() {
        for (topic, count) in &wish.topics {
            takers.entry(*topic).or_default().push(at);
            partitions.insert(*topic, *count);
        }
    }
    let mut spread = Spread { wishes, has: vec![BTreeSet::new(); wishes.len()], takers };
    let mut free: BTreeSet<Part> = partitions
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(move |index| (*topic, index)))
        .collect();
    spread.keep(&mut free);
    spread.hand_out(free);
    spread.even_out();
    spread.into_targets()
}

impl Spread<'_> {
    /// Everyone keeps what it had, as far as it still wants it.
    fn keep(&mut self, free: &mut BTreeSet<Part>) {
        for (wish, has) in self.wishes.iter().zip(&mut self.has) {
            let wanted = wish.target.iter().filter(|(topic, _)| wish.topics.contains_key(*topic));
            for (topic, indexes) in wanted {
                has.extend(
                    indexes.iter().map(|index| (*topic, *index)).filter(|part| free.remove(part)),
                );
            }
        }
    }

    /// What nobody has goes to whoever has least; topics few want come first.
    fn hand_out(&mut self, free: BTreeSet<Part>) {
        let mut free: Vec<Part> = free.into_iter().collect();
        free.sort_by_key(|(topic, _)| self.takers.get(topic).map_or(0, Vec::len));
        // The takers of one topic by load; rebuilt when the topic changes.
        let mut by_load = BTreeSet::<(usize, usize)>::new();
        let mut of_topic = None;
        for (topic, index) in free {
            if of_topic != Some(topic) {
                of_topic = Some(topic);
                let takers = self.takers.get(&topic).into_iter().flatten();
                by_load = takers.map(|at| (self.has[*at].len(), *at)).collect();
            }
            if let Some((load, at)) = by_load.pop_first() {
                self.has[at].insert((topic, index));
                by_load.insert((load + 1, at));
            }
        }
    }

    /// Moves single partitions from who has most to who has at least two fewer, until no such pair
    /// is left. Each move brings the loads closer together, so it ends.
    fn even_out(&mut self) {
        loop {
            let mut order: Vec<usize> = (0..self.has.len()).collect();
            order.sort_by_key(|at| (Reverse(self.has[*at].len()), *at));
            let moved = order.into_iter().any(|from| self.give_one(from));
            if !moved {
                return;
            }
        }
    }

    /// Moves surplus partitions of one member to where they are missed most.
    fn give_one(&mut self, from: usize) -> bool {
        let mut moved = false;
        loop {
            let load = self.has[from].len();
            let topics: BTreeSet<Uuid> = self.has[from].iter().map(|(topic, _)| *topic).collect();
            let poorest = topics
                .into_iter()
                .filter_map(|topic| {
                    let takers = self.takers.get(&topic)?.iter();
                    let (to_load, to) = takers.map(|at| (self.has[*at].len(), *at)).min()?;
                    (to_load + 1 < load).then_some((to_load, to, topic))
                })
                .min();
            let Some((_, to, topic)) = poorest else { return moved };
            // The last one, so that the first partitions stay where they are.
            let last = self.has[from].range((topic, i32::MIN)..=(topic, i32::MAX)).next_back();
            let Some(part) = last.copied() else { return moved };
            self.has[from].remove(&part);
            self.has[to].insert(part);
            moved = true;
        }
    }

    fn into_targets(self) -> BTreeMap<String, Parts> {
        let parts = |has: BTreeSet<Part>| {
            let mut parts = Parts::new();
            for (topic, index) in has {
                parts.entry(topic).or_default().insert(index);
            }
            parts
        };
        let ids = self.wishes.iter().map(|wish| wish.id.to_owned());
        ids.zip(self.has.into_iter().map(parts)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(topic: &str) -> Uuid {
        Uuid::from_u128(u128::from(topic.as_bytes()[0]))
    }

    /// `members` is `a: t3 u2 | had t0 t1` per line: names of one letter with the number of
    /// partitions, and what it had before. The answer has the same form.
    fn check(name: &str, members: &str, wanted: &str) {
        let mut lines = Vec::new();
        for line in members.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (member, rest) = line.split_once(':').unwrap();
            let (topics, had) = rest.split_once('|').unwrap_or((rest, ""));
            let topics: BTreeMap<Uuid, i32> =
                topics.split_whitespace().map(|t| (id(t), t[1..].parse().unwrap())).collect();
            let mut target = Parts::new();
            for part in had.split_whitespace() {
                target.entry(id(part)).or_default().insert(part[1..].parse().unwrap());
            }
            lines.push((member.to_owned(), topics, target));
        }
        let wishes: Vec<Wish<'_>> = lines
            .iter()
            .map(|(id, topics, target)| Wish { id, instance: None, topics: topics.clone(), target })
            .collect();
        let mut seen = String::new();
        for (member, parts) in assign(name, &wishes) {
            let text = parts.iter().flat_map(|(topic, indexes)| {
                let letter = topic.as_u128() as u8 as char;
                indexes.iter().map(move |index| format!(" {letter}{index}"))
            });
            seen.push_str(&format!("{member}:{}\n", text.collect::<String>()));
        }
        let wanted: Vec<&str> = wanted.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        assert_eq!(seen.lines().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn range_gives_runs_and_the_same_numbers_of_each_topic() {
        check(RANGE, "a: t5 u5 \n b: t5 u5", "a: t0 t1 t2 u0 u1 u2 \n b: t3 t4 u3 u4");
        check(RANGE, "a: t2 \n b: t2 u2 \n c: u2", "a: t0 \n b: t1 u0 \n c: u1");
        check(RANGE, "a: t1 \n b: t1", "a: t0 \n b:");
    }

    #[test]
    fn uniform_is_even_and_moves_little() {
        check(UNIFORM, "a: t4 \n b: t4", "a: t0 t2 \n b: t1 t3");
        check(UNIFORM, "a: t4 | t0 t1 t2 t3 \n b: t4", "a: t0 t1 \n b: t2 t3");
        check(
            UNIFORM,
            "a: t6 | t0 t2 t4 \n b: t6 | t1 t3 t5 \n c: t6",
            "a: t0 t2 \n b: t1 t3 \n c: t4 t5",
        );
        // What a member that is gone had goes to the others, and nothing else moves.
        check(UNIFORM, "a: t4 | t0 t2 \n c: t4 | t1", "a: t0 t2 \n c: t1 t3");
        // Different subscriptions: u only fits b.
        check(UNIFORM, "a: t3 \n b: t3 u2", "a: t0 t1 t2 \n b: u0 u1");
        // A topic that is gone, and one nobody wants any more.
        check(UNIFORM, "a: | t0", "a:");
    }

    proptest! {
        /// Every partition has exactly one owner who wants it, loads are as even as the wishes
        /// allow pairwise, and asking again moves nothing.
        #[test]
        fn uniform_covers_evenly_and_comes_to_rest(
            subscriptions in prop::collection::vec(prop::collection::btree_set(0..4_u128, 0..4), 1..8),
            counts in prop::collection::vec(1..9_i32, 4),
            had in prop::collection::vec((0..8_usize, 0..4_u128, 0..9_i32), 0..30),
        ) {
            let names: Vec<String> = (0..subscriptions.len()).map(|at| format!("m{at}")).collect();
            let mut targets = vec![Parts::new(); names.len()];
            let mut seen = BTreeSet::new();
            for (member, topic, index) in had {
                if member < names.len() && seen.insert((topic, index)) {
                    targets[member].entry(Uuid::from_u128(topic)).or_default().insert(index);
                }
            }
            let topics = |wanted: &BTreeSet<u128>| -> BTreeMap<Uuid, i32> {
                wanted.iter().map(|t| (Uuid::from_u128(*t), counts[*t as usize])).collect()
            };
            let wishes = |targets: &[Parts]| -> BTreeMap<String, Parts> {
                let wishes: Vec<Wish<'_>> = names
                    .iter()
                    .zip(&subscriptions)
                    .zip(targets)
                    .map(|((id, wanted), target)| {
                        Wish { id, instance: None, topics: topics(wanted), target }
                    })
                    .collect();
                uniform(&wishes)
            };
            let given = wishes(&targets);
            let mut owners = BTreeMap::new();
            for (member, parts) in &given {
                for (topic, indexes) in parts {
                    for index in indexes {
                        prop_assert!(owners.insert((*topic, *index), member.clone()).is_none());
                    }
                }
            }
            for (topic, count) in (0..4_u128).zip(&counts) {
                let wanted = subscriptions.iter().any(|set| set.contains(&topic));
                for index in 0..*count {
                    prop_assert_eq!(wanted, owners.contains_key(&(Uuid::from_u128(topic), index)));
                }
            }
            let load = |parts: &Parts| parts.values().map(BTreeSet::len).sum::<usize>();
            for ((topic, _), owner) in &owners {
                for (name, wanted) in names.iter().zip(&subscriptions) {
                    if wanted.contains(&topic.as_u128()) {
                        prop_assert!(load(&given[owner]) <= load(&given[name]) + 1);
                    }
                }
            }
            let again: Vec<Parts> = names.iter().map(|name| given[name].clone()).collect();
            prop_assert_eq!(wishes(&again), given);
        }
    }
}
