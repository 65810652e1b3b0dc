//! One node as Kafka clients see it: the broker, the groups, and what it says of itself.
//!
//! Shared by all connections. The groups have one lock; under it a decision is made, its facts are
//! appended to the journal and applied, so the order in the journal is the order in memory. Whoever
//! answers from what was applied waits until the journal has it ([`Settled::ticket`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;

use super::configs::{self, Settings};
use super::fetch_sessions::FetchSessions;
use super::offsets_topic;
use crate::broker::{Broker, Ticket, WakeKey};
use crate::coordinator::consumer::OwnPace;
use crate::coordinator::records::RecordError;
use crate::coordinator::{Decision, GroupConfig, GroupRecord, Groups, Topology};
use crate::error::ErrorCode;
use crate::security::{Access, AccessConfig, is_about_access};
use crate::transactions::{TransactionConfig, TransactionRecord, Transactions};

/// Settings of the Kafka front door.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// What clients know this node as.
    pub node_id: i32,
    /// Where clients are told to connect to.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// Make a topic when a client asks for one that is not there.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator does not say.
    pub default_partitions: i32,
    /// Most bytes of records in one Fetch response, whatever the client asks for. The first batch
    /// may exceed it.
    pub fetch_bytes_max: usize,
    /// Bytes of all answers that are made and not yet taken by their clients. As it fills up,
    /// fetches bring less, in the end nothing: their clients ask again.
    pub answer_bytes_max: usize,
    /// The caller of [`crate::kafka::handle`] calls [`Broker::commit_held`] behind it.
    pub commit_held: bool,
    pub groups: GroupConfig,
    /// Who may log in and do what.
    pub access: AccessConfig,
    pub transactions: TransactionConfig,
}

impl KafkaConfig {
    /// A node that is reached at `host` and `port`.
    pub fn at(host: &str, port: u16) -> Self {
        Self {
            node_id: 1,
            advertised_host: host.to_owned(),
            advertised_port: port,
            auto_create_topics: true,
            default_partitions: 1,
            fetch_bytes_max: 55 << 20,
            answer_bytes_max: 64 << 20,
            commit_held: false,
            groups: GroupConfig::standard(),
            access: AccessConfig::default(),
            transactions: TransactionConfig::standard(),
        }
    }
}

/// Fresh random ids, given by whoever owns the process.
pub trait Ids: Send + Sync {
    /// A random UUID, never given before.
    fn fresh(&self) -> Uuid;
}

/// The broker's topics as the groups see them.
struct BrokerTopics {
    broker: Arc<Broker>,
    access: Arc<Access>,
}

impl std::fmt::Debug for BrokerTopics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the broker's topics")
    }
}

