//! Plays a script through one query: rows in at the margin, rows out indented.
//!
//! ```text
//! orders 10 a 1          a row of relation `orders` at time 10: key columns, then value columns
//! orders 12 a -          … with a NULL value
//!   12 a 1 was 0         what comes out of the epoch: time, key, values; of a table what it replaces
//! orders 13 b 2          rows that follow each other are one epoch
//! orders 14 b 3
//!   nothing
//! state 4                so many entries of state remain
//! ```
//!
//! Types are BIGINT and STRING; `null` is NULL. `[s,e)` before the values is a key's window. A script is
//! played once as written, then with a crash before and a restart after each epoch: nothing may differ.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Int64Type};
use millstream_engine::graph::{Graph, GraphOptions, StepContext};
use millstream_engine::rows::{Rows, Triggers, Windows, batch};
use millstream_engine::snapshot::Selection;
use millstream_engine::state::NodeState;
use millstream_sql::catalog::Catalog;
use millstream_sql::plan::{self, Dataflow, Op, Plan, PlanConfig, PlanEnv, StepId};
use millstream_sql::syntax::parse_statements;
use millstream_sql::types::Schema;

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

/// A query over state in memory.
pub(crate) struct Query {
    dataflow: Dataflow,
    pub(crate) graph: Graph,
    node: NodeState,
    options: GraphOptions,
    epoch: u64,
    order: u64,
    pub(crate) consolidate: bool,
}

impl Query {
    pub(crate) fn new(sql: &str, consolidate: bool) -> Query {
        Query::with_cache(sql, consolidate, GraphOptions::default().cache_bytes)
    }

    /// `cache`: the bytes that each operator may hold in memory.
    pub(crate) fn with_cache(sql: &str, consolidate: bool, cache: usize) -> Query {
        let dataflow = dataflow(sql);
        let mut node = NodeState::in_memory().unwrap();
        let options = GraphOptions { cache_bytes: cache, ..GraphOptions::default() };
        let graph = Graph::build(&dataflow, &mut node, &options).unwrap();
        Query { dataflow, graph, node, options, epoch: 0, order: 0, consolidate }
    }

    /// Loses everything but the state of sealed epochs.
    pub(crate) fn restart(&mut self) {
        self.graph = Graph::build(&self.dataflow, &mut self.node, &self.options).unwrap();
    }

    /// Executes an epoch of rows, each `relation time key… value…`; `seal` false: it is lost.
    pub(crate) fn epoch(&mut self, lines: &[&str], seal: bool) -> Vec<Rows> {
        let mut inputs = Vec::new();
        for (step, of) in self.dataflow.steps.iter().enumerate() {
            let Op::Source(source) = &of.op else { continue };
            let name = source.relation.to_lowercase();
            let mine: Vec<(u64, Vec<&str>)> = lines
                .iter()
                .enumerate()
                .map(|(i, line)| (self.order + i as u64, line.split_whitespace().collect()))
                .filter(|(_, words): &(u64, Vec<&str>)| words[0] == name)
                .collect();
            if !mine.is_empty() {
                inputs.push((step, vec![rows(&source.schema, source.window.is_some(), &mine)]));
            }
        }
        let context =
            StepContext { epoch: self.epoch + 1, now_ms: 0, consolidate: self.consolidate };
        let output = self.graph.step(inputs, &context).unwrap();
        assert_eq!(output.errors, [], "nothing fails");
        let sinks: Vec<(StepId, Vec<Rows>)> = output.sinks;
        let out: Vec<Rows> = sinks.into_iter().flat_map(|(_, rows)| rows).collect();
        if seal {
            self.order += lines.len() as u64;
            let (epoch, payload) = self.node.finish(self.graph.stores());
            self.node.apply(&payload).unwrap();
            self.graph.stores().for_each(|(_, store)| store.applied(epoch));
            self.epoch = epoch;
        }
        out
    }

    /// How many entries the operators keep.
    pub(crate) fn entries(&self) -> usize {
        let mut count = 0;
        let all = self.node.backend().scan(&[0, 0, 0, 1], &[u8::MAX; 8], &mut |_, _| {
            count += 1;
            true
        });
        all.unwrap();
        count
    }

    /// What a pull query would see: one line for each row of the result's table.
    pub(crate) fn table(&mut self) -> Vec<String> {
        let read = self.graph.read(&Selection::default(), 0).unwrap();
        read.into_iter().flatten().flat_map(|rows| shown(&rows)).collect()
    }
}

