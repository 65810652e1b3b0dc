//! Steps under construction, and where in a step's rows each column of the universe lies.
//!
//! Expressions arrive over column numbers of the [`Universe`](super::scope::Universe); `Flow` turns
//! numbers into places of the last step's rows. Adding a step never changes an earlier one.

use std::collections::HashMap;

use crate::catalog::KeyWindow;
use crate::error::{Result, SqlError};
use crate::expr::Expr;
use crate::plan::universe::ColumnId;
use crate::plan::{Op, Step, StepId};
use crate::syntax::ast::RelationKind;
use crate::types::{Column, Schema};

/// A key column of the rows: which expressions of the query stand for it.
#[derive(Clone, Debug)]
pub(super) struct KeyColumn {
    /// Selecting one of these selects the key; the first that is selected names it.
    pub viable: Vec<Expr>,
}

/// The last step of a chain, while steps are being added.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub step: StepId,
    /// Place of a column in the step's rows.
    pub place: HashMap<ColumnId, usize>,
    pub keys: Vec<KeyColumn>,
}

/// All steps of a dataflow so far.
#[derive(Debug, Default)]
pub(super) struct Steps(pub Vec<Step>);

impl Steps {
    pub(super) fn push(&mut self, step: Step) -> StepId {
        self.0.push(step);
        self.0.len() - 1
    }

    pub(super) fn last_of(&self, flow: &Flow) -> &Step {
        &self.0[flow.step]
    }

    /// A step with `op` after `flow`, of the given columns; kind and window stay as they were.
    pub(super) fn after(&mut self, flow: &Flow, name: &str, op: Op, schema: Schema) -> StepId {
        let last = self.last_of(flow);
        let (relation, window) = (last.relation, last.window);
        let inputs = vec![flow.step];
        self.push(Step { name: name.to_owned(), op, inputs, schema, relation, window })
    }

    pub(super) fn kind(&self, flow: &Flow) -> RelationKind {
        self.last_of(flow).relation
    }

    pub(super) fn window(&self, flow: &Flow) -> Option<KeyWindow> {
        self.last_of(flow).window
    }

    pub(super) fn schema(&self, flow: &Flow) -> &Schema {
        &self.last_of(flow).schema
    }

    /// Keeps the rows for which `predicate` (over the universe) is TRUE.
    pub(super) fn filter(&mut self, flow: Flow, name: &str, predicate: &Expr) -> Result<Flow> {
        let predicate = flow.localize(predicate)?;
        let schema = self.schema(&flow).clone();
        let step = self.after(&flow, name, Op::Filter { predicate }, schema);
        Ok(Flow { step, ..flow })
    }

    /// The same key, and as values exactly the columns in `ids` under the given names.
    pub(super) fn narrow(
        &mut self,
        mut flow: Flow,
        name: &str,
        ids: &[(ColumnId, Column)],
    ) -> Result<Flow> {
        let old = self.schema(&flow);
        let keys = old.key.len();
        let stays =
            |(i, (id, _)): (usize, &(ColumnId, Column))| flow.place.get(id) == Some(&(keys + i));
        if ids.len() == old.value.len() && ids.iter().enumerate().all(stays) {
            flow.place.retain(|_, at| *at >= keys);
            return Ok(flow);
        }
        let key = old.key.clone();
        let mut values = Vec::with_capacity(ids.len());
        let mut place = HashMap::new();
        for (i, (id, column)) in ids.iter().enumerate() {
            let whole =
                Expr::Column { index: *id, name: column.name.clone(), ty: column.ty.clone() };
            values.push(flow.localize(&whole)?);
            place.insert(*id, keys + i);
        }
        let schema = Schema { key, value: ids.iter().map(|(_, c)| c.clone()).collect() };
        let op = Op::Project { key: (0..keys).collect(), values };
        let step = self.after(&flow, name, op, schema);
        Ok(Flow { step, place, keys: flow.keys })
    }

    /// New key columns, not windowed; the value columns stay. Key columns given up are gone afterwards, so whoever
    /// needs them copies them into the value before.
    pub(super) fn select_key(
        &mut self,
        flow: Flow,
        name: &str,
        key: &[(Expr, Column)],
        internal: bool,
    ) -> Result<Flow> {
        let exprs = key.iter().map(|(e, _)| flow.localize_key(e)).collect::<Result<Vec<_>>>()?;
        let old = self.schema(&flow);
        let (old_keys, value) = (old.key.len(), old.value.clone());
        let schema = Schema { key: key.iter().map(|(_, c)| c.clone()).collect(), value };
        let step = self.after(&flow, name, Op::SelectKey { key: exprs, internal }, schema);
        self.0[step].window = None;
        let place = flow
            .place
            .iter()
            .filter(|(_, at)| **at >= old_keys)
            .map(|(id, at)| (*id, at - old_keys + key.len()))
            .collect();
        let keys = key.iter().map(|(e, _)| KeyColumn { viable: vec![e.clone()] }).collect();
        Ok(Flow { step, place, keys })
    }
}

impl Flow {
    /// `expr` over the last step's rows.
    pub(super) fn localize(&self, expr: &Expr) -> Result<Expr> {
        if let Some(lost) = expr.columns().into_iter().find(|id| !self.place.contains_key(id)) {
            return Err(SqlError::unsupported(format!(
                "the column number {lost} of {expr} is needed where the dataflow no longer has it"
            )));
        }
        Ok(expr.map_columns(&|id| self.place.get(&id).copied().unwrap_or(id)))
    }

    /// Like [`localize`](Self::localize), but reads the row's key wherever the expression is one: a
    /// row without value still has its key.
    pub(super) fn localize_key(&self, expr: &Expr) -> Result<Expr> {
        let mut lost = false;
        let local = expr.rewrite(&mut |e| {
            if let Some(index) = self.keys.iter().position(|k| k.viable.first() == Some(e)) {
                let ty = e.ty()?;
                return Some(Expr::Column { index, name: e.to_string(), ty });
            }
            let Expr::Column { index: id, name, ty } = e else { return None };
            let place = self.place.get(id).copied();
            lost |= place.is_none();
            Some(Expr::Column { index: place.unwrap_or(*id), name: name.clone(), ty: ty.clone() })
        });
        if lost { self.localize(expr) } else { Ok(local) }
    }
}
