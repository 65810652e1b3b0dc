//! GROUP BY, HAVING and aggregate calls.
//!
//! SELECT and HAVING were bound with a column in place of every aggregate call (`scope.rs`). What
//! remains must be made of grouping expressions: each such part becomes a key column of the
//! aggregate step, and any column left over is refused.

use std::collections::HashMap;

use crate::catalog::{FormatKind, KeyWindow};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::{AggregateCall, AggregateFunction, Expr};
use crate::plan::flow::{Flow, KeyColumn, Steps};
use crate::plan::names::NameSource;
use crate::plan::project::{Item, key_name};
use crate::plan::universe::{ColumnId, Universe};
use crate::plan::{Aggregate, AggregateWindow, Op, Step, windows};
use crate::syntax::ast::RelationKind;
use crate::types::{Column, Schema};

/// A query's grouping, bound over the universe.
pub(super) struct Grouping {
    pub group: Vec<Expr>,
    pub calls: Vec<(ColumnId, AggregateCall)>,
    pub window: Option<AggregateWindow>,
    pub emit_final: bool,
}

impl Grouping {
    /// Checks that need no steps: table-capable aggregates, what the store's format can hold.
    pub(super) fn check(&self, over: RelationKind, value_format: FormatKind) -> Result<()> {
        if over == RelationKind::Table {
            if self.window.is_some() {
                return Err(SqlError::new(
                    ErrorKind::UnsupportedWindowOnTable,
                    "WINDOW over a table",
                    "Window a stream; a table's rows have no place in time.",
                ));
            }
            if let Some((_, call)) = self.calls.iter().find(|(_, c)| !c.supports_table()) {
                return Err(SqlError::new(
                    ErrorKind::AggregateUnsupportedOnTable,
                    format!("{} cannot take back a row when a table changes", call.text),
                    "Aggregate a stream, or choose another function.",
                ));
            }
        }
        if value_format == FormatKind::Kafka {
            return Err(SqlError::new(
                ErrorKind::OperationUnsupportedByFormat,
                "a source with the value format KAFKA cannot feed GROUP BY",
                "Copy the source into another format first.",
            ));
        }
        if value_format == FormatKind::Delimited
            && let Some((_, call)) = self.calls.iter().find(|(_, c)| has_nested_state(c))
        {
            return Err(SqlError::new(
                ErrorKind::AggregateStateUnsupportedByFormat,
                format!(
                    "the source's value format DELIMITED cannot hold the state of {}",
                    call.text
                ),
                "Copy the source into a format with nested types, such as JSON.",
            ));
        }
        Ok(())
    }

    /// The aggregate step after `flow`.
    pub(super) fn build(
        &self,
        flow: &Flow,
        universe: &Universe,
        items: &[Item],
        names: &mut NameSource,
        steps: &mut Steps,
    ) -> Result<Flow> {
        let group = self.group.iter().map(|g| flow.localize_key(g)).collect::<Result<Vec<_>>>()?;
        let mut calls = Vec::with_capacity(self.calls.len());
        let mut place = HashMap::new();
        let mut value = Vec::new();
        for (id, call) in &self.calls {
            let args = call.args.iter().map(|a| flow.localize(a)).collect::<Result<Vec<_>>>()?;
            place.insert(*id, group.len() + calls.len());
            value.push(Column::new(universe.column(*id).name, call.ty.clone()));
            calls.push(AggregateCall { args, ..call.clone() });
        }
        let bounds = universe.used_bounds();
        if let Some((start, end)) = bounds {
            for id in [start, end] {
                place.insert(id, group.len() + value.len());
                let column = universe.column(id);
                value.push(Column::new(column.name, column.ty));
            }
        }
        let mut key = Vec::with_capacity(group.len());
        for expr in &self.group {
            key.push(Column::new(key_name(expr, items, names), expr.typed()?));
        }
        let op = Op::Aggregate(Aggregate {
            group,
            calls,
            window: self.window,
            window_bounds: bounds.is_some(),
            emit_final: self.emit_final,
        });
        let step = steps.push(Step {
            name: "Aggregate".to_owned(),
            op,
            inputs: vec![flow.step],
            schema: Schema { key, value },
            relation: RelationKind::Table,
            window: self.window.map(|w| KeyWindow::from(w.kind)),
        });
        let keys = self.group.iter().map(|g| KeyColumn { viable: vec![g.clone()] }).collect();
        Ok(Flow { step, place, keys })
    }

    /// `expr` over the aggregate step's rows, whose columns `schema` names.
    pub(super) fn over_result(&self, expr: &Expr, flow: &Flow, schema: &Schema) -> Result<Expr> {
        let (local, foreign) = self.rewrite(expr, &flow.place, schema);
        match foreign {
            None => Ok(local),
            Some(_) => flow.localize(expr),
        }
    }

    /// Refuses what is neither aggregated nor made of grouping expressions, before steps are laid.
    pub(super) fn check_expr(&self, expr: &Expr, universe: &Universe) -> Result<()> {
        let bounds = universe.used_bounds().into_iter().flat_map(|(start, end)| [start, end]);
        let place = self.calls.iter().map(|(id, _)| *id).chain(bounds).map(|id| (id, 0)).collect();
        let (_, Some(foreign)) = self.rewrite(expr, &place, &Schema::default()) else {
            return Ok(());
        };
        let (column, whole) = (universe.text(&universe.expr(foreign)), universe.text(expr));
        let within = if column == whole { String::new() } else { format!(" in {whole}") };
        Err(SqlError::new(
            ErrorKind::ExpressionNotInGroupBy,
            format!("{column}{within} is neither aggregated nor grouped by"),
            format!("Add {column} to GROUP BY, or aggregate it."),
        ))
    }

    /// Grouping expressions become key columns, placed columns their places; and a column that is
    /// neither, if there is one.
    fn rewrite(
        &self,
        expr: &Expr,
        place: &HashMap<ColumnId, usize>,
        schema: &Schema,
    ) -> (Expr, Option<ColumnId>) {
        let mut foreign = None;
        let local = expr.rewrite(&mut |e| {
            if let Some(index) = self.group.iter().position(|g| g == e) {
                let name = schema.key.get(index).map_or(String::new(), |c| c.name.clone());
                return Some(Expr::Column { index, name, ty: e.ty()? });
            }
            let Expr::Column { index: id, name, ty } = e else { return None };
            let at = place.get(id).copied();
            foreign = foreign.or(if at.is_none() { Some(*id) } else { None });
            Some(Expr::Column { index: at.unwrap_or(*id), name: name.clone(), ty: ty.clone() })
        });
        (local, foreign)
    }
}

/// Whether the aggregate keeps more between rows than one plain value.
fn has_nested_state(call: &AggregateCall) -> bool {
    use AggregateFunction::*;
    match call.function {
        Avg | Correlation | StddevSample | StddevSamp | TopK | TopKDistinct | CollectList
        | CollectSet | Histogram | Attr | CountDistinct | LatestByOffset | EarliestByOffset
        | User => true,
        Count | Sum | Min | Max | SumList => false,
    }
}

/// The window with its defaults, if the query has one; refuses EMIT FINAL without.
pub(super) fn settle_window(
    window: Option<&crate::syntax::ast::Window>,
    emit_final: bool,
) -> Result<Option<AggregateWindow>> {
    match window {
        Some(window) => Ok(Some(windows::settle(window, emit_final)?)),
        None if emit_final => Err(SqlError::new(
            ErrorKind::EmitFinalWithoutWindow,
            "EMIT FINAL, but no window that could close",
            "Add a window, or use EMIT CHANGES.",
        )),
        None => Ok(None),
    }
}
