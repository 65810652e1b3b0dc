//! A streaming query (AS SELECT, INSERT … SELECT, push): its clauses, bound and checked.
//!
//! Order: look up sources; read joins; bind WHERE, GROUP BY, PARTITION BY, SELECT, HAVING; check which
//! clauses go together. Then `query_steps.rs` lays the steps.

use std::collections::HashSet;
use std::sync::Arc;

use sqlparser::ast::{Expr as Ast, Value};

use crate::catalog::{KeyWindow, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::{self, Expr};
use crate::plan::flow::Steps;
use crate::plan::joins;
use crate::plan::names::NameSource;
use crate::plan::project::{self, Item, Stars};
use crate::plan::properties::{FormatProperties, TimestampProperty};
use crate::plan::query_steps::QueryPlanner;
use crate::plan::scope::{Clause, ClauseScope};
use crate::plan::suggest::did_you_mean;
use crate::plan::universe::{ColumnId, Universe};
use crate::plan::{Context, magic_time, union};
use crate::syntax::ast::{Name, Query, RelationKind};
use crate::types::Schema;

/// What the query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// Its rows go to a topic; key columns must be selected. The sink's TIMESTAMP is checked early:
    /// a wrong one is reported before a missing key.
    Persistent { timestamp: Option<&'a TimestampProperty> },
    /// Its rows go to a client.
    Push,
}

/// The steps of a query up to its projection.
pub(super) struct PlannedQuery {
    pub steps: Steps,
    pub last: usize,
    pub schema: Schema,
    pub kind: RelationKind,
    pub window: Option<KeyWindow>,
    /// What a sink inherits.
    pub key_format: FormatProperties,
    pub value_format: FormatProperties,
    /// PARTITION BY NULL: the result has no key, and may not be given a key format.
    pub key_dropped: bool,
    pub first_source: Arc<Relation>,
    pub source_names: Vec<String>,
    /// The longest a window of the query is kept, if it has one.
    pub retention_ms: Option<i64>,
}

/// All clauses bound over the universe.
pub(super) struct Bound {
    pub filter: Option<Expr>,
    pub group: Vec<Expr>,
    /// Empty for PARTITION BY NULL.
    pub partition: Vec<Expr>,
    pub having: Option<Expr>,
    pub items: Vec<Item>,
}

pub(super) fn plan(
    query: &Query,
    purpose: Purpose<'_>,
    context: Context<'_>,
) -> Result<PlannedQuery> {
    match query.unions.is_empty() {
        true => plan_one(query, purpose, context),
        false => union::plan(query, purpose, context),
    }
}

/// Plans one SELECT.
pub(super) fn plan_one(
    query: &Query,
    purpose: Purpose<'_>,
    context: Context<'_>,
) -> Result<PlannedQuery> {
    let universe =
        Universe::new(find_sources(query, purpose, context)?, context.catalog.functions());
    if purpose != Purpose::Push {
        project::check_reserved(&query.items, &universe)?;
    }
    let specs = joins::analyze(query, &universe, context)?;
    let mut names = NameSource::new(
        universe.sources.iter().flat_map(|s| s.relation.schema.columns()).map(|c| c.name.as_str()),
    );
    let bound = bind(query, &universe, &mut names, purpose)?;
    check_clauses(query, &bound, &universe, purpose)?;
    QueryPlanner { query, purpose, context, universe: &universe, specs: &specs, names, bound }
        .build()
}

fn find_sources(
    query: &Query,
    purpose: Purpose<'_>,
    context: Context<'_>,
) -> Result<Vec<(Name, Arc<Relation>)>> {
    let refs = std::iter::once(&query.from).chain(query.joins.iter().map(|j| &j.source));
    let mut sources: Vec<(Name, Arc<Relation>)> = Vec::new();
    for source in refs {
        let relation = find_relation(&source.name, context)?;
        let twice = sources
            .iter()
            .any(|(alias, r)| r.name == relation.name || alias.text == source.alias.text);
        if twice {
            return Err(SqlError::new(
                ErrorKind::SourceJoinedTwice,
                format!("{} occurs twice in this join", relation.name),
                "Join a copy of it, made by CREATE STREAM … AS SELECT.",
            )
            .at(source.name.span));
        }
        sources.push((source.alias.clone(), relation));
    }
    if purpose != Purpose::Push {
        let windowed = |r: &Relation| r.kind == RelationKind::Table && r.window.is_some();
        if let Some((_, relation)) = sources.iter().find(|(_, r)| windowed(r)) {
            return Err(SqlError::new(
                ErrorKind::PersistentQueryOnWindowedTable,
                format!("{} is a table with windowed keys", relation.name),
                "Declare a stream over its topic and read that.",
            )
            .at(query.from.name.span));
        }
    }
    Ok(sources)
}

/// The relation of that name, or an error with the nearest one there is.
pub(super) fn find_relation(name: &Name, context: Context<'_>) -> Result<Arc<Relation>> {
    context.catalog.relation(&name.text).cloned().ok_or_else(|| {
        let known = context.catalog.relations().map(|r| r.name.as_str());
        SqlError::new(
            ErrorKind::UnknownSource,
            format!("no stream or table is called {}", name.text),
            did_you_mean(&name.text, known, "SHOW STREAMS and SHOW TABLES list what there is."),
        )
        .at(name.span)
    })
}

fn bind(
    query: &Query,
    universe: &Universe,
    names: &mut NameSource,
    purpose: Purpose<'_>,
) -> Result<Bound> {
    let bind_one = |ast: &Ast, clause| {
        expr::bind(ast, &ClauseScope::new(universe, clause))
            .map_err(|e| e.at(crate::syntax::span_of(ast)))
    };
    let bind_condition = |ast: &Ast, clause| {
        expr::bind_predicate(ast, &ClauseScope::new(universe, clause))
            .map_err(|e| e.at(crate::syntax::span_of(ast)))
    };
    if query.window.is_some() {
        universe.offer_window_bounds();
    }
    let condition = query.filter.as_ref().map(magic_time::rewrite).transpose()?;
    let filter = condition.as_ref().map(|e| bind_condition(e, Clause::Where)).transpose()?;
    let group =
        query.group_by.iter().map(|e| bind_one(e, Clause::GroupBy)).collect::<Result<Vec<_>>>()?;
    let partition = if is_partition_by_null(query) {
        vec![]
    } else {
        query
            .partition_by
            .iter()
            .map(|e| bind_one(e, Clause::PartitionBy))
            .collect::<Result<Vec<_>>>()?
    };
    let stars = match (query.partition_by.is_empty(), purpose) {
        (false, _) => Stars::Partitioned,
        (true, Purpose::Persistent { .. }) => Stars::Plain,
        (true, Purpose::Push) => Stars::Client,
    };
    let items = project::items(&query.items, universe, names, Clause::Select, stars, &partition)?;
    let having = query.having.as_ref().map(|e| bind_condition(e, Clause::Having)).transpose()?;
    check_list("GROUP BY", &group)?;
    check_list("PARTITION BY", &partition)?;
    Ok(Bound { filter, group, partition, having, items })
}

fn is_null(ast: &Ast) -> bool {
    matches!(ast, Ast::Value(v) if v.value == Value::Null)
}

pub(super) fn is_partition_by_null(query: &Query) -> bool {
    query.partition_by.len() == 1 && query.partition_by.iter().all(is_null)
}

/// Grouping lists hold distinct, typed expressions.
fn check_list(clause: &str, list: &[Expr]) -> Result<()> {
    for (i, expr) in list.iter().enumerate() {
        let message = if expr.is_null_literal() {
            format!("{clause} has NULL beside other expressions")
        } else if list[..i].contains(expr) {
            format!("{clause} has {expr} twice")
        } else {
            expr.typed()?;
            continue;
        };
        return Err(SqlError::new(
            ErrorKind::InvalidGroupingList,
            message,
            "List distinct expressions; PARTITION BY may have NULL alone.",
        ));
    }
    Ok(())
}

/// Rules about which clauses go together.
fn check_clauses(
    query: &Query,
    bound: &Bound,
    universe: &Universe,
    purpose: Purpose<'_>,
) -> Result<()> {
    let aggregates = universe.aggregates();
    let table_source = universe.sources.iter().all(|s| s.relation.kind == RelationKind::Table);
    let first = |list: &[Ast]| list.first().and_then(crate::syntax::span_of);
    let span = first(&query.group_by)
        .or(first(&query.partition_by))
        .or(query.having.as_ref().and_then(crate::syntax::span_of))
        .or(bound.items.first().and_then(|i| i.span));
    let error =
        |kind, message: &str, remedy: &str| Err(SqlError::new(kind, message, remedy).at(span));
    if !bound.group.is_empty() && aggregates.is_empty() {
        return error(
            ErrorKind::GroupByWithoutAggregate,
            "GROUP BY, but no aggregate in SELECT or HAVING",
            "Add one, such as COUNT(*), or drop GROUP BY.",
        );
    }
    if !aggregates.is_empty() && bound.group.is_empty() && purpose != Purpose::Push {
        return error(
            ErrorKind::AggregateWithoutGroupBy,
            "an aggregate, but no GROUP BY",
            "Say what to group by.",
        );
    }
    if query.window.is_some() && bound.group.is_empty() {
        return error(
            ErrorKind::WindowWithoutGroupBy,
            "WINDOW, but no GROUP BY",
            "Add the grouping, or drop the window.",
        );
    }
    if bound.having.is_some() && aggregates.is_empty() {
        return error(
            ErrorKind::AggregateWithoutGroupBy,
            "HAVING without GROUP BY",
            "Filter by WHERE, or add GROUP BY.",
        );
    }
    if !query.partition_by.is_empty() && (table_source || !bound.group.is_empty()) {
        return error(
            ErrorKind::InvalidGroupingList,
            "PARTITION BY is for streams that are not aggregated",
            "Drop PARTITION BY; a table's key cannot be changed.",
        );
    }
    if !universe.table_calls().is_empty() && (table_source || !aggregates.is_empty()) {
        return error(
            ErrorKind::MisplacedTableFunction,
            "a table function on a table, or beside aggregates",
            "Apply it in an earlier query over a stream.",
        );
    }
    check_table_functions_in_case(&bound.items, universe)
}

/// A row's table functions are evaluated before the projection, so not within a lazy CASE.
fn check_table_functions_in_case(items: &[Item], universe: &Universe) -> Result<()> {
    let calls: HashSet<ColumnId> = universe.table_calls().iter().map(|(id, _)| *id).collect();
    let mut inside = false;
    for item in items {
        item.expr.walk(&mut |e| {
            if let Expr::Case { .. } = e {
                inside |= e.columns().iter().any(|id| calls.contains(id));
            }
        });
    }
    if inside {
        return Err(SqlError::new(
            ErrorKind::MisplacedTableFunction,
            "a table function inside CASE",
            "Apply it in an earlier query over a stream.",
        ));
    }
    Ok(())
}
