//! Joins: what ON may say, which kind of join it is, and which key the result has.
//!
//! Every join of the left-deep chain is read before other clauses are bound, so that they can name
//! its result's columns; `join_steps.rs` lays the steps when it is known which columns are needed.
//! Rules: `reference/ksqldb.md` 1.5, 1.6, 5.5.
//!
//! ksqlDB joins on one equality. With `millstream.sql.extensions` ON may be several conditions joined by
//! AND: equalities between the two sides become a key of several columns (over tables: those that make
//! up the primary key), everything else the join's *residual*, a further condition on pairs.

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
    /// The two sides of each equality of ON: over the sources before, and over the new one.
    pub left: Vec<Expr>,
    pub right: Vec<Expr>,
    /// What else must hold of a pair.
    pub residual: Option<Expr>,
    /// Whether a side has to be keyed anew for the join.
    pub rekey_left: bool,
    pub rekey_right: bool,
    /// The result's key.
    pub keys: Vec<KeyColumn>,
    /// For each key column its own column, when no column of a source stands for it.
    pub synthetic: Vec<Option<ColumnId>>,
    /// What a Kafka deployment would key its internal topics and the result with.
    pub key_format: FormatProperties,
}

impl JoinSpec {
    /// Columns that the join's own condition reads.
    pub(super) fn columns(&self) -> Vec<ColumnId> {
        self.left.iter().chain(&self.right).chain(&self.residual).flat_map(Expr::columns).collect()
    }
}

/// What ON says.
struct Criteria {
    /// Of each equality: over the sources before, and over the new source.
    pairs: Vec<(Expr, Expr)>,
    residual: Vec<Expr>,
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
        .map(|(i, join)| read_criteria(join, i + 1, universe, context))
        .collect::<Result<Vec<_>>>()?;
    let mut taken = source_names(universe);
    let mut specs = Vec::with_capacity(criteria.len());
    for (i, (join, criteria)) in query.joins.iter().zip(criteria).enumerate() {
        let spec = analyze_one(join, i + 1, criteria, &left, universe, &mut taken, context)
            .map_err(|e| e.at(join.span))?;
        universe.set_join_keys(spec.synthetic.iter().flatten().copied().collect());
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

/// The conditions of ON.
fn read_criteria(
    join: &Join,
    source: usize,
    universe: &Universe,
    context: Context<'_>,
) -> Result<Criteria> {
    let span = crate::syntax::span_of(&join.on);
    let mut conditions = Vec::new();
    conjuncts(&join.on, &mut conditions);
    if let [one] = conditions.as_slice() {
        return Ok(Criteria { pairs: vec![read_equality(one, source, universe)?], residual: vec![] });
    }
    if !context.config.extensions {
        return Err(several_conditions().at(span));
    }
    let scope = ClauseScope { universe, visible: source + 1, clause: Clause::On };
    let mut criteria = Criteria { pairs: vec![], residual: vec![] };
    for condition in conditions {
        if let Ok(pair) = read_equality(condition, source, universe) {
            criteria.pairs.push(pair);
        } else {
            let bound = expr::bind_predicate(condition, &scope);
            let at = |e: SqlError| e.at(crate::syntax::span_of(condition));
            criteria.residual.push(bound.map_err(at)?);
        }
    }
    if criteria.pairs.is_empty() {
        return Err(invalid_criterion("no condition of ON is an equality between two sources").at(span));
    }
    Ok(criteria)
}

/// The conditions that AND joins, in order.
fn conjuncts<'a>(on: &'a Ast, found: &mut Vec<&'a Ast>) {
    match on {
        Ast::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, found);
            conjuncts(right, found);
        }
        other => found.push(other),
    }
}

fn several_conditions() -> SqlError {
    SqlError::new(
        ErrorKind::MultipleJoinConditions,
        "ON combines several conditions",
        "Join on one equality and filter by WHERE; or SET 'millstream.sql.extensions' = 'true', which \
         allows conditions joined by AND.",
    )
}

