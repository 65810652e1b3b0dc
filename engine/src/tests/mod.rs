//! Tests of whole dataflows, as data: what goes in stands at the margin of a script, what comes out is
//! indented under it. [`check`] plays each script once, and once more for every epoch with a crash after
//! it: operators are thrown away and made anew from what was sealed. What comes out must be the same.

mod memory_io;
mod operators;
mod property;
mod runtime;

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::util::display::array_value_to_string;
use millstream_sql::catalog::{Format, FormatKind, KeyWindow};
use millstream_sql::expr::{AggregateCall, AggregateFunction, ArithmeticOp, CompareOp, Expr};
use millstream_sql::plan::{Aggregate, AggregateWindow, Dataflow, Op, Sink, Source, Step};
use millstream_sql::syntax::ast::{RelationKind, WindowKind};
use millstream_sql::types::{Column, Schema, SqlType};

use crate::graph::{Graph, GraphOptions, StepContext};
use crate::rows::{Rows, Triggers};
use crate::state::{MemoryStore, NodeState, SharedBackend};

/// Every relation here: a STRING key and a BIGINT value.
pub(super) fn schema() -> Schema {
    Schema {
        key: vec![Column::new("K", SqlType::String)],
        value: vec![Column::new("V", SqlType::Bigint)],
    }
}

pub(super) fn key() -> Expr {
    Expr::Column { index: 0, name: "K".into(), ty: SqlType::String }
}

pub(super) fn value() -> Expr {
    Expr::Column { index: 1, name: "V".into(), ty: SqlType::Bigint }
}

pub(super) fn number(n: i64) -> Expr {
    Expr::Literal {
        value: datafusion_common::ScalarValue::Int64(Some(n)),
        ty: Some(SqlType::Bigint),
    }
}

pub(super) fn greater(left: Expr, right: Expr) -> Expr {
    Expr::Compare { op: CompareOp::Greater, left: Box::new(left), right: Box::new(right) }
}

pub(super) fn modulo(left: Expr, right: Expr) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    Expr::Arithmetic { op: ArithmeticOp::Modulo, left, right, ty: SqlType::Bigint }
}

fn step(name: &str, op: Op, inputs: &[usize], schema: Schema, relation: RelationKind) -> Step {
    Step { name: name.into(), op, inputs: inputs.to_vec(), schema, relation, window: None }
}

pub(super) fn source(relation: &str, kind: RelationKind) -> Step {
    let source = Source {
        relation: relation.into(),
        topic: relation.into(),
        kind,
        schema: schema(),
        key_format: Format::new(FormatKind::Json),
        value_format: Format::new(FormatKind::Json),
        window: None,
        timestamp: None,
        fail_on_invalid_timestamp: false,
        pseudo: vec![],
        materialize: kind == RelationKind::Table,
        start: None,
    };
    step("KsqlTopic", Op::Source(source), &[], schema(), kind)
}

pub(super) fn filter(input: usize, predicate: Expr, kind: RelationKind) -> Step {
    step("WhereFilter", Op::Filter { predicate }, &[input], schema(), kind)
}

pub(super) fn call(function: AggregateFunction, args: Vec<Expr>) -> AggregateCall {
    AggregateCall { function, args, constants: vec![], ty: SqlType::Bigint, text: "call".into(), user: None }
}

/// `SELECT group, COUNT(*), SUM(V) … GROUP BY group`.
pub(super) fn count_and_sum(
    input: usize,
    group: Expr,
    window: Option<AggregateWindow>,
    emit_final: bool,
) -> Step {
    let calls = vec![
        call(AggregateFunction::Count, vec![]),
        call(AggregateFunction::Sum, vec![value()]),
    ];
    let ty = group.typed().unwrap();
    let schema = Schema {
        key: vec![Column::new("G", ty)],
        value: vec![Column::new("N", SqlType::Bigint), Column::new("SUM", SqlType::Bigint)],
    };
    let aggregate = Aggregate { group: vec![group], calls, window, window_bounds: false, emit_final };
    let mut step = step("Aggregate", Op::Aggregate(aggregate), &[input], schema, RelationKind::Table);
    step.window = window.map(|w| KeyWindow::from(w.kind));
    step
}

