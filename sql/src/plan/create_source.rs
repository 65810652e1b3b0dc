//! CREATE STREAM and CREATE TABLE with columns: declares what a topic holds.
//!
//! A SOURCE TABLE also starts a query `CST_<NAME>_n` that keeps its rows for pull queries.

use std::collections::HashSet;

use crate::catalog::{CatalogChange, PersistentKind, QueryEntry, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::flow::Steps;
use crate::plan::properties::{FormatProperties, RelationProperties, timestamp_column};
use crate::plan::{
    Cleanup, Context, Dataflow, DdlPlan, Op, Plan, Sink, Step, TopicSpec, formats, names,
    query_steps, replace,
};
use crate::syntax::ast::{ColumnDef, ColumnRole, CreateSource, RelationKind};
use crate::types::{Column, HeaderColumn, Schema, SqlType, StructField};

pub(super) fn kind_name(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Stream => "stream",
        RelationKind::Table => "table",
    }
}

pub(super) fn plan(create: &CreateSource, text: &str, context: Context<'_>) -> Result<Plan> {
    let properties = RelationProperties::read(&create.properties, false)?;
    let schema = declared_schema(create)?;
    let key = properties.key(FormatProperties::new(context.config.default_key_format))?;
    let default_value = context.config.default_value_format.map(FormatProperties::new);
    let value = match (properties.value_format, default_value) {
        (None, None) => {
            return Err(missing(
                "VALUE_FORMAT",
                "Say how values are written, as in VALUE_FORMAT = 'JSON'.",
            ));
        }
        (_, default) => {
            properties.value(default.unwrap_or_else(|| FormatProperties::new(key.kind)))?
        }
    };
    check_columns(create, &schema, &properties, key, value)?;
    let (key_format, value_format) = formats::settle(
        &stored(&schema),
        key,
        value,
        properties.wrap,
        context.config.wrap_single_values,
    )?;
    let timestamp = timestamp_column(properties.timestamp.as_ref(), &schema)?;
    if properties.retention_ms.is_some()
        && create.kind == RelationKind::Table
        && properties.window.is_none()
    {
        return Err(SqlError::new(
            ErrorKind::InvalidPropertyValue,
            "RETENTION_MS on a table without window",
            "Drop RETENTION_MS; a table keeps the last row of every key.",
        ));
    }
    let Some(topic) = properties.topic.clone() else {
        return Err(missing("KAFKA_TOPIC", "Name the topic that holds the records."));
    };
    let relation = Relation {
        name: create.name.text.clone(),
        kind: create.kind,
        schema,
        topic: topic.clone(),
        key_format,
        value_format,
        window: properties.window,
        timestamp,
        source: create.source,
        statement: text.to_owned(),
        created_by: None,
        partitions: properties.partitions.or_else(|| context.env.partitions(&topic)),
        replicas: properties.replicas,
        retention_ms: properties.retention_ms,
    };
    if let Some(existing) = context.catalog.relation(&relation.name) {
        if create.if_not_exists {
            return Ok(exists_already(existing));
        }
        replace::check_source(create, existing, &relation)?;
    } else if create.or_replace && create.source {
        return Err(replace::read_only(&relation.name));
    }
    formats::require_built(relation.key_format.kind)?;
    formats::require_built(relation.value_format.kind)?;
    check_topic(&relation, &properties, context)?;
    Ok(Plan::Ddl(ddl(create, relation, &properties, context)))
}

