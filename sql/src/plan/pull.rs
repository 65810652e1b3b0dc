//! Pull queries: a look into a materialised table, or a finite read of a stream.
//!
//! The WHERE clause is taken apart for whole-key lookups and window bounds only to read less: it is
//! also kept whole and checked for every row, so a lookup may find too much but never too little.

use datafusion_common::ScalarValue;
use sqlparser::ast::{BinaryOperator, Expr as Ast, Value};

use crate::catalog::Relation;
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::{self, CompareOp, Expr};
use crate::plan::names::{self, NameSource};
use crate::plan::project::{self, Item, Stars};
use crate::plan::scope::{Clause, ClauseScope};
use crate::plan::universe::{ColumnId, Universe};
use crate::plan::{Context, Plan, PseudoColumn, PullPlan, TimeRange, magic_time, query};
use crate::syntax::ast::{Query, RelationKind};
use crate::types::{Column, Schema, SqlType};

impl PullPlan {
    /// The result's columns in the order they were selected, and whether each is a key column.
    pub fn result_columns(&self) -> impl Iterator<Item = (&Column, bool)> {
        let key = self.schema.key.iter().map(|c| (c, true));
        let columns: Vec<_> = key.chain(self.schema.value.iter().map(|c| (c, false))).collect();
        self.items
            .iter()
            .filter_map(move |(name, _)| columns.iter().find(|(c, _)| c.name == *name).copied())
    }
}

pub(super) fn plan(select: &Query, context: Context<'_>) -> Result<Plan> {
    check_clauses(select)?;
    let relation = query::find_relation(&select.from.name, context)?;
    let universe = Universe::new(
        vec![(select.from.alias.clone(), relation.clone())],
        context.catalog.functions(),
    );
    let mut names = NameSource::new(relation.schema.columns().map(|c| c.name.as_str()));
    let items =
        project::items(&select.items, &universe, &mut names, Clause::Pull, Stars::Client, &[])?;
    names::check_distinct(items.iter().map(|i| (i.name.as_str(), i.span)))?;
    let filter =
        select.filter.as_ref().map(|f| bind_filter(f, &universe, &relation)).transpose()?;
    if relation.kind == RelationKind::Table && !relation.is_materialized() {
        return Err(SqlError::new(
            ErrorKind::TableNotMaterialized,
            format!("the table {} has no state to look into", relation.name),
            format!(
                "CREATE TABLE QUERYABLE_{0} AS SELECT * FROM {0}; and query that.",
                relation.name
            ),
        )
        .at(select.from.name.span));
    }
    let lookup = Lookup::of(filter.as_ref(), &universe, &relation);
    if relation.kind == RelationKind::Table && !context.config.table_scan && lookup.needs_scan {
        return Err(SqlError::new(
            ErrorKind::PullQueryNeedsTableScan,
            "WHERE is no lookup by the whole key, and table scans are switched off",
            "Give every key column one constant by = or IN, or set ksql.query.pull.table.scan.enabled.",
        )
        .at(select.filter.as_ref().and_then(crate::syntax::span_of)));
    }
    Ok(Plan::Pull(assemble(select, &relation, &universe, items, filter, lookup)))
}

fn check_clauses(select: &Query) -> Result<()> {
    let clause = if !select.unions.is_empty() {
        "UNION ALL"
    } else if !select.joins.is_empty() {
        "JOIN"
    } else if select.window.is_some() {
        "WINDOW"
    } else if !select.group_by.is_empty() {
        "GROUP BY"
    } else if !select.partition_by.is_empty() {
        "PARTITION BY"
    } else if select.having.is_some() {
        "HAVING"
    } else {
        return Ok(());
    };
    let span = select.joins.first().and_then(|j| j.span);
    Err(SqlError::new(
        ErrorKind::PullQueryUnsupportedClause,
        format!("{clause} in a pull query"),
        "Add EMIT CHANGES, or query a table made so.",
    )
    .at(span))
}

fn bind_filter(ast: &Ast, universe: &Universe, relation: &Relation) -> Result<Expr> {
    check_in_lists(ast, relation)?;
    let condition = magic_time::rewrite(ast)?;
    expr::bind_predicate(&condition, &ClauseScope::new(universe, Clause::Pull))
        .map_err(|e| e.at(crate::syntax::span_of(ast)))
}

