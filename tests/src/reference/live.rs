//! Runs the examples of a page against a whole node in memory and prints what its shell would.
//!
//! A page's source is Markdown in which some lines are an example's:
//!
//! ```text
//! sql> SELECT …            a statement, up to the line that ends with `;`: shown, run, its answer shown
//! first> CREATE …          the same, its answer is not shown; it must be accepted
//! record> topic time key value [header=value]
//!                          a record that a Kafka client produces, told in words; `-` is NULL
//! ```
//!
//! A line of dots, `...`, is no part of an example. Each heading begins with a node of its own, whose
//! clock stands still; queries start at the beginning of their topics and give every change.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use millstream::shell::{cell, render};
use millstream_connectors::session::json::write_row;
use millstream_connectors::session::{
    Node, NodeConfig, Place, PrintEvent, PushEvent, QueryAnswer, RequestContext, ResultColumn,
    Session,
};
use millstream_engine::io::StartAt;
use millstream_storage::log::batch::{BatchBuilder, Codec};
use millstream_storage::{Clock, MemDisk, TopicPartition, WakeKey, Wakes};

/// What the examples take for now: 2026-01-01T00:00:00Z.
const NOW_MS: i64 = 1_767_225_600_000;
/// Looks of five milliseconds until queries must have caught up.
const TRIES: usize = 2_000;
/// How wide a push query's columns are.
const WIDTH: usize = 16;

struct Still;

impl Clock for Still {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
}

struct Nobody;

impl Wakes for Nobody {
    fn wake(&self, _key: WakeKey) {}
}

/// A page made of its source, and what its examples ran.
pub struct Run {
    pub text: String,
    /// Every statement run.
    pub statements: BTreeSet<String>,
}

/// Runs a page's examples.
///
/// # Errors
/// When a line cannot be run. A statement may be refused: its refusal is the answer.
pub fn run(source: &str) -> Result<Run, String> {
    let mut out = Run { text: String::new(), statements: BTreeSet::new() };
    let mut player: Option<Player> = None;
    let mut in_block = false;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let Some((word, first)) = split(line) else {
            if in_block {
                out.text.push_str("```\n");
                in_block = false;
            }
            if line.starts_with('#') {
                player = None;
            }
            out.text.push_str(line);
            out.text.push('\n');
            continue;
        };
        let player = match &mut player {
            Some(player) => player,
            none => none.insert(Player::new()?),
        };
        if !in_block {
            out.text.push_str("```text\n");
            in_block = true;
        }
        if word == "record" {
            let _ = writeln!(out.text, "-- {}", player.record(first)?);
            continue;
        }
        let mut statement = first.to_owned();
        while !statement.trim_end().ends_with(';') {
            let next = lines.next().ok_or_else(|| format!("{statement} has no end"))?;
            let _ = write!(statement, "\n{next}");
        }
        let (answer, refused) = player.statement(&statement);
        let _ = writeln!(out.text, "sql> {}", statement.replace('\n', "\n...> "));
        match word {
            "first" if refused => return Err(format!("{statement}\n{answer}")),
            "first" => {}
            _ => out.text.push_str(&answer),
        }
        out.statements.insert(statement);
    }
    if in_block {
        out.text.push_str("```\n");
    }
    Ok(out)
}

fn split(line: &str) -> Option<(&'static str, &str)> {
    let forms = ["sql", "first", "record"];
    forms.into_iter().find_map(|word| Some((word, line.strip_prefix(word)?.strip_prefix("> ")?)))
}

struct Player {
    node: Arc<Node>,
    session: Session,
}

impl Player {
    fn new() -> Result<Player, String> {
        let config = NodeConfig {
            auto_offset_reset: StartAt::Earliest,
            consolidate: false,
            journal_file_bytes: 1 << 20,
            ..NodeConfig::default()
        };
        let place = Place::Disk(Arc::new(MemDisk::new()));
        let node = Node::open_in(place, config, Arc::new(Still), Arc::new(Nobody));
        let node = node.map_err(|e| e.to_string())?;
        Ok(Player { session: node.session(), node })
    }