fn ddl(
    create: &CreateSource,
    relation: Relation,
    properties: &RelationProperties,
    context: Context<'_>,
) -> DdlPlan {
    let create_topic = properties.partitions.map(|partitions| TopicSpec {
        name: relation.topic.clone(),
        partitions: Some(partitions),
        replicas: properties.replicas,
        retention_ms: properties.retention_ms,
        cleanup: cleanup(relation.kind, relation.window.is_some()),
        like: None,
    });
    let kind = if create.kind == RelationKind::Stream { "Stream" } else { "Table" };
    let message = format!("{kind} {} created", relation.name);
    let mut changes = vec![];
    let mut start = None;
    if create.source && create.kind == RelationKind::Table {
        let number = context.config.query_number.unwrap_or(context.catalog.next_query());
        let dataflow = materializing_dataflow(&relation, number);
        changes.push(CatalogChange::PutQuery(QueryEntry {
            id: dataflow.query_id.clone(),
            statement: relation.statement.clone(),
            sources: vec![relation.name.clone()],
            sink: relation.name.clone(),
            kind: PersistentKind::SourceTable,
        }));
        changes.push(CatalogChange::NextQuery(number + 1));
        start = Some(dataflow);
    }
    changes.insert(0, CatalogChange::PutRelation(relation));
    DdlPlan { changes, start, stop: vec![], create_topic, delete_topic: None, message }
}

/// Source and a sink that only keeps state.
fn materializing_dataflow(relation: &Relation, number: u64) -> Dataflow {
    let mut steps = Steps::default();
    let schema = relation.schema.clone();
    let step = |name: &str, op, inputs| Step {
        name: name.to_owned(),
        op,
        inputs,
        schema: schema.clone(),
        relation: relation.kind,
        window: relation.window,
    };
    let source = query_steps::source_op(relation, vec![], true);
    let source = steps.push(step("KsqlTopic", Op::Source(source), vec![]));
    let sink = Sink {
        rekeyed: false,
        relation: None,
        topic: None,
        key_format: relation.key_format.clone(),
        value_format: relation.value_format.clone(),
        timestamp: None,
    };
    steps.push(step(&relation.name, Op::Sink(sink), vec![source]));
    Dataflow { query_id: format!("CST_{}_{number}", relation.name), steps: steps.0 }
}

pub(super) fn cleanup(kind: RelationKind, windowed: bool) -> Cleanup {
    match (kind, windowed) {
        (RelationKind::Stream, _) => Cleanup::Delete,
        (RelationKind::Table, false) => Cleanup::Compact,
        (RelationKind::Table, true) => Cleanup::CompactDelete,
    }
}

pub(super) fn exists_already(existing: &Relation) -> Plan {
    let message = format!("{} exists already as a {}", existing.name, kind_name(existing.kind));
    Plan::NoOp { message }
}

fn missing(property: &str, remedy: &str) -> SqlError {
    SqlError::new(ErrorKind::MissingProperty, format!("WITH lacks {property}"), remedy)
}

/// The columns as declared: key columns first, whatever their order in the text.
fn declared_schema(create: &CreateSource) -> Result<Schema> {
    let mut schema = Schema::default();
    let mut seen = HashSet::new();
    for column in &create.columns {
        names::check_not_reserved(&column.name.text, column.name.span)?;
        if !seen.insert(column.name.text.as_str()) {
            return Err(SqlError::new(
                ErrorKind::DuplicateName,
                format!("two columns are called {}", column.name.text),
                "Rename one of them.",
            )
            .at(column.name.span));
        }
        let made = Column {
            name: column.name.text.clone(),
            ty: column.ty.clone(),
            header: column.header.clone(),
        };
        if declared_as_key(create.kind, column)? {
            schema.key.push(made);
        } else {
            schema.value.push(made);
        }
    }
    check_headers(create)?;
    Ok(schema)
}

fn declared_as_key(kind: RelationKind, column: &ColumnDef) -> Result<bool> {
    let wrong = |word: &str, other: &str| {
        SqlError::new(
            ErrorKind::WrongKeyKeyword,
            format!("{} is declared {word} in a {}", column.name.text, kind_name(kind)),
            format!("Write {other}."),
        )
        .at(column.name.span)
    };
    match (kind, column.role) {
        (_, ColumnRole::Value) => Ok(false),
        (RelationKind::Stream, ColumnRole::Key) | (RelationKind::Table, ColumnRole::PrimaryKey) => {
            Ok(true)
        }
        (RelationKind::Stream, ColumnRole::PrimaryKey) => Err(wrong("PRIMARY KEY", "KEY")),
        (RelationKind::Table, ColumnRole::Key) => Err(wrong("KEY", "PRIMARY KEY")),
    }
}

