//! Settings of everything that has settings: topics, this broker, groups, client metrics.
//!
//! What a topic sets is with the topic. The rest is kept here, by kind and name of the resource:
//! changed settings of the broker (`""` is the default for all brokers of the cluster, of which
//! there is one), of groups (KIP-848) and of client metrics subscriptions (KIP-714), and client
//! quotas. They are facts in the journal, written by key as group facts are:
//!
//! ```text
//! key   = 0x80, resource type u8, name          value = version u8 = 1, u32 count, (name, value)*
//! key   = 0x81, u32 count, (type, name?)*       value = version u8 = 1, u32 count, (name, f64 bits u64)*
//! ```
//!
//! Files: `broker.rs` the table of broker settings and where a value comes from, `resources.rs` groups
//! and client metrics, `alter.rs` changes, `describe.rs`.
//!
//! Invariant: a broker setting that is a topic setting's default is in force for every topic that
//! does not set it itself, from the moment its change is published, also after a restart.

pub(in crate::kafka) mod alter;
pub(in crate::kafka) mod broker;
pub(in crate::kafka) mod describe;
mod resources;
mod start;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::broker::Ticket;
use crate::journal::record::{put_config, take_config};
use crate::journal::wire::{Put, Take};

/// Kinds of resources that have settings (`ConfigResource.Type`).
pub(in crate::kafka) const TOPIC: i8 = 2;
pub(in crate::kafka) const BROKER: i8 = 4;
pub(in crate::kafka) const BROKER_LOGGER: i8 = 8;
pub(in crate::kafka) const CLIENT_METRICS: i8 = 16;
pub(in crate::kafka) const GROUP: i8 = 32;

/// The first byte of keys of settings and quotas in the journal; those of groups are below.
const SETTINGS_KEY: u8 = 0x80;
const QUOTAS_KEY: u8 = 0x81;
const VERSION: u8 = 1;

/// Names and values that were set.
pub(in crate::kafka) type Map = BTreeMap<String, String>;

/// Whom a quota is for: types (`user`, `client-id`, `ip`) with a name, or none for the default.
pub(in crate::kafka) type Entity = BTreeMap<String, Option<String>>;

/// Everything that was set, topics aside.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Settings {
    /// By kind and name of the resource. An empty map is not kept.
    resources: BTreeMap<(i8, String), Map>,
    pub(in crate::kafka) quotas: BTreeMap<Entity, BTreeMap<String, f64>>,
    /// An answer that rests on settings goes out when this is published.
    pub(in crate::kafka) ticket: Ticket,
}

/// Whether a fact kept by key is one of settings or quotas.
pub(in crate::kafka) fn is_setting(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(SETTINGS_KEY | QUOTAS_KEY)))
}

impl Settings {
    /// Takes in a fact of the journal. `None`: it is of a newer program or damaged.
    pub(in crate::kafka) fn apply(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let mut value = Take::new(value);
        if value.u8()? != VERSION {
            return None;
        }
        let (kind, rest) = key.split_first()?;
        if *kind == SETTINGS_KEY {
            let (resource, name) = rest.split_first()?;
            let name = String::from_utf8(name.to_vec()).ok()?;
            self.set_resource(*resource as i8, &name, take_config(&mut value)?);
        } else {
            let mut key = Take::new(rest);
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).ok();
            let entity = key.list(|key| {
                let kind = key.text()?;
                let name = match key.optional()? {
                    Some(bytes) => Some(text(bytes)?),
                    None => None,
                };
                Some((kind, name))
            })?;
            let limits = value.list(|value| Some((value.text()?, f64::from_bits(value.u64()?))))?;
            self.set_quotas(entity.into_iter().collect(), limits.into_iter().collect());
        }
        value.is_done().then_some(())
    }

    /// What was set for a resource.
    pub(in crate::kafka) fn of(&self, kind: i8, name: &str) -> Map {
        self.resources.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
    }

    /// Names of resources of a kind for which something was set.
    pub(in crate::kafka) fn names(&self, kind: i8) -> impl Iterator<Item = &str> {
        let of_kind = self.resources.keys().filter(move |(resource, _)| *resource == kind);
        of_kind.map(|(_, name)| name.as_str())
    }

    pub(in crate::kafka) fn set_resource(&mut self, kind: i8, name: &str, set: Map) {
        let key = (kind, name.to_owned());
        match set.is_empty() {
            true => self.resources.remove(&key),
            false => self.resources.insert(key, set),
        };
    }

    pub(in crate::kafka) fn set_quotas(&mut self, entity: Entity, limits: BTreeMap<String, f64>) {
        match limits.is_empty() {
            true => self.quotas.remove(&entity),
            false => self.quotas.insert(entity, limits),
        };
    }
}

/// The fact that these are the settings of a resource.
pub(in crate::kafka) fn resource_fact(kind: i8, name: &str, set: &Map) -> (Bytes, Option<Bytes>) {
    let mut key = vec![SETTINGS_KEY, kind as u8];
    key.put(name.as_bytes());
    let mut value = vec![VERSION];
    put_config(&mut value, set);
    (key.into(), (!set.is_empty()).then(|| value.into()))
}

/// The fact that these are the quotas of an entity.
pub(in crate::kafka) fn quota_fact(
    entity: &Entity,
    limits: &BTreeMap<String, f64>,
) -> (Bytes, Option<Bytes>) {
    let mut key = vec![QUOTAS_KEY];
    key.put_u32(entity.len() as u32);
    for (kind, name) in entity {
        key.put_text(kind);
        key.put_optional(name.as_ref().map(String::as_bytes));
    }
    let mut value = vec![VERSION];
    value.put_u32(limits.len() as u32);
    for (name, limit) in limits {
        value.put_text(name);
        value.put_u64(limit.to_bits());
    }
    (key.into(), (!limits.is_empty()).then(|| value.into()))
}
