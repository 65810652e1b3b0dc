//! The steps of a query up to its projection.
//!
//! Source → joins → WhereFilter → FlatMap → Aggregate and HavingFilter, or PartitionBy → Project. The
//! sink is put behind by whoever knows where rows go.

use std::collections::{HashMap, HashSet};

use crate::catalog::{FormatKind, Relation};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
use crate::plan::aggregate::{Grouping, settle_window};
use crate::plan::flow::{Flow, KeyColumn, Steps};
use crate::plan::joins::{self, JoinSpec};
use crate::plan::keys::{self, KeyItem, KeyReason, is_key_item};
use crate::plan::names::{self, NameSource};
use crate::plan::project::{self, Item};
use crate::plan::properties::{FormatProperties, timestamp_column};
use crate::plan::query::{Bound, PlannedQuery, Purpose, is_partition_by_null};
use crate::plan::universe::{ColumnId, Origin, Universe};
use crate::plan::{Context, Op, PseudoColumn, Source, Step, join_steps};
use crate::syntax::ast::{Emit, Query, RelationKind};
use crate::types::{Column, Schema};

/// A query whose clauses are bound and checked.
pub(super) struct QueryPlanner<'a> {
    pub query: &'a Query,
    pub purpose: Purpose<'a>,
    pub context: Context<'a>,
    pub universe: &'a Universe,
    pub specs: &'a [JoinSpec],
    pub names: NameSource,
    pub bound: Bound,
}

impl QueryPlanner<'_> {
    pub(super) fn build(mut self) -> Result<PlannedQuery> {
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
            return join_steps::build(self.specs, self.universe, flows, needed, steps);
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
        fail_on_invalid_timestamp: false,
        pseudo,
        materialize: materialize && relation.kind == RelationKind::Table,
        start: None,
    }
}
