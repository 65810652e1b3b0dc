//! INSERT INTO … SELECT and INSERT INTO … VALUES.

use crate::catalog::{CatalogChange, PersistentKind, QueryEntry, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::{self, Expr, Functions, Scope};
use crate::plan::create_as::{finish, no_limit};
use crate::plan::query::{self, PlannedQuery, Purpose};
use crate::plan::suggest::did_you_mean;
use crate::plan::{Context, DdlPlan, InsertValues, Op, Plan, Sink, formats, replace};
use crate::syntax::ast::{Name, Properties, Query, RelationKind};
use crate::types::{Column, Schema, SqlType};

pub(super) fn plan_select(
    target: &Name,
    properties: &Properties,
    select: &Query,
    text: &str,
    context: Context<'_>,
) -> Result<Plan> {
    let relation = query::find_relation(target, context)?;
    check_target(&relation).map_err(|e| e.at(target.span))?;
    no_limit(select)?;
    let asked_id = query_id(properties, context)?;
    let planned = query::plan(select, Purpose::Persistent { timestamp: None }, context)?;
    if planned.kind != RelationKind::Stream {
        return Err(mismatch("the query gives a table", &relation));
    }
    let planned = fit(planned, &relation)?;
    formats::require_built(relation.key_format.kind)?;
    formats::require_built(relation.value_format.kind)?;
    refuse_loop(&relation.name, &planned.source_names, context)?;

    let number = context.config.query_number.unwrap_or(context.catalog.next_query());
    let id = asked_id.unwrap_or_else(|| format!("INSERTQUERY_{number}"));
    let entry = QueryEntry {
        id: id.clone(),
        statement: text.to_owned(),
        sources: planned.source_names.clone(),
        sink: relation.name.clone(),
        kind: PersistentKind::Insert,
    };
    let sink = Sink {
        rekeyed: false,
        relation: Some(relation.name.clone()),
        topic: Some(relation.topic.clone()),
        key_format: relation.key_format.clone(),
        value_format: relation.value_format.clone(),
        timestamp: relation.timestamp.clone(),
    };
    let dataflow = finish(planned, id.clone(), &relation.name, sink);
    Ok(Plan::Ddl(DdlPlan {
        changes: vec![CatalogChange::PutQuery(entry), CatalogChange::NextQuery(number + 1)],
        start: Some(dataflow),
        stop: vec![],
        create_topic: None,
        delete_topic: None,
        message: format!("Created query with ID {id}"),
    }))
}

/// Refuses a query that would be fed by its own output, directly or through other queries: an epoch
/// runs every query on one cut of the input, which a loop has none of.
fn refuse_loop(target: &str, sources: &[String], context: Context<'_>) -> Result<()> {
    let mut reached = vec![target.to_owned()];
    let mut next = 0;
    while let Some(name) = reached.get(next).cloned() {
        next += 1;
        for query in context.catalog.queries().filter(|q| q.sources.contains(&name)) {
            if !reached.contains(&query.sink) {
                reached.push(query.sink.clone());
            }
        }
    }
    match sources.iter().find(|s| reached.contains(s)) {
        None => Ok(()),
        Some(source) => Err(SqlError::unsupported(format!(
            "{source} is made from {target}, so this query would feed itself"
        ))),
    }
}

fn check_target(relation: &Relation) -> Result<()> {
    if relation.kind == RelationKind::Table {
        return Err(SqlError::new(
            ErrorKind::InsertIntoTable,
            format!("{} is a table; INSERT INTO … SELECT writes streams", relation.name),
            "Insert into a stream, or make the table by CREATE TABLE … AS SELECT.",
        ));
    }
    if relation.source {
        return Err(replace::read_only(&relation.name));
    }
    if relation.schema.columns().any(|c| c.header.is_some()) {
        return Err(SqlError::new(
            ErrorKind::InsertIntoUnwritableColumn,
            format!("{} has header columns, which a query cannot write", relation.name),
            "Insert into a stream without header columns.",
        ));
    }
    Ok(())
}

/// `QUERY_ID`, checked.
fn query_id(properties: &Properties, context: Context<'_>) -> Result<Option<String>> {
    if let Some(other) = properties.0.iter().find(|p| p.name != "QUERY_ID") {
        return Err(SqlError::new(
            ErrorKind::UnknownProperty,
            format!("INSERT has no property {}", other.name),
            "Only QUERY_ID can be stated here.",
        )
        .at(other.span));
    }
    let Some(property) = properties.get("QUERY_ID") else { return Ok(None) };
    let id = property.value.to_uppercase();
    let legal = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let reserved = ["INSERTQUERY_", "CTAS_", "CSAS_", "CST_"].iter().any(|p| id.starts_with(p));
    if !legal || reserved {
        return Err(SqlError::new(
            ErrorKind::InvalidPropertyValue,
            format!("QUERY_ID cannot be {id}"),
            "Use letters, digits and _, and no prefix that Millstream gives itself.",
        )
        .at(property.span));
    }
    if context.catalog.query(&id).is_some() {
        return Err(SqlError::new(
            ErrorKind::InvalidPropertyValue,
            format!("a query with the id {id} exists already"),
            "Choose another QUERY_ID.",
        )
        .at(property.span));
    }
    Ok(Some(id))
}

fn mismatch(what: &str, relation: &Relation) -> SqlError {
    SqlError::new(
        ErrorKind::InsertSchemaMismatch,
        format!("{what}, but {} is {}", relation.name, relation.schema.describe("KEY")),
        "Select columns of the same names, in the same order, of types that can be widened to them.",
    )
}

/// The query with its result cast to the target's columns where that loses nothing.
fn fit(mut planned: PlannedQuery, relation: &Relation) -> Result<PlannedQuery> {
    let (have, want) = (&planned.schema, &relation.schema);
    let text = format!("the query gives {}", have.describe("KEY"));
    let compatible = |have: &[Column], want: &[Column], cast: bool| {
        have.len() == want.len()
            && have
                .iter()
                .zip(want)
                .all(|(h, w)| h.name == w.name && (h.ty == w.ty || (cast && widens(&h.ty, &w.ty))))
    };
    let key_fits = compatible(&have.key, &want.key, false);
    if !key_fits || !compatible(&have.value, &want.value, true) || planned.window != relation.window
    {
        return Err(mismatch(&text, relation));
    }
    let target: Vec<SqlType> = want.value.iter().map(|c| c.ty.clone()).collect();
    let step = &mut planned.steps.0[planned.last];
    if let Op::Project { values, .. } = &mut step.op {
        for (value, ty) in values.iter_mut().zip(&target) {
            if value.ty().as_ref() != Some(ty) {
                *value = Expr::Cast { operand: Box::new(value.clone()), ty: ty.clone() };
            }
        }
    }
    for (column, ty) in step.schema.value.iter_mut().zip(target) {
        column.ty = ty;
    }
    planned.schema = step.schema.clone();
    Ok(planned)
}

/// Whether a value of `from` can be written as `to` without asking: INT → BIGINT → DECIMAL → DOUBLE.
fn widens(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Bigint, Decimal, Double, Int};
    let digits = |ty: &SqlType| match ty {
        Int => Some((10, 0)),
        Bigint => Some((19, 0)),
        Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    };
    match (from, to) {
        (Int, Bigint) => true,
        (Int | Bigint | Decimal { .. }, Double) => true,
        (Int | Bigint, Decimal { .. }) => true,
        (Decimal { .. }, Decimal { .. }) => match (digits(from), digits(to)) {
            (Some((p, s)), Some((wp, ws))) => s <= ws && p - s <= wp - ws,
            _ => false,
        },
        _ => false,
    }
}

