//! CREATE STREAM/TABLE AS SELECT, and push queries: a planned query and its sink.

use crate::catalog::{CatalogChange, FormatKind, PersistentKind, QueryEntry, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::create_source::{cleanup, exists_already, kind_name};
use crate::plan::properties::{FormatProperties, RelationProperties, timestamp_column};
use crate::plan::query::{self, PlannedQuery, Purpose};
use crate::plan::{
    Context, Dataflow, DdlPlan, Op, Plan, QueryPlan, Sink, Step, TopicSpec, formats, replace,
};
use crate::syntax::ast::{CreateAs, Query, RelationKind};

pub(super) fn plan(create: &CreateAs, text: &str, context: Context<'_>) -> Result<Plan> {
    let existing = context.catalog.relation(&create.name.text);
    if let Some(existing) = existing {
        if create.if_not_exists {
            return Ok(exists_already(existing));
        }
        if existing.source {
            return Err(replace::read_only(&existing.name).at(create.name.span));
        }
        if !create.or_replace {
            return Err(replace::exists(existing).at(create.name.span));
        }
    }
    no_limit(&create.query)?;
    let properties = RelationProperties::read(&create.properties, true)?;
    let purpose = Purpose::Persistent { timestamp: properties.timestamp.as_ref() };
    let mut planned = query::plan(&create.query, purpose, context)?;
    for step in &mut planned.steps.0 {
        if let Op::Source(source) = &mut step.op {
            source.start = properties.start;
        }
    }
    check_kind(create, &planned)?;
    let (mut relation, sink) = sink(create, text, &properties, &planned, context)?;
    let replaced = existing.and_then(|e| e.created_by.clone());
    let number = context.config.query_number.unwrap_or(context.catalog.next_query());
    let id = replaced.clone().unwrap_or_else(|| {
        let prefix = if create.kind == RelationKind::Stream { "CSAS" } else { "CTAS" };
        format!("{prefix}_{}_{number}", relation.name)
    });
    relation.created_by = Some(id.clone());
    let source_names = planned.source_names.clone();
    let topic = topic_spec(&relation, &planned, &properties, context);
    relation.retention_ms = topic.retention_ms;
    if source_names.contains(&relation.name) {
        return Err(SqlError::unsupported(format!(
            "{} would be replaced by a query that reads it",
            relation.name
        )));
    }
    let dataflow = finish(planned, id.clone(), &relation.name, sink);
    if let Some(existing) = existing {
        replace::check_relation(existing, &relation).map_err(|e| e.at(create.name.span))?;
        replace::check_query(&id, &dataflow, context).map_err(|e| e.at(create.name.span))?;
    }
    let entry = QueryEntry {
        id: id.clone(),
        statement: text.to_owned(),
        sources: source_names,
        sink: relation.name.clone(),
        kind: PersistentKind::CreateAs,
    };
    let mut changes = vec![CatalogChange::PutRelation(relation), CatalogChange::PutQuery(entry)];
    if replaced.is_none() {
        changes.push(CatalogChange::NextQuery(number + 1));
    }
    Ok(Plan::Ddl(DdlPlan {
        changes,
        start: Some(dataflow),
        stop: replaced.into_iter().collect(),
        create_topic: Some(topic),
        delete_topic: None,
        message: format!("Created query with ID {id}"),
    }))
}

pub(super) fn no_limit(query: &Query) -> Result<()> {
    match query.limit {
        None => Ok(()),
        Some(_) => Err(SqlError::new(
            ErrorKind::LimitNotAllowed,
            "LIMIT in a persistent query",
            "Drop LIMIT; the query runs until it is terminated.",
        )),
    }
}

fn check_kind(create: &CreateAs, planned: &PlannedQuery) -> Result<()> {
    if planned.kind == create.kind {
        return Ok(());
    }
    let made = kind_name(planned.kind);
    Err(SqlError::new(
        ErrorKind::WrongRelationKind,
        format!("this SELECT gives a {made}, not a {}", kind_name(create.kind)),
        format!("Write CREATE {} … AS SELECT.", made.to_uppercase()),
    )
    .at(create.name.span))
}

fn sink(
    create: &CreateAs,
    text: &str,
    properties: &RelationProperties,
    planned: &PlannedQuery,
    context: Context<'_>,
) -> Result<(Relation, Sink)> {
    let config = context.config;
    let schema = planned.schema.clone();
    let stated = properties.key_format.is_some_and(|f| f != FormatKind::None);
    if planned.key_dropped && stated {
        return Err(SqlError::new(
            ErrorKind::KeyFormatWithoutKey,
            "a key format is given, but PARTITION BY NULL leaves no key",
            "Drop the key format.",
        ));
    }
    let inherited = if planned.key_dropped {
        FormatProperties::new(FormatKind::None)
    } else {
        formats::for_sink_key(planned.key_format, &schema.key, config.default_key_format)
    };
    let key = properties.key(inherited)?;
    let value = properties.value(planned.value_format)?;
    let (key_format, value_format) =
        formats::settle(&schema, key, value, properties.wrap, config.wrap_single_values)?;
    let timestamp = timestamp_column(properties.timestamp.as_ref(), &schema)?;
    if properties.retention_ms.is_some()
        && create.kind == RelationKind::Table
        && planned.window.is_none()
    {
        return Err(SqlError::new(
            ErrorKind::InvalidPropertyValue,
            "RETENTION_MS on a table without window",
            "Drop RETENTION_MS; a table keeps the last row of every key.",
        ));
    }
    formats::require_built(key_format.kind)?;
    formats::require_built(value_format.kind)?;
    let topic = properties
        .topic
        .clone()
        .unwrap_or_else(|| format!("{}{}", config.topic_prefix, create.name.text));
    let partitions =
        properties.partitions.or(config.sink_partitions).or(planned.first_source.partitions);
    let relation = Relation {
        name: create.name.text.clone(),
        kind: create.kind,
        schema,
        topic: topic.clone(),
        key_format: key_format.clone(),
        value_format: value_format.clone(),
        window: planned.window,
        timestamp: timestamp.clone(),
        source: false,
        statement: text.to_owned(),
        created_by: None,
        partitions,
        replicas: properties.replicas.or(config.sink_replicas).or(planned.first_source.replicas),
        retention_ms: properties.retention_ms,
    };
    let sink = Sink {
        rekeyed: false,
        relation: Some(relation.name.clone()),
        topic: Some(topic),
        key_format,
        value_format,
        timestamp,
    };
    Ok((relation, sink))
}

fn topic_spec(
    relation: &Relation,
    planned: &PlannedQuery,
    properties: &RelationProperties,
    context: Context<'_>,
) -> TopicSpec {
    let windowed = relation.window.is_some();
    // The longer of what is asked for and what the window needs; a stream keeps what its source does.
    let retention_ms = match (properties.retention_ms, planned.retention_ms) {
        (asked, Some(window)) => Some(asked.unwrap_or(0).max(window)),
        (Some(asked), None) => Some(asked),
        (None, None) if relation.kind == RelationKind::Stream || windowed => {
            planned.first_source.retention_ms
        }
        (None, None) => None,
    };
    TopicSpec {
        name: relation.topic.clone(),
        partitions: properties.partitions.or(context.config.sink_partitions),
        replicas: relation.replicas,
        retention_ms,
        cleanup: cleanup(relation.kind, windowed),
        like: Some(planned.first_source.topic.clone()),
    }
}

/// The planned steps with the sink behind them.
pub(super) fn finish(planned: PlannedQuery, query_id: String, name: &str, sink: Sink) -> Dataflow {
    let mut steps = planned.steps;
    steps.push(Step {
        name: name.to_owned(),
        op: Op::Sink(sink),
        inputs: vec![planned.last],
        schema: planned.schema,
        relation: planned.kind,
        window: planned.window,
    });
    Dataflow { query_id, steps: steps.0 }
}

/// `SELECT … EMIT …`: rows go to the client.
pub(super) fn plan_push(query: &Query, context: Context<'_>) -> Result<Plan> {
    let planned = query::plan(query, Purpose::Push, context)?;
    let first = &planned.first_source;
    let sink = Sink {
        rekeyed: false,
        relation: None,
        topic: None,
        key_format: first.key_format.clone(),
        value_format: first.value_format.clone(),
        timestamp: None,
    };
    let query_id = format!("transient_{}", first.name);
    let dataflow = finish(planned, query_id, "Client", sink);
    Ok(Plan::Push(QueryPlan { dataflow, limit: query.limit }))
}
