//! Statements that only look or set, and custom types: handed to the session, with cheap checks.

use crate::catalog::CatalogChange;
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::suggest::did_you_mean;
use crate::plan::{Context, DdlPlan, Plan, query};
use crate::syntax::ast::{ExplainTarget, Name, QueryTarget, Statement};
use crate::types::SqlType;

/// Plans a statement for the session.
pub(super) fn plan(statement: &Statement, context: Context<'_>) -> Result<Plan> {
    match statement {
        Statement::Terminate(QueryTarget::Id(id))
        | Statement::Pause(QueryTarget::Id(id))
        | Statement::Resume(QueryTarget::Id(id))
        | Statement::Explain(ExplainTarget::Query(id)) => check_query(id, context)?,
        Statement::Describe { name, .. } => {
            query::find_relation(name, context)?;
        }
        _ => {}
    }
    Ok(Plan::Session(statement.clone()))
}

fn check_query(id: &str, context: Context<'_>) -> Result<()> {
    // Transient queries are the session's own; the catalog does not know them.
    if context.catalog.query(id).is_some() || id.to_ascii_lowercase().starts_with("transient_") {
        return Ok(());
    }
    let known = context.catalog.queries().map(|q| q.id.as_str());
    Err(SqlError::new(
        ErrorKind::UnknownQuery,
        format!("no query has the id {id}"),
        did_you_mean(id, known, "SHOW QUERIES lists what runs."),
    ))
}

fn ddl(change: CatalogChange, message: String) -> Plan {
    Plan::Ddl(DdlPlan {
        changes: vec![change],
        start: None,
        stop: vec![],
        create_topic: None,
        delete_topic: None,
        message,
    })
}

pub(super) fn create_type(
    name: &Name,
    if_not_exists: bool,
    ty: &SqlType,
    context: Context<'_>,
) -> Result<Plan> {
    if context.catalog.custom_type(&name.text).is_some() {
        if if_not_exists {
            return Ok(Plan::NoOp { message: format!("the type {} exists already", name.text) });
        }
        return Err(SqlError::new(
            ErrorKind::DuplicateName,
            format!("a type called {} exists already", name.text),
            "DROP TYPE it first, or say IF NOT EXISTS.",
        )
        .at(name.span));
    }
    let message = format!("Registered custom type with name '{}' and SQL type {ty}", name.text);
    Ok(ddl(CatalogChange::PutType(name.text.clone(), ty.clone()), message))
}

pub(super) fn drop_type(name: &Name, if_exists: bool, context: Context<'_>) -> Result<Plan> {
    if context.catalog.custom_type(&name.text).is_none() {
        if if_exists {
            return Ok(Plan::NoOp { message: format!("Type '{}' does not exist", name.text) });
        }
        let known = context.catalog.types().map(|(n, _)| n.as_str());
        return Err(SqlError::new(
            ErrorKind::UnknownSource,
            format!("no type is called {}", name.text),
            did_you_mean(&name.text, known, "SHOW TYPES lists what there is."),
        )
        .at(name.span));
    }
    let message = format!("Dropped type '{}'", name.text);
    Ok(ddl(CatalogChange::DropType(name.text.clone()), message))
}
