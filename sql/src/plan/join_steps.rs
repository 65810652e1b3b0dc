//! The steps of a chain of joins.
//!
//! Each source gives up the columns nobody reads (`PrependAlias…`), copying into the value those key
//! columns that are read later; a side not on its key is keyed anew (`…SourceKeyed`); then the join.
//! In a chain of n joins the steps of the inner ones are called `L_…`, `L_L_…`, as ksqlDB does.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::error::{Result, SqlError};
use crate::expr::Expr;
use crate::plan::flow::{Flow, Steps};
use crate::plan::joins::{JoinSpec, JoinType};
use crate::plan::universe::{ColumnId, Universe};
use crate::plan::{Op, Step, StreamStreamJoin};
use crate::syntax::ast::JoinKind;
use crate::types::{Column, Schema};

/// Lays the steps of all joins. `sources` has one flow per source, `needed` the columns that the
/// clauses after the joins use.
pub(super) fn build(
    specs: &[JoinSpec],
    universe: &Universe,
    sources: Vec<Flow>,
    needed: &HashSet<ColumnId>,
    steps: &mut Steps,
) -> Result<Flow> {
    // What is needed behind each join, and before the first.
    let mut after = vec![needed.clone()];
    for spec in specs.iter().rev() {
        let mut before = after[0].clone();
        if spec.rekey_left || spec.ty == JoinType::ForeignKey {
            before.extend(spec.left.iter().flat_map(Expr::columns));
        }
        if spec.rekey_right {
            before.extend(spec.right.iter().flat_map(Expr::columns));
        }
        // A further condition is checked on the joined rows.
        let residual: Vec<ColumnId> = spec.residual.iter().flat_map(Expr::columns).collect();
        before.extend(&residual);
        after[0].extend(residual);
        after.insert(0, before);
    }
    let needed = after.remove(0);
    let last = specs.len();
    let mut flows = Vec::with_capacity(sources.len());
    for (source, flow) in sources.into_iter().enumerate() {
        let prefix = "L_".repeat(last - source.max(1));
        let side = if source == 0 { "Left" } else { "Right" };
        let name = format!("{prefix}PrependAlias{side}");
        flows.push(prepend_alias(flow, source, universe, &needed, &name, steps)?);
    }
    let mut flows = flows.into_iter();
    let Some(mut left) = flows.next() else {
        return Err(SqlError::unsupported("a join without sources"));
    };
    for (((i, spec), right), needed) in specs.iter().enumerate().zip(flows).zip(&after) {
        let prefix = "L_".repeat(last - 1 - i);
        left = build_one(spec, &prefix, left, right, needed, universe, steps)?;
    }
    Ok(left)
}

/// The columns needed later, named for the join, the key's copied into the value.
fn prepend_alias(
    flow: Flow,
    source: usize,
    universe: &Universe,
    needed: &HashSet<ColumnId>,
    name: &str,
    steps: &mut Steps,
) -> Result<Flow> {
    let columns = universe.source_columns(source);
    let ids: Vec<(ColumnId, Column)> = columns
        .key
        .iter()
        .chain(&columns.values)
        .chain(&columns.pseudo)
        .filter(|id| needed.contains(id))
        .map(|id| (*id, Column::new(universe.step_name(*id), universe.column(*id).ty)))
        .collect();
    steps.narrow(flow, name, &ids)
}

/// Without the columns that only made the new key: a join keeps its rows for long.
fn drop_unneeded(
    flow: Flow,
    name: &str,
    needed: &HashSet<ColumnId>,
    universe: &Universe,
    steps: &mut Steps,
) -> Result<Flow> {
    let mut kept: Vec<(usize, ColumnId)> = flow
        .place
        .iter()
        .filter(|(id, _)| needed.contains(id))
        .map(|(id, at)| (*at, *id))
        .collect();
    kept.sort_unstable();
    let column = |id: ColumnId| Column::new(universe.step_name(id), universe.column(id).ty);
    let ids: Vec<(ColumnId, Column)> = kept.into_iter().map(|(_, id)| (id, column(id))).collect();
    steps.narrow(flow, name, &ids)
}

