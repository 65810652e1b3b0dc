//! The steps of a chain of joins.
//!
//! Each source gives up the columns nobody reads (`PrependAlias…`), copying into the value those key
//! columns that are read later; a side not on its key is keyed anew (`…SourceKeyed`); then the join.
//! In a chain of n joins the steps of the inner ones are called `L_…`, `L_L_…`, as ksqlDB does.

use std::collections::{HashMap, HashSet};

use crate::error::{Result, SqlError};
use crate::expr::Expr;
use crate::plan::flow::{Flow, Steps};
use crate::plan::joins::{JoinSpec, JoinType};
use crate::plan::universe::{ColumnId, Universe};
use crate::plan::{Op, Step, StreamStreamJoin};
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
            before.extend(spec.left.columns());
        }
        if spec.rekey_right {
            before.extend(spec.right.columns());
        }
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
    let key_column = Column::new(key_name(spec, universe), spec.left.typed()?);
    if spec.rekey_left {
        let key = [(spec.left.clone(), key_column.clone())];
        left = steps.select_key(left, &format!("{prefix}LeftSourceKeyed"), &key, true)?;
        left = drop_unneeded(left, &format!("{prefix}LeftNeeded"), needed, universe, steps)?;
    }
    if spec.rekey_right {
        let key = [(spec.right.clone(), key_column.clone())];
        right = steps.select_key(right, &format!("{prefix}RightSourceKeyed"), &key, true)?;
        right = drop_unneeded(right, &format!("{prefix}RightNeeded"), needed, universe, steps)?;
    }
    let op = match (spec.ty, spec.join.within) {
        (JoinType::StreamStream, Some(within)) => Op::StreamStreamJoin(StreamStreamJoin {
            kind: spec.join.kind,
            before_ms: within.before_ms,
            after_ms: within.after_ms,
            grace_ms: within.grace_ms,
        }),
        (JoinType::StreamStream, None) => {
            return Err(SqlError::unsupported("a join of two streams without WITHIN"));
        }
        (JoinType::StreamTable, _) => Op::StreamTableJoin { kind: spec.join.kind },
        (JoinType::TableTable, _) => Op::TableTableJoin { kind: spec.join.kind },
        (JoinType::ForeignKey, _) => {
            Op::ForeignKeyJoin { kind: spec.join.kind, foreign_key: left.localize_key(&spec.left)? }
        }
    };
    let (l, r) = (steps.schema(&left), steps.schema(&right));
    let key = if spec.ty == JoinType::ForeignKey { l.key.clone() } else { vec![key_column] };
    let value = l.value.iter().chain(&r.value).cloned().collect();
    let shift = key.len() + l.value.len();
    let right_keys = r.key.len();
    let schema = Schema { key, value };

    let mut place: HashMap<ColumnId, usize> = left.place.clone();
    place.extend(right.place.iter().map(|(id, at)| (*id, at - right_keys + shift)));
    if let Some(id) = spec.synthetic {
        place.insert(id, 0);
    }
    let (relation, window) = (steps.kind(&left), steps.window(&left));
    let name = format!("{prefix}Join");
    let inputs = vec![left.step, right.step];
    let step = steps.push(Step { name, op, inputs, schema, relation, window });
    Ok(Flow { step, place, keys: spec.keys.clone() })
}

fn key_name(spec: &JoinSpec, universe: &Universe) -> String {
    match spec.keys.first().and_then(|k| k.viable.first()) {
        Some(Expr::Column { index, .. }) => universe.step_name(*index),
        _ => "ROWKEY".to_owned(),
    }
}
