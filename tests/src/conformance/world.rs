//! What statements of a case have made: the catalog, the topics and the running queries.
//!
//! Statements go through the real parser and planner, one at a time, as a session sends them. Topics
//! are stubs: records in memory, one partition of records whatever the declared count (the count is
//! only what planning asks for; topics nobody declares have four, as in ksqlDB's own runner).

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Int64Type;
use millstream_connectors::formats;
use millstream_sql::catalog::{Catalog, Format};
use millstream_sql::error::{ErrorKind, SqlError};
use millstream_sql::expr::{EvalContext, Expr, RowErrors, compile};
use millstream_sql::plan::{self, Dataflow, InsertValues, Plan, PlanConfig, PlanEnv};
use millstream_sql::syntax::ast::{ParsedStatement, Properties, Statement};
use millstream_sql::syntax::parse_statements;
use millstream_sql::types::{Column, Schema};

use super::case::{Case, TopicNode};

/// How many partitions a topic has that nobody declares.
const PARTITIONS_DEFAULT: u32 = 4;

/// The service id that ksqlDB's runner uses; internal topics bear it.
const SERVICE_ID: &str = "some.ksql.service.id";

/// A record of a stub topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

#[derive(Clone, Debug)]
pub struct StubTopic {
    pub partitions: u32,
    pub records: Vec<StubRecord>,
}

/// The topics there are.
#[derive(Clone, Debug, Default)]
pub struct Topics(pub BTreeMap<String, StubTopic>);

impl Topics {
    fn declare(&mut self, name: &str, partitions: u32) {
        let topic = || StubTopic { partitions, records: Vec::new() };
        self.0.entry(name.to_owned()).or_insert_with(topic);
    }

    pub fn append(&mut self, name: &str, record: StubRecord) {
        self.declare(name, PARTITIONS_DEFAULT);
        if let Some(topic) = self.0.get_mut(name) {
            topic.records.push(record);
        }
    }

    pub fn records(&self, name: &str) -> &[StubRecord] {
        self.0.get(name).map_or(&[], |topic| &topic.records)
    }
}

impl PlanEnv for Topics {
    fn partitions(&self, topic: &str) -> Option<u32> {
        self.0.get(topic).map(|t| t.partitions)
    }
}

/// Why a statement was not carried out.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// With an error code of its own.
    Sql(SqlError),
    /// A failure that the product has no code for: never right.
    Other(String),
}

impl Refusal {
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Refusal::Sql(e) => Some(e.kind),
            Refusal::Other(_) => None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Sql(e) => write!(f, "{}: {}", e.kind, e.message),
            Refusal::Other(e) => f.write_str(e),
        }
    }
}

impl From<SqlError> for Refusal {
    fn from(e: SqlError) -> Self {
        Refusal::Sql(e)
    }
}

/// The state that statements build up.
pub struct World {
    pub catalog: Catalog,
    pub topics: Topics,
    /// Persistent queries in the order of their statements.
    pub queries: Vec<Dataflow>,
    pub properties: BTreeMap<String, String>,
}

impl World {
    /// The world before a case's first statement.
    pub fn new(case: &Case) -> World {
        let mut properties: BTreeMap<String, String> = BTreeMap::new();
        properties.insert("ksql.service.id".into(), SERVICE_ID.into());
        properties.extend(case.properties.iter().cloned());
        let mut topics = Topics::default();
        for TopicNode { name, partitions, .. } in &case.topics {
            topics.declare(name, *partitions);
        }
        let catalog = Catalog::default().with_functions(super::functions::with_test_functions());
        World { catalog, topics, queries: Vec::new(), properties }
    }

    /// A world of which nothing is known yet.
    pub fn empty() -> World {
        let properties = [("ksql.service.id".to_owned(), SERVICE_ID.to_owned())].into();
        World {
            catalog: Catalog::default(),
            topics: Topics::default(),
            queries: Vec::new(),
            properties,
        }
    }

    /// Declares the topics of the records, unless statements have done so.
    pub fn declare_record_topics(&mut self, case: &Case) {
        for record in case.inputs.iter().chain(&case.outputs) {
            self.topics.declare(&record.topic, PARTITIONS_DEFAULT);
        }
    }

