//! PRINT: the records of a topic as lines of text, as they come.
//!
//! The formats of key and value are guessed from the first records: JSON, else readable text (KAFKA
//! STRING), else four or eight bytes (KAFKA INT or BIGINT), else bytes in hexadecimal. The receiver
//! reads the log itself, when it is asked for a line; nothing runs in between.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_storage::{Broker, Isolation, TopicPartition};
use parking_lot::Mutex;

use super::Cancel;
use crate::records;

const READ_BYTES: usize = 256 << 10;
/// How often an idle PRINT looks for new records.
const LOOK: Duration = Duration::from_millis(20);

pub struct PrintLines {
    pub lines: LineReceiver,
    pub cancel: Cancel,
}

pub struct LineReceiver {
    state: Mutex<Printer>,
    cancel: Cancel,
}

/// What a PRINT has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrintEvent {
    Line(String),
    /// Nothing came within the time given.
    Idle,
    Ended,
}

struct Printer {
    broker: Arc<Broker>,
    /// Partitions and their next offsets.
    places: Vec<(TopicPartition, i64)>,
    waiting: VecDeque<String>,
    interval: u64,
    seen: u64,
    limit: u64,
    formats: Option<(Guess, Guess)>,
}

impl LineReceiver {
    /// The next line; blocks for at most `timeout`.
    pub fn recv(&self, timeout: Duration) -> PrintEvent {
        let mut state = self.state.lock();
        let mut waited = Duration::ZERO;
        loop {
            if let Some(line) = state.waiting.pop_front() {
                return PrintEvent::Line(line);
            }
            if self.cancel.is_cancelled() || state.limit == 0 || !state.read() {
                return state.waiting.pop_front().map_or(PrintEvent::Ended, PrintEvent::Line);
            }
            if state.waiting.is_empty() {
                if waited >= timeout {
                    return PrintEvent::Idle;
                }
                std::thread::sleep(LOOK);
                waited += LOOK;
            }
        }
    }
}

/// Starts a PRINT.
///
/// # Errors
/// When there is no such topic.
pub(super) fn print(
    broker: &Arc<Broker>,
    topic: &str,
    from_beginning: bool,
    interval: Option<u64>,
    limit: Option<u64>,
) -> Result<PrintLines> {
    let found = broker.topic(topic).ok_or_else(|| {
        let message = format!("there is no topic {topic}");
        let all = broker.topics();
        let remedy = match all.iter().find(|t| t.name.eq_ignore_ascii_case(topic)) {
            Some(other) => format!("Did you mean {}? Names of topics have a case.", other.name),
            None => "SHOW TOPICS lists them.".to_owned(),
        };
        SqlError::new(ErrorKind::UnknownTopic, message, remedy)
    })?;
    let start = |partition| {
        let at = TopicPartition { topic: found.id, partition };
        let offset = if from_beginning { broker.log_start(at) } else { broker.last_stable(at) };
        (at, offset.unwrap_or(0))
    };
    let cancel = Cancel::default();
    let state = Mutex::new(Printer {
        broker: broker.clone(),
        places: (0..found.partition_count()).map(start).collect(),
        waiting: VecDeque::new(),
        interval: interval.unwrap_or(1).max(1),
        seen: 0,
        limit: limit.unwrap_or(u64::MAX),
        formats: None,
    });
    Ok(PrintLines { lines: LineReceiver { state, cancel: cancel.clone() }, cancel })
}

impl Printer {
    /// Reads what is there now. False when the topic is gone.
    fn read(&mut self) -> bool {
        for place in 0..self.places.len() {
            let (at, offset) = self.places[place];
            let read = self.broker.read(at, offset, READ_BYTES, Isolation::ReadCommitted);
            let Ok(read) = read else { return false };
            let skip = |header: &_| read.is_aborted(header);
            let Ok(chunk) = records::chunk(&read.records, offset, skip) else { return false };
            self.places[place].1 = read.next_offset.max(offset);
            for record in &chunk.records {
                let block = &chunk.blocks[record.block as usize];
                let (key, value) = (record.key.of(block), record.value.of(block));
                self.line(at.partition, record.timestamp, key, value);
            }
        }
        true
    }