fn rows(schema: &Schema, windowed: bool, lines: &[(u64, Vec<&str>)]) -> Rows {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let (mut times, mut present) = (Vec::new(), Vec::new());
    let mut words: Vec<Vec<&str>> = vec![Vec::new(); schema.columns().count()];
    let key_len = schema.key.len();
    for (_, line) in lines {
        times.push(line[1].parse::<i64>().unwrap());
        let mut rest = &line[2..];
        for key in &mut words[..key_len] {
            key.push(rest[0]);
            rest = &rest[1..];
        }
        if windowed {
            let window = rest[0].trim_matches(['[', ')']).split_once(',').unwrap();
            starts.push(window.0.parse::<i64>().unwrap());
            ends.push(window.1.parse::<i64>().unwrap());
            rest = &rest[1..];
        }
        present.push(rest != ["-"]);
        for (i, value) in words[key_len..].iter_mut().enumerate() {
            value.push(if rest == ["-"] { "null" } else { rest[i] });
        }
    }
    let columns = schema.columns().zip(&words).map(|(column, words)| -> ArrayRef {
        let there = words.iter().map(|w| (*w != "null").then_some(*w));
        match column.ty.to_arrow() {
            DataType::Int64 => {
                Arc::new(there.map(|w| w.map(|w| w.parse().unwrap())).collect::<Int64Array>())
            }
            _ => Arc::new(there.collect::<StringViewArray>()),
        }
    });
    let len = lines.len();
    Rows {
        columns: batch(&schema.to_arrow(), columns.collect(), len).unwrap(),
        key_len,
        times: times.into(),
        windows: windowed.then(|| Windows { starts: starts.into(), ends: ends.into() }),
        present: Some(BooleanBuffer::from(present)),
        old: None,
        triggers: Triggers {
            order: lines.iter().map(|(order, _)| *order).collect::<Vec<_>>().into(),
            partitions: vec![0; len].into(),
            offsets: lines.iter().map(|(order, _)| *order as i64).collect::<Vec<_>>().into(),
            headers: None,
        },
    }
}

/// One line for each row.
pub(crate) fn shown(rows: &Rows) -> Vec<String> {
    (0..rows.len())
        .map(|row| {
            let mut line = format!("{}{}", rows.times[row], cells(rows.key_columns(), row));
            if let Some(windows) = &rows.windows {
                let _ = write!(line, " [{},{})", windows.starts[row], windows.ends[row]);
            }
            line += &value(rows.value_columns(), row, rows.is_present(row));
            if let Some(old) = &rows.old {
                line += " was";
                line += &value(&old.columns, row, old.present.value(row));
            }
            line
        })
        .collect()
}

fn value(columns: &[ArrayRef], row: usize, present: bool) -> String {
    if present { cells(columns, row) } else { " -".into() }
}

fn cells(columns: &[ArrayRef], row: usize) -> String {
    let cell = |column: &ArrayRef| match column.data_type() {
        _ if column.is_null(row) => " null".to_owned(),
        DataType::Int64 => format!(" {}", column.as_primitive::<Int64Type>().value(row)),
        _ => format!(" {}", column.as_string_view().value(row)),
    };
    columns.iter().map(cell).collect()
}

/// Plays `script` with every intermediate change, as ksqlDB without caches would answer.
#[track_caller]
pub(crate) fn check(sql: &str, script: &str) {
    play(sql, script, false);
}

/// Plays `script` with one net change per key and epoch.
#[track_caller]
pub(crate) fn check_net(sql: &str, script: &str) {
    play(sql, script, true);
}

#[track_caller]
fn play(sql: &str, script: &str, consolidate: bool) {
    let expected = tidy(script);
    for crashes in [false, true] {
        let mut query = Query::new(sql, consolidate);
        let mut actual = String::new();
        let mut epoch: Vec<&str> = Vec::new();
        let mut lines = expected.lines().peekable();
        while let Some(line) = lines.next() {
            if line.starts_with("state ") {
                let _ = writeln!(actual, "state {}", query.entries());
                continue;
            }
            if line.starts_with(' ') {
                continue;
            }
            let _ = writeln!(actual, "{line}");
            epoch.push(line);
            if lines.peek().is_some_and(|next| !next.starts_with(' ') && !next.starts_with("state"))
            {
                continue;
            }
            if crashes {
                query.epoch(&epoch, false);
                query.restart();
            }
            let out: Vec<String> = query.epoch(&epoch, true).iter().flat_map(shown).collect();
            if crashes {
                query.restart();
            }
            epoch.clear();
            if out.is_empty() {
                actual += "  nothing\n";
            }
            out.iter().for_each(|line| {
                let _ = writeln!(actual, "  {line}");
            });
        }
        let how = if crashes { "with crashes" } else { "as written" };
        assert!(actual == expected, "{how}, this comes out:\n{actual}");
    }
}

/// Without the margin that Rust's indentation makes, and without empty lines.
fn tidy(script: &str) -> String {
    let lines: Vec<&str> = script.lines().filter(|l| !l.trim().is_empty()).collect();
    let margin = lines.iter().map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|l| format!("{}\n", l[margin..].trim_end())).collect()
}
