//! One query: its operators in order, stepped once per epoch.
//!
//! Built from a plan over the node's state; thrown away and built again after a failure or restart,
//! because operators keep nothing. A graph has no thread, clock or I/O: [`Graph::step`] is a function
//! of state, input and time, so tests and the conformance runner use it alone.

use std::collections::HashMap;

use millstream_sql::plan::{Dataflow, Op, Step, StepId};
use millstream_sql::syntax::ast::RelationKind;

use crate::error::{EngineError, Result};
use crate::io::{BadRecord, Epoch};
use crate::operator::{Ctx, Operator};
use crate::operators::{self, Filter, FlatMap, Project, SelectKey, Sink, Source, Union};
use crate::rows::{Millis, Rows};
use crate::snapshot::Selection;
use crate::state::{NodeState, OperatorId, StateStore};

/// How a query is built.
#[derive(Clone, Copy, Debug)]
pub struct GraphOptions {
    /// Bytes each stateful operator may keep of what RocksDB has too.
    pub cache_bytes: usize,
    /// Make sure that pull queries can read the result.
    pub materialize: bool,
}

impl Default for GraphOptions {
    fn default() -> Self {
        GraphOptions { cache_bytes: 64 << 20, materialize: true }
    }
}

/// What surrounds a step of the graph.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    pub epoch: Epoch,
    /// The epoch's time.
    pub now_ms: Millis,
    /// One net change per key and epoch; else every intermediate change (one record per epoch, as
    /// ksqlDB's cases assume).
    pub consolidate: bool,
}

/// What one epoch of a query brought.
#[derive(Debug, Default)]
pub struct StepOutput {
    /// Rows of each Sink step, in order.
    pub sinks: Vec<(StepId, Vec<Rows>)>,
    /// For the processing log.
    pub errors: Vec<BadRecord>,
}

pub struct Graph {
    query: String,
    nodes: Vec<Node>,
    /// Steps from the one that holds the result's table to the sink.
    view: Option<Vec<StepId>>,
    /// For each step of `view` after the first: which input key column each of its own is.
    view_keys: Vec<Option<Vec<usize>>>,
}

struct Node {
    name: String,
    operator: Box<dyn Operator>,
    inputs: Vec<StepId>,
    state: Option<OperatorId>,
    is_source: bool,
    is_sink: bool,
}

impl Graph {
    /// Builds the operators of `dataflow` over their state in `node`.
    ///
    /// # Errors
    /// When an expression cannot be compiled or the state cannot be read.
    pub fn build(dataflow: &Dataflow, node: &mut NodeState, options: &GraphOptions) -> Result<Graph> {
        let view = find_view(dataflow);
        let sink_holds = options.materialize && view.is_none();
        let mut builder = Builder { dataflow, node, options, kinds: HashMap::new(), sink_holds };
        let mut nodes = Vec::with_capacity(dataflow.steps.len());
        for (id, step) in dataflow.steps.iter().enumerate() {
            if step.inputs.iter().any(|&input| input >= id) {
                return Err(EngineError::Shape(format!("step {id} comes before its input")));
            }
            let (operator, state) = builder.operator(id, step)?;
            nodes.push(Node {
                name: step.name.clone(),
                operator,
                inputs: step.inputs.clone(),
                state,
                is_source: matches!(step.op, Op::Source(_)),
                is_sink: matches!(step.op, Op::Sink(_)),
            });
        }
        let view = match view {
            None => nodes.iter().position(|n| n.is_sink && n.operator.is_materialized()).map(|s| vec![s]),
            found => found,
        };
        let view_keys = view.iter().flatten().skip(1).map(|&s| key_origin(&dataflow.steps[s])).collect();
        Ok(Graph { query: dataflow.query_id.clone(), nodes, view, view_keys })
    }

