//! EXPLAIN: a dataflow as a tree, sink on top, sources at the leaves.
//!
//! One line per step: its name, whether it yields a stream or a table, what it does, and its columns.
//! Where a deployment on Kafka would need an internal topic to bring equal keys together, its name
//! is given as ksqlDB would choose it. This text is also what the planner's tests compare.

use std::fmt::Write;

use crate::catalog::{Format, KeyWindow};
use crate::expr::Expr;
use crate::plan::{
    Aggregate, Dataflow, Op, PlanConfig, PullPlan, Source, StartOffset, Step, StepId, TimeRange, internal_topics,
};
use crate::syntax::ast::{JoinKind, RelationKind, WindowKind};

/// The dataflow as text, ending with a newline.
pub fn explain(dataflow: &Dataflow, config: &PlanConfig) -> String {
    let mut printer = Printer { dataflow, config, out: format!("{}\n", dataflow.query_id) };
    if let Some(last) = dataflow.steps.len().checked_sub(1) {
        printer.step(last, "", "");
    }
    printer.out
}

/// A pull query as text, ending with a newline.
pub fn explain_pull(pull: &PullPlan) -> String {
    let kind = if pull.kind == RelationKind::Stream { "stream" } else { "table" };
    let mut out = format!("pull from {kind} {}\n", pull.relation);
    let _ = writeln!(out, "    {}", pull.schema.describe("KEY"));
    let items: Vec<String> = pull.items.iter().map(|(n, e)| named(n, &e.to_string())).collect();
    let _ = writeln!(out, "    select {}", items.join(", "));
    match &pull.keys {
        Some(keys) => {
            let keys: Vec<String> = keys.iter().map(|k| format!("({})", list(k))).collect();
            let _ = writeln!(out, "    look up {}", keys.join(", "));
        }
        None => out.push_str("    scan\n"),
    }
    for (name, range) in [("WINDOWSTART", pull.window_start), ("WINDOWEND", pull.window_end)] {
        if range != TimeRange::default() {
            let bound = |ms: Option<i64>| ms.map_or("open".to_owned(), |ms| ms.to_string());
            let (from, to) = (bound(range.from_ms), bound(range.to_ms));
            let _ = writeln!(out, "    {name} from {from} to {to}");
        }
    }
    if let Some(filter) = &pull.filter {
        let _ = writeln!(out, "    where {filter}");
    }
    if let Some(limit) = pull.limit {
        let _ = writeln!(out, "    limit {limit}");
    }
    out
}

struct Printer<'a> {
    dataflow: &'a Dataflow,
    config: &'a PlanConfig,
    out: String,
}

impl Printer<'_> {
    fn step(&mut self, id: StepId, lead: &str, branch: &str) {
        let step = &self.dataflow.steps[id];
        let kind = match step.relation {
            RelationKind::Stream => "stream",
            RelationKind::Table => "table",
        };
        let window = step.window.map_or(String::new(), |w| format!(", {}", key_window(w)));
        let what = self.describe(step);
        let below = if branch.is_empty() {
            String::new()
        } else if branch == "└─ " {
            format!("{lead}   ")
        } else {
            format!("{lead}│  ")
        };
        let _ = writeln!(self.out, "{lead}{branch}{} ({kind}{window}): {what}", step.name);
        let bar = if step.inputs.is_empty() { " " } else { "│" };
        let _ = writeln!(self.out, "{below}{bar}    {}", step.schema.describe("KEY"));
        for topic in internal_topics::before(self.dataflow, id, self.config) {
            let _ = writeln!(self.out, "{below}{bar}    repartition: {topic}");
        }
        for (i, input) in step.inputs.iter().enumerate() {
            let branch = if i + 1 == step.inputs.len() { "└─ " } else { "├─ " };
            self.step(*input, &below, branch);
        }
    }

    fn describe(&self, step: &Step) -> String {
        match &step.op {
            Op::Source(source) => describe_source(source),
            Op::Filter { predicate } => format!("where {predicate}"),
            Op::Project { key, values } => self.describe_project(step, key, values),
            Op::SelectKey { key, internal } => {
                let by = if *internal { "key by" } else { "partition by" };
                format!("{by} {}", if key.is_empty() { "NULL".to_owned() } else { list(key) })
            }
            Op::FlatMap { calls } => {
                let calls = calls.iter().map(|c| format!("{:?}({})", c.function, c.arg));
                format!("for each of {}", calls.collect::<Vec<_>>().join(", "))
            }
            Op::Aggregate(aggregate) => describe_aggregate(aggregate),
            Op::StreamStreamJoin(join) => {
                let grace = match join.grace_ms {
                    Some(ms) => format!(", grace {}", duration(ms)),
                    None => ", no grace".to_owned(),
                };
                format!(
                    "{} join within {} before, {} after{grace}{}",
                    join_kind(join.kind),
                    duration(join.before_ms),
                    duration(join.after_ms),
                    join.residual.as_ref().map_or(String::new(), |r| format!(", pairs where {r}"))
                )
            }
            Op::StreamTableJoin { kind } => {
                format!("{} join of stream and table", join_kind(*kind))
            }
            Op::TableTableJoin { kind } => format!("{} join of tables", join_kind(*kind)),
            Op::ForeignKeyJoin { kind, foreign_key } => {
                format!("{} join of tables by foreign key {}", join_kind(*kind), list(foreign_key))
            }
            Op::Union => "all rows of the inputs, in the order of their time".to_owned(),
            Op::Sink(sink) => {
                let to = match (&sink.topic, &sink.relation) {
                    (Some(topic), _) => format!("to topic {topic}"),
                    (None, _) if self.dataflow.query_id.starts_with("CST_") => {
                        "kept as state".into()
                    }
                    (None, _) => return "to the client".to_owned(),
                };
                let formats = formats(&sink.key_format, &sink.value_format);
                let time = match &sink.timestamp {
                    Some(t) => format!(", time from {}", t.column),
                    None => String::new(),
                };
                format!("{to}, {formats}{time}")
            }
        }
    }

    fn describe_project(&self, step: &Step, key: &[usize], values: &[Expr]) -> String {
        let input = step.inputs.first().map(|i| &self.dataflow.steps[*i].schema);
        let mut parts = Vec::new();
        for (column, at) in step.schema.key.iter().zip(key) {
            let from = input.and_then(|s| s.key.get(*at)).map_or("?", |c| c.name.as_str());
            parts.push(named(&column.name, from));
        }
        for (column, value) in step.schema.value.iter().zip(values) {
            parts.push(named(&column.name, &value.to_string()));
        }
        format!("select {}", parts.join(", "))
    }
}

