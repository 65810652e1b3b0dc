//! SHOW, LIST and DESCRIBE: what there is, from the catalog, the topics and the running queries.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_sql::catalog::{Catalog, FormatKind, KeyWindow, QueryEntry, Relation};
use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_sql::syntax::ast::{Properties, RelationKind, Show};
use serde_json::{Value, json};

use super::answer::{
    Entity, FieldInfo, PropertyInfo, QueryInfo, RelationInfo, SourceDescription, TopicInfo, TopicInfoExtended,
    VariableInfo, type_json,
};
use super::functions;
use super::node::Node;
use super::scope::Scope;
use crate::log::processing_log;

/// How long ASSERT waits (`ksql.assert.topic.default.timeout.ms`).
const ASSERT_MS: u64 = 1000;

/// Answers a SHOW or LIST.
pub(super) fn show(node: &Node, show: &Show, scope: &Scope) -> Result<Entity> {
    let catalog = node.catalog();
    Ok(match show {
        Show::Streams { extended: false } => {
            Entity::Streams { streams: relations(&catalog, RelationKind::Stream) }
        }
        Show::Tables { extended: false } => {
            Entity::Tables { tables: relations(&catalog, RelationKind::Table) }
        }
        Show::Streams { extended: true } => descriptions(node, &catalog, RelationKind::Stream, true),
        Show::Tables { extended: true } => descriptions(node, &catalog, RelationKind::Table, true),
        Show::Topics { all, extended: false } => Entity::Topics { topics: topics(node, *all) },
        Show::Topics { all, extended: true } => {
            Entity::TopicsExtended { topics: topics_extended(node, &catalog, *all) }
        }
        Show::Queries { extended: false } => {
            let queries = catalog.queries().map(|q| query_info(node, &catalog, q));
            Entity::Queries { queries: queries.collect() }
        }
        Show::Queries { extended: true } => {
            let described = catalog.queries().map(|q| super::explain::describe(node, &catalog, q));
            Entity::QueryDescriptions { query_descriptions: described.collect() }
        }
        Show::Properties => properties(node, scope),
        Show::Functions => Entity::Functions { functions: functions::all(catalog.functions()) },
        Show::Variables => {
            let info = |(name, value): (&str, &str)| VariableInfo {
                name: name.to_owned(),
                value: value.to_owned(),
            };
            Entity::Variables { variables: scope.variables.iter().map(info).collect() }
        }
        Show::Types => Entity::Types {
            types: catalog.types().map(|(name, ty)| (name.clone(), type_json(ty))).collect(),
        },
        Show::Connectors(_) => Entity::Connectors { connectors: Vec::new() },
        Show::ConnectorPlugins => Entity::ConnectorPlugins { connectors_plugins: Vec::new() },
    })
}

/// Answers DESCRIBE.
pub(super) fn describe(node: &Node, name: &str, extended: bool) -> Result<Entity> {
    let catalog = node.catalog();
    let relation = catalog.relation(name).ok_or_else(|| {
        let message = format!("no stream or table is called {name}");
        SqlError::new(ErrorKind::UnknownSource, message, "SHOW STREAMS and SHOW TABLES list them.")
    })?;
    Ok(Entity::Source { source_description: description(node, &catalog, relation, extended) })
}

fn relations(catalog: &Catalog, kind: RelationKind) -> Vec<RelationInfo> {
    let info = |relation: &Relation| RelationInfo {
        kind: kind_name(relation.kind),
        name: relation.name.clone(),
        topic: relation.topic.clone(),
        key_format: relation.key_format.kind.to_string(),
        value_format: relation.value_format.kind.to_string(),
        is_windowed: relation.window.is_some(),
    };
    catalog.relations().filter(|r| r.kind == kind).map(|r| info(r)).collect()
}

/// Answers DESCRIBE STREAMS and DESCRIBE TABLES.
pub(super) fn describe_all(node: &Node, kind: RelationKind, extended: bool) -> Entity {
    descriptions(node, &node.catalog(), kind, extended)
}