    /// Runs one epoch: the rows of each Source step go in, those of the Sink steps come out.
    ///
    /// # Errors
    /// When state fails or rows do not fit the plan. State is then between epochs: roll it back.
    pub fn step(
        &mut self,
        inputs: Vec<(StepId, Vec<Rows>)>,
        context: &StepContext,
    ) -> Result<StepOutput> {
        let mut output = StepOutput::default();
        let mut yielded: Vec<Vec<Rows>> = Vec::with_capacity(self.nodes.len());
        let mut given: HashMap<StepId, Vec<Rows>> = HashMap::new();
        for (step, rows) in inputs {
            given.entry(step).or_default().extend(rows);
        }
        for (id, node) in self.nodes.iter_mut().enumerate() {
            let given = given.remove(&id).unwrap_or_default();
            let inputs: Vec<&[Rows]> = if node.is_source {
                vec![&given]
            } else {
                node.inputs.iter().map(|&input| yielded[input].as_slice()).collect()
            };
            if inputs.iter().all(|rows| rows.is_empty()) {
                yielded.push(vec![]);
                continue;
            }
            let mut ctx = Ctx {
                epoch: context.epoch,
                now_ms: context.now_ms,
                consolidate: context.consolidate,
                query: &self.query,
                step: &node.name,
                errors: &mut output.errors,
            };
            yielded.push(node.operator.step(&inputs, &mut ctx)?);
        }
        for (id, node) in self.nodes.iter().enumerate() {
            if node.is_sink {
                output.sinks.push((id, std::mem::take(&mut yielded[id])));
            }
        }
        Ok(output)
    }

    /// The state stores, for the runtime to gather, apply or roll back.
    pub fn stores(&mut self) -> impl Iterator<Item = (OperatorId, &mut StateStore)> {
        self.nodes.iter_mut().filter_map(|node| Some((node.state?, node.operator.state()?)))
    }

    /// The rows of the result that `selection` may want; `None` if nothing holds them.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn read(&mut self, selection: &Selection, now_ms: Millis) -> Result<Option<Vec<Rows>>> {
        let Some(view) = &self.view else { return Ok(None) };
        let mut selection = selection.clone();
        for origin in self.view_keys.iter().rev() {
            selection.keys = selection.keys.and_then(|keys| origin_keys(origin.as_deref(), &keys));
        }
        let mut rows = self.nodes[view[0]].operator.read(&selection)?;
        let mut errors = Vec::new();
        for &step in &view[1..] {
            let node = &mut self.nodes[step];
            if node.is_sink {
                break;
            }
            let mut ctx = Ctx {
                epoch: 0,
                now_ms,
                consolidate: true,
                query: &self.query,
                step: &node.name,
                errors: &mut errors,
            };
            rows = node.operator.step(&[&rows], &mut ctx)?;
        }
        // A table without old values has deletions for what a filter leaves out.
        for part in &mut rows {
            if let Some(present) = part.present.take() {
                *part = part.filter(&present)?;
            }
        }
        Ok(Some(rows))
    }
}

/// The steps from the last one that holds a table to the sink, if only stateless ones are between.
fn find_view(dataflow: &Dataflow) -> Option<Vec<StepId>> {
    let mut at = dataflow.steps.iter().position(|s| matches!(s.op, Op::Sink(_)))?;
    if dataflow.steps[at].relation != RelationKind::Table {
        return None;
    }
    let mut path = vec![at];
    loop {
        at = *dataflow.steps[at].inputs.first()?;
        path.push(at);
        match &dataflow.steps[at].op {
            Op::Filter { .. } | Op::Project { .. } => {}
            Op::Aggregate(_) | Op::TableTableJoin { .. } | Op::ForeignKeyJoin { .. } => break,
            Op::Source(source) if source.materialize => break,
            _ => return None,
        }
    }
    path.reverse();
    Some(path)
}

