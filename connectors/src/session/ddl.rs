//! Statements that change the catalog or the running queries.
//!
//! [`World`] is the catalog with the queries that belong to it, a value; [`decide`] says what it is
//! after a statement. It runs twice in a statement's life: when it is given, over the live topics, and
//! at each restart, over the topics recorded with it. [`perform`] carries a decision out: topic, journal,
//! catalog, queries, in this order, so that a crash leaves the old or the new catalog (and at worst a
//! topic that nothing refers to).

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_sql::catalog::{Catalog, CatalogChange};
use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_sql::plan::{
    Cleanup, Dataflow, DdlPlan, Plan, PlanConfig, PlanEnv, TopicSpec, plan,
};
use millstream_sql::syntax::ast::{ParsedStatement, QueryTarget, RelationKind, Statement};
use uuid::Uuid;

use super::answer::{CommandStatus, Entity};
use super::node::Node;
use super::record::{CatalogRecord, LiveTopics};
use super::{node_error, unexpected};

/// A persistent query as the catalog's history tells it.
#[derive(Clone, Debug)]
pub(super) struct QuerySpec {
    pub dataflow: Dataflow,
    /// Those in force when it was created.
    pub properties: BTreeMap<String, String>,
    pub paused: bool,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub catalog: Arc<Catalog>,
    pub queries: BTreeMap<String, Arc<QuerySpec>>,
}

/// What a statement means to the world.
pub(super) enum Decision {
    Change(Box<Change>),
    /// IF (NOT) EXISTS found nothing to do.
    NoOp(String),
}

pub(super) struct Change {
    pub next: World,
    pub start: Option<String>,
    pub stop: Vec<String>,
    pub pause: Vec<String>,
    pub resume: Vec<String>,
    create_topic: Option<TopicSpec>,
    delete_topic: Option<String>,
    message: String,
}

/// Decides what a statement does. The same arguments always give the same answer.
///
/// # Errors
/// When it is refused.
pub(super) fn decide(
    parsed: &ParsedStatement,
    properties: &BTreeMap<String, String>,
    query_number: Option<u64>,
    world: &World,
    env: &dyn PlanEnv,
) -> Result<Decision> {
    let config = PlanConfig::from_properties(properties)?;
    let config = PlanConfig { query_number: query_number.or(config.query_number), ..config };
    let planned = plan(parsed, &world.catalog, &config, env)?;
    match planned {
        Plan::Ddl(ddl) => Ok(Decision::Change(Box::new(apply(ddl, properties, world)))),
        Plan::NoOp { message } => Ok(Decision::NoOp(message)),
        Plan::Session(Statement::Terminate(target)) => {
            let ids = targets(&target, world)?;
            let drops: Vec<_> = ids.iter().cloned().map(CatalogChange::DropQuery).collect();
            let catalog = Arc::new(world.catalog.with(&drops));
            let mut queries = world.queries.clone();
            queries.retain(|id, _| !ids.contains(id));
            let message = "Query terminated.".to_owned();
            let next = World { catalog, queries };
            Ok(Decision::Change(Box::new(Change { stop: ids, ..Change::plain(next, message) })))
        }
        Plan::Session(Statement::Pause(target)) => {
            let ids = targets(&target, world)?;
            let next = with_paused(world, &ids, true);
            let change = Change { pause: ids, ..Change::plain(next, "Query paused.".to_owned()) };
            Ok(Decision::Change(Box::new(change)))
        }
        Plan::Session(Statement::Resume(target)) => {
            let ids = targets(&target, world)?;
            let next = with_paused(world, &ids, false);
            let change = Change { resume: ids, ..Change::plain(next, "Query resumed.".to_owned()) };
            Ok(Decision::Change(Box::new(change)))
        }
        other => Err(unexpected(&other)),
    }
}

impl Change {
    fn plain(next: World, message: String) -> Change {
        Change {
            next,
            start: None,
            stop: Vec::new(),
            pause: Vec::new(),
            resume: Vec::new(),
            create_topic: None,
            delete_topic: None,
            message,
        }
    }
}

fn apply(ddl: DdlPlan, properties: &BTreeMap<String, String>, world: &World) -> Change {
    let catalog = Arc::new(world.catalog.with(&ddl.changes));
    let mut queries = world.queries.clone();
    queries.retain(|id, _| !ddl.stop.contains(id));
    let start = ddl.start.as_ref().map(|dataflow| dataflow.query_id.clone());
    if let Some(dataflow) = ddl.start {
        let properties = properties.clone();
        let spec = QuerySpec { dataflow, properties, paused: false };
        queries.insert(spec.dataflow.query_id.clone(), Arc::new(spec));
    }
    Change {
        start,
        stop: ddl.stop,
        create_topic: ddl.create_topic,
        delete_topic: ddl.delete_topic,
        ..Change::plain(World { catalog, queries }, ddl.message)
    }
}

fn targets(target: &QueryTarget, world: &World) -> Result<Vec<String>> {
    match target {
        QueryTarget::All => Ok(world.queries.keys().cloned().collect()),
        QueryTarget::Id(id) => match world.queries.keys().find(|known| known.eq_ignore_ascii_case(id)) {
            Some(known) => Ok(vec![known.clone()]),
            None => {
                let message = format!("no persistent query has the id {id}");
                let remedy = "SHOW QUERIES lists what runs; a push query ends with its client.";
                Err(SqlError::new(ErrorKind::UnknownQuery, message, remedy))
            }
        },
    }
}