/// The two sides of an equality: over the sources before, and over the new source.
fn read_equality(on: &Ast, source: usize, universe: &Universe) -> Result<(Expr, Expr)> {
    let span = crate::syntax::span_of(on);
    let (a, b) = match on {
        Ast::BinaryOp { left, op: BinaryOperator::Eq, right } => (left, right),
        Ast::BinaryOp { op: BinaryOperator::Or, .. } => return Err(several_conditions().at(span)),
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

fn analyze_one(
    join: &Join,
    source: usize,
    criteria: Criteria,
    left: &Left,
    universe: &Universe,
    taken: &mut HashSet<String>,
    context: Context<'_>,
) -> Result<JoinSpec> {
    let right = &universe.sources[source].relation;
    let right_keys = source_keys(universe, source);
    let ty = join_type(join, left, right)?;
    for (left, right) in &criteria.pairs {
        check_types(left, right, universe)?;
    }
    let (pairs, residual) = choose_key(criteria, ty, &left.keys, &right_keys);
    let (left_exprs, right_exprs): (Vec<Expr>, Vec<Expr>) = pairs.into_iter().unzip();
    let on_left_key = is_key(&left.keys, &left_exprs);
    let on_right_key = is_key(&right_keys, &right_exprs);
    let ty = check_table_key(join, source, ty, on_left_key, on_right_key, right)?;
    check_windows(left, right, on_left_key, on_right_key)?;
    if ty != JoinType::ForeignKey {
        check_partitions(universe, source, context)?;
    }
    if ty == JoinType::ForeignKey && (left.window.is_some() || right.window.is_some()) {
        return Err(foreign_key_error("a windowed table"));
    }
    check_residual(join.kind, ty, residual.as_ref())?;
    let mut key_columns = Vec::with_capacity(left_exprs.len());
    for expr in &left_exprs {
        key_columns.push(Column::new("KEY", expr.typed()?));
    }
    let (synthetic, keys) = if ty == JoinType::ForeignKey {
        (vec![], left.keys.clone())
    } else {
        let mut columns = Vec::with_capacity(key_columns.len());
        for (i, column) in key_columns.iter().enumerate() {
            let viable_left = if on_left_key { Some(&left.keys[i]) } else { None };
            columns.push(result_key(join.kind, &left_exprs[i], &right_exprs[i], viable_left, || {
                let name = synthetic_key(taken);
                taken.insert(name.clone());
                let id = universe.add(&name, column.ty.clone());
                (id, universe.expr(id))
            }));
        }
        columns.into_iter().unzip()
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
        FormatProperties { kind: formats::for_internal_key(chosen.kind, &key_columns), ..chosen }
    };
    let on_key = ty == JoinType::ForeignKey;
    check_registry_windows(left, right, key_format.kind)?;
    Ok(JoinSpec {
        join: join.clone(),
        ty,
        left: left_exprs,
        right: right_exprs,
        residual,
        rekey_left: !on_left_key && !on_key,
        rekey_right: !on_right_key,
        keys,
        synthetic,
        key_format,
    })
}

/// Which equalities make the join's key, in its order, and what is left as a further condition.
///
/// Over a table the key is its primary key, as far as equalities name it. Two streams are keyed by all
/// equalities, in the order of a side's key if they are just that.
fn choose_key(
    criteria: Criteria,
    ty: JoinType,
    left_keys: &[KeyColumn],
    right_keys: &[KeyColumn],
) -> (Vec<(Expr, Expr)>, Option<Expr>) {
    let Criteria { pairs, mut residual } = criteria;
    let ordered = |keys: &[KeyColumn], of: &dyn Fn(&(Expr, Expr)) -> Expr| -> Option<Vec<usize>> {
        keys.iter().map(|k| pairs.iter().position(|p| k.viable.contains(&of(p)))).collect()
    };
    let by_right = ordered(right_keys, &|p| p.1.clone()).filter(|found| !found.is_empty());
    let chosen = if ty == JoinType::StreamStream {
        let all = |found: &Vec<usize>| found.len() == pairs.len();
        let by_left = ordered(left_keys, &|p| p.0.clone());
        by_left.filter(all).or(by_right.filter(all)).unwrap_or_else(|| (0..pairs.len()).collect())
    } else {
        by_right.unwrap_or_else(|| (0..pairs.len()).collect())
    };
    for (i, (left, right)) in pairs.iter().enumerate() {
        if !chosen.contains(&i) {
            residual.push(Expr::Compare {
                op: crate::expr::CompareOp::Equal,
                left: Box::new(left.clone()),
                right: Box::new(right.clone()),
            });
        }
    }
    let residual = residual.into_iter().reduce(|a, b| Expr::Logical {
        and: true,
        left: Box::new(a),
        right: Box::new(b),
    });
    (chosen.into_iter().map(|i| pairs[i].clone()).collect(), residual)
}

/// Whether pairs that fail a further condition can be padded as the kind of join asks.
fn check_residual(kind: JoinKind, ty: JoinType, residual: Option<&Expr>) -> Result<()> {
    let possible = match (ty, kind) {
        (_, JoinKind::Inner) | (JoinType::StreamStream, _) => true,
        (_, JoinKind::Left | JoinKind::Right) => true,
        // One key would have two rows: the left one padded, and the right one.
        (_, JoinKind::Full) => false,
    };
    if possible || residual.is_none() {
        return Ok(());
    }
    Err(SqlError::new(
        ErrorKind::UnsupportedJoinType,
        "a FULL join of tables has conditions beside its key",
        "Use LEFT JOIN, or filter by WHERE.",
    ))
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

/// Whether `exprs` are the whole key, in its order.
fn is_key(keys: &[KeyColumn], exprs: &[Expr]) -> bool {
    !keys.is_empty()
        && keys.len() == exprs.len()
        && keys.iter().zip(exprs).all(|(key, expr)| key.viable.contains(expr))
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
            match key.as_slice() {
                [_, _, ..] => format!(
                    "Its primary key is {}: SET 'millstream.sql.extensions' = 'true' and join on all \
                     of these columns.",
                    key.join(", ")
                ),
                _ => format!("Its primary key is {}.", key.join(", ")),
            },
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

/// One column of the result's key; `on_left` is the left's key column, if the join is on its key.
fn result_key(
    kind: JoinKind,
    left_expr: &Expr,
    right_expr: &Expr,
    on_left: Option<&KeyColumn>,
    synthesize: impl FnOnce() -> (ColumnId, Expr),
) -> (Option<ColumnId>, KeyColumn) {
    let is_column = |e: &Expr| matches!(e, Expr::Column { .. });
    let mut viable = Vec::new();
    if kind != JoinKind::Full {
        match on_left {
            Some(key) => viable.extend(key.viable.iter().cloned()),
            None if is_column(left_expr) => viable.push(left_expr.clone()),
            None => {}
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
    (synthetic, KeyColumn { viable })
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