fn descriptions(node: &Node, catalog: &Catalog, kind: RelationKind, extended: bool) -> Entity {
    let of_kind = catalog.relations().filter(|r| r.kind == kind);
    let source_descriptions = of_kind.map(|r| description(node, catalog, r, extended)).collect();
    Entity::Sources { source_descriptions }
}

fn kind_name(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Stream => "STREAM",
        RelationKind::Table => "TABLE",
    }
}

pub(super) fn window_name(window: Option<KeyWindow>) -> Option<&'static str> {
    window.map(|window| match window {
        KeyWindow::Time { hopping: false, .. } => "TUMBLING",
        KeyWindow::Time { hopping: true, .. } => "HOPPING",
        KeyWindow::Session => "SESSION",
    })
}

fn topics(node: &Node, all: bool) -> Vec<TopicInfo> {
    let processing_log = processing_log::topic_name(node.service_id());
    let internal = |name: &str| name.starts_with("__") || name == processing_log;
    let topics = node.broker().topics();
    let shown = topics.iter().filter(|t| all || !internal(&t.name));
    shown
        .map(|topic| TopicInfo {
            name: topic.name.to_string(),
            replica_info: vec![1; topic.partition_count().max(0) as usize],
        })
        .collect()
}

/// As [`topics`], with the queries that read each: a query is a group of one consumer. Groups of Kafka's
/// clients are not the session's to see; Kafka's own tools list them.
fn topics_extended(node: &Node, catalog: &Catalog, all: bool) -> Vec<TopicInfoExtended> {
    let reads = |query: &QueryEntry, topic: &str| {
        let mut sources = query.sources.iter().filter_map(|name| catalog.relation(name));
        sources.any(|relation| relation.topic == topic)
    };
    let extended = |topic: TopicInfo| {
        let readers = catalog.queries().filter(|query| reads(query, &topic.name)).count();
        let readers = u32::try_from(readers).unwrap_or(u32::MAX);
        TopicInfoExtended { topic, consumer_count: readers, consumer_group_count: readers }
    };
    topics(node, all).into_iter().map(extended).collect()
}

pub(super) fn query_info(node: &Node, catalog: &Catalog, query: &QueryEntry) -> QueryInfo {
    let state = node.query_state(&query.id);
    let sink = catalog.relation(&query.sink);
    QueryInfo {
        query_string: query.statement.clone(),
        sinks: vec![query.sink.clone()],
        sink_kafka_topics: sink.map(|r| r.topic.clone()).into_iter().collect(),
        id: query.id.clone(),
        status_count: BTreeMap::from([(state.clone(), 1)]),
        query_type: "PERSISTENT",
        state,
    }
}

/// The fields of a relation or result as clients see them.
pub(super) fn fields(schema: &millstream_sql::types::Schema) -> Vec<FieldInfo> {
    let key = schema.key.iter().map(|c| FieldInfo::new(c, true));
    key.chain(schema.value.iter().map(|c| FieldInfo::new(c, false))).collect()
}

fn description(
    node: &Node,
    catalog: &Catalog,
    relation: &Relation,
    extended: bool,
) -> SourceDescription {
    let infos = |of: &dyn Fn(&QueryEntry) -> bool| -> Vec<QueryInfo> {
        catalog.queries().filter(|q| of(q)).map(|q| query_info(node, catalog, q)).collect()
    };
    let read_queries = infos(&|q| q.sources.contains(&relation.name));
    let write_queries = infos(&|q| q.sink == relation.name);
    let reading = read_queries.iter().flat_map(|q| q.sinks.clone()).collect();
    let topic = node.broker().topic(&relation.topic);
    let partitions = topic.as_ref().map_or(0, |t| t.partition_count() as u32);
    let format = |kind: FormatKind| kind.to_string();
    let offsets = match (&topic, extended) {
        (Some(topic), true) => vec![offsets(node, topic)],
        _ => Vec::new(),
    };
    SourceDescription {
        name: relation.name.clone(),
        window_type: window_name(relation.window),
        read_queries,
        write_queries,
        fields: fields(&relation.schema),
        kind: kind_name(relation.kind),
        timestamp: relation.timestamp.as_ref().map(|t| t.column.clone()).unwrap_or_default(),
        statistics: String::new(),
        error_stats: String::new(),
        extended,
        key_format: format(relation.key_format.kind),
        value_format: format(relation.value_format.kind),
        topic: relation.topic.clone(),
        partitions: if extended { partitions } else { 0 },
        replication: u32::from(extended && partitions > 0),
        statement: relation.statement.clone(),
        query_offset_summaries: offsets,
        source_constraints: reading,
        ..SourceDescription::default()
    }
}

