//! What a statement answers: ksqlDB's entities (`reference/ksqldb.md` 4.3), typed.
//!
//! The HTTP layer prints them as JSON, the shell as tables. Field names on the wire are ksqlDB's, since
//! its clients read them.

use std::collections::BTreeMap;

use millstream_sql::error::SqlError;
use millstream_sql::types::{Column, HeaderColumn, SqlType};
use serde::Serialize;
use serde_json::{Value, json};

/// The answer of one statement, with the text it answers.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    #[serde(flatten)]
    pub entity: Entity,
    #[serde(rename = "statementText")]
    pub statement_text: String,
    pub warnings: Vec<Warning>,
}

impl Answer {
    pub fn new(statement_text: &str, entity: Entity) -> Answer {
        Answer { entity, statement_text: statement_text.to_owned(), warnings: Vec::new() }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Warning {
    pub message: String,
}

/// A statement that was refused; nothing of it was done.
#[derive(Clone, Debug)]
pub struct StatementError {
    pub error: SqlError,
    /// The one statement's text; spans are into it.
    pub statement: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "@type", rename_all_fields = "camelCase")]
pub enum Entity {
    #[serde(rename = "currentStatus")]
    CurrentStatus { command_id: String, command_status: CommandStatus, command_sequence_number: u64 },
    #[serde(rename = "streams")]
    Streams { streams: Vec<RelationInfo> },
    #[serde(rename = "tables")]
    Tables { tables: Vec<RelationInfo> },
    #[serde(rename = "kafka_topics")]
    Topics { topics: Vec<TopicInfo> },
    #[serde(rename = "kafka_topics_extended")]
    TopicsExtended { topics: Vec<TopicInfoExtended> },
    #[serde(rename = "queries")]
    Queries { queries: Vec<QueryInfo> },
    #[serde(rename = "properties")]
    Properties { properties: Vec<PropertyInfo>, overwritten_properties: Vec<String>, default_properties: Vec<String> },
    #[serde(rename = "function_names")]
    Functions { functions: Vec<FunctionInfo> },
    #[serde(rename = "describe_function")]
    Function(FunctionDescription),
    #[serde(rename = "sourceDescription")]
    Source { source_description: SourceDescription },
    #[serde(rename = "source_descriptions")]
    Sources { source_descriptions: Vec<SourceDescription> },
    #[serde(rename = "queryDescription")]
    Query { query_description: QueryDescription },
    #[serde(rename = "query_descriptions")]
    QueryDescriptions { query_descriptions: Vec<QueryDescription> },
    #[serde(rename = "type_list")]
    Types { types: BTreeMap<String, Value> },
    #[serde(rename = "variables")]
    Variables { variables: Vec<VariableInfo> },
    #[serde(rename = "connector_list")]
    Connectors { connectors: Vec<Value> },
    #[serde(rename = "connector_plugins_list")]
    ConnectorPlugins { connectors_plugins: Vec<Value> },
    #[serde(rename = "terminate_query")]
    TerminateQuery { query_id: String, was_terminated: bool },
    #[serde(rename = "assert_topic")]
    AssertTopic { topic_name: String, exists: bool },
    #[serde(rename = "warning_entity")]
    Warning { message: String },
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandStatus {
    /// `SUCCESS` for DDL, `SUCCESS` with a query id for queries.
    pub status: &'static str,
    pub message: String,
    pub query_id: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RelationInfo {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub topic: String,
    pub key_format: String,
    pub value_format: String,
    pub is_windowed: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicInfo {
    pub name: String,
    /// One number of replicas per partition.
    pub replica_info: Vec<u32>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicInfoExtended {
    #[serde(flatten)]
    pub topic: TopicInfo,
    pub consumer_count: u32,
    pub consumer_group_count: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryInfo {
    pub query_string: String,
    pub sinks: Vec<String>,
    pub sink_kafka_topics: Vec<String>,
    pub id: String,
    pub status_count: BTreeMap<String, u32>,
    pub query_type: &'static str,
    /// `RUNNING`, `PAUSED` or `ERROR`.
    pub state: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct PropertyInfo {
    pub name: String,
    pub scope: &'static str,
    pub value: Option<String>,
    pub editable: bool,
    pub level: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct FunctionInfo {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub category: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionDescription {
    pub name: String,
    pub description: String,
    pub author: String,
    pub version: String,
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub functions: Vec<FunctionVariant>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionVariant {
    pub arguments: Vec<FunctionArgument>,
    pub return_type: String,
    pub description: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionArgument {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: String,
    pub description: String,
    pub is_variadic: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct VariableInfo {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceDescription {
    pub name: String,
    pub window_type: Option<&'static str>,
    pub read_queries: Vec<QueryInfo>,
    pub write_queries: Vec<QueryInfo>,
    pub fields: Vec<FieldInfo>,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The TIMESTAMP column, or empty.
    pub timestamp: String,
    pub statistics: String,
    pub error_stats: String,
    pub extended: bool,
    pub key_format: String,
    pub value_format: String,
    pub topic: String,
    pub partitions: u32,
    pub replication: u32,
    pub statement: String,
    pub query_offset_summaries: Vec<Value>,
    pub source_constraints: Vec<String>,
    pub cluster_statistics: Vec<Value>,
    pub cluster_error_stats: Vec<Value>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldInfo {
    pub name: String,
    pub schema: Value,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_key: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryDescription {
    pub id: String,
    pub statement_text: String,
    pub window_type: Option<&'static str>,
    pub fields: Vec<FieldInfo>,
    pub sources: Vec<String>,
    pub sinks: Vec<String>,
    /// The dataflow as a tree; ksqlDB puts Kafka Streams' description here.
    pub topology: String,
    pub execution_plan: String,
    pub overridden_properties: BTreeMap<String, String>,
    pub ksql_host_query_status: BTreeMap<String, String>,
    pub query_type: &'static str,
    pub query_errors: Vec<QueryErrorInfo>,
    pub tasks_metadata: Vec<Value>,
    pub consumer_group_id: String,
    pub state: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryErrorInfo {
    pub timestamp: i64,
    pub error_message: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// ksqlDB's schema object of a type.
pub fn type_json(ty: &SqlType) -> Value {
    let plain = |name: &str| json!({ "type": name, "fields": null, "memberSchema": null });
    match ty {
        SqlType::Decimal { precision, scale } => json!({
            "type": "DECIMAL", "fields": null, "memberSchema": null,
            "parameters": { "precision": precision, "scale": scale },
        }),
        SqlType::Array(item) => json!({ "type": "ARRAY", "fields": null, "memberSchema": type_json(item) }),
        SqlType::Map(_, value) => json!({ "type": "MAP", "fields": null, "memberSchema": type_json(value) }),
        SqlType::Struct(fields) => {
            let fields: Vec<Value> =
                fields.iter().map(|f| json!({ "name": f.name, "schema": type_json(&f.ty) })).collect();
            json!({ "type": "STRUCT", "fields": fields, "memberSchema": null })
        }
        other => plain(&other.to_string()),
    }
}

impl FieldInfo {
    /// A column as DESCRIBE shows it; `key` for key columns.
    pub fn new(column: &Column, key: bool) -> FieldInfo {
        let (role, header_key) = match &column.header {
            Some(HeaderColumn::All) => (Some("HEADER"), None),
            Some(HeaderColumn::Key(key)) => (Some("HEADER"), Some(key.clone())),
            None => (key.then_some("KEY"), None),
        };
        FieldInfo { name: column.name.clone(), schema: type_json(&column.ty), role, header_key }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Entity, RelationInfo};

    #[test]
    fn an_answer_is_the_entity_with_its_statement() {
        let streams = vec![RelationInfo {
            kind: "STREAM",
            name: "S".into(),
            topic: "s".into(),
            key_format: "KAFKA".into(),
            value_format: "JSON".into(),
            is_windowed: false,
        }];
        let answer = Answer::new("SHOW STREAMS;", Entity::Streams { streams });
        let text = serde_json::to_string(&answer).expect("plain data");
        assert_eq!(
            text,
            "{\"@type\":\"streams\",\"streams\":[{\"type\":\"STREAM\",\"name\":\"S\",\"topic\":\"s\",\
             \"keyFormat\":\"KAFKA\",\"valueFormat\":\"JSON\",\"isWindowed\":false}],\
             \"statementText\":\"SHOW STREAMS;\",\"warnings\":[]}"
        );
    }
}