/// VALUES know no columns.
struct NoColumns<'a>(&'a Functions);

impl Scope for NoColumns<'_> {
    fn functions(&self) -> &Functions {
        self.0
    }

    fn resolve(&self, qualifier: Option<&str>, name: &str) -> Result<Expr> {
        let full = qualifier.map_or(name.to_owned(), |q| format!("{q}.{name}"));
        Err(SqlError::new(
            ErrorKind::UnknownSourceAlias,
            format!("{full} is a column; VALUES have no source"),
            "Write a literal, or quote a text with single quotes.",
        ))
    }
}

pub(super) fn plan_values(
    target: &Name,
    columns: &[Name],
    values: &[sqlparser::ast::Expr],
    context: Context<'_>,
) -> Result<Plan> {
    let relation = query::find_relation(target, context)?;
    if relation.source {
        return Err(replace::read_only(&relation.name).at(target.span));
    }
    if relation.window.is_some() {
        return Err(SqlError::unsupported(format!(
            "{} has windowed keys, which VALUES cannot write",
            relation.name
        ))
        .at(target.span));
    }
    formats::require_built(relation.key_format.kind)?;
    formats::require_built(relation.value_format.kind)?;
    let names = target_columns(&relation, columns)?;
    if names.len() != values.len() {
        return Err(SqlError::new(
            ErrorKind::InsertValuesMismatch,
            format!("{} columns, but {} values", names.len(), values.len()),
            "Give one value for each column.",
        )
        .at(target.span));
    }
    let mut row = null_row(&relation.schema)?;
    let mut time = None;
    for (place, ast) in names.into_iter().zip(values) {
        let ty = place.map_or(&SqlType::Bigint, |i| &row[i].1);
        let value = expr::bind_with_expected_type(ast, &NoColumns(context.catalog.functions()), ty)
            .map_err(|e| e.at(crate::syntax::span_of(ast)))?;
        match place {
            Some(i) => row[i].0 = value,
            None => time = Some(value),
        }
    }
    let no_key =
        relation.schema.key.iter().zip(&row).find(|(_, (value, _))| value.is_null_literal());
    if let Some((column, _)) = no_key
        && relation.kind == RelationKind::Table
    {
        return Err(SqlError::new(
            ErrorKind::InsertValuesMismatch,
            format!("the primary key column {} of {} has no value", column.name, relation.name),
            "Give every primary key column a value.",
        )
        .at(target.span));
    }
    let values = row.into_iter().map(|(value, _)| value).collect();
    Ok(Plan::InsertValues(InsertValues { relation: relation.name.clone(), values, time }))
}