/// Header columns: the exact types, all or by key but not both, never in the key.
fn check_headers(create: &CreateSource) -> Result<()> {
    let all = SqlType::array(SqlType::Struct(vec![
        StructField { name: "KEY".to_owned(), ty: SqlType::String },
        StructField { name: "VALUE".to_owned(), ty: SqlType::Bytes },
    ]));
    let mut seen: Vec<&HeaderColumn> = Vec::new();
    for column in &create.columns {
        let Some(header) = &column.header else { continue };
        let wanted = match header {
            HeaderColumn::All => &all,
            HeaderColumn::Key(_) => &SqlType::Bytes,
        };
        if column.ty != *wanted {
            return Err(SqlError::new(
                ErrorKind::InvalidHeaderType,
                format!("the header column {} is {}", column.name.text, column.ty),
                format!("Declare it as {wanted}."),
            )
            .at(column.name.span));
        }
        let clash = column.role != ColumnRole::Value
            || seen.contains(&header)
            || seen.iter().any(|s| (**s == HeaderColumn::All) != (*header == HeaderColumn::All));
        if clash {
            return Err(SqlError::new(
                ErrorKind::InvalidHeaderType,
                format!("the header column {} is a key, or clashes with another", column.name.text),
                "Declare either one HEADERS column, or HEADER('k') columns of distinct keys.",
            )
            .at(column.name.span));
        }
        seen.push(header);
    }
    Ok(())
}

/// The columns a record's bytes hold: header columns are not among them.
pub(super) fn stored(schema: &Schema) -> Schema {
    let value = schema.value.iter().filter(|c| c.header.is_none()).cloned().collect();
    Schema { key: schema.key.clone(), value }
}

fn check_columns(
    create: &CreateSource,
    schema: &Schema,
    properties: &RelationProperties,
    key: FormatProperties,
    value: FormatProperties,
) -> Result<()> {
    let stored = stored(schema);
    for (given, part, columns) in [
        (properties.key_schema_id, "key", &stored.key),
        (properties.value_schema_id, "value", &stored.value),
    ] {
        if given && !columns.is_empty() {
            return Err(SqlError::new(
                ErrorKind::ColumnsWithSchemaId,
                format!("{part} columns are declared beside the {part}'s schema id"),
                "Keep one of the two.",
            ));
        }
    }
    if stored.value.is_empty() && value.kind.uses_registry() {
        formats::check_no_map_in_key(&schema.key)?;
        return formats::require_built(value.kind);
    }
    if create.kind == RelationKind::Table && schema.key.is_empty() {
        if key.kind.uses_registry() {
            return formats::require_built(key.kind);
        }
        if !create.columns.is_empty() {
            return Err(SqlError::new(
                ErrorKind::MissingKeyColumn,
                format!("the table {} has no PRIMARY KEY", create.name.text),
                "Say which columns identify a row, as in ID BIGINT PRIMARY KEY.",
            )
            .at(create.name.span));
        }
    }
    if create.columns.is_empty() {
        return Err(SqlError::new(
            ErrorKind::ColumnsMissing,
            format!("no columns are declared, and {} brings none", value.kind),
            "List the columns.",
        )
        .at(create.name.span));
    }
    Ok(())
}

/// The topic must exist, or PARTITIONS must say how to make it.
fn check_topic(
    relation: &Relation,
    properties: &RelationProperties,
    context: Context<'_>,
) -> Result<()> {
    match (context.env.partitions(&relation.topic), properties.partitions) {
        (None, None) => Err(SqlError::new(
            ErrorKind::UnknownTopic,
            format!("there is no topic {}", relation.topic),
            "Create it first, or state PARTITIONS to have it made.",
        )),
        (Some(have), Some(want)) if have != want => Err(SqlError::new(
            ErrorKind::InvalidPropertyValue,
            format!("the topic {} exists with {have} partitions, not {want}", relation.topic),
            "Drop PARTITIONS, or state the number there is.",
        )),
        _ => Ok(()),
    }
}
