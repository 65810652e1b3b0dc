//! Steps queries that do not feed each other beside each other, on several threads.
//!
//! The queries of an epoch are taken in waves: a wave ends before a query that is handed the rows of one
//! in it. A query's state and operators belong to one thread at a time, without locks, and its answer is
//! taken up in the queries' order whichever thread was first: what an epoch yields does not depend on
//! how many threads there are. Small waves stay on the engine's own thread, because waking another one
//! costs more than they do.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::super::query::Query;
use super::take_inputs;
use crate::error::{EngineError, Result};
use crate::graph::{Graph, StepContext, StepOutput};
use crate::io::SourceId;
use crate::rows::Rows;

/// A query's part in a wave. It holds the query's graph meanwhile.
pub(super) struct Task {
    /// Which of the queries.
    pub(super) at: usize,
    pub(super) graph: Graph,
    /// How many rows it takes in.
    pub(super) rows: usize,
    given: Vec<(usize, Vec<Rows>)>,
    answer: Option<Result<StepOutput>>,
}

impl Task {
    fn step(&mut self, context: &StepContext) {
        self.answer = Some(self.graph.step(std::mem::take(&mut self.given), context));
    }

    /// What the query yielded; nothing unless it was stepped.
    pub(super) fn into_answer(self) -> (Graph, Result<StepOutput>) {
        (self.graph, self.answer.unwrap_or_else(|| Ok(StepOutput::default())))
    }
}

/// Takes the queries from `from` on that can be stepped now; returns them and where the next wave begins.
pub(super) fn next_wave(
    queries: &mut [Query],
    from: usize,
    inputs: &mut HashMap<SourceId, Vec<Rows>>,
    handed: &HashMap<String, Vec<Rows>>,
    failed: &mut Vec<(usize, EngineError)>,
) -> (Vec<Task>, usize) {
    let mut tasks: Vec<Task> = Vec::new();
    let mut written: HashSet<String> = HashSet::new();
    for (at, query) in queries.iter_mut().enumerate().skip(from) {
        if !query.is_running() {
            continue;
        }
        let is_fed = |topic: &String| written.contains(topic);
        if query.sources.iter().any(|s| s.handed_since.is_some() && is_fed(&s.topic)) {
            return (tasks, at);
        }
        let given = match take_inputs(query, inputs, handed) {
            Ok(given) if given.is_empty() => continue,
            Ok(given) => given,
            Err(reason) => {
                failed.push((at, reason));
                continue;
            }
        };
        let Some(graph) = query.graph.take() else { continue };
        written.extend(query.sinks.iter().filter_map(|sink| sink.topic.clone()));
        let rows = given.iter().flat_map(|(_, rows)| rows).map(Rows::len).sum();
        tasks.push(Task { at, graph, rows, given, answer: None });
    }
    (tasks, queries.len())
}

/// Steps all tasks, on up to `threads` threads, this one among them.
pub(super) fn step_all(tasks: &mut [Task], context: &StepContext, threads: usize) {
    let threads = threads.min(tasks.len());
    if threads <= 1 {
        tasks.iter_mut().for_each(|task| task.step(context));
        return;
    }
    let waiting = Mutex::new(tasks.iter_mut());
    let work = || {
        loop {
            let next = waiting.lock().next();
            let Some(task) = next else { return };
            task.step(context);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without another thread this one does it all.
            let _ = std::thread::Builder::new().name("step".into()).spawn_scoped(scope, work);
        }
        work();
    });
}