pub(super) fn window(kind: WindowKind, grace_ms: i64) -> Option<AggregateWindow> {
    Some(AggregateWindow { kind, grace_ms, retention_ms: 100_000 })
}

pub(super) fn sink(input: usize, of: &Step, relation: &str) -> Step {
    let sink = Sink {
        rekeyed: false,
        relation: Some(relation.into()),
        topic: Some(relation.into()),
        key_format: Format::new(FormatKind::Json),
        value_format: Format::new(FormatKind::Json),
        timestamp: None,
    };
    let mut step = step("Sink", Op::Sink(sink), &[input], of.schema.clone(), of.relation);
    step.window = of.window;
    step
}

/// The steps in a row, and a sink after the last.
pub(super) fn dataflow(id: &str, mut steps: Vec<Step>, into: &str) -> Dataflow {
    let last = steps.len() - 1;
    steps.push(sink(last, &steps[last], into));
    Dataflow { query_id: id.into(), steps }
}

/// Rows of `(time, key, value)`; no value: a tombstone. `first` is the order and offset of the first.
pub(super) fn rows(input: &[(i64, &str, Option<i64>)], first: u64) -> Rows {
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(input.iter().map(|r| r.1)));
    let values: ArrayRef = Arc::new(input.iter().map(|r| r.2).collect::<Int64Array>());
    let all = input.iter().all(|r| r.2.is_some());
    Rows {
        columns: RecordBatch::try_new(schema().to_arrow(), vec![keys, values]).unwrap(),
        key_len: 1,
        times: input.iter().map(|r| r.0).collect(),
        windows: None,
        present: (!all).then(|| input.iter().map(|r| r.2.is_some()).collect()),
        old: None,
        triggers: Triggers {
            order: (0..input.len()).map(|i| first + i as u64).collect(),
            partitions: vec![0; input.len()].into(),
            offsets: (0..input.len()).map(|i| (first + i as u64) as i64).collect(),
            headers: None,
        },
    }
}

