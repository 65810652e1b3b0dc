//! A streaming query (AS SELECT, INSERT … SELECT, push): from clauses to steps, without the sink.
//!
//! Order: look up sources; read joins; bind WHERE, GROUP BY, PARTITION BY, SELECT, HAVING; check the
//! rules; lay the steps Source → joins → WhereFilter → FlatMap → Aggregate and HavingFilter, or
//! PartitionBy → Project.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlparser::ast::{Expr as Ast, Value};

use crate::catalog::{FormatKind, KeyWindow, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::{self, Expr};
use crate::plan::aggregate::{Grouping, settle_window};
use crate::plan::flow::{Flow, KeyColumn, Steps};
use crate::plan::joins::{self, JoinSpec};
use crate::plan::keys::{self, KeyItem, KeyReason, is_key_item};
use crate::plan::names::{self, NameSource};
use crate::plan::project::{self, Item, Stars};
use crate::plan::properties::{FormatProperties, TimestampProperty, timestamp_column};
use crate::plan::scope::{Clause, ClauseScope, ColumnId, Origin, Universe};
use crate::plan::suggest::did_you_mean;
use crate::plan::{Context, Op, PseudoColumn, Source, Step};
use crate::syntax::ast::{Emit, Name, Query, RelationKind};
use crate::types::{Column, Schema};

/// What the query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// Its rows go to a topic; key columns must be selected. The sink's TIMESTAMP is checked early:
    /// a wrong one is reported before a missing key.
    Persistent { timestamp: Option<&'a TimestampProperty> },
    /// Its rows go to a client.
    Push,
}

/// The steps of a query up to its projection.
pub(super) struct PlannedQuery {
    pub steps: Steps,
    pub last: usize,
    pub schema: Schema,
    pub kind: RelationKind,
    pub window: Option<KeyWindow>,
    /// What a sink inherits.
    pub key_format: FormatProperties,
    pub value_format: FormatProperties,
    /// PARTITION BY NULL: the result has no key, and may not be given a key format.
    pub key_dropped: bool,
    pub first_source: Arc<Relation>,
    pub source_names: Vec<String>,
    /// The longest a window of the query is kept, if it has one.
    pub retention_ms: Option<i64>,
}

/// All clauses bound over the universe.
struct Bound {
    filter: Option<Expr>,
    group: Vec<Expr>,
    partition: Vec<Expr>,
    having: Option<Expr>,
    items: Vec<Item>,
}

pub(super) fn plan(
    query: &Query,
    purpose: Purpose<'_>,
    context: Context<'_>,
) -> Result<PlannedQuery> {
    let universe = Universe::new(find_sources(query, purpose, context)?);
    if purpose != Purpose::Push {
        project::check_reserved(&query.items, &universe)?;
    }
    let specs = joins::analyze(query, &universe, context)?;
    let mut names = NameSource::new(
        universe.sources.iter().flat_map(|s| s.relation.schema.columns()).map(|c| c.name.as_str()),
    );
    let bound = bind(query, &universe, &mut names, purpose)?;
    check_clauses(query, &bound, &universe, purpose)?;
    QueryPlanner { query, purpose, context, universe: &universe, specs: &specs, names, bound }
        .build()
}

fn find_sources(
    query: &Query,
    purpose: Purpose<'_>,
    context: Context<'_>,
) -> Result<Vec<(Name, Arc<Relation>)>> {
    let refs = std::iter::once(&query.from).chain(query.joins.iter().map(|j| &j.source));
    let mut sources: Vec<(Name, Arc<Relation>)> = Vec::new();
    for source in refs {
        let relation = find_relation(&source.name, context)?;
        let twice = sources
            .iter()
            .any(|(alias, r)| r.name == relation.name || alias.text == source.alias.text);
        if twice {
            return Err(SqlError::new(
                ErrorKind::SourceJoinedTwice,
                format!("{} occurs twice in this join", relation.name),
                "Join a copy of it, made by CREATE STREAM … AS SELECT.",
            )
            .at(source.name.span));
        }
        sources.push((source.alias.clone(), relation));
    }
    if purpose != Purpose::Push {
        let windowed = |r: &Relation| r.kind == RelationKind::Table && r.window.is_some();
        if let Some((_, relation)) = sources.iter().find(|(_, r)| windowed(r)) {
            return Err(SqlError::new(
                ErrorKind::PersistentQueryOnWindowedTable,
                format!("{} is a table with windowed keys", relation.name),
                "Declare a stream over its topic and read that.",
            )
            .at(query.from.name.span));
        }
    }
    Ok(sources)
}

/// The relation of that name, or an error with the nearest one there is.
pub(super) fn find_relation(name: &Name, context: Context<'_>) -> Result<Arc<Relation>> {
    context.catalog.relation(&name.text).cloned().ok_or_else(|| {
        let known = context.catalog.relations().map(|r| r.name.as_str());
        SqlError::new(
            ErrorKind::UnknownSource,
            format!("no stream or table is called {}", name.text),
            did_you_mean(&name.text, known, "SHOW STREAMS and SHOW TABLES list what there is."),
        )
        .at(name.span)
    })
}

fn bind(
    query: &Query,
    universe: &Universe,
    names: &mut NameSource,
    purpose: Purpose<'_>,
) -> Result<Bound> {
    let bind_one = |ast: &Ast, clause| {
        expr::bind(ast, &ClauseScope::new(universe, clause))
            .map_err(|e| e.at(crate::syntax::span_of(ast)))
    };
    let bind_condition = |ast: &Ast, clause| {
        expr::bind_predicate(ast, &ClauseScope::new(universe, clause))
            .map_err(|e| e.at(crate::syntax::span_of(ast)))
    };
    if query.window.is_some() {
        universe.offer_window_bounds();
    }
    let filter = query.filter.as_ref().map(|e| bind_condition(e, Clause::Where)).transpose()?;
    let group =
        query.group_by.iter().map(|e| bind_one(e, Clause::GroupBy)).collect::<Result<Vec<_>>>()?;
    let partition = if is_partition_by_null(query) {
        vec![]
    } else {
        query
            .partition_by
            .iter()
            .map(|e| bind_one(e, Clause::PartitionBy))
            .collect::<Result<Vec<_>>>()?
    };
    let stars = match (query.partition_by.is_empty(), purpose) {
        (false, _) => Stars::Partitioned,
        (true, Purpose::Persistent { .. }) => Stars::Plain,
        (true, Purpose::Push) => Stars::Client,
    };
    let items = project::items(&query.items, universe, names, Clause::Select, stars, &partition)?;
    let having = query.having.as_ref().map(|e| bind_condition(e, Clause::Having)).transpose()?;
    check_list("GROUP BY", &group)?;
    check_list("PARTITION BY", &partition)?;
    Ok(Bound { filter, group, partition, having, items })
}

fn is_null(ast: &Ast) -> bool {
    matches!(ast, Ast::Value(v) if v.value == Value::Null)
}

fn is_partition_by_null(query: &Query) -> bool {
    query.partition_by.len() == 1 && query.partition_by.iter().all(is_null)
}

/// Grouping lists hold distinct, typed expressions.
fn check_list(clause: &str, list: &[Expr]) -> Result<()> {
    for (i, expr) in list.iter().enumerate() {
        let message = if expr.is_null_literal() {
            format!("{clause} has NULL beside other expressions")
        } else if list[..i].contains(expr) {
            format!("{clause} has {expr} twice")
        } else {
            expr.typed()?;
            continue;
        };
        return Err(SqlError::new(
            ErrorKind::InvalidGroupingList,
            message,
            "List distinct expressions; PARTITION BY may have NULL alone.",
        ));
    }
    Ok(())
}

/// Rules about which clauses go together.
fn check_clauses(
    query: &Query,
    bound: &Bound,
    universe: &Universe,
    purpose: Purpose<'_>,
) -> Result<()> {
    let aggregates = universe.aggregates();
    let table_source = universe.sources.iter().all(|s| s.relation.kind == RelationKind::Table);
    let first = |list: &[Ast]| list.first().and_then(crate::syntax::span_of);
    let span = first(&query.group_by)
        .or(first(&query.partition_by))
        .or(query.having.as_ref().and_then(crate::syntax::span_of))
        .or(bound.items.first().and_then(|i| i.span));
    let error =
        |kind, message: &str, remedy: &str| Err(SqlError::new(kind, message, remedy).at(span));
    if !bound.group.is_empty() && aggregates.is_empty() {
        return error(
            ErrorKind::GroupByWithoutAggregate,
            "GROUP BY, but no aggregate in SELECT or HAVING",
            "Add one, such as COUNT(*), or drop GROUP BY.",
        );
    }
    if !aggregates.is_empty() && bound.group.is_empty() && purpose != Purpose::Push {
        return error(
            ErrorKind::AggregateWithoutGroupBy,
            "an aggregate, but no GROUP BY",
            "Say what to group by.",
        );
    }
    if query.window.is_some() && bound.group.is_empty() {
        return error(
            ErrorKind::WindowWithoutGroupBy,
            "WINDOW, but no GROUP BY",
            "Add the grouping, or drop the window.",
        );
    }
    if bound.having.is_some() && aggregates.is_empty() {
        return error(
            ErrorKind::AggregateWithoutGroupBy,
            "HAVING without GROUP BY",
            "Filter by WHERE, or add GROUP BY.",
        );
    }
    if !query.partition_by.is_empty() && (table_source || !bound.group.is_empty()) {
        return error(
            ErrorKind::InvalidGroupingList,
            "PARTITION BY is for streams that are not aggregated",
            "Drop PARTITION BY; a table's key cannot be changed.",
        );
    }
    if !universe.table_calls().is_empty() && (table_source || !aggregates.is_empty()) {
        return error(
            ErrorKind::MisplacedTableFunction,
            "a table function on a table, or beside aggregates",
            "Apply it in an earlier query over a stream.",
        );
    }
    check_table_functions_in_case(&bound.items, universe)
}

/// A row's table functions are evaluated before the projection, so not within a lazy CASE.
fn check_table_functions_in_case(items: &[Item], universe: &Universe) -> Result<()> {
    let calls: HashSet<ColumnId> = universe.table_calls().iter().map(|(id, _)| *id).collect();
    let mut inside = false;
    for item in items {
        item.expr.walk(&mut |e| {
            if let Expr::Case { .. } = e {
                inside |= e.columns().iter().any(|id| calls.contains(id));
            }
        });
    }
    if inside {
        return Err(SqlError::new(
            ErrorKind::MisplacedTableFunction,
            "a table function inside CASE",
            "Apply it in an earlier query over a stream.",
        ));
    }
    Ok(())
}

struct QueryPlanner<'a> {
    query: &'a Query,
    purpose: Purpose<'a>,
    context: Context<'a>,
    universe: &'a Universe,
    specs: &'a [JoinSpec],
    names: NameSource,
    bound: Bound,
}

