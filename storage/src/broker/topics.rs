//! Changes of the topic set.
//!
//! A change is checked and takes effect for later submitters at once, under the commit lock; readers
//! see it when it is published. So a name is free, or taken, in the order of the journal.
//!
//! What takes files away is synced in the journal first, whatever the durability: a power cut must not
//! bring back a topic or a log start whose records are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::commit::Effect;
use super::{Broker, Commit, Ticket, TopicPartition};
use crate::disk::Disk;
use crate::error::{ErrorCode, Refused};
use crate::journal::record::{Kind, TopicFact, put_config};
use crate::journal::wire::Put;
use crate::log::Partition;
use crate::topics::{Topic, TopicConfig, check_name, collision_key};

impl Broker {
    /// Creates a topic. `id` is a fresh random UUID. The topic is there when the ticket is published.
    ///
    /// Errors: `INVALID_TOPIC_EXCEPTION`, `TOPIC_ALREADY_EXISTS`, `INVALID_PARTITIONS`,
    /// `INVALID_CONFIG`, `POLICY_VIOLATION` (too many partitions on this node).
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(String, String)],
        id: Uuid,
    ) -> Result<Ticket, Refused> {
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let config = commit.parse_new(name, partitions, configs)?;
        self.check_free(&commit, name, partitions)?;
        let config_set = config.set().clone();
        let fact = TopicFact { topic: id, name: name.to_owned(), partitions, config: config_set };
        let topic = new_topic(&self.disk, &fact, config);
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::TopicCreated, lsn);
        fact.put(&mut commit.group.bytes);
        commit.add_topic(topic.clone());
        commit.effects.push(Effect::CreateTopic(topic));
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// As [`Broker::create_topic`], but only checks.
    pub fn check_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(String, String)],
    ) -> Result<(), Refused> {
        let commit = self.commit.lock();
        commit.parse_new(name, partitions, configs)?;
        self.check_free(&commit, name, partitions)
    }

    /// Deletes a topic and its records. Appends to it are refused from now on.
    pub fn delete_topic(&self, id: Uuid) -> Result<Ticket, Refused> {
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let topic = commit.remove_topic(&id).ok_or(ErrorCode::UnknownTopicId)?;
        for partition in topic.partitions.iter() {
            partition.assigned.lock().deleted = true;
        }
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::TopicDeleted, lsn);
        commit.group.bytes.put_uuid(id);
        commit.effects.push(Effect::DeleteTopic(topic));
        commit.group.sync = true;
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// Gives a topic more partitions: `count` in all. They are there when the ticket is published.
    /// With `only_check` nothing changes.
    ///
    /// Errors: `UNKNOWN_TOPIC_ID`, `INVALID_PARTITIONS` (not more than it has), `POLICY_VIOLATION` (too
    /// many partitions on this node).
    pub fn create_partitions(
        &self,
        id: Uuid,
        count: i32,
        only_check: bool,
    ) -> Result<Ticket, Refused> {
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let topic = commit.topics.by_id(&id).ok_or(ErrorCode::UnknownTopicId)?.clone();
        let before = topic.partition_count();
        if count <= before {
            let message = match count == before {
                true => format!("Topic already has {before} partition(s)."),
                false => format!(
                    "The topic {} currently has {before} partition(s); {count} would not be an increase.",
                    topic.name
                ),
            };
            return Err(Refused::new(ErrorCode::InvalidPartitions, message));
        }
        self.check_room(&commit, count - before)?;
        if only_check {
            return Ok(Ticket::default());
        }
        let new = (before..count).map(|partition| {
            let at = TopicPartition { topic: id, partition };
            Arc::new(Partition::new(self.disk.clone(), &topic.name, at))
        });
        let partitions = topic.partitions.iter().cloned().chain(new).collect();
        let topic = Arc::new(Topic { partitions, ..Topic::clone(&topic) });
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::TopicGrown, lsn);
        commit.group.bytes.put_uuid(id);
        commit.group.bytes.put_i32(count);
        commit.partitions += (count - before) as usize;
        commit.topics.insert(topic.clone());
        commit.effects.push(Effect::GrowTopic(topic, before as usize));
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// Sets (`Some`) or resets (`None`) settings of a topic.
    pub fn alter_config(
        &self,
        id: Uuid,
        changes: &[(String, Option<String>)],
    ) -> Result<Ticket, Refused> {
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let topic = commit.topics.by_id(&id).ok_or(ErrorCode::UnknownTopicId)?.clone();
        let mut set = topic.config.set().clone();
        for (name, value) in changes {
            match value {
                Some(value) => set.insert(name.clone(), value.clone()),
                None => set.remove(name),
            };
        }
        let config = Arc::new(TopicConfig::with_defaults(set, &commit.topic_defaults)?);
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::TopicConfig, lsn);
        commit.group.bytes.put_uuid(id);
        put_config(&mut commit.group.bytes, config.set());
        let topic = Arc::new(Topic { config, ..Topic::clone(&topic) });
        commit.topics.insert(topic.clone());
        commit.effects.push(Effect::AlterTopic(topic));
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// Writes facts by key, as [`Broker::append_group`] does, and in the same step gives all topics
    /// these defaults (topic settings' names) for what they do not set themselves. The defaults are
    /// not kept: whoever wrote the facts says them again after a restart.
    pub fn change_topic_defaults(
        &self,
        facts: &[(Bytes, Option<Bytes>)],
        defaults: BTreeMap<String, String>,
    ) -> Result<Ticket, Refused> {
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::Group, lsn);
        commit.group.bytes.put_u32(facts.len() as u32);
        for (key, value) in facts {
            commit.group.bytes.put_bytes(key);
            commit.group.bytes.put_optional(value.as_deref());
            commit.note_group(key.clone(), value.clone());
        }
        let topics: Vec<_> = commit.topics.iter().cloned().collect();
        for topic in topics {
            // What a topic sets may be at odds with the new defaults; then it keeps its old ones.
            let config = TopicConfig::with_defaults(topic.config.set().clone(), &defaults);
            let Ok(config) = config else { continue };
            if config != *topic.config {
                let topic = Arc::new(Topic { config: Arc::new(config), ..Topic::clone(&topic) });
                commit.topics.insert(topic.clone());
                commit.effects.push(Effect::AlterTopic(topic));
            }
        }
        commit.topic_defaults = defaults;
        self.end_record(&mut commit, place);
        Ok(Ticket(lsn))
    }

    /// Moves the log start of a partition up (Kafka's DeleteRecords); −1 means the high watermark.
    /// Gives the new log start. Whole segments below it are deleted.
    pub fn delete_records(
        &self,
        at: TopicPartition,
        before: i64,
    ) -> Result<(i64, Ticket), ErrorCode> {
        let (topic, partition) = self.topic_and_partition(at)?;
        let high_watermark = partition.high_watermark();
        let offset = if before == -1 { high_watermark } else { before };
        if offset < 0 || offset > high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let mut commit = self.commit.lock();
        commit.check_open()?;
        let mut assigned = partition.assigned.lock();
        if assigned.deleted {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        if offset <= assigned.log_start {
            return Ok((assigned.log_start, Ticket(0)));
        }
        assigned.log_start = offset;
        drop(assigned);
        let lsn = commit.take_lsn();
        let place = commit.group.begin(Kind::LogStart, lsn);
        commit.group.bytes.put_uuid(at.topic);
        commit.group.bytes.put_i32(at.partition);
        commit.group.bytes.put_i64(offset);
        let config = topic.config.clone();
        commit.effects.push(Effect::LogStart { partition, offset, config });
        commit.group.sync = true;
        self.end_record(&mut commit, place);
        Ok((offset, Ticket(lsn)))
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().by_name(name).cloned()
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.topics.read().by_id(&id).cloned()
    }

    /// Changes whenever a topic is made, altered or deleted; counts from 0 at each start.
    pub fn topics_version(&self) -> u64 {
        self.topics.read().version()
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().iter().cloned().collect()
    }

    fn check_free(&self, commit: &Commit, name: &str, partitions: i32) -> Result<(), Refused> {
        if commit.topics.by_name(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refused::new(ErrorCode::TopicAlreadyExists, message));
        }
        if let Some(other) = commit.collisions.get(&collision_key(name)) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refused::new(ErrorCode::InvalidTopicException, message));
        }
        self.check_room(commit, partitions)
    }

    /// May this node have so many more partitions?
    fn check_room(&self, commit: &Commit, more: i32) -> Result<(), Refused> {
        let after = commit.partitions + more as usize;
        if after > self.config.partitions_max {
            let max = self.config.partitions_max;
            let message =
                format!("this node would have {after} partitions, at most {max} are allowed");
            return Err(Refused::new(ErrorCode::PolicyViolation, message));
        }
        Ok(())
    }
}

