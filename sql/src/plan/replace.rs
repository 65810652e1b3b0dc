//! CREATE OR REPLACE: what may take the place of what (`reference/ksqldb.md` 1.5).
//!
//! Key, formats, window and kind stay; value columns may only be appended. A query may be replaced
//! only if it keeps no state that the new one would read wrongly.

use crate::catalog::Relation;
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
use crate::plan::query::{self, Purpose};
use crate::plan::{Context, Dataflow, Op, Step, create_source};
use crate::syntax::ast::{CreateSource, RelationKind, Statement};
use crate::syntax::parse_statement;

pub(super) fn read_only(name: &str) -> SqlError {
    SqlError::new(
        ErrorKind::ReadOnlySource,
        format!("{name} is declared with SOURCE, so it is read-only"),
        "Leave it alone, or create it without SOURCE.",
    )
}

pub(super) fn exists(existing: &Relation) -> SqlError {
    SqlError::new(
        ErrorKind::SourceAlreadyExists,
        format!(
            "a {} called {} exists already",
            create_source::kind_name(existing.kind),
            existing.name
        ),
        "Take a free name, or say IF NOT EXISTS or OR REPLACE.",
    )
}

/// Whether a declared source may take the place of `existing`.
pub(super) fn check_source(
    create: &CreateSource,
    existing: &Relation,
    new: &Relation,
) -> Result<()> {
    if !create.or_replace {
        return Err(exists(existing).at(create.name.span));
    }
    if create.source || existing.source {
        return Err(read_only(&existing.name).at(create.name.span));
    }
    check_relation(existing, new).map_err(|e| e.at(create.name.span))
}

/// Whether `new` may take the place of `existing` as a relation.
pub(super) fn check_relation(existing: &Relation, new: &Relation) -> Result<()> {
    let refuse = |what: String| {
        Err(SqlError::new(
            ErrorKind::IncompatibleReplacement,
            format!("{} cannot be replaced: {what}", existing.name),
            "DROP it first, or keep what must stay.",
        ))
    };
    if existing.kind != new.kind {
        return refuse(format!("it is a {}", create_source::kind_name(existing.kind)));
    }
    if existing.created_by.is_some() != new.created_by.is_some() {
        return refuse(
            "a query's result and a declared source cannot take each other's place".into(),
        );
    }
    if existing.schema.key != new.schema.key {
        return refuse(format!("its key is {}", existing.schema.describe("KEY")));
    }
    if existing.key_format.kind != new.key_format.kind
        || existing.value_format.kind != new.value_format.kind
    {
        return refuse("its formats must stay".into());
    }
    if existing.window != new.window {
        return refuse("its window must stay".into());
    }
    if existing.topic != new.topic {
        return refuse(format!("its topic must stay {}", existing.topic));
    }
    let kept = new.schema.value.get(..existing.schema.value.len());
    if kept != Some(existing.schema.value.as_slice()) {
        return refuse("value columns may only be appended".into());
    }
    Ok(())
}

/// Whether the query `id` may go on as `new`: with the state it has, only filters and the projection
/// may differ, and only if its kind of state can be carried on at all.
pub(super) fn check_query(id: &str, new: &Dataflow, context: Context<'_>) -> Result<()> {
    let old = planned_steps(id, context)?;
    check_state(id, &old)?;
    check_state(id, &new.steps)?;
    if signature(&old) != signature(&new.steps) {
        return Err(refused(id, "only its WHERE, and columns added at the end, may change"));
    }
    Ok(())
}

fn refused(id: &str, why: &str) -> SqlError {
    SqlError::new(
        ErrorKind::IncompatibleReplacement,
        format!("the query {id} cannot be replaced in place: {why}"),
        "DROP its result first, then create it anew.",
    )
}

/// The steps of a running query, planned again from its statement.
fn planned_steps(id: &str, context: Context<'_>) -> Result<Vec<Step>> {
    let unreadable = || refused(id, "what it does now cannot be told");
    let entry = context.catalog.query(id).ok_or_else(unreadable)?;
    let types = |name: &str| context.catalog.custom_type(name).cloned();
    let parsed = parse_statement(&entry.statement, &types).map_err(|_| unreadable())?;
    let Statement::CreateAs(create) = parsed.statement else { return Err(unreadable()) };
    let purpose = Purpose::Persistent { timestamp: None };
    Ok(query::plan(&create.query, purpose, context)?.steps.0)
}

fn check_state(id: &str, steps: &[Step]) -> Result<()> {
    for step in steps {
        let over_table = step.inputs.iter().any(|i| steps[*i].relation == RelationKind::Table);
        let what = match &step.op {
            Op::StreamStreamJoin(_)
            | Op::StreamTableJoin { .. }
            | Op::TableTableJoin { .. }
            | Op::ForeignKeyJoin { .. } => "it joins",
            Op::Aggregate(a) if a.window.is_some() => "it aggregates over windows",
            Op::Aggregate(_) if over_table => "it aggregates a table",
            _ => continue,
        };
        return Err(refused(id, what));
    }
    Ok(())
}

/// What must stay: sources, keys, table functions, grouping and aggregates, as text, for the places
/// of columns may differ.
fn signature(steps: &[Step]) -> Vec<String> {
    let list =
        |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let one = |step: &Step| match &step.op {
        Op::Source(source) => Some(format!("source {}", source.relation)),
        Op::SelectKey { key, .. } => Some(format!("key {}", list(key))),
        Op::FlatMap { calls } => Some(
            calls
                .iter()
                .map(|c| format!("{:?}({})", c.function, c.arg))
                .collect::<Vec<_>>()
                .join(", "),
        ),
        Op::Aggregate(a) => {
            let calls: Vec<&str> = a.calls.iter().map(|c| c.text.as_str()).collect();
            Some(format!("group {} for {}", list(&a.group), calls.join(", ")))
        }
        Op::Union => Some("union".to_owned()),
        _ => None,
    };
    steps.iter().filter_map(one).collect()
}