impl QueryPlanner<'_> {
    fn build(mut self) -> Result<PlannedQuery> {
        let first = self.universe.sources[0].relation.clone();
        let grouping = self.grouping()?;
        let (keys, reason) = self.result_keys();
        if let Some(grouping) = &grouping {
            for item in &self.bound.items {
                grouping.check_expr(&item.expr, self.universe).map_err(|e| e.at(item.span))?;
            }
            if let Some(having) = &self.bound.having {
                let span = self.query.having.as_ref().and_then(crate::syntax::span_of);
                grouping.check_expr(having, self.universe).map_err(|e| e.at(span))?;
            }
        }
        let as_selected = self.context.config.key_as_selected && reason == KeyReason::Source;
        let key_items = match self.purpose {
            Purpose::Persistent { .. } if as_selected => {
                keys::as_selected(&keys, &self.bound.items)
            }
            Purpose::Persistent { timestamp } => {
                timestamp_column(timestamp, &self.selected())?;
                keys::find_in_projection(&keys, &self.bound.items, reason, self.universe)?
            }
            Purpose::Push => (0..keys.len()).map(|key| KeyItem { key, item: None }).collect(),
        };
        self.check_value_formats()?;

        let mut steps = Steps::default();
        let needed = self.needed(&key_items, grouping.as_ref());
        let mut flow = self.sources(&needed, &mut steps)?;
        if let Some(filter) = &self.bound.filter {
            flow = steps.filter(flow, "WhereFilter", filter)?;
        }
        flow = self.flat_map(flow, &mut steps)?;
        if let Some(grouping) = &grouping {
            flow = grouping.build(
                &flow,
                self.universe,
                &self.bound.items,
                &mut self.names,
                &mut steps,
            )?;
            if let Some(having) = &self.bound.having {
                let schema = steps.schema(&flow).clone();
                let predicate = grouping.over_result(having, &flow, &schema)?;
                flow.step = steps.after(&flow, "HavingFilter", Op::Filter { predicate }, schema);
            }
        } else if !self.query.partition_by.is_empty() {
            flow = self.partition_by(flow, &key_items, &mut steps)?;
        }
        let retention_ms = grouping.as_ref().and_then(|g| g.window).map(|w| w.retention_ms);
        let (flow, schema) = self.project(flow, &key_items, grouping.as_ref(), &mut steps)?;
        let inherited = match self.specs.last() {
            Some(spec) => spec.key_format,
            None => joins::key_format_of(&first),
        };
        let value_format = FormatProperties {
            kind: first.value_format.kind,
            delimiter: first.value_format.delimiter,
        };
        Ok(PlannedQuery {
            last: flow.step,
            schema,
            kind: steps.kind(&flow),
            window: steps.window(&flow),
            key_format: inherited,
            value_format,
            key_dropped: is_partition_by_null(self.query),
            source_names: self.universe.sources.iter().map(|s| s.relation.name.clone()).collect(),
            first_source: first,
            retention_ms,
            steps,
        })
    }

    fn grouping(&self) -> Result<Option<Grouping>> {
        let emit_final = self.query.emit == Some(Emit::Final);
        if emit_final && !self.context.config.emit_final {
            return Err(SqlError::unsupported(
                "EMIT FINAL is switched off (ksql.suppress.enabled)",
            ));
        }
        let window = settle_window(self.query.window.as_ref(), emit_final)?;
        let calls = self.universe.aggregates();
        if calls.is_empty() {
            return Ok(None);
        }
        let grouping = Grouping { group: self.bound.group.clone(), calls, window, emit_final };
        let over = self.universe.sources[0].relation.kind;
        grouping.check(over, self.universe.sources[0].relation.value_format.kind)?;
        Ok(Some(grouping))
    }

    /// The key columns the result will have.
    fn result_keys(&self) -> (Vec<KeyColumn>, KeyReason) {
        let of = |list: &[Expr]| -> Vec<KeyColumn> {
            list.iter().map(|e| KeyColumn { viable: vec![e.clone()] }).collect()
        };
        if !self.universe.aggregates().is_empty() {
            (of(&self.bound.group), KeyReason::Grouping)
        } else if !self.query.partition_by.is_empty() {
            (of(&self.bound.partition), KeyReason::Partitioning)
        } else if let Some(spec) = self.specs.last() {
            (spec.keys.clone(), KeyReason::Join)
        } else {
            (joins::source_keys(self.universe, 0), KeyReason::Source)
        }
    }

    /// All selected columns, whatever their part.
    fn selected(&self) -> Schema {
        let column = |i: &Item| Column::new(i.name.clone(), i.ty.clone());
        Schema { key: vec![], value: self.bound.items.iter().map(column).collect() }
    }

    fn check_value_formats(&self) -> Result<()> {
        let kafka = |r: &Relation| r.value_format.kind == FormatKind::Kafka;
        let join = !self.specs.is_empty();
        match self.universe.sources.iter().find(|s| join && kafka(&s.relation)) {
            None => Ok(()),
            Some(source) => Err(SqlError::new(
                ErrorKind::OperationUnsupportedByFormat,
                format!(
                    "{} has the value format KAFKA, which cannot feed a join",
                    source.relation.name
                ),
                "Copy the source into another format first.",
            )),
        }
    }

    /// The columns that the clauses after the joins use. A key column that is only selected needs no
    /// copy in the value.
    fn needed(&self, key_items: &[KeyItem], grouping: Option<&Grouping>) -> HashSet<ColumnId> {
        let mut needed = HashSet::new();
        for (n, item) in self.bound.items.iter().enumerate() {
            if !is_key_item(key_items, n) {
                needed.extend(item.expr.columns());
            }
        }
        let others = self.bound.filter.iter().chain(&self.bound.partition).chain(&self.bound.group);
        others.for_each(|e| needed.extend(e.columns()));
        for (_, call) in grouping.map_or(&[][..], |g| &g.calls) {
            call.args.iter().for_each(|a| needed.extend(a.columns()));
        }
        for (_, call) in self.universe.table_calls() {
            needed.extend(call.arg.columns());
        }
        needed
    }

    /// All sources, joined.
    fn sources(&self, needed: &HashSet<ColumnId>, steps: &mut Steps) -> Result<Flow> {
        let mut read = needed.clone();
        for spec in self.specs {
            read.extend(spec.columns());
        }
        let stateful = self.specs.is_empty()
            && self.bound.filter.is_none()
            && self.universe.aggregates().is_empty();
        let count = self.universe.sources.len();
        let mut flows: Vec<Flow> =
            (0..count).map(|s| self.source(s, &read, !stateful, steps)).collect();
        if count > 1 {
            return joins::build(self.specs, self.universe, flows, needed, steps);
        }
        flows.pop().ok_or_else(|| SqlError::unsupported("a query without a source"))
    }

    fn source(
        &self,
        source: usize,
        read: &HashSet<ColumnId>,
        materialize: bool,
        steps: &mut Steps,
    ) -> Flow {
        let relation = &self.universe.sources[source].relation;
        let columns = self.universe.source_columns(source);
        let used: Vec<ColumnId> =
            columns.pseudo.iter().copied().filter(|id| read.contains(id)).collect();
        let pseudo: Vec<PseudoColumn> = used
            .iter()
            .filter_map(|id| match self.universe.column(*id).origin {
                Origin::Pseudo { pseudo, .. } => Some(pseudo),
                Origin::Stored { .. } | Origin::Made => None,
            })
            .collect();
        let named =
            |id: &ColumnId| Column::new(self.universe.step_name(*id), self.universe.column(*id).ty);
        let schema = Schema {
            key: columns.key.iter().map(named).collect(),
            value: columns.values.iter().chain(&used).map(named).collect(),
        };
        let ids = columns.key.iter().chain(&columns.values).chain(&used);
        let place: HashMap<ColumnId, usize> = ids.enumerate().map(|(at, id)| (*id, at)).collect();
        let name = match (self.specs.len(), source) {
            (0, _) => "KsqlTopic".to_owned(),
            (n, 0) => format!("{}KafkaTopic_Left", "L_".repeat(n - 1)),
            (n, s) => format!("{}KafkaTopic_Right", "L_".repeat(n - s)),
        };
        let step = steps.push(Step {
            name,
            op: Op::Source(source_op(relation, pseudo, materialize)),
            inputs: vec![],
            schema,
            relation: relation.kind,
            window: relation.window,
        });
        Flow { step, place, keys: joins::source_keys(self.universe, source) }
    }

    fn flat_map(&self, flow: Flow, steps: &mut Steps) -> Result<Flow> {
        let calls = self.universe.table_calls();
        if calls.is_empty() {
            return Ok(flow);
        }
        let mut schema = steps.schema(&flow).clone();
        let mut place = flow.place.clone();
        let mut local = Vec::with_capacity(calls.len());
        for (id, call) in calls {
            place.insert(id, schema.len());
            schema.value.push(Column::new(self.universe.column(id).name, call.ty.clone()));
            local.push(crate::expr::TableCall { arg: flow.localize(&call.arg)?, ..call });
        }
        let step = steps.after(&flow, "FlatMap", Op::FlatMap { calls: local }, schema);
        Ok(Flow { step, place, keys: flow.keys })
    }

    fn partition_by(
        &mut self,
        mut flow: Flow,
        key_items: &[KeyItem],
        steps: &mut Steps,
    ) -> Result<Flow> {
        let same = flow.keys.len() == self.bound.partition.len()
            && flow.keys.iter().zip(&self.bound.partition).all(|(k, p)| k.viable.contains(p));
        if same && !self.bound.partition.is_empty() {
            for (key, p) in flow.keys.iter_mut().zip(&self.bound.partition) {
                key.viable = vec![p.clone()];
            }
            return Ok(flow);
        }
        flow = self.copy_old_key(flow, key_items, steps)?;
        let mut key = Vec::with_capacity(self.bound.partition.len());
        for expr in &self.bound.partition {
            let name = project::key_name(expr, &self.bound.items, &mut self.names);
            key.push((expr.clone(), Column::new(name, expr.typed()?)));
        }
        steps.select_key(flow, "PartitionBy", &key, false)
    }

    /// Old key columns that the projection uses go into the value, for PARTITION BY gives them up.
    fn copy_old_key(&self, flow: Flow, key_items: &[KeyItem], steps: &mut Steps) -> Result<Flow> {
        let key_len = steps.schema(&flow).key.len();
        let mut used: Vec<ColumnId> = Vec::new();
        for (n, item) in self.bound.items.iter().enumerate() {
            if !is_key_item(key_items, n) {
                used.extend(item.expr.columns());
            }
        }
        let in_key = |id: &ColumnId| flow.place.get(id).is_some_and(|at| *at < key_len);
        if !used.iter().any(in_key) {
            return Ok(flow);
        }
        used.extend(self.bound.partition.iter().flat_map(Expr::columns));
        used.sort_unstable();
        used.dedup();
        let ids: Vec<(ColumnId, Column)> = used
            .into_iter()
            .map(|id| {
                let column = self.universe.column(id);
                (id, Column::new(self.universe.step_name(id), column.ty))
            })
            .collect();
        steps.narrow(flow, "KeyToValue", &ids)
    }

    /// The last step before the sink: key columns as selected, then the other items as values.
    fn project(
        &self,
        flow: Flow,
        key_items: &[KeyItem],
        grouping: Option<&Grouping>,
        steps: &mut Steps,
    ) -> Result<(Flow, Schema)> {
        let old_key = steps.schema(&flow).key.clone();
        let name_of = |k: &KeyItem| match k.item {
            Some(n) => Column::new(self.bound.items[n].name.clone(), old_key[k.key].ty.clone()),
            // Transient: no SQL name can clash with this one.
            None => Column::new(format!("key {}", old_key[k.key].name), old_key[k.key].ty.clone()),
        };
        let key: Vec<Column> = key_items.iter().map(name_of).collect();
        let mut value = Vec::new();
        let mut exprs = Vec::new();
        for (n, item) in self.bound.items.iter().enumerate() {
            if is_key_item(key_items, n) {
                continue;
            }
            exprs.push(match grouping {
                Some(grouping) => grouping.over_result(&item.expr, &flow, steps.schema(&flow))?,
                None => flow.localize(&item.expr)?,
            });
            value.push(Column::new(item.name.clone(), item.ty.clone()));
        }
        let schema = Schema { key, value };
        self.check_result(&schema)?;
        let op = Op::Project { key: key_items.iter().map(|k| k.key).collect(), values: exprs };
        let step = steps.after(&flow, "Project", op, schema.clone());
        Ok((Flow { step, place: HashMap::new(), keys: flow.keys }, schema))
    }

    fn check_result(&self, schema: &Schema) -> Result<()> {
        if schema.value.is_empty() {
            return Err(SqlError::new(
                ErrorKind::NoValueColumns,
                "only key columns are selected",
                "Add a value column; AS_VALUE(column) copies a key into the value.",
            ));
        }
        if self.purpose == Purpose::Push {
            return Ok(());
        }
        names::check_distinct(self.bound.items.iter().map(|i| (i.name.as_str(), i.span)))
    }
}

/// What a Source step reads.
pub(super) fn source_op(
    relation: &Relation,
    pseudo: Vec<PseudoColumn>,
    materialize: bool,
) -> Source {
    Source {
        relation: relation.name.clone(),
        topic: relation.topic.clone(),
        kind: relation.kind,
        schema: relation.schema.clone(),
        key_format: relation.key_format.clone(),
        value_format: relation.value_format.clone(),
        window: relation.window,
        timestamp: relation.timestamp.clone(),
        pseudo,
        materialize: materialize && relation.kind == RelationKind::Table,
    }
}