/// A string in the IN list of a numeric key is refused here, though elsewhere it would be converted.
fn check_in_lists(ast: &Ast, relation: &Relation) -> Result<()> {
    match ast {
        Ast::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            check_in_lists(left, relation)?;
            check_in_lists(right, relation)
        }
        Ast::InList { expr, list, .. } => {
            let name = match expr.as_ref() {
                Ast::Identifier(ident) => &ident.value,
                Ast::CompoundIdentifier(parts) => match parts.last() {
                    Some(ident) => &ident.value,
                    None => return Ok(()),
                },
                _ => return Ok(()),
            };
            let Some(key) = relation.schema.key.iter().find(|c| c.name == *name) else {
                return Ok(());
            };
            let string = |a: &&Ast| matches!(a, Ast::Value(v) if matches!(v.value, Value::SingleQuotedString(_)));
            match list.iter().find(string) {
                Some(item) if key.ty.is_numeric() => Err(SqlError::new(
                    ErrorKind::LiteralNotConvertible,
                    format!("{item} is no {}, the type of the key column {name}", key.ty),
                    "Write a number.",
                )
                .at(crate::syntax::span_of(item))),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Everything over the relation's rows: key, value, then the pseudo columns that are used.
fn assemble(
    select: &Query,
    relation: &Relation,
    universe: &Universe,
    items: Vec<Item>,
    filter: Option<Expr>,
    lookup: Lookup,
) -> PullPlan {
    let columns = universe.source_columns(0);
    let stored = relation.schema.len();
    let used = |id: &ColumnId| {
        items.iter().map(|i| &i.expr).chain(&filter).any(|e| e.columns().contains(id))
    };
    let pseudo_ids: Vec<ColumnId> = columns.pseudo.iter().copied().filter(used).collect();
    let all = PseudoColumn::of(relation);
    let pseudo: Vec<PseudoColumn> = pseudo_ids.iter().map(|id| all[id - stored]).collect();
    let place = |id: ColumnId| match pseudo_ids.iter().position(|p| *p == id) {
        Some(at) => stored + at,
        None => id,
    };
    let mut input = relation.schema.clone();
    input.value.extend(pseudo.iter().map(|p| Column::new(p.name(), p.ty())));

    let is_bound = |id: &ColumnId| {
        columns.pseudo.contains(id)
            && matches!(all[id - stored], PseudoColumn::WindowStart | PseudoColumn::WindowEnd)
    };
    let mut schema = Schema::default();
    for item in &items {
        let column = Column::new(item.name.clone(), item.ty.clone());
        match &item.expr {
            Expr::Column { index, .. } if columns.key.contains(index) || is_bound(index) => {
                schema.key.push(column);
            }
            _ => schema.value.push(column),
        }
    }
    PullPlan {
        relation: relation.name.clone(),
        kind: relation.kind,
        input,
        pseudo,
        keys: lookup.keys,
        window_start: lookup.window_start,
        window_end: lookup.window_end,
        filter: filter.map(|f| f.map_columns(&place)),
        items: items.into_iter().map(|i| (i.name, i.expr.map_columns(&place))).collect(),
        limit: select.limit,
        schema,
    }
}

/// What the WHERE clause says about the key and the window.
#[derive(Debug, Default)]
struct Lookup {
    keys: Option<Vec<Vec<Expr>>>,
    window_start: TimeRange,
    window_end: TimeRange,
    needs_scan: bool,
}

impl Lookup {
    fn of(filter: Option<&Expr>, universe: &Universe, relation: &Relation) -> Self {
        let mut lookup = Lookup { needs_scan: true, ..Lookup::default() };
        let Some(filter) = filter else { return lookup };
        let columns = universe.source_columns(0);
        let disjuncts = disjuncts(filter);
        let mut keys: Option<Vec<Vec<Expr>>> = Some(vec![]);
        for conjuncts in &disjuncts {
            match (keys.as_mut(), whole_keys(conjuncts, &columns.key, relation)) {
                (Some(all), Some(found)) => {
                    for key in found {
                        if !all.contains(&key) {
                            all.push(key);
                        }
                    }
                }
                _ => keys = None,
            }
        }
        if let [conjuncts] = disjuncts.as_slice()
            && relation.window.is_some()
            && let [.., start, end] = columns.pseudo.as_slice()
        {
            lookup.window_start = time_range(conjuncts, *start);
            lookup.window_end = time_range(conjuncts, *end);
        }
        lookup.needs_scan = keys.is_none() && !is_key_range(&disjuncts, &columns.key, relation);
        lookup.keys = keys.filter(|_| relation.kind == RelationKind::Table);
        lookup
    }
}

/// The condition as an OR of ANDs, as far as a moderate size goes.
fn disjuncts(filter: &Expr) -> Vec<Vec<&Expr>> {
    const MOST: usize = 256;
    match filter {
        Expr::Logical { and: false, left, right } => {
            let mut all = disjuncts(left);
            all.extend(disjuncts(right));
            all
        }
        Expr::Logical { and: true, left, right } => {
            let (l, r) = (disjuncts(left), disjuncts(right));
            if l.len() * r.len() > MOST {
                return vec![vec![filter]];
            }
            l.iter().flat_map(|a| r.iter().map(|b| [a.as_slice(), b].concat())).collect()
        }
        other => vec![vec![other]],
    }
}

/// The whole keys that rows satisfying all `conjuncts` can have, if every key column is given.
fn whole_keys(
    conjuncts: &[&Expr],
    key: &[ColumnId],
    relation: &Relation,
) -> Option<Vec<Vec<Expr>>> {
    const MOST: usize = 10_000;
    if key.is_empty() {
        return None;
    }
    let mut keys: Vec<Vec<Expr>> = vec![vec![]];
    for (id, column) in key.iter().zip(&relation.schema.key) {
        let given = conjuncts.iter().find_map(|c| constants_for(c, *id, &column.ty))?;
        if keys.len().saturating_mul(given.len()) > MOST {
            return None;
        }
        let with = |k: &Vec<Expr>, v: &Expr| k.iter().chain([v]).cloned().collect::<Vec<_>>();
        keys = keys.iter().flat_map(|k| given.iter().map(move |v| with(k, v))).collect();
    }
    Some(keys)
}

/// The constants that `condition` allows for a column, by = or IN.
fn constants_for(condition: &Expr, id: ColumnId, ty: &SqlType) -> Option<Vec<Expr>> {
    match condition {
        Expr::Compare { op: CompareOp::Equal, left, right } => {
            let constant = if is_column(left, id) {
                right
            } else if is_column(right, id) {
                left
            } else {
                return None;
            };
            Some(vec![constant_of(constant, ty)?])
        }
        Expr::In { operand, list, negated: false } if is_column(operand, id) => {
            list.iter().map(|item| constant_of(item, ty)).collect()
        }
        _ => None,
    }
}

/// Whether `expr` is the column, be it widened for a comparison.
fn is_column(expr: &Expr, id: ColumnId) -> bool {
    match expr {
        Expr::Column { index, .. } => *index == id,
        Expr::Cast { operand, ty } => ty.is_numeric() && is_column(operand, id),
        _ => false,
    }
}

fn constant_of(expr: &Expr, ty: &SqlType) -> Option<Expr> {
    if !expr.columns().is_empty() || expr.is_null_literal() {
        return None;
    }
    if expr.ty().as_ref() == Some(ty) {
        return Some(expr.clone());
    }
    Some(Expr::Cast { operand: Box::new(expr.clone()), ty: ty.clone() })
}

/// One range on a single STRING key can be read in key order without a scan of the table.
fn is_key_range(disjuncts: &[Vec<&Expr>], key: &[ColumnId], relation: &Relation) -> bool {
    let ([conjuncts], [id]) = (disjuncts, key) else { return false };
    let mut on_key = conjuncts.iter().filter(|c| c.columns().contains(id));
    let (Some(Expr::Compare { op, left, right }), None) = (on_key.next(), on_key.next()) else {
        return false;
    };
    let is_range = matches!(
        op,
        CompareOp::Less | CompareOp::LessOrEqual | CompareOp::Greater | CompareOp::GreaterOrEqual
    );
    let against_constant = (is_column(left, *id) && right.columns().is_empty())
        || (is_column(right, *id) && left.columns().is_empty());
    is_range
        && against_constant
        && relation.window.is_none()
        && relation.schema.key.iter().all(|c| c.ty == SqlType::String)
}

/// What `conjuncts` say about a column of milliseconds.
fn time_range(conjuncts: &[&Expr], id: ColumnId) -> TimeRange {
    let mut range = TimeRange::default();
    for condition in conjuncts {
        let Expr::Compare { op, left, right } = condition else { continue };
        let (op, constant) = if is_column(left, id) {
            (*op, right)
        } else if is_column(right, id) {
            (mirrored(*op), left)
        } else {
            continue;
        };
        let Some(ms) = milliseconds(constant) else { continue };
        let (from, to) = match op {
            CompareOp::Equal => (Some(ms), Some(ms)),
            CompareOp::Greater => (ms.checked_add(1), None),
            CompareOp::GreaterOrEqual => (Some(ms), None),
            CompareOp::Less => (None, ms.checked_sub(1)),
            CompareOp::LessOrEqual => (None, Some(ms)),
            CompareOp::NotEqual | CompareOp::IsDistinctFrom | CompareOp::IsNotDistinctFrom => {
                (None, None)
            }
        };
        range.from_ms = range.from_ms.max(from);
        range.to_ms = match (range.to_ms, to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    range
}

fn mirrored(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Less => CompareOp::Greater,
        CompareOp::LessOrEqual => CompareOp::GreaterOrEqual,
        CompareOp::Greater => CompareOp::Less,
        CompareOp::GreaterOrEqual => CompareOp::LessOrEqual,
        other => other,
    }
}

fn milliseconds(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal { value: ScalarValue::Int32(Some(ms)), .. } => Some(i64::from(*ms)),
        Expr::Literal { value: ScalarValue::Int64(Some(ms)), .. }
        | Expr::Literal { value: ScalarValue::TimestampMillisecond(Some(ms), _), .. } => Some(*ms),
        Expr::Cast { operand, ty: SqlType::Bigint } => milliseconds(operand),
        _ => None,
    }
}