/// Whether all who read the table of step `id` are joins: they keep it themselves, with old values.
fn is_held_by_joins(dataflow: &Dataflow, id: StepId) -> bool {
    let mut readers = dataflow.steps.iter().enumerate().filter(|(_, s)| s.inputs.contains(&id)).peekable();
    readers.peek().is_some()
        && readers.all(|(at, reader)| match reader.op {
            Op::StreamTableJoin { .. } | Op::TableTableJoin { .. } | Op::ForeignKeyJoin { .. } => true,
            Op::Project { .. } | Op::SelectKey { .. } => is_held_by_joins(dataflow, at),
            _ => false,
        })
}

/// Which key column of its input each key column of a stateless step is.
fn key_origin(step: &Step) -> Option<Vec<usize>> {
    match &step.op {
        Op::Project { key, .. } => Some(key.clone()),
        _ => None,
    }
}

/// Looked-up keys as the input of a step knows them; `None` if it has key columns nobody asked about.
fn origin_keys(
    origin: Option<&[usize]>,
    keys: &[arrow::array::ArrayRef],
) -> Option<Vec<arrow::array::ArrayRef>> {
    let Some(origin) = origin else { return Some(keys.to_vec()) };
    if origin.len() != keys.len() {
        return None;
    }
    (0..keys.len()).map(|i| Some(keys[origin.iter().position(|&o| o == i)?].clone())).collect()
}

struct Builder<'a> {
    dataflow: &'a Dataflow,
    node: &'a mut NodeState,
    options: &'a GraphOptions,
    /// How many operators of each kind have state so far.
    kinds: HashMap<&'static str, usize>,
    /// Whether the sink has to hold the table.
    sink_holds: bool,
}

type Built = (Box<dyn Operator>, Option<OperatorId>);

impl Builder<'_> {
    fn state(&mut self, kind: &'static str, cache: usize) -> Result<(OperatorId, StateStore)> {
        let count = self.kinds.entry(kind).or_default();
        let name = format!("{kind}/{count}");
        *count += 1;
        Ok(self.node.store(&self.dataflow.query_id, &name, cache)?)
    }

    fn operator(&mut self, id: StepId, step: &Step) -> Result<Built> {
        let dataflow = self.dataflow;
        let input = |i: usize| {
            step.inputs
                .get(i)
                .map(|&id| &dataflow.steps[id])
                .ok_or_else(|| EngineError::Shape(format!("step {} lacks an input", step.name)))
        };
        let cache = self.options.cache_bytes;
        let stateless = |operator: Box<dyn Operator>| Ok((operator, None));
        match &step.op {
            Op::Source(plan) => {
                let holds = plan.materialize && !is_held_by_joins(dataflow, id);
                let state = if holds { Some(self.state("Source", cache)?) } else { None };
                let (id, state) = state.unzip();
                Ok((Box::new(Source::new(plan, &step.schema, state)?), id))
            }
            Op::Filter { predicate } => {
                let schema = &input(0)?.schema;
                stateless(Box::new(Filter::new(predicate, step.relation, schema)?))
            }
            Op::Project { key, values } => {
                stateless(Box::new(Project::new(key, values, &input(0)?.schema, &step.schema)?))
            }
            Op::SelectKey { key, .. } => {
                stateless(Box::new(SelectKey::new(key, &input(0)?.schema, &step.schema)?))
            }
            Op::FlatMap { calls } => {
                stateless(Box::new(FlatMap::new(calls, &input(0)?.schema, &step.schema)?))
            }
            Op::Union => stateless(Box::new(Union::new(&step.schema))),
            Op::Sink(plan) => {
                let holds = self.sink_holds && step.relation == RelationKind::Table;
                let state = if holds || Sink::needs_state(plan) {
                    Some(self.state("Sink", cache)?)
                } else {
                    None
                };
                let (id, state) = state.unzip();
                let windowed = step.window.is_some();
                let sink = Sink::new(plan, &step.schema, step.relation, windowed, holds, state)?;
                Ok((Box::new(sink), id))
            }
            _ => operators::stateful(step, &input, cache, &mut |kind, cached| {
                self.state(kind, if cached { cache } else { 0 })
            }),
        }
    }
}