impl Topology for BrokerTopics {
    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        self.broker.topic(name).map(|topic| (topic.id, topic.partition_count()))
    }

    fn name_of(&self, id: Uuid) -> Option<String> {
        self.broker.topic_by_id(id).map(|topic| topic.name.to_string())
    }

    fn names(&self) -> Vec<String> {
        self.broker.topics().iter().map(|topic| topic.name.to_string()).collect()
    }

    fn version(&self) -> u64 {
        let acls = self.access.ticket().0;
        self.broker.topics_version().wrapping_add(acls.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn is_open(&self) -> bool {
        !self.access.is_enforced()
    }
}

/// See the head of this file.
pub struct KafkaNode {
    pub(super) broker: Arc<Broker>,
    pub(super) config: KafkaConfig,
    pub(super) access: Arc<Access>,
    /// Bytes of [`HeldAnswer`]s.
    answers: Arc<AtomicUsize>,
    ids: Arc<dyn Ids>,
    pub(super) groups: Mutex<Groups>,
    /// The offsets topic, id and partitions, once it is there. Locked after `groups`.
    pub(super) told_to: Mutex<Option<(Uuid, i32)>>,
    /// Taken before `groups` and before the commit lock.
    pub(super) settings: Mutex<Settings>,
    pub(super) fetch_sessions: Mutex<FetchSessions>,
    /// The newest ticket of a group fact.
    pub(super) groups_ticket: AtomicU64,
    /// Locked before `groups`.
    pub(super) transactions: Mutex<Transactions>,
    /// The newest ticket of a fact about transactional ids.
    pub(super) transactions_ticket: AtomicU64,
}

/// An answer that is counted in the node's memory until it is dropped.
pub struct HeldAnswer {
    pieces: Vec<Bytes>,
    bytes: usize,
    answers: Arc<AtomicUsize>,
}

impl HeldAnswer {
    /// To be sent one behind the other.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Drop for HeldAnswer {
    fn drop(&mut self) {
        self.answers.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An answer of the coordinator, and when it may be told.
#[derive(Debug)]
pub(super) struct Settled<R> {
    pub(super) response: R,
    /// Everything the answer may rest on is durable when this is.
    pub(super) ticket: Ticket,
}

impl KafkaNode {
    /// The front door of an open broker. There is one for a broker: it owns the groups. `groups` is
    /// [`crate::broker::Recovered::groups`], or [`Broker::group_facts`].
    ///
    /// Errors: a group fact is of a newer program or damaged.
    pub fn new(
        broker: Arc<Broker>,
        groups: &[(Bytes, Bytes)],
        config: KafkaConfig,
        ids: Arc<dyn Ids>,
        now_ms: i64,
    ) -> Result<Self, RecordError> {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(ids.fresh().as_bytes());
        secret[16..].copy_from_slice(ids.fresh().as_bytes());
        let access = Access::new(config.access.clone(), groups, secret);
        let access = Arc::new(access.map_err(|_| RecordError::Access)?);
        let topology = Arc::new(BrokerTopics { broker: broker.clone(), access: access.clone() });
        let mut all = Groups::new(config.groups.clone(), topology);
        let mut settings = Settings::default();
        let mut transactions = Transactions::new(config.transactions.clone());
        for (key, value) in groups.iter().filter(|(key, _)| !is_about_access(key)) {
            if configs::is_setting(key) {
                settings.apply(key, value).ok_or(RecordError::Cut)?;
                continue;
            }
            if TransactionRecord::owns(key) {
                let record = TransactionRecord::from_entry(key, value);
                transactions.apply(&record.ok_or(RecordError::Cut)?);
                continue;
            }
            all.apply(&GroupRecord::from_entry(key, value)?);
        }
        for group in settings.names(configs::GROUP).map(str::to_owned).collect::<Vec<_>>() {
            all.set_pace(&group, own_pace(&settings.of(configs::GROUP, &group)));
        }
        all.recovered(now_ms);
        let groups_ticket = AtomicU64::new(0);
        let told_to = Mutex::new(offsets_topic::find(&broker));
        let defaults = configs::broker::topic_defaults(config.node_id, &settings);
        if !defaults.is_empty()
            && let Err(refused) = broker.change_topic_defaults(&[], defaults)
        {
            tracing::warn!(%refused, "defaults of topics that were changed are not in force");
        }
        broker.set_producer_expiry(configs::broker::producer_expiry_ms(config.node_id, &settings));
        let settings = Mutex::new(settings);
        Ok(Self {
            broker,
            config,
            access,
            answers: Arc::default(),
            ids,
            groups: Mutex::new(all),
            told_to,
            settings,
            fetch_sessions: Mutex::default(),
            groups_ticket,
            transactions: Mutex::new(transactions),
            transactions_ticket: AtomicU64::new(0),
        })
    }

    /// The broker behind this front door.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Counts an answer as long as it is in memory.
    pub fn hold(&self, pieces: Vec<Bytes>) -> HeldAnswer {
        let bytes = pieces.iter().map(Bytes::len).sum();
        self.answers.fetch_add(bytes, Ordering::Relaxed);
        HeldAnswer { pieces, bytes, answers: self.answers.clone() }
    }

    /// How many bytes of records one Fetch may bring now: a part of what is left for answers, so
    /// that many fetches at once stay within it. `None`: nothing is left, and not even the first
    /// batch may be brought.
    pub(super) fn fetch_room(&self) -> Option<usize> {
        let held = self.answers.load(Ordering::Relaxed);
        let left = self.config.answer_bytes_max.checked_sub(held)?;
        Some(self.config.fetch_bytes_max.min(left / 8))
    }

    /// Who may log in and do what.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What this node was told to be.
    pub fn config(&self) -> &KafkaConfig {
        &self.config
    }

    /// Lets time pass for all groups and transactions; to be called about once a second.
    pub fn tick(&self, now_ms: i64) {
        if let Err(code) = self.transact(now_ms, |all, _| all.decide_tick(now_ms)) {
            tracing::warn!(?code, "transactions could not be brought up to date");
        }
        if let Err(code) = self.decide(now_ms, |groups| groups.tick(now_ms)) {
            tracing::warn!(?code, "groups could not be brought up to date");
        }
    }

    /// Lets what was set for a group take effect.
    pub(super) fn pace_group(&self, group: &str, set: &configs::Map) {
        self.groups.lock().set_pace(group, own_pace(set));
    }

    pub(super) fn fresh_id(&self) -> Uuid {
        self.ids.fresh()
    }

    /// Makes a decision about groups and puts it into effect.
    pub(super) fn decide<R>(
        &self,
        now_ms: i64,
        decide: impl FnOnce(&mut Groups) -> Decision<R>,
    ) -> Result<Settled<R>, ErrorCode> {
        let mut groups = self.groups.lock();
        let Decision { response, records, wake } = decide(&mut groups);
        if !records.is_empty() {
            let entries: Vec<_> = records.iter().map(GroupRecord::to_entry).collect();
            let told = self.told(&records, now_ms);
            let ticket = match told.is_empty() {
                true => self.broker.append_group(&entries)?,
                false => self.broker.append_group_told(&entries, &told, now_ms)?,
            };
            records.iter().for_each(|record| groups.apply(record));
            self.groups_ticket.store(ticket.0, Ordering::Relaxed);
        }
        let ticket = Ticket(self.groups_ticket.load(Ordering::Relaxed));
        drop(groups);
        wake.into_iter().for_each(|group| self.broker.wake(WakeKey::Group(group)));
        Ok(Settled { response, ticket })
    }

    /// Looks at the groups.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Groups) -> R) -> Settled<R> {
        let groups = self.groups.lock();
        let response = look(&groups);
        Settled { response, ticket: Ticket(self.groups_ticket.load(Ordering::Relaxed)) }
    }
}

/// What a group's own settings say about its members' heartbeats.
fn own_pace(set: &configs::Map) -> OwnPace {
    let ms = |name: &str| set.get(name)?.parse().ok();
    OwnPace {
        session_timeout_ms: ms("consumer.session.timeout.ms"),
        heartbeat_interval_ms: ms("consumer.heartbeat.interval.ms"),
    }
}