    /// The answer as the shell prints it, and whether the statement was refused.
    fn statement(&mut self, text: &str) -> (String, bool) {
        let context = RequestContext::default();
        let first = text.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
        if first == "SELECT" || first == "PRINT" || first == "WITH" {
            self.settle();
            return match self.session.query(text, &context) {
                Ok(answer) => (rows(answer), false),
                Err(e) => (e.error.render(&e.statement), true),
            };
        }
        // What a description counts has come to rest.
        self.settle();
        let executed = self.session.execute(text, &context);
        let mut out = String::new();
        for answer in &executed.answers {
            match serde_json::to_value(answer) {
                Ok(entity) => out.push_str(&render::entity(&entity)),
                Err(e) => return (e.to_string(), true),
            }
        }
        match executed.error {
            None => (out, false),
            Some(e) => (out + &e.error.render(&e.statement), true),
        }
    }

    fn settle(&self) {
        self.node.wait_until_caught_up(TRIES);
    }

    fn record(&self, line: &str) -> Result<String, String> {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().ok_or_else(|| format!("{line}: topic time key value"));
        let (topic, time, key, value) = (word()?, word()?, word()?, word()?);
        let (value, header) = match value.rsplit_once(' ') {
            Some((value, header)) if header.contains('=') => (value, header.split_once('=')),
            _ => (value, None),
        };
        let bytes = |text: &str| (text != "-").then(|| text.as_bytes().to_vec());
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            header.iter().map(|(k, v)| (k.as_bytes(), Some(v.as_bytes()))).collect();
        let mut batch = BatchBuilder::new(Codec::None);
        let time = time.parse().map_err(|e| format!("{line}: {e}"))?;
        batch.push(time, bytes(key).as_deref(), bytes(value).as_deref(), &headers);
        let broker = self.node.broker();
        let topic = broker.topic(topic).ok_or_else(|| format!("{line}: no such topic"))?;
        let at = TopicPartition { topic: topic.id, partition: 0 };
        let batch = batch.build().map_err(|e| format!("{line}: {e}"))?;
        let appended = broker.append(at, batch, NOW_MS).map_err(|e| format!("{line}: {e:?}"))?;
        broker.wait_durable(appended.ticket).map_err(|e| format!("{line}: {e}"))?;
        let header = header.map_or(String::new(), |(k, v)| format!(", header {k} = {v}"));
        Ok(format!("a client produces to {}: key {key}, value {value}{header}", topic.name))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.node.shut_down();
    }
}

fn names(columns: &[ResultColumn]) -> Vec<String> {
    columns.iter().map(|c| c.name.clone()).collect()
}

fn cells(batch: &arrow::array::RecordBatch) -> Vec<Vec<String>> {
    let row = |row| {
        let mut out = Vec::new();
        write_row(batch, row, &mut out);
        let values: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap_or_default();
        values.iter().map(cell).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

fn rows(answer: QueryAnswer) -> String {
    match answer {
        QueryAnswer::Pull(pull) => {
            let all: Vec<_> = pull.batches.iter().flat_map(cells).collect();
            render::rows(&names(&pull.columns), &all)
        }
        QueryAnswer::Push(push) => {
            let mut out = render::push_head(&names(&push.columns), WIDTH);
            loop {
                match push.rows.recv(Duration::from_secs(10)) {
                    PushEvent::Rows { batch, .. } => {
                        for row in cells(&batch) {
                            let _ = writeln!(out, "{}", render::push_row(&row, WIDTH));
                        }
                    }
                    PushEvent::LimitReached => return out + "Limit reached.\n",
                    PushEvent::Ended { error } => return out + &error.unwrap_or_default(),
                    PushEvent::Idle => return out + "no more came within ten seconds\n",
                }
            }
        }
        QueryAnswer::Print(print) => {
            let mut out = String::new();
            loop {
                match print.lines.recv(Duration::from_secs(10)) {
                    PrintEvent::Line(line) => {
                        let _ = writeln!(out, "{line}");
                    }
                    PrintEvent::Ended => return out,
                    PrintEvent::Idle => return out + "no more came within ten seconds\n",
                }
            }
        }
    }
}
