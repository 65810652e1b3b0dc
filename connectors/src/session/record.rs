//! What the journal keeps of the catalog: statements, with what was decided for them.
//!
//! A record holds all that planning the statement again needs: its text (variables replaced), the
//! properties in force, the number its query got and how many partitions the topics had that the
//! planner asked for. Replayed in order over an empty catalog they give the same catalog and the same
//! dataflows. JSON, with the version in front, in an App record of kind [`KIND`].

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_sql::plan::PlanEnv;
use millstream_storage::Broker;
use serde::{Deserialize, Serialize};

/// The App records that are ours.
pub(super) const KIND: u16 = 1;
const VERSION: u16 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CatalogRecord {
    version: u16,
    pub statement: String,
    pub properties: BTreeMap<String, String>,
    pub query_number: u64,
    /// Topics the planner asked for; those that did not exist are not in it.
    pub topics: BTreeMap<String, u32>,
    /// The statement before turned out not to run: it is taken back. Then all else is empty.
    #[serde(default)]
    pub undo: bool,
}

impl CatalogRecord {
    pub(super) fn new(
        statement: &str,
        properties: &BTreeMap<String, String>,
        query_number: u64,
        topics: BTreeMap<String, u32>,
    ) -> Self {
        Self {
            version: VERSION,
            statement: statement.to_owned(),
            properties: properties.clone(),
            query_number,
            topics,
            undo: false,
        }
    }

    /// Takes back the record before it.
    pub(super) fn undo() -> Self {
        Self { undo: true, ..Self::new("", &BTreeMap::new(), 0, BTreeMap::new()) }
    }

    pub(super) fn encode(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("plain data with text keys"))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<CatalogRecord, String> {
        let record: CatalogRecord =
            serde_json::from_slice(bytes).map_err(|e| format!("a catalog record is damaged: {e}"))?;
        match record.version {
            VERSION => Ok(record),
            other => Err(format!(
                "a catalog record has version {other}, this program reads version {VERSION}"
            )),
        }
    }
}

/// The broker's topics as the planner sees them, and what it asked.
pub(super) struct LiveTopics<'a> {
    broker: &'a Broker,
    asked: RefCell<BTreeMap<String, u32>>,
}

impl<'a> LiveTopics<'a> {
    pub(super) fn new(broker: &'a Broker) -> Self {
        Self { broker, asked: RefCell::default() }
    }

    pub(super) fn into_asked(self) -> BTreeMap<String, u32> {
        self.asked.into_inner()
    }
}

impl PlanEnv for LiveTopics<'_> {
    fn partitions(&self, topic: &str) -> Option<u32> {
        let partitions = self.broker.topic(topic)?.partition_count() as u32;
        self.asked.borrow_mut().insert(topic.to_owned(), partitions);
        Some(partitions)
    }
}

/// The topics as they were when the statement was first planned.
pub(super) struct RecordedTopics<'a>(pub &'a BTreeMap<String, u32>);

impl PlanEnv for RecordedTopics<'_> {
    fn partitions(&self, topic: &str) -> Option<u32> {
        self.0.get(topic).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_others_are_refused() {
        let properties = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let topics = BTreeMap::from([("t".to_owned(), 3)]);
        let record = CatalogRecord::new("CREATE …", &properties, 7, topics);
        assert_eq!(CatalogRecord::decode(&record.encode()), Ok(record.clone()));
        let newer = CatalogRecord { version: 2, ..record };
        assert!(CatalogRecord::decode(&newer.encode()).unwrap_err().contains("version 2"));
        assert!(CatalogRecord::decode(b"{").is_err());
    }
}
