//! What a group subscribes to: names, regular expressions, and the shape of the topics behind them.
//!
//! Regular expressions (KIP-848, RE2 syntax) are matched here, against whole topic names as Kafka
//! does: `t` does not match `t1`. The `regex` crate is of RE2's family: the same syntax, and time
//! linear in the text whatever the pattern.
//!
//! Where not everybody may see every topic, a pattern matches what the member that sends a heartbeat
//! may describe, as in Kafka; members with the same pattern share what it matched. Other members'
//! patterns then keep what they had until their own heartbeat; after a restart that is what their
//! group's members were to read.
//!
//! A change of any subscribed topic (made, deleted, made anew, more partitions) starts a new epoch.
//! To see one, also over a restart, the group keeps a hash of its topics in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use regex::{Regex, RegexBuilder};
use uuid::Uuid;

use super::member::ConsumerMember;
use super::{Draft, Volatile};
use crate::error::{ErrorCode, Refused};

/// Most bytes one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// The topics of the node, as the coordinator sees them.
pub trait Topology: Debug + Send + Sync {
    /// Id and number of partitions of a topic.
    fn topic(&self, name: &str) -> Option<(Uuid, i32)>;
    /// The name of a topic.
    fn name_of(&self, id: Uuid) -> Option<String>;
    /// All names.
    fn names(&self) -> Vec<String>;
    /// Changes whenever a topic changes, or who may see which.
    fn version(&self) -> u64;
    /// Whether everybody may see every topic.
    fn is_open(&self) -> bool;
}

/// Who sends a heartbeat, and which topics it may describe.
#[derive(Clone, Copy)]
pub struct Speaker<'a> {
    pub member: &'a str,
    pub sees: &'a dyn Fn(&str) -> bool,
}

/// A regular expression with the topics it matches now.
#[derive(Clone, Debug)]
pub struct Matched {
    regex: Regex,
    topics: BTreeSet<String>,
    /// The version of the topology they were matched with.
    seen: Option<u64>,
}

/// Reads a regular expression. `INVALID_REGULAR_EXPRESSION` in the words of the parser.
pub fn compile(pattern: &str) -> Result<Regex, Refused> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    // Checked on its own first: `a)(b` must not become valid by the anchors around it.
    build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))).map_err(|error| {
        let message =
            format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {error}.");
        Refused::new(ErrorCode::InvalidRegularExpression, message)
    })
}

impl Volatile {
    /// The topics regular expressions of the group match.
    pub(in crate::coordinator) fn regex_topics(&self) -> impl Iterator<Item = &String> {
        self.regexes.values().flat_map(|matched| &matched.topics)
    }
}

impl Draft<'_> {
    /// The existing topics a member subscribes to, with their numbers of partitions.
    pub(super) fn topics_of(&self, member: &ConsumerMember) -> BTreeMap<Uuid, i32> {
        let by_regex = member.regex.as_ref().and_then(|regex| self.volatile.regexes.get(regex));
        let by_regex = by_regex.into_iter().flat_map(|matched| &matched.topics);
        let names = member.topics.iter().chain(by_regex);
        names.filter_map(|name| self.topology.topic(name)).collect()
    }

    /// Looks at the subscriptions again if topics or members changed; a change of what is behind
    /// them starts a new epoch.
    pub(super) fn resolve_topics(&mut self) {
        let version = self.topology.version();
        if self.volatile.seen == Some(version) {
            return;
        }
        let all_seen = self.match_regexes(version);
        self.volatile.seen = all_seen.then_some(version);
        let hash = self.hash_topics();
        if hash != self.group.epochs.topics_hash {
            self.group.epochs.topics_hash = hash;
            // Nobody is there to be given anything else.
            if !self.group.members.is_empty() {
                self.bump();
            }
        }
    }

    /// Subscriptions changed: they are looked at again by the next [`Draft::resolve_topics`].
    pub(super) fn subscriptions_changed(&mut self) {
        self.volatile.seen = None;
    }

    /// Gives whether all patterns are matched with this version now.
    fn match_regexes(&mut self, version: u64) -> bool {
        let wanted: BTreeSet<String> =
            self.group.members.values().filter_map(|member| member.regex.clone()).collect();
        self.volatile.regexes.retain(|pattern, _| wanted.contains(pattern));
        let mut names = None;
        let mut all_seen = true;
        for pattern in wanted {
            let known = self.volatile.regexes.get(&pattern);
            if known.is_some_and(|matched| matched.seen == Some(version)) {
                continue;
            }
            // What does not compile never became a subscription.
            let regex = known.map(|matched| matched.regex.clone());
            let Some(regex) = regex.or_else(|| compile(&pattern).ok()) else { continue };
            let matched = match self.sight_of(&pattern) {
                Some(sees) => {
                    let names = names.get_or_insert_with(|| self.topology.names());
                    let topics = names.iter().filter(|name| regex.is_match(name) && sees(name));
                    Matched { topics: topics.cloned().collect(), seen: Some(version), regex }
                }
                None if known.is_some() => {
                    all_seen = false;
                    continue;
                }
                None => {
                    all_seen = false;
                    Matched { topics: self.targeted(&regex), seen: None, regex }
                }
            };
            self.volatile.regexes.insert(pattern, matched);
        }
        all_seen
    }

    /// With whose eyes a pattern is matched; `None` when nobody is there who has it.
    fn sight_of(&self, pattern: &str) -> Option<&dyn Fn(&str) -> bool> {
        if self.topology.is_open() {
            return Some(&|_| true);
        }
        let speaker = self.speaker?;
        let speaks = self.member(speaker.member)?.regex.as_deref() == Some(pattern);
        speaks.then_some(speaker.sees)
    }

    /// The matching topics that any member was to read.
    fn targeted(&self, regex: &Regex) -> BTreeSet<String> {
        let ids: BTreeSet<Uuid> =
            self.group.members.values().flat_map(|member| member.target.keys().copied()).collect();
        let names = ids.into_iter().filter_map(|id| self.topology.name_of(id));
        names.filter(|name| regex.is_match(name)).collect()
    }

    /// FNV-1a over name, id and partitions of all subscribed topics: it is stored, so it must be
    /// the same in every build.
    fn hash_topics(&self) -> u64 {
        let by_name = self.group.members.values().flat_map(|member| &member.topics);
        let by_regex = self.volatile.regexes.values().flat_map(|matched| &matched.topics);
        let names: BTreeSet<&String> = by_name.chain(by_regex).collect();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for name in names {
            if let Some((id, partitions)) = self.topology.topic(name) {
                eat(name.as_bytes());
                eat(&[0]);
                eat(id.as_bytes());
                eat(&partitions.to_be_bytes());
            }
        }
        hash
    }
}