/// Where the partitions of a topic begin and end.
fn offsets(node: &Node, topic: &millstream_storage::Topic) -> Value {
    let of = |partition: i32| {
        let at = millstream_storage::TopicPartition { topic: topic.id, partition };
        json!({
            "partition": partition,
            "logStartOffset": node.broker().log_start(at).unwrap_or(0),
            "logEndOffset": node.broker().high_watermark(at).unwrap_or(0),
            "consumerOffset": 0,
        })
    };
    let offsets: Vec<Value> = (0..topic.partition_count()).map(of).collect();
    json!({ "groupId": "", "topicSummaries": [{ "kafkaTopic": &*topic.name, "offsets": offsets }] })
}

fn properties(node: &Node, scope: &Scope) -> Entity {
    let defaults = node.default_properties();
    let info = |name: &str, value: &str| PropertyInfo {
        name: name.to_owned(),
        scope: "KSQL",
        value: Some(value.to_owned()),
        editable: true,
        level: "SERVER",
    };
    let mut shown: BTreeMap<String, PropertyInfo> =
        defaults.iter().map(|(name, value)| (name.clone(), info(name, value))).collect();
    let mut overwritten = Vec::new();
    for (name, value) in &scope.properties {
        if defaults.get(name) != Some(value) {
            overwritten.push(name.clone());
        }
        shown.insert(name.clone(), info(name, value));
    }
    Entity::Properties {
        properties: shown.into_values().collect(),
        overwritten_properties: overwritten,
        default_properties: defaults.keys().cloned().collect(),
    }
}

/// Answers ASSERT TOPIC: waits for the topic to be there (or not), with the settings asked for.
pub(super) fn assert_topic(
    node: &Node,
    not_exists: bool,
    topic: &str,
    properties: &Properties,
    timeout_ms: Option<u64>,
) -> Result<Entity> {
    for property in &properties.0 {
        if !["PARTITIONS", "REPLICAS"].contains(&property.name.as_str()) {
            let message = format!("there is no property {} here", property.name);
            let remedy = "ASSERT TOPIC knows PARTITIONS and REPLICAS.";
            return Err(SqlError::new(ErrorKind::UnknownProperty, message, remedy).at(property.span));
        }
    }
    let holds = || match (node.broker().topic(topic), not_exists) {
        (found, true) => found.is_none(),
        (None, false) => false,
        (Some(found), false) => properties.0.iter().all(|property| {
            let has = match property.name.as_str() {
                "PARTITIONS" => found.partition_count(),
                "REPLICAS" => 1,
                _ => return false,
            };
            property.value.parse() == Ok(has)
        }),
    };
    let mut left = Duration::from_millis(timeout_ms.unwrap_or(ASSERT_MS));
    while !holds() {
        if left.is_zero() {
            let state = if not_exists { "exists" } else { "does not exist as asked for" };
            let message = format!("topic {topic} {state}");
            let remedy = "SHOW TOPICS lists what there is; TIMEOUT says how long to wait.";
            return Err(SqlError::new(ErrorKind::AssertionFailed, message, remedy));
        }
        let step = left.min(Duration::from_millis(10));
        std::thread::sleep(step);
        left -= step;
    }
    Ok(Entity::AssertTopic { topic_name: topic.to_owned(), exists: !not_exists })
}
