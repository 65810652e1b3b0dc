//! Plays a case through the engine's graph of one query, with its journal and state, and says what came
//! out in the words of the models.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use bytes::Bytes;
use millstream_engine::graph::{Graph, GraphOptions, StepContext};
use millstream_engine::rows::{Rows, Triggers, batch};
use millstream_engine::snapshot::Selection;
use millstream_engine::state::{MemoryStore, NodeState, SharedBackend};
use millstream_sql::catalog::Catalog;
use millstream_sql::plan::{self, Dataflow, Op, Plan, PlanConfig, PlanEnv, Source, StepId};
use millstream_sql::syntax::parse_statements;

use crate::case::{Case, Cut, Record};
use crate::model::Out;

struct OnePartition;

impl PlanEnv for OnePartition {
    fn partitions(&self, _topic: &str) -> Option<u32> {
        Some(1)
    }
}

/// The query that the last statement of `sql` starts.
pub(crate) fn dataflow(sql: &str) -> Dataflow {
    let mut catalog = Catalog::default();
    let mut last = None;
    for statement in parse_statements(sql, &|_: &str| None).unwrap() {
        let config = PlanConfig::from_properties(&BTreeMap::new()).unwrap();
        match plan::plan(&statement, &catalog, &config, &OnePartition).unwrap() {
            Plan::Ddl(ddl) => {
                catalog = catalog.with(&ddl.changes);
                last = ddl.start.or(last);
            }
            other => panic!("no DDL: {other:?}"),
        }
    }
    last.expect("a statement starts a query")
}

/// What a case yields.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Played {
    /// Of each epoch: the rows it is of (end exclusive), and what left it.
    pub(crate) epochs: Vec<(usize, Vec<Out>)>,
    /// The rows reported to the processing log.
    pub(crate) errors: Vec<usize>,
    /// What a pull query reads at the end, if it can.
    pub(crate) table: Option<Vec<String>>,
}

/// A query with everything that survives it.
struct Query<'a> {
    dataflow: &'a Dataflow,
    options: GraphOptions,
    journal: Vec<Bytes>,
    in_flight: Option<Bytes>,
    backend: SharedBackend,
    node: NodeState,
    graph: Graph,
    consolidate: bool,
}

pub(crate) fn play(dataflow: &Dataflow, case: &Case) -> Played {
    let backend: SharedBackend = Arc::new(MemoryStore::default());
    let options = GraphOptions { cache_bytes: case.cache, ..GraphOptions::default() };
    let mut node = NodeState::open(backend.clone()).unwrap();
    let graph = Graph::build(dataflow, &mut node, &options).unwrap();
    let consolidate = case.consolidate;
    let (journal, in_flight) = (Vec::new(), None);
    let mut query =
        Query { dataflow, options, journal, in_flight, backend, node, graph, consolidate };
    let mut played = Played::default();
    let mut from = 0;
    for (at, (_, cut)) in case.rows.iter().enumerate() {
        let last = at + 1 == case.rows.len();
        // Without consolidation every record is its own epoch.
        if *cut == Cut::None && consolidate && !last {
            continue;
        }
        if *cut == Cut::LostThenSeal {
            query.execute(&case.rows, from..at + 1);
            query.crash();
        }
        let (outs, errors) = query.execute(&case.rows, from..at + 1);
        played.epochs.push((at + 1, outs));
        played.errors.extend(errors);
        query.seal();
        match cut {
            Cut::SealInFlight => {}
            Cut::SealThenCrash => query.crash(),
            Cut::SealThenLoseState => {
                query.backend = Arc::new(MemoryStore::default());
                query.crash();
            }
            _ => query.settle(),
        }
        from = at + 1;
    }
    let read = query.graph.read(&Selection::default(), 0).unwrap();
    played.table = read.map(|parts| {
        let outs = parts.iter().flat_map(outs);
        let mut lines: Vec<String> = outs.map(|o| o.kept().expect("a row that is there")).collect();
        lines.sort();
        lines
    });
    played
}

