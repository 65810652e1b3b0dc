//! `SELECT … UNION ALL SELECT …`: several queries whose rows become one stream.
//!
//! Each SELECT is planned by itself; a Union step puts their rows together in the order of their record
//! time. Names, key and formats of the result are those of the first SELECT; the others must have as
//! many columns of the same types, in the same order. Tables have one row per key, so they are not
//! merged: which SELECT's row would count?

use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
use crate::plan::query::{self, PlannedQuery, Purpose};
use crate::plan::{Context, Op, Step};
use crate::syntax::ast::{Query, RelationKind};
use crate::types::{Column, Schema};

/// Plans a query with UNION ALL.
pub(super) fn plan(
    query: &Query,
    purpose: Purpose<'_>,
    context: Context<'_>,
) -> Result<PlannedQuery> {
    let mut merged = part(query, purpose, context)?;
    let mut inputs = vec![merged.last];
    for (number, select) in query.unions.iter().enumerate() {
        let at = |e: SqlError| e.at(select.from.name.span);
        let planned = part(select, purpose, context)?;
        check_fits(&merged, &planned, number + 2).map_err(at)?;
        let shift = merged.steps.0.len();
        inputs.push(planned.last + shift);
        for step in planned.steps.0 {
            let inputs = step.inputs.iter().map(|input| input + shift).collect();
            merged.steps.push(Step { inputs, ..step });
        }
        for name in planned.source_names {
            if !merged.source_names.contains(&name) {
                merged.source_names.push(name);
            }
        }
    }
    merged.last = merged.steps.push(Step {
        name: "Union".to_owned(),
        op: Op::Union,
        inputs,
        schema: merged.schema.clone(),
        relation: RelationKind::Stream,
        window: merged.window,
    });
    Ok(merged)
}

/// One SELECT. For a client it has no key: each SELECT has one of its own, which nobody sees.
fn part(query: &Query, purpose: Purpose<'_>, context: Context<'_>) -> Result<PlannedQuery> {
    let mut planned = query::plan_one(query, purpose, context)?;
    if planned.kind != RelationKind::Stream {
        return Err(mismatch(
            "a SELECT of UNION ALL gives a table",
            "Merge streams; declare a stream over the table's topic to merge its changes.",
        )
        .at(query.from.name.span));
    }
    if purpose == Purpose::Push && !planned.schema.key.is_empty() {
        let keys = planned.schema.key.len();
        let value = |(index, c): (usize, &Column)| Expr::Column {
            index,
            name: c.name.clone(),
            ty: c.ty.clone(),
        };
        let values = planned.schema.columns().enumerate().skip(keys).map(value).collect();
        let schema = Schema { key: vec![], value: planned.schema.value.clone() };
        planned.last = planned.steps.push(Step {
            name: "WithoutKey".to_owned(),
            op: Op::Project { key: vec![], values },
            inputs: vec![planned.last],
            schema: schema.clone(),
            relation: planned.kind,
            window: planned.window,
        });
        planned.schema = schema;
    }
    Ok(planned)
}

fn check_fits(first: &PlannedQuery, other: &PlannedQuery, number: usize) -> Result<()> {
    let types = |columns: &[Column]| columns.iter().map(|c| c.ty.clone()).collect::<Vec<_>>();
    let (a, b) = (&first.schema, &other.schema);
    if types(&a.key) != types(&b.key) || types(&a.value) != types(&b.value) {
        return Err(mismatch(
            &format!(
                "SELECT {number} of UNION ALL has the columns {}, the first has {}",
                b.describe("KEY"),
                a.describe("KEY")
            ),
            "Select as many columns of the same types, with the same key; CAST where they differ.",
        ));
    }
    if first.window != other.window {
        return Err(mismatch(
            "the SELECTs of UNION ALL have keys with different windows",
            "Window all of them alike.",
        ));
    }
    Ok(())
}

fn mismatch(message: &str, remedy: &str) -> SqlError {
    SqlError::new(ErrorKind::UnionMismatch, message, remedy)
}
