//! ALTER STREAM/TABLE … ADD COLUMN: appends value columns to a declared relation.

use crate::catalog::{CatalogChange, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::create_source::kind_name;
use crate::plan::properties::FormatProperties;
use crate::plan::{Context, DdlPlan, Plan, create_source, drop, formats, names, query, replace};
use crate::syntax::ast::{ColumnDef, ColumnRole, Name, RelationKind};
use crate::types::Column;

pub(super) fn plan(
    kind: RelationKind,
    name: &Name,
    columns: &[ColumnDef],
    text: &str,
    context: Context<'_>,
) -> Result<Plan> {
    let relation = query::find_relation(name, context)?;
    if relation.kind != kind {
        return Err(drop::wrong_kind(&name.text, relation.kind).at(name.span));
    }
    if relation.source {
        return Err(replace::read_only(&relation.name).at(name.span));
    }
    if relation.created_by.is_some() {
        return Err(SqlError::new(
            ErrorKind::IncompatibleReplacement,
            format!("{} is the result of a query, which decides its columns", relation.name),
            "Use CREATE OR REPLACE … AS SELECT with the new columns.",
        )
        .at(name.span));
    }
    let mut new: Relation = (*relation).clone();
    for column in columns {
        names::check_not_reserved(&column.name.text, column.name.span)?;
        if column.role != ColumnRole::Value || column.header.is_some() {
            return Err(SqlError::new(
                ErrorKind::IncompatibleReplacement,
                format!("{} is no plain value column", column.name.text),
                "Only value columns can be added.",
            )
            .at(column.name.span));
        }
        new.schema.value.push(Column::new(column.name.text.clone(), column.ty.clone()));
    }
    names::check_distinct(new.schema.columns().map(|c| (c.name.as_str(), name.span)))?;
    let of = |f: &crate::catalog::Format| FormatProperties { kind: f.kind, delimiter: f.delimiter };
    let (key, value) = (of(&relation.key_format), of(&relation.value_format));
    let unwrapped_default = Some(!relation.value_format.unwrap_single);
    let stored = create_source::stored(&new.schema);
    let (_, value_format) = formats::settle(&stored, key, value, None, unwrapped_default)?;
    new.value_format = value_format;
    new.statement = format!("{};\n{text}", relation.statement.trim_end_matches(';'));
    Ok(Plan::Ddl(DdlPlan {
        changes: vec![CatalogChange::PutRelation(new)],
        start: None,
        stop: vec![],
        create_topic: None,
        delete_topic: None,
        message: format!("{} {} altered successfully.", capital(kind), relation.name),
    }))
}

fn capital(kind: RelationKind) -> &'static str {
    match kind_name(kind) {
        "stream" => "Stream",
        _ => "Table",
    }
}
