//! DROP STREAM and DROP TABLE.
//!
//! The query that made the relation (CREATE AS, or a SOURCE TABLE's own) is stopped with it; any
//! other query that reads or writes it is a reason to refuse. With CASCADE such queries are stopped, and
//! the relations that they made are dropped in the same way; topics stay, but the named relation's with
//! DELETE TOPIC.

use crate::catalog::{CatalogChange, PersistentKind, QueryEntry, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::create_source::kind_name;
use crate::plan::{Context, DdlPlan, Plan, query, replace};
use crate::syntax::ast::{Name, RelationKind};

pub(super) fn plan(
    kind: RelationKind,
    if_exists: bool,
    name: &Name,
    (delete_topic, cascade): (bool, bool),
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
    if cascade {
        return Ok(with_dependents(&relation, delete_topic, context));
    }
    let owns = |q: &QueryEntry| owns(&relation, q);
    let uses = |q: &QueryEntry| q.sources.contains(&relation.name) || q.sink == relation.name;
    let users: Vec<&str> =
        context.catalog.queries().filter(|q| uses(q) && !owns(q)).map(|q| q.id.as_str()).collect();
    if !users.is_empty() {
        return Err(SqlError::new(
            ErrorKind::SourceInUse,
            format!("{} is read or written by {}", relation.name, users.join(", ")),
            format!(
                "TERMINATE {} first; or say CASCADE, which drops all that is made from it.",
                users.join("; TERMINATE ")
            ),
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

/// Whether the query is there only to make the relation.
fn owns(relation: &Relation, query: &QueryEntry) -> bool {
    relation.created_by.as_ref() == Some(&query.id)
        || (query.kind == PersistentKind::SourceTable && query.sink == relation.name)
}

/// The relation with all that is made from it, what depends on something before that.
fn with_dependents(relation: &Relation, delete_topic: bool, context: Context<'_>) -> Plan {
    let mut relations = vec![relation.name.clone()];
    let mut stop: Vec<String> = Vec::new();
    let mut next = 0;
    while let Some(name) = relations.get(next).cloned() {
        next += 1;
        for query in context.catalog.queries() {
            if (query.sources.contains(&name) || query.sink == name) && !stop.contains(&query.id) {
                stop.push(query.id.clone());
            }
            let made = context.catalog.relation(&query.sink).is_some_and(|sink| owns(sink, query));
            if made && query.sources.contains(&name) && !relations.contains(&query.sink) {
                relations.push(query.sink.clone());
            }
        }
    }
    stop.reverse();
    relations.reverse();
    let mut changes: Vec<CatalogChange> =
        stop.iter().map(|id| CatalogChange::DropQuery(id.clone())).collect();
    changes.extend(relations.iter().map(|name| CatalogChange::DropRelation(name.clone())));
    let others = &relations[..relations.len() - 1];
    let with = if others.is_empty() { String::new() } else { format!(" with {}", others.join(", ")) };
    Plan::Ddl(DdlPlan {
        changes,
        start: None,
        stop,
        create_topic: None,
        delete_topic: delete_topic.then(|| relation.topic.clone()),
        message: format!("Source {} (topic: {}) was dropped{with}.", relation.name, relation.topic),
    })
}

pub(super) fn wrong_kind(name: &str, is: RelationKind) -> SqlError {
    SqlError::new(
        ErrorKind::WrongRelationKind,
        format!("{name} is a {}", kind_name(is)),
        format!("Write {} in this statement.", kind_name(is).to_uppercase()),
    )
}