fn build_one(
    spec: &JoinSpec,
    prefix: &str,
    mut left: Flow,
    mut right: Flow,
    needed: &HashSet<ColumnId>,
    universe: &Universe,
    steps: &mut Steps,
) -> Result<Flow> {
    let key_columns = key_columns(spec, universe)?;
    let keyed_by = |exprs: &[Expr]| -> Vec<(Expr, Column)> {
        exprs.iter().cloned().zip(key_columns.iter().cloned()).collect()
    };
    if spec.rekey_left {
        let key = keyed_by(&spec.left);
        left = steps.select_key(left, &format!("{prefix}LeftSourceKeyed"), &key, true)?;
        left = drop_unneeded(left, &format!("{prefix}LeftNeeded"), needed, universe, steps)?;
    }
    if spec.rekey_right {
        let key = keyed_by(&spec.right);
        right = steps.select_key(right, &format!("{prefix}RightSourceKeyed"), &key, true)?;
        right = drop_unneeded(right, &format!("{prefix}RightNeeded"), needed, universe, steps)?;
    }
    let op = match (spec.ty, spec.join.within) {
        (JoinType::StreamStream, Some(within)) => Op::StreamStreamJoin(StreamStreamJoin {
            kind: spec.join.kind,
            before_ms: within.before_ms,
            after_ms: within.after_ms,
            grace_ms: within.grace_ms,
            residual: None,
        }),
        (JoinType::StreamStream, None) => {
            return Err(SqlError::unsupported("a join of two streams without WITHIN"));
        }
        (JoinType::StreamTable, _) => Op::StreamTableJoin { kind: spec.join.kind },
        (JoinType::TableTable, _) => Op::TableTableJoin { kind: spec.join.kind },
        (JoinType::ForeignKey, _) => {
            let foreign_key = spec.left.iter().map(|e| left.localize_key(e)).collect::<Result<_>>()?;
            Op::ForeignKeyJoin { kind: spec.join.kind, foreign_key }
        }
    };
    let (l, r) = (steps.schema(&left), steps.schema(&right));
    let key = if spec.ty == JoinType::ForeignKey { l.key.clone() } else { key_columns };
    let value = l.value.iter().chain(&r.value).cloned().collect();
    let shift = key.len() + l.value.len();
    let right_keys = r.key.len();
    let schema = Schema { key, value };

    let mut place: HashMap<ColumnId, usize> = left.place.clone();
    place.extend(right.place.iter().map(|(id, at)| (*id, at - right_keys + shift)));
    let made = spec.synthetic.iter().enumerate();
    place.extend(made.filter_map(|(at, id)| Some(((*id)?, at))));
    let (relation, window) = (steps.kind(&left), steps.window(&left));
    let name = format!("{prefix}Join");
    let inputs = vec![left.step, right.step];
    let values = schema.key.len()..schema.len();
    let step = steps.push(Step { name, op, inputs, schema, relation, window });
    let flow = Flow { step, place, keys: spec.keys.clone() };
    match &spec.residual {
        None => Ok(flow),
        Some(residual) => {
            let sides = [values.start..shift, shift..values.end];
            check_pairs(spec, prefix, flow, residual, &sides, steps)
        }
    }
}

/// Applies a join's further condition to its rows: INNER drops those that fail it; where one side is
/// padded, the other side's columns become NULL, for a row has one partner at most. A join of streams,
/// where it may have several, checks each pair itself.
fn check_pairs(
    spec: &JoinSpec,
    prefix: &str,
    flow: Flow,
    residual: &Expr,
    sides: &[Range<usize>; 2],
    steps: &mut Steps,
) -> Result<Flow> {
    let name = format!("{prefix}JoinFilter");
    if spec.join.kind == JoinKind::Inner {
        return steps.filter(flow, &name, residual);
    }
    let residual = flow.localize(residual)?;
    if let Op::StreamStreamJoin(join) = &mut steps.0[flow.step].op {
        join.residual = Some(residual);
        return Ok(flow);
    }
    let padded = if spec.join.kind == JoinKind::Right { &sides[0] } else { &sides[1] };
    let schema = steps.schema(&flow).clone();
    let mut values = Vec::with_capacity(schema.value.len());
    for (index, column) in schema.columns().enumerate().skip(schema.key.len()) {
        let (name, ty) = (column.name.clone(), column.ty.clone());
        let whole = Expr::Column { index, name, ty: ty.clone() };
        values.push(if padded.contains(&index) {
            Expr::Case { branches: vec![(residual.clone(), whole)], otherwise: None, ty }
        } else {
            whole
        });
    }
    let op = Op::Project { key: (0..schema.key.len()).collect(), values };
    let step = steps.after(&flow, &name, op, schema);
    Ok(Flow { step, ..flow })
}

/// The key columns of the join's rows, named by what is selected first for them.
fn key_columns(spec: &JoinSpec, universe: &Universe) -> Result<Vec<Column>> {
    let columns = spec.left.iter().enumerate().map(|(at, expr)| {
        let name = match spec.keys.get(at).and_then(|k| k.viable.first()) {
            Some(Expr::Column { index, .. }) => universe.step_name(*index),
            _ => "ROWKEY".to_owned(),
        };
        Ok(Column::new(name, expr.typed()?))
    });
    columns.collect()
}