    fn line(&mut self, partition: i32, time: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.seen += 1;
        if self.limit == 0 || !(self.seen - 1).is_multiple_of(self.interval) {
            return;
        }
        self.limit -= 1;
        // What is NULL says nothing about a format: the one seen before stays.
        let before = self.formats.unwrap_or((Guess::Null, Guess::Null));
        let guess = |bytes: Option<&[u8]>, before| match Guess::of(bytes) {
            Guess::Null => before,
            guess => guess,
        };
        let formats = (guess(key, before.0), guess(value, before.1));
        if self.formats != Some(formats) {
            self.formats = Some(formats);
            self.waiting.push_back(format!("Key format: {}", formats.0.name()));
            self.waiting.push_back(format!("Value format: {}", formats.1.name()));
        }
        let time = DateTime::from_timestamp_millis(time)
            .map_or_else(|| time.to_string(), |t| t.format("%Y/%m/%d %H:%M:%S%.3f Z").to_string());
        let (key, value) = (formats.0.text(key), formats.1.text(value));
        self.waiting.push_back(format!(
            "rowtime: {time}, key: {key}, value: {value}, partition: {partition}"
        ));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    Null,
    Json,
    Text,
    Int,
    Bigint,
    /// Text, then the start of a window of a size that the bytes do not say.
    TimeWindow,
    /// Text, then the end and the start of a session.
    SessionWindow,
    Bytes,
}

/// What a window bound may be for the guess to be made: up to the year 9999.
const BOUND_MAX: i64 = 253_402_300_799_999;

/// Splits a windowed key into its text and its `bounds` bounds, if it may be one.
fn windowed(bytes: &[u8], bounds: usize) -> Option<(&str, Vec<i64>)> {
    let (text, tail) = bytes.split_at_checked(bytes.len().checked_sub(8 * bounds)?)?;
    let text = std::str::from_utf8(text).ok()?;
    let bounds: Vec<i64> =
        tail.as_chunks::<8>().0.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect();
    let plausible = !text.is_empty()
        && text.chars().all(is_readable)
        && bounds.iter().all(|bound| (0..=BOUND_MAX).contains(bound))
        && bounds.is_sorted_by(|end, start| end >= start);
    plausible.then_some((text, bounds))
}

fn is_readable(c: char) -> bool {
    !c.is_control() || c.is_whitespace()
}

impl Guess {
    fn of(bytes: Option<&[u8]>) -> Guess {
        let Some(bytes) = bytes else { return Guess::Null };
        match std::str::from_utf8(bytes) {
            Ok(text) if matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'[')) => {
                match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                    Ok(_) => Guess::Json,
                    Err(_) => Guess::Text,
                }
            }
            Ok(text) if text.chars().all(is_readable) => Guess::Text,
            _ if bytes.len() == 4 => Guess::Int,
            _ if bytes.len() == 8 => Guess::Bigint,
            // Bounds begin with a zero byte, so the longer tail is tried first.
            _ if windowed(bytes, 2).is_some() => Guess::SessionWindow,
            _ if windowed(bytes, 1).is_some() => Guess::TimeWindow,
            _ => Guess::Bytes,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Guess::Null => "¯\\_(ツ)_/¯ - no data processed",
            Guess::Json => "JSON or KAFKA_STRING",
            Guess::Text => "KAFKA_STRING",
            Guess::Int => "KAFKA_INT",
            Guess::Bigint => "KAFKA_BIGINT or KAFKA_DOUBLE",
            Guess::TimeWindow => "HOPPING(KAFKA_STRING) or TUMBLING(KAFKA_STRING)",
            Guess::SessionWindow => "SESSION(KAFKA_STRING)",
            Guess::Bytes => "unrecognised bytes",
        }
    }

    fn text(self, bytes: Option<&[u8]>) -> String {
        let Some(bytes) = bytes else { return "<null>".to_owned() };
        match (self, windowed(bytes, 1), windowed(bytes, 2)) {
            (Guess::TimeWindow, Some((key, bounds)), _) => return format!("[{key}@{}/-]", bounds[0]),
            (Guess::SessionWindow, _, Some((key, bounds))) => {
                return format!("[{key}@{}/{}]", bounds[1], bounds[0]);
            }
            _ => {}
        }
        match (self, <[u8; 4]>::try_from(bytes), <[u8; 8]>::try_from(bytes)) {
            (Guess::Int, Ok(bytes), _) => i32::from_be_bytes(bytes).to_string(),
            (Guess::Bigint, _, Ok(bytes)) => i64::from_be_bytes(bytes).to_string(),
            (Guess::Bytes, ..) => bytes.iter().fold(String::from("0x"), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_guessed() {
        let check = |bytes: &[u8], guess: Guess, text: &str| {
            assert_eq!(Guess::of(Some(bytes)), guess);
            assert_eq!(guess.text(Some(bytes)), text);
        };
        check(br#"{"a":1}"#, Guess::Json, r#"{"a":1}"#);
        check(b"{a", Guess::Text, "{a");
        check(b"hello", Guess::Text, "hello");
        check(&[0, 0, 0, 7], Guess::Int, "7");
        check(&[0, 0, 0, 0, 0, 0, 0, 7], Guess::Bigint, "7");
        check(&[0xff, 1], Guess::Bytes, "0xff01");
        check(b"a\0\0\0\0\0\0\x27\x10", Guess::TimeWindow, "[a@10000/-]");
        let session = b"a\0\0\0\0\0\0\x27\x10\0\0\0\0\0\0\x03\xe8";
        check(session, Guess::SessionWindow, "[a@1000/10000]");
        assert_eq!(Guess::of(None).text(None), "<null>");
    }
}