fn columns_text(columns: &[ArrayRef], row: usize) -> String {
    let shown = columns.iter().map(|c| match c.is_null(row) {
        true => "NULL".to_owned(),
        false => array_value_to_string(c.as_ref(), row).unwrap(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// One line per row: `key [start,end) values @time`, and for a table `was old values`.
pub(super) fn show(rows: &Rows) -> Vec<String> {
    (0..rows.len())
        .map(|row| {
            let mut line = columns_text(rows.key_columns(), row);
            if let Some(w) = &rows.windows {
                let _ = write!(line, " [{},{})", w.starts[row], w.ends[row]);
            }
            let values = if rows.is_present(row) {
                columns_text(rows.value_columns(), row)
            } else {
                assert!(rows.value_columns().iter().all(|c| c.is_null(row)), "a value in a tombstone");
                "-".to_owned()
            };
            let _ = write!(line, " {values} @{}", rows.times[row]);
            if let Some(old) = &rows.old {
                let was = if old.present.value(row) { columns_text(&old.columns, row) } else { "-".into() };
                let _ = write!(line, " was {was}");
            }
            line
        })
        .collect()
}

/// One query over state that can be thrown away.
pub(super) struct Bench {
    dataflow: Dataflow,
    backend: SharedBackend,
    node: NodeState,
    graph: Graph,
    order: u64,
    pub(super) consolidate: bool,
}

impl Bench {
    pub(super) fn new(dataflow: Dataflow, backend: SharedBackend, consolidate: bool) -> Bench {
        let mut node = NodeState::open(backend.clone()).unwrap();
        let graph = Graph::build(&dataflow, &mut node, &GraphOptions::default()).unwrap();
        Bench { dataflow, backend, node, graph, order: 0, consolidate }
    }

    /// Runs and seals one epoch; `input` names a source step for each row.
    pub(super) fn epoch(&mut self, input: &[(usize, (i64, &str, Option<i64>))]) -> (Vec<String>, bytes::Bytes) {
        let mut given: Vec<(usize, Vec<Rows>)> = Vec::new();
        for (step, row) in input {
            let one = rows(&[*row], self.order);
            self.order += 1;
            match given.iter_mut().find(|(s, _)| s == step) {
                Some((_, rows)) => rows.push(one),
                None => given.push((*step, vec![one])),
            }
        }
        for (_, rows) in &mut given {
            *rows = Rows::concat(rows).unwrap().into_iter().collect();
        }
        let epoch = self.node.last_epoch() + 1;
        let context = StepContext { epoch, now_ms: 0, consolidate: self.consolidate };
        let output = self.graph.step(given, &context).unwrap();
        let lines = output.sinks.iter().flat_map(|(_, rows)| rows).flat_map(show).collect();
        let (epoch, payload) = self.node.finish(self.graph.stores());
        self.node.apply(&payload).unwrap();
        self.graph.stores().for_each(|(_, store)| store.applied(epoch));
        (lines, payload)
    }

    /// Throws the operators away and makes them anew from what was sealed.
    pub(super) fn crash(&mut self) {
        self.node = NodeState::open(self.backend.clone()).unwrap();
        self.graph = Graph::build(&self.dataflow, &mut self.node, &GraphOptions::default()).unwrap();
    }

    /// The result's table, sorted.
    pub(super) fn table(&mut self) -> Vec<String> {
        let selection = crate::snapshot::Selection::default();
        let parts = self.graph.read(&selection, 0).unwrap().unwrap();
        let mut lines: Vec<String> = parts.iter().flat_map(show).collect();
        lines.sort();
        lines
    }
}

/// A script's epoch: its rows and what is to come out.
type Epoch<'a> = (Vec<(usize, (i64, &'a str, Option<i64>))>, Vec<&'a str>);

/// Reads a script. A line at the margin is `source time key value` (`-`: a tombstone) and, if
/// consolidating, `;` ends an epoch; else every line is one.
fn parse<'a>(dataflow: &Dataflow, script: &'a str, consolidate: bool) -> Vec<Epoch<'a>> {
    let margin = script.lines().filter(|l| !l.trim().is_empty()).map(indent).min().unwrap_or(0);
    let mut epochs: Vec<Epoch<'a>> = Vec::new();
    let mut ended = true;
    for line in script.lines().filter(|l| !l.trim().is_empty()) {
        if indent(line) > margin {
            epochs.last_mut().expect("input before output").1.push(line.trim());
            continue;
        }
        if line.trim() == ";" {
            ended = true;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [relation, time, key, value] = words[..] else { panic!("a line of four words: {line}") };
        let is_source = |s: &Step| matches!(&s.op, Op::Source(s) if s.relation == relation);
        let step = dataflow.steps.iter().position(is_source).expect("a source");
        if ended || !consolidate {
            epochs.push((vec![], vec![]));
            ended = false;
        }
        let row = (time.parse().unwrap(), key, value.parse().ok());
        epochs.last_mut().expect("just pushed").0.push((step, row));
    }
    epochs
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Plays `script`, then again with a crash after each epoch.
pub(super) fn check(dataflow: &Dataflow, consolidate: bool, script: &str) {
    let epochs = parse(dataflow, script, consolidate);
    for crash_after in 0..=epochs.len() {
        let backend: SharedBackend = Arc::new(MemoryStore::default());
        let mut bench = Bench::new(dataflow.clone(), backend, consolidate);
        for (i, (input, expected)) in epochs.iter().enumerate() {
            let (lines, _) = bench.epoch(input);
            assert_eq!(&lines, expected, "epoch {i} ({input:?}), crash after {crash_after}");
            if i + 1 == crash_after {
                bench.crash();
            }
        }
    }
}