impl Commit {
    fn parse_new(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(String, String)],
    ) -> Result<TopicConfig, Refused> {
        check_name(name)?;
        if partitions < 1 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refused::new(ErrorCode::InvalidPartitions, message));
        }
        let set = configs.iter().cloned().collect::<BTreeMap<_, _>>();
        TopicConfig::with_defaults(set, &self.topic_defaults)
    }

    pub(super) fn add_topic(&mut self, topic: Arc<Topic>) {
        self.collisions.insert(collision_key(&topic.name), topic.name.clone());
        self.partitions += topic.partitions.len();
        self.topics.insert(topic);
    }

    pub(super) fn remove_topic(&mut self, id: &Uuid) -> Option<Arc<Topic>> {
        let topic = self.topics.remove(id)?;
        self.collisions.remove(&collision_key(&topic.name));
        self.partitions -= topic.partitions.len();
        Some(topic)
    }
}

/// A topic whose partitions have no files yet.
pub(super) fn new_topic(disk: &Arc<dyn Disk>, fact: &TopicFact, config: TopicConfig) -> Arc<Topic> {
    let partition = |partition| {
        let at = TopicPartition { topic: fact.topic, partition };
        Arc::new(Partition::new(disk.clone(), &fact.name, at))
    };
    Arc::new(Topic {
        id: fact.topic,
        name: fact.name.as_str().into(),
        config: Arc::new(config),
        partitions: (0..fact.partitions).map(partition).collect(),
    })
}
