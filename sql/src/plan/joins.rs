//! Joins: what ON may say, which kind of join it is, and which key the result has.
//!
//! Every join of the left-deep chain is read before other clauses are bound, so that they can name
//! its result's columns; `join_steps.rs` lays the steps when it is known which columns are needed.
//! Rules: `reference/ksqldb.md` 1.5, 1.6, 5.5.

use std::collections::HashSet;

use sqlparser::ast::{BinaryOperator, Expr as Ast};

use crate::catalog::{FormatKind, KeyWindow, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::{self, Expr};
use crate::plan::flow::KeyColumn;
use crate::plan::names::synthetic_key;
use crate::plan::properties::FormatProperties;
use crate::plan::scope::{Clause, ClauseScope};
use crate::plan::universe::{ColumnId, Universe};
use crate::plan::{Context, formats};
use crate::syntax::ast::{Join, JoinKind, Query, RelationKind};
use crate::types::Column;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinType {
    StreamStream,
    StreamTable,
    TableTable,
    ForeignKey,
}

/// One join of the chain, read and checked.
#[derive(Clone, Debug)]
pub(super) struct JoinSpec {
    pub join: Join,
    pub ty: JoinType,
    /// The two sides of ON: over the sources before, and over the new one.
    pub left: Expr,
    pub right: Expr,
    /// Whether a side has to be keyed anew for the join.
    pub rekey_left: bool,
    pub rekey_right: bool,
    /// The result's key.
    pub keys: Vec<KeyColumn>,
    /// The key's own column, when no column of a source stands for it.
    pub synthetic: Option<ColumnId>,
    /// What a Kafka deployment would key its internal topics and the result with.
    pub key_format: FormatProperties,
}

impl JoinSpec {
    /// Columns that the join's own condition reads.
    pub(super) fn columns(&self) -> Vec<ColumnId> {
        let mut all = self.left.columns();
        all.extend(self.right.columns());
        all
    }
}

/// What is known of the left input while the chain is read.
struct Left {
    kind: RelationKind,
    window: Option<KeyWindow>,
    keys: Vec<KeyColumn>,
    key_format: FormatProperties,
}

pub(super) fn key_format_of(relation: &Relation) -> FormatProperties {
    FormatProperties { kind: relation.key_format.kind, delimiter: relation.key_format.delimiter }
}

/// The key columns of a source, each standing for itself.
pub(super) fn source_keys(universe: &Universe, source: usize) -> Vec<KeyColumn> {
    let ids = universe.source_columns(source).key;
    ids.into_iter().map(|id| KeyColumn { viable: vec![universe.expr(id)] }).collect()
}

/// Reads all joins of `query`; `universe` gets the synthetic key columns.
pub(super) fn analyze(
    query: &Query,
    universe: &Universe,
    context: Context<'_>,
) -> Result<Vec<JoinSpec>> {
    let first = &universe.sources[0].relation;
    let mut left = Left {
        kind: first.kind,
        window: first.window,
        keys: source_keys(universe, 0),
        key_format: key_format_of(first),
    };
    // All criteria are read before any other rule of joins, as ksqlDB does.
    let criteria = query
        .joins
        .iter()
        .enumerate()
        .map(|(i, join)| read_criterion(join, i + 1, universe))
        .collect::<Result<Vec<_>>>()?;
    let mut taken = source_names(universe);
    let mut specs = Vec::with_capacity(criteria.len());
    for (i, (join, (left_expr, right_expr))) in query.joins.iter().zip(criteria).enumerate() {
        let spec =
            analyze_one(join, i + 1, left_expr, right_expr, &left, universe, &mut taken, context)
                .map_err(|e| e.at(join.span))?;
        universe.set_join_key(spec.synthetic);
        left = Left {
            kind: left.kind,
            window: left.window,
            keys: spec.keys.clone(),
            key_format: spec.key_format,
        };
        specs.push(spec);
    }
    Ok(specs)
}

fn source_names(universe: &Universe) -> HashSet<String> {
    universe
        .sources
        .iter()
        .flat_map(|s| s.relation.schema.columns())
        .map(|c| c.name.clone())
        .collect()
}

/// The two sides of ON: over the sources before, and over the new source.
fn read_criterion(join: &Join, source: usize, universe: &Universe) -> Result<(Expr, Expr)> {
    let span = crate::syntax::span_of(&join.on);
    let (a, b) = match &join.on {
        Ast::BinaryOp { left, op: BinaryOperator::Eq, right } => (left, right),
        Ast::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => {
            return Err(SqlError::new(
                ErrorKind::MultipleJoinConditions,
                "ON combines several conditions",
                "Join on one equality; filter by WHERE.",
            )
            .at(span));
        }
        _ => return Err(invalid_criterion("ON is no equality").at(span)),
    };
    let scope = ClauseScope { universe, visible: source + 1, clause: Clause::On };
    let (a, b) = match (expr::bind(a, &scope), expr::bind(b, &scope)) {
        (Ok(a), Ok(b)) => (a, b),
        // A name that exists nowhere says more than one that exists twice.
        (Err(a), Err(b)) if a.kind == ErrorKind::AmbiguousColumn => return Err(b.at(span)),
        (Err(e), _) | (_, Err(e)) => return Err(e.at(span)),
    };
    let (of_a, of_b) = (one_source(&a, universe), one_source(&b, universe));
    let (Some(of_a), Some(of_b)) = (of_a, of_b) else {
        let (a, b) = (universe.text(&a), universe.text(&b));
        let text = format!("a side of {a} = {b} does not refer to exactly one source");
        return Err(invalid_criterion(&text).at(span));
    };
    if of_a == of_b {
        return Err(invalid_criterion("both sides of ON refer to the same source").at(span));
    }
    if of_b == source {
        Ok((a, b))
    } else if of_a == source {
        Ok((b, a))
    } else {
        let alias = &universe.sources[source].alias.text;
        Err(invalid_criterion(&format!("ON does not refer to {alias}")).at(span))
    }
}

fn invalid_criterion(message: &str) -> SqlError {
    SqlError::new(
        ErrorKind::InvalidJoinCriteria,
        message,
        "Write ON <expression over one source> = <expression over the other>.",
    )
}

fn one_source(expr: &Expr, universe: &Universe) -> Option<usize> {
    let sources: HashSet<usize> =
        expr.columns().into_iter().filter_map(|id| universe.source_of(id)).collect();
    let mut sources = sources.into_iter();
    match (sources.next(), sources.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

#[allow(clippy::too_many_arguments)] // One join's whole surroundings; a struct would be used once.
fn analyze_one(
    join: &Join,
    source: usize,
    left_expr: Expr,
    right_expr: Expr,
    left: &Left,
    universe: &Universe,
    taken: &mut HashSet<String>,
    context: Context<'_>,
) -> Result<JoinSpec> {
    let right = &universe.sources[source].relation;
    let right_keys = source_keys(universe, source);
    let ty = join_type(join, left, right)?;
    check_types(&left_expr, &right_expr, universe)?;
    let on_left_key = is_key(&left.keys, &left_expr);
    let on_right_key = is_key(&right_keys, &right_expr);
    let ty = check_table_key(join, source, ty, on_left_key, on_right_key, right)?;
    check_windows(left, right, on_left_key, on_right_key)?;
    if ty != JoinType::ForeignKey {
        check_partitions(universe, source, context)?;
    }
    if ty == JoinType::ForeignKey && (left.window.is_some() || right.window.is_some()) {
        return Err(foreign_key_error("a windowed table"));
    }
    let key_column = left_expr.typed()?;
    let (synthetic, keys) = if ty == JoinType::ForeignKey {
        (None, left.keys.clone())
    } else {
        result_key(join.kind, &left_expr, &right_expr, left, on_left_key, || {
            let name = synthetic_key(taken);
            taken.insert(name.clone());
            let id = universe.add(&name, key_column.clone());
            (id, universe.expr(id))
        })
    };
    let key_format = if ty == JoinType::ForeignKey {
        left.key_format
    } else {
        let right_format = key_format_of(right);
        let chosen = choose_key_format(
            left.key_format,
            right_format,
            on_left_key,
            on_right_key,
            context.config.default_key_format,
        );
        let columns = [Column::new("KEY", key_column)];
        FormatProperties { kind: formats::for_internal_key(chosen.kind, &columns), ..chosen }
    };
    let on_key = ty == JoinType::ForeignKey;
    check_registry_windows(left, right, key_format.kind)?;
    Ok(JoinSpec {
        join: join.clone(),
        ty,
        left: left_expr,
        right: right_expr,
        rekey_left: !on_left_key && !on_key,
        rekey_right: !on_right_key,
        keys,
        synthetic,
        key_format,
    })
}

fn join_type(join: &Join, left: &Left, right: &Relation) -> Result<JoinType> {
    use RelationKind::{Stream, Table};
    let ty = match (left.kind, right.kind) {
        (Stream, Stream) => JoinType::StreamStream,
        (Stream, Table) => JoinType::StreamTable,
        (Table, Table) => JoinType::TableTable,
        (Table, Stream) => {
            return Err(SqlError::new(
                ErrorKind::UnsupportedJoinOrder,
                format!("a table cannot be joined to the stream {}", right.name),
                "Put the stream first.",
            ));
        }
    };
    if ty == JoinType::StreamTable && matches!(join.kind, JoinKind::Right | JoinKind::Full) {
        return Err(SqlError::new(
            ErrorKind::UnsupportedJoinType,
            "a stream and a table have no RIGHT or FULL join",
            "Use INNER or LEFT JOIN.",
        ));
    }
    match (ty, join.within) {
        (JoinType::StreamStream, None) => Err(SqlError::new(
            ErrorKind::JoinWindowMissing,
            "a join of two streams has no WITHIN",
            "Say how far apart the records may be, as in WITHIN 1 HOUR.",
        )),
        (JoinType::StreamStream, Some(_)) | (_, None) => Ok(ty),
        (_, Some(_)) => Err(SqlError::new(
            ErrorKind::JoinWindowNotAllowed,
            "WITHIN on a join with a table",
            "Drop WITHIN; a table has one row per key, however old.",
        )),
    }
}

fn check_types(left: &Expr, right: &Expr, universe: &Universe) -> Result<()> {
    let (l, r) = (left.typed()?, right.typed()?);
    let (left, right) = (universe.text(left), universe.text(right));
    if l != r {
        return Err(SqlError::new(
            ErrorKind::JoinTypeMismatch,
            format!("{left} is {l}, but {right} is {r}"),
            format!("Cast one of them, as in CAST({left} AS {r})."),
        ));
    }
    formats::check_no_map_in_key(&[Column::new(left, l)])
}

/// Whether `expr` is the whole key.
fn is_key(keys: &[KeyColumn], expr: &Expr) -> bool {
    match keys {
        [one] => one.viable.contains(expr),
        _ => false,
    }
}

/// A table must be joined by its whole primary key; two tables may be joined by a foreign key.
fn check_table_key(
    join: &Join,
    source: usize,
    ty: JoinType,
    on_left_key: bool,
    on_right_key: bool,
    right: &Relation,
) -> Result<JoinType> {
    if ty == JoinType::StreamStream {
        return Ok(ty);
    }
    if !on_right_key {
        let key: Vec<&str> = right.schema.key.iter().map(|c| c.name.as_str()).collect();
        return Err(SqlError::new(
            ErrorKind::JoinNotOnTableKey,
            format!("the table {} is not joined by its primary key", right.name),
            format!("Its primary key is {}; a join is on a single column.", key.join(", ")),
        ));
    }
    if ty == JoinType::StreamTable || on_left_key {
        return Ok(ty);
    }
    if matches!(join.kind, JoinKind::Right | JoinKind::Full) {
        return Err(SqlError::new(
            ErrorKind::UnsupportedJoinType,
            "a foreign-key join cannot be RIGHT or FULL",
            "Use INNER or LEFT JOIN, or exchange the sides.",
        ));
    }
    if source > 1 {
        return Err(foreign_key_error("a later step of a chain of joins"));
    }
    Ok(JoinType::ForeignKey)
}

fn foreign_key_error(place: &str) -> SqlError {
    SqlError::new(
        ErrorKind::UnsupportedForeignKeyJoin,
        format!("a foreign-key join is not possible with {place}"),
        "Do it in a query of its own, over plain tables.",
    )
}

fn check_windows(
    left: &Left,
    right: &Relation,
    on_left_key: bool,
    on_right_key: bool,
) -> Result<()> {
    let matching = match (left.window, right.window) {
        (None, None) => return Ok(()),
        (Some(KeyWindow::Session), Some(KeyWindow::Session))
        | (Some(KeyWindow::Time { .. }), Some(KeyWindow::Time { .. })) => true,
        _ => false,
    };
    if !matching {
        return Err(SqlError::new(
            ErrorKind::JoinWindowingMismatch,
            format!("{} and what it is joined to are not windowed alike", right.name),
            "Window both sides alike.",
        ));
    }
    if !(on_left_key && on_right_key) {
        return Err(needs_repartition());
    }
    Ok(())
}

fn needs_repartition() -> SqlError {
    SqlError::new(
        ErrorKind::WindowedJoinNeedsRepartition,
        "a windowed source would have to be re-keyed for this join",
        "Join on its key, in a key format without registry schemas.",
    )
}

/// Registry formats write schema ids into keys, so every side is keyed anew: not with windows.
fn check_registry_windows(left: &Left, right: &Relation, format: FormatKind) -> Result<()> {
    let windowed = left.window.is_some() || right.window.is_some();
    if windowed && (format.uses_registry() || left.key_format.kind != right.key_format.kind) {
        return Err(needs_repartition());
    }
    Ok(())
}

fn check_partitions(universe: &Universe, source: usize, context: Context<'_>) -> Result<()> {
    let count = |r: &Relation| context.env.partitions(&r.topic).or(r.partitions);
    let (left, right) = (&universe.sources[0].relation, &universe.sources[source].relation);
    let (Some(l), Some(r)) = (count(left), count(right)) else { return Ok(()) };
    if l == r {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::JoinPartitionMismatch,
        format!("{} has {l} partitions, {} has {r}", left.name, right.name),
        "Repartition one of them, as by CREATE STREAM … WITH (PARTITIONS = …) AS SELECT.",
    ))
}

fn result_key(
    kind: JoinKind,
    left_expr: &Expr,
    right_expr: &Expr,
    left: &Left,
    on_left_key: bool,
    synthesize: impl FnOnce() -> (ColumnId, Expr),
) -> (Option<ColumnId>, Vec<KeyColumn>) {
    let is_column = |e: &Expr| matches!(e, Expr::Column { .. });
    let mut viable = Vec::new();
    if kind != JoinKind::Full {
        if on_left_key {
            viable.extend(left.keys.iter().flat_map(|k| k.viable.iter().cloned()));
        } else if is_column(left_expr) {
            viable.push(left_expr.clone());
        }
        if is_column(right_expr) {
            viable.push(right_expr.clone());
        }
    }
    let mut synthetic = None;
    if viable.is_empty() {
        let (id, expr) = synthesize();
        synthetic = Some(id);
        viable.push(expr);
    }
    (synthetic, vec![KeyColumn { viable }])
}

/// `reference/ksqldb.md` 5.5 no. 33.
fn choose_key_format(
    left: FormatProperties,
    right: FormatProperties,
    on_left_key: bool,
    on_right_key: bool,
    default: FormatKind,
) -> FormatProperties {
    if on_left_key {
        left
    } else if on_right_key {
        right
    } else {
        [left, right]
            .into_iter()
            .find(|f| f.kind != FormatKind::None)
            .unwrap_or_else(|| FormatProperties::new(default))
    }
}