fn with_paused(world: &World, ids: &[String], paused: bool) -> World {
    let mut next = world.clone();
    for id in ids {
        if let Some(spec) = next.queries.get_mut(id) {
            *spec = Arc::new(QuerySpec { paused, ..(**spec).clone() });
        }
    }
    next
}

/// Decides and carries out a statement.
///
/// # Errors
/// When it is refused, or the node fails; the world is as before then.
pub(super) fn perform(
    node: &Node,
    parsed: &ParsedStatement,
    properties: &BTreeMap<String, String>,
) -> Result<Entity> {
    let mut writer = node.begin_change();
    let world = node.world();
    let env = LiveTopics::new(node.broker());
    let number = world.catalog.next_query();
    let change = match decide(parsed, properties, Some(number), &world, &env)? {
        Decision::NoOp(message) => return Ok(Entity::Warning { message }),
        Decision::Change(change) => *change,
    };
    if let Some(spec) = &change.create_topic {
        create_topic(node, spec)?;
    }
    let record = CatalogRecord::new(&parsed.text, properties, number, env.into_asked());
    node.journal(&record)?;
    node.set_world(change.next.clone());
    if let Err(error) = node.run_change(&change) {
        // It cannot run: take it back, so that a restart does not meet it again.
        node.journal(&CatalogRecord::undo())?;
        node.set_world(world.clone());
        node.restart_after_undo(&change, &world);
        return Err(error);
    }
    if let Some(name) = &change.delete_topic {
        delete_topic(node, name)?;
    }
    writer.statements += 1;
    let query_id = change.start.clone();
    let status = CommandStatus { status: "SUCCESS", message: change.message, query_id };
    Ok(Entity::CurrentStatus {
        command_id: command_id(&parsed.statement),
        command_status: status,
        command_sequence_number: writer.statements,
    })
}

/// Creates the topic if it is not there.
fn create_topic(node: &Node, spec: &TopicSpec) -> Result<()> {
    let broker = node.broker();
    if let Some(topic) = broker.topic(&spec.name) {
        let has = topic.partition_count() as u32;
        return match spec.partitions {
            Some(wanted) if wanted != has => Err(SqlError::new(
                ErrorKind::InvalidPropertyValue,
                format!("topic {} exists with {has} partitions, not {wanted}", spec.name),
                "Leave PARTITIONS out, or name another topic.",
            )),
            _ => Ok(()),
        };
    }
    let like = spec.like.as_ref().and_then(|name| broker.topic(name));
    let partitions = spec
        .partitions
        .or(like.map(|topic| topic.partition_count() as u32))
        .unwrap_or(node.default_partitions());
    let cleanup = match spec.cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
        Cleanup::CompactDelete => "compact,delete",
    };
    let mut configs = vec![("cleanup.policy".to_owned(), cleanup.to_owned())];
    if let Some(retention_ms) = spec.retention_ms {
        configs.push(("retention.ms".to_owned(), retention_ms.to_string()));
    }
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    let created = broker.create_topic(&spec.name, partitions, &configs, Uuid::new_v4());
    let ticket = created.map_err(|e| {
        let message = format!("topic {} cannot be created: {}", spec.name, e.message);
        SqlError::new(ErrorKind::InvalidPropertyValue, message, "Name another topic or settings.")
    })?;
    node.log().wait(ticket).map_err(|e| node_error(e.to_string()))
}

fn delete_topic(node: &Node, name: &str) -> Result<()> {
    let Some(topic) = node.broker().topic(name) else { return Ok(()) };
    let ticket = node.broker().delete_topic(topic.id).map_err(|e| node_error(e.to_string()))?;
    node.log().wait(ticket).map_err(|e| node_error(e.to_string()))
}

/// ksqlDB's name of a command: what, which, and what is done to it.
fn command_id(statement: &Statement) -> String {
    let kind_of = |kind: &RelationKind| match kind {
        RelationKind::Stream => "stream",
        RelationKind::Table => "table",
    };
    let query = |target: &QueryTarget| match target {
        QueryTarget::All => "ALL".to_owned(),
        QueryTarget::Id(id) => id.clone(),
    };
    match statement {
        Statement::CreateSource(c) => format!("{}/`{}`/create", kind_of(&c.kind), c.name.text),
        Statement::CreateAs(c) => format!("{}/`{}`/create", kind_of(&c.kind), c.name.text),
        Statement::InsertSelect { target, .. } => format!("stream/`{}`/create", target.text),
        Statement::Drop { kind, name, .. } => format!("{}/`{}`/drop", kind_of(kind), name.text),
        Statement::AlterAdd { kind, name, .. } => format!("{}/`{}`/alter", kind_of(kind), name.text),
        Statement::CreateType { name, .. } => format!("type/{}/create", name.text),
        Statement::DropType { name, .. } => format!("type/{}/drop", name.text),
        Statement::Terminate(target) => format!("terminate/{}/execute", query(target)),
        Statement::Pause(target) => format!("pause/{}/execute", query(target)),
        Statement::Resume(target) => format!("resume/{}/execute", query(target)),
        _ => "statement/execute".to_owned(),
    }
}