fn null_row(schema: &Schema) -> Result<Vec<(Expr, SqlType)>> {
    schema.columns().map(|c| Ok((expr::value::null_of(&c.ty)?, c.ty.clone()))).collect()
}

/// For each value the place of its column in the relation; `None` is ROWTIME.
fn target_columns(relation: &Relation, columns: &[Name]) -> Result<Vec<Option<usize>>> {
    if columns.is_empty() {
        let header = relation.schema.columns().find(|c| c.header.is_some());
        if let Some(header) = header {
            return Err(unwritable(&header.name));
        }
        return Ok((0..relation.schema.len()).map(Some).collect());
    }
    let mut places = Vec::with_capacity(columns.len());
    for name in columns {
        let place = target_column(relation, name).map_err(|e| e.at(name.span))?;
        if places.contains(&place) {
            return Err(SqlError::new(
                ErrorKind::DuplicateName,
                format!("{} is listed twice", name.text),
                "List every column once.",
            )
            .at(name.span));
        }
        places.push(place);
    }
    Ok(places)
}

fn unwritable(name: &str) -> SqlError {
    SqlError::new(
        ErrorKind::InsertIntoUnwritableColumn,
        format!("{name} cannot be written by INSERT"),
        "Leave it out of the column list.",
    )
}

fn target_column(relation: &Relation, name: &Name) -> Result<Option<usize>> {
    match name.text.as_str() {
        "ROWTIME" => return Ok(None),
        "ROWPARTITION" | "ROWOFFSET" => return Err(unwritable(&name.text)),
        _ => {}
    }
    let found = relation.schema.columns().enumerate().find(|(_, c)| c.name == name.text);
    match found {
        Some((_, column)) if column.header.is_some() => Err(unwritable(&column.name)),
        Some((place, _)) => Ok(Some(place)),
        None => {
            let known = relation.schema.columns().map(|c| c.name.as_str());
            Err(SqlError::new(
                ErrorKind::UnknownColumn,
                format!("{} is no column of {}", name.text, relation.name),
                did_you_mean(&name.text, known, "DESCRIBE shows its columns."),
            ))
        }
    }
}