impl Query<'_> {
    fn execute(
        &mut self,
        rows: &[(Record, Cut)],
        range: std::ops::Range<usize>,
    ) -> (Vec<Out>, Vec<usize>) {
        let mut inputs = Vec::new();
        for (step, of) in self.dataflow.steps.iter().enumerate() {
            let Op::Source(source) = &of.op else { continue };
            let name = ["L", "R", "X"].iter().position(|n| *n == source.relation).unwrap();
            let mine: Vec<usize> = range.clone().filter(|&i| rows[i].0.source == name).collect();
            if !mine.is_empty() {
                inputs.push((step, vec![input(source, rows, &mine)]));
            }
        }
        let epoch = self.node.last_epoch() + 1;
        let context = StepContext { epoch, now_ms: 0, consolidate: self.consolidate };
        let output = self.graph.step(inputs, &context).unwrap();
        let sinks: Vec<(StepId, Vec<Rows>)> = output.sinks;
        let outs = sinks.iter().flat_map(|(_, rows)| rows).flat_map(outs).collect();
        (outs, output.errors.iter().map(|bad| bad.offset as usize).collect())
    }

    /// Hands the epoch to the journal; the one before is applied by then.
    fn seal(&mut self) {
        let (_, payload) = self.node.finish(self.graph.stores());
        self.settle();
        self.journal.push(payload.clone());
        self.in_flight = Some(payload);
    }

    fn settle(&mut self) {
        let Some(payload) = self.in_flight.take() else { return };
        let epoch = self.node.apply(&payload).unwrap();
        self.graph.stores().for_each(|(_, store)| store.applied(epoch));
    }

    /// Loses everything but journal and state.
    fn crash(&mut self) {
        self.in_flight = None;
        let last = self.journal.len() as u64;
        let (node, _) = NodeState::recover(self.backend.clone(), &self.journal, last).unwrap();
        self.node = node;
        self.graph = Graph::build(self.dataflow, &mut self.node, &self.options).unwrap();
    }
}

/// The rows at `places` as the log's source would give them.
fn input(source: &Source, rows: &[(Record, Cut)], places: &[usize]) -> Rows {
    let of = |i: &usize| rows[*i].0;
    let keys: StringViewArray = places.iter().map(|i| of(i).key).collect();
    let texts: StringViewArray = places.iter().map(|i| of(i).value.and_then(|v| v.0)).collect();
    let numbers: Int64Array = places.iter().map(|i| of(i).value.and_then(|v| v.1)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(texts), Arc::new(numbers)];
    let present: BooleanBuffer = places.iter().map(|i| of(i).value.is_some()).collect();
    Rows {
        columns: batch(&source.schema.to_arrow(), columns, places.len()).unwrap(),
        key_len: 1,
        times: places.iter().map(|i| of(i).time).collect(),
        windows: None,
        present: (present.count_set_bits() < places.len()).then_some(present),
        old: None,
        triggers: Triggers {
            order: places.iter().map(|i| *i as u64).collect(),
            partitions: vec![0; places.len()].into(),
            offsets: places.iter().map(|i| *i as i64).collect(),
            headers: None,
        },
    }
}

fn outs(rows: &Rows) -> impl Iterator<Item = Out> + '_ {
    (0..rows.len()).map(|row| Out {
        trigger: usize::try_from(rows.triggers.offsets[row]).unwrap_or(usize::MAX),
        key: cells(rows.key_columns(), row),
        window: rows.windows.as_ref().map(|w| (w.starts[row], w.ends[row])),
        time: rows.times[row],
        new: rows.is_present(row).then(|| cells(rows.value_columns(), row)),
        old: rows.old.as_ref().map(|old| old.present.value(row).then(|| cells(&old.columns, row))),
    })
}

fn cells(columns: &[ArrayRef], row: usize) -> Vec<String> {
    columns.iter().map(|column| cell(column, row)).collect()
}

/// A value as the models write it.
fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Float64 => format!("{:.6}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8View => format!("'{}'", column.as_string_view().value(row)),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            let items: Vec<String> = (0..items.len()).map(|i| cell(&items, i)).collect();
            format!("[{}]", items.join(","))
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let mut items: Vec<String> = (0..entries.len())
                .map(|i| format!("{}:{}", cell(entries.column(0), i), cell(entries.column(1), i)))
                .collect();
            items.sort();
            format!("{{{}}}", items.join(","))
        }
        other => panic!("no case has {other}"),
    }
}
