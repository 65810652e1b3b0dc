//! CREATE OR REPLACE: what may take the place of what (`reference/ksqldb.md` 1.5).
//!
//! Key, formats, window and kind stay; value columns may only be appended. A query may be replaced
//! only if it keeps no state that the new one would read wrongly.

use crate::catalog::Relation;
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::{Dataflow, Op, create_source};
use crate::syntax::ast::{CreateSource, RelationKind};

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

/// Whether a query of this shape may be replaced while its sink stays.
pub(super) fn check_dataflow(name: &str, dataflow: &Dataflow) -> Result<()> {
    for step in &dataflow.steps {
        let what = match &step.op {
            Op::StreamStreamJoin(_)
            | Op::StreamTableJoin { .. }
            | Op::TableTableJoin { .. }
            | Op::ForeignKeyJoin { .. } => "a join",
            Op::Aggregate(a) if a.window.is_some() => "a windowed aggregation",
            Op::Aggregate(_)
                if step
                    .inputs
                    .iter()
                    .any(|i| dataflow.steps[*i].relation == RelationKind::Table) =>
            {
                "an aggregation of a table"
            }
            _ => continue,
        };
        return Err(SqlError::new(
            ErrorKind::IncompatibleReplacement,
            format!("{name} is {what}, which cannot be replaced in place"),
            "DROP it first, then create it anew.",
        ));
    }
    Ok(())
}