    /// Parses, plans and carries out the statements of one text.
    ///
    /// # Errors
    /// What the product refuses it with; then nothing of the refused statement has happened.
    pub fn execute(&mut self, text: &str) -> Result<(), Refusal> {
        // Each statement of a text is parsed against the catalog that those before it left.
        let types = {
            let catalog = self.catalog.clone();
            move |name: &str| catalog.custom_type(name).cloned()
        };
        for statement in parse_statements(text, &types)? {
            self.carry_out(&statement)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, statement: &ParsedStatement) -> Result<(), Refusal> {
        self.declare_statement_topic(&statement.statement);
        let config = PlanConfig {
            // Numbers count queries only.
            query_number: Some(self.catalog.next_query()),
            ..PlanConfig::from_properties(&self.properties)?
        };
        match plan::plan(statement, &self.catalog, &config, &self.topics)? {
            Plan::Ddl(ddl) => {
                self.catalog = self.catalog.with(&ddl.changes);
                self.queries.retain(|query| !ddl.stop.contains(&query.query_id));
                if let Some(topic) = &ddl.create_topic {
                    let like = topic.like.as_ref().and_then(|like| self.topics.partitions(like));
                    let partitions = topic.partitions.or(like).unwrap_or(PARTITIONS_DEFAULT);
                    self.topics.declare(&topic.name, partitions);
                }
                if let Some(topic) = &ddl.delete_topic {
                    self.topics.0.remove(topic);
                }
                self.queries.extend(ddl.start);
                Ok(())
            }
            Plan::InsertValues(insert) => self.insert(&insert),
            Plan::Session(Statement::Set { name, value }) => {
                self.properties.insert(name, value);
                Ok(())
            }
            Plan::Session(Statement::Unset { name }) => {
                self.properties.remove(&name);
                Ok(())
            }
            Plan::Session(_) | Plan::Push(_) | Plan::Pull(_) | Plan::NoOp { .. } => Ok(()),
        }
    }

    /// ksqlDB's runner creates every topic that a CREATE names before the statement runs.
    fn declare_statement_topic(&mut self, statement: &Statement) {
        let (name, properties): (_, &Properties) = match statement {
            Statement::CreateSource(create) => (&create.name, &create.properties),
            Statement::CreateAs(create) => (&create.name, &create.properties),
            _ => return,
        };
        let property = |name: &str| properties.get(name).map(|p| p.value.clone());
        let prefix = self.properties.get("ksql.output.topic.name.prefix");
        let implied = match statement {
            Statement::CreateAs(_) => format!("{}{}", prefix.map_or("", |p| p), name.text),
            _ => name.text.clone(),
        };
        let topic = property("KAFKA_TOPIC").unwrap_or(implied);
        let partitions = property("PARTITIONS").and_then(|n| n.parse().ok());
        self.topics.declare(&topic, partitions.unwrap_or(PARTITIONS_DEFAULT));
    }

    /// Writes one row into the relation's stub topic; the clock stands at 0.
    fn insert(&mut self, insert: &InsertValues) -> Result<(), Refusal> {
        let relation = self.catalog.relation(&insert.relation).cloned();
        let relation = relation.ok_or_else(|| Refusal::Other("no relation to insert".into()))?;
        let mut columns = Vec::new();
        for value in &insert.values {
            columns.push(constant(value)?);
        }
        let timestamp = match &insert.time {
            Some(time) => constant(time)?.as_primitive::<Int64Type>().value(0),
            None => 0,
        };
        // Header columns are never written.
        let parts = columns.split_off(relation.schema.key.len()).into_iter();
        let parts = parts.zip(&relation.schema.value).filter(|(_, c)| c.header.is_none());
        let (values, value_columns): (Vec<ArrayRef>, Vec<Column>) =
            parts.map(|(array, column)| (array, column.clone())).unzip();
        let encode = |format: &Format, columns: &[Column], values: &[ArrayRef]| {
            let encoder = formats::encoder(format, columns);
            let encoder = encoder.map_err(|e| Refusal::Other(e.to_string()))?;
            let encoded = encoder.encode(values, 1);
            let bytes = encoded.row(0).map_err(|e| Refusal::Other(e.to_owned()))?;
            Ok::<_, Refusal>(bytes.map(<[u8]>::to_vec))
        };
        let key = encode(&relation.key_format, &relation.schema.key, &columns)?;
        let value = encode(&relation.value_format, &value_columns, &values)?;
        let record = StubRecord { key, value, timestamp, headers: Vec::new() };
        self.topics.append(&relation.topic, record);
        Ok(())
    }
}

/// The value of an expression without columns, as an array of one.
fn constant(value: &Expr) -> Result<ArrayRef, Refusal> {
    let schema = Schema::default();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(schema.to_arrow(), vec![], &options)
        .map_err(|e| Refusal::Other(e.to_string()))?;
    let mut errors = RowErrors::default();
    let array = compile(value, &schema)?.evaluate(&row, &EvalContext { now_ms: 0 }, &mut errors);
    match errors.0.first() {
        Some(error) => Err(Refusal::Other(error.message.clone().into_owned())),
        None => Ok(array),
    }
}
