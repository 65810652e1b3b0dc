//! DROP STREAM and DROP TABLE.
//!
//! The query that made the relation (CREATE AS, or a SOURCE TABLE's own) is stopped with it; any
//! other query that reads or writes it is a reason to refuse.

use crate::catalog::{CatalogChange, PersistentKind, QueryEntry};
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::create_source::kind_name;
use crate::plan::{Context, DdlPlan, Plan, query, replace};
use crate::syntax::ast::{Name, RelationKind};

pub(super) fn plan(
    kind: RelationKind,
    if_exists: bool,
    name: &Name,
    delete_topic: bool,
    context: Context<'_>,
) -> Result<Plan> {
    if if_exists && context.catalog.relation(&name.text).is_none() {
        return Ok(Plan::NoOp { message: format!("{} does not exist", name.text) });
    }
    let relation = query::find_relation(name, context)?;
    if relation.kind != kind {
        return Err(wrong_kind(&name.text, relation.kind).at(name.span));
    }
    if delete_topic && relation.source {
        return Err(replace::read_only(&relation.name).at(name.span));
    }
    let owns = |q: &QueryEntry| {
        relation.created_by.as_ref() == Some(&q.id)
            || (q.kind == PersistentKind::SourceTable && q.sink == relation.name)
    };
    let uses = |q: &QueryEntry| q.sources.contains(&relation.name) || q.sink == relation.name;
    let users: Vec<&str> =
        context.catalog.queries().filter(|q| uses(q) && !owns(q)).map(|q| q.id.as_str()).collect();
    if !users.is_empty() {
        return Err(SqlError::new(
            ErrorKind::SourceInUse,
            format!("{} is read or written by {}", relation.name, users.join(", ")),
            format!("TERMINATE {} first.", users.join("; TERMINATE ")),
        )
        .at(name.span));
    }
    let stop: Vec<String> =
        context.catalog.queries().filter(|q| owns(q)).map(|q| q.id.clone()).collect();
    let mut changes: Vec<CatalogChange> =
        stop.iter().map(|id| CatalogChange::DropQuery(id.clone())).collect();
    changes.push(CatalogChange::DropRelation(relation.name.clone()));
    Ok(Plan::Ddl(DdlPlan {
        changes,
        start: None,
        stop,
        create_topic: None,
        delete_topic: delete_topic.then(|| relation.topic.clone()),
        message: format!("Source {} (topic: {}) was dropped.", relation.name, relation.topic),
    }))
}

pub(super) fn wrong_kind(name: &str, is: RelationKind) -> SqlError {
    SqlError::new(
        ErrorKind::WrongRelationKind,
        format!("{name} is a {}", kind_name(is)),
        format!("Write {} in this statement.", kind_name(is).to_uppercase()),
    )
}