fn named(name: &str, from: &str) -> String {
    if name == from { name.to_owned() } else { format!("{from} AS {name}") }
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn describe_source(source: &Source) -> String {
    let mut text = format!(
        "{} from topic {}, {}",
        source.relation,
        source.topic,
        formats(&source.key_format, &source.value_format)
    );
    if let Some(time) = &source.timestamp {
        let _ = write!(text, ", time from {}", time.column);
    }
    if source.materialize {
        text.push_str(", materialized");
    }
    match source.start {
        None => {}
        Some(StartOffset::Earliest) => text.push_str(", from the earliest record"),
        Some(StartOffset::Latest) => text.push_str(", from the latest record"),
        Some(StartOffset::Time(ms)) => {
            let _ = write!(text, ", from time {ms}");
        }
    }
    text
}

fn describe_aggregate(aggregate: &Aggregate) -> String {
    let calls: Vec<&str> = aggregate.calls.iter().map(|c| c.text.as_str()).collect();
    let by = if aggregate.group.is_empty() {
        "all rows".to_owned()
    } else {
        format!("group by {}", list(&aggregate.group))
    };
    let mut text = format!("{by}: {}", calls.join(", "));
    if let Some(window) = aggregate.window {
        let kind = match window.kind {
            WindowKind::Tumbling { size_ms } => format!("TUMBLING {}", duration(size_ms)),
            WindowKind::Hopping { size_ms, advance_ms } => {
                format!("HOPPING {} every {}", duration(size_ms), duration(advance_ms))
            }
            WindowKind::Session { gap_ms } => format!("SESSION with gap {}", duration(gap_ms)),
        };
        let (grace, kept) = (duration(window.grace_ms), duration(window.retention_ms));
        let _ = write!(text, "; {kind}, grace {grace}, kept {kept}");
    }
    if aggregate.emit_final {
        text.push_str("; emit final");
    }
    text
}

fn formats(key: &Format, value: &Format) -> String {
    format!("key {}, value {}", format_text(key), format_text(value))
}

fn format_text(format: &Format) -> String {
    let mut text = format.kind.name().to_owned();
    if let Some(delimiter) = format.delimiter {
        let _ = write!(text, " {delimiter:?}");
    }
    text
}

fn key_window(window: KeyWindow) -> String {
    match window {
        KeyWindow::Session => "SESSION window".to_owned(),
        KeyWindow::Time { size_ms, hopping: false } => {
            format!("TUMBLING window {}", duration(size_ms))
        }
        KeyWindow::Time { size_ms, hopping: true } => {
            format!("HOPPING window {}", duration(size_ms))
        }
    }
}

fn join_kind(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Right => "right",
        JoinKind::Full => "full",
    }
}

/// `90 s`, `1 h`: in the largest unit that divides it.
fn duration(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    match UNITS.iter().find(|(unit, _)| ms != 0 && ms % unit == 0) {
        Some((unit, name)) => format!("{} {name}", ms / unit),
        None => format!("{ms} ms"),
    }
}
