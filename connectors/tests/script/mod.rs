//! Plays the scripts of the session's tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millstream_connectors::formats::window;
use millstream_connectors::records;
use millstream_connectors::session::json::write_row;
use millstream_connectors::session::{
    Node, NodeConfig, Place, PrintEvent, PushEvent, QueryAnswer, RequestContext, Session,
};
use millstream_engine::io::StartAt;
use millstream_storage::log::batch::{BatchBuilder, Codec};
use millstream_storage::{Clock, Isolation, MemDisk, TopicPartition, WakeKey, Wakes};

/// Looks of five milliseconds until a query must have caught up.
const TRIES: usize = 2_000;

/// Plays the script as written, then once more for each line with a power cut after it.
#[track_caller]
pub(crate) fn check(script: &str) {
    check_once(script);
    for line in 0..lines(script).count() {
        Player::new().play(script, Some(line));
    }
}

/// Plays the script as written.
#[track_caller]
pub(crate) fn check_once(script: &str) {
    Player::new().play(script, None);
}

fn lines(script: &str) -> impl Iterator<Item = &str> {
    script.lines().map(str::trim_end).filter(|line| !line.trim().is_empty())
}

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

struct NoWakes;

impl Wakes for NoWakes {
    fn wake(&self, _key: WakeKey) {}
}

/// Plays the script in a real directory, with RocksDB for the state.
#[track_caller]
pub(crate) fn check_in_directory(script: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut player = Player { directory: Some(directory), ..Player::closed() };
    player.open();
    player.play(script, None);
}

struct Player {
    disk: Arc<MemDisk>,
    /// Used instead of `disk` if there is one.
    directory: Option<tempfile::TempDir>,
    node: Option<Arc<Node>>,
    session: Option<Session>,
    /// What SET says; a new session after a restart is told again.
    properties: BTreeMap<String, String>,
    /// How much of each topic `out` has seen.
    seen: BTreeMap<String, usize>,
    crashes: u64,
}

impl Player {
    fn new() -> Player {
        let mut player = Player::closed();
        player.open();
        player
    }

    fn closed() -> Player {
        Player {
            disk: Arc::new(MemDisk::new()),
            directory: None,
            node: None,
            session: None,
            properties: BTreeMap::new(),
            seen: BTreeMap::new(),
            crashes: 0,
        }
    }

    fn open(&mut self) {
        let config = NodeConfig {
            auto_offset_reset: StartAt::Latest,
            consolidate: false,
            // Preallocated files take memory or time here.
            journal_file_bytes: 1 << 20,
            ..NodeConfig::default()
        };
        let clock = Arc::new(TestClock(AtomicI64::new(1_000_000 * (self.crashes as i64 + 1))));
        let place = match &self.directory {
            Some(directory) => Place::Directory(directory.path().join("node")),
            None => Place::Disk(self.disk.clone()),
        };
        // The threads of a node that was only dropped may hold the directory a little longer.
        let node = (0..TRIES).find_map(|_| {
            let node = Node::open_in(place.clone(), config.clone(), clock.clone(), Arc::new(NoWakes));
            match node {
                Err(e) if self.directory.is_some() && is_busy(&e.to_string()) => {
                    std::thread::sleep(Duration::from_millis(5));
                    None
                }
                opened => Some(opened.expect("the node opens")),
            }
        });
        let node = node.expect("the directory becomes free");
        self.session = Some(node.session());
        self.node = Some(node);
    }

    fn node(&self) -> &Arc<Node> {
        self.node.as_ref().expect("open")
    }

    fn restart(&mut self) {
        self.session = None;
        self.node().shut_down();
        self.node = None;
        self.disk = Arc::new(self.disk.kill());
        self.open();
    }

    fn crash(&mut self) {
        self.crashes += 1;
        let after = Arc::new(self.disk.crash(self.crashes * 7919));
        self.session = None;
        self.node = None;
        self.disk = after;
        self.open();
    }

    #[track_caller]
    fn play(&mut self, script: &str, crash_after: Option<usize>) {
        let all: Vec<&str> = lines(script).collect();
        let margin = all.first().map_or(0, |line| line.len() - line.trim_start().len());
        let mut at = 0;
        while at < all.len() {
            let begun = at;
            let line = all[at].trim();
            at += 1;
            let indented = |line: &&&str| line.len() - line.trim_start().len() > margin;
            let expected: Vec<&str> = all[at..].iter().take_while(indented).map(|l| l.trim()).collect();
            at += expected.len();
            self.step(line, &expected, crash_after);
            if crash_after.is_some_and(|after| (begun..at).contains(&after)) {
                self.crash();
            }
        }
        self.session = None;
        self.node().shut_down();
    }

    #[track_caller]
    fn step(&mut self, line: &str, expected: &[&str], crash_after: Option<usize>) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let context = format!("{line} (power cut after line {crash_after:?})");
        match word {
            ">" => self.statement(rest, &context),
            "!" => {
                let (kind, text) = rest.split_once(' ').expect("a kind and a statement");
                let error = self.refused(text);
                assert_eq!(error.as_deref(), Some(kind), "{context}");
            }
            "in" => self.produce(rest),
            "out" => {
                let got = self.consume(rest);
                assert_eq!(got, expected, "{context}\n{}", self.queries());
            }
            "logged" => {
                let (count, text) = rest.split_once(' ').expect("a count and a text");
                let got = self.consume("default_ksql_processing_log");
                assert_eq!(got.len().to_string(), count, "{context}: {got:?}");
                assert!(got.iter().all(|line| line.contains(text)), "{context}: {got:?}");
            }
            "pull" => assert_eq!(self.pull(rest), expected, "{context}"),
            "push" => assert_eq!(self.push(rest), expected, "{context}"),
            "delete" => self.delete(rest),
            "state" => {
                let (id, want) = rest.split_once(' ').expect("an id and a state");
                let has = |player: &Player| {
                    let states = player.node().query_metrics();
                    states.iter().any(|(query, state, ..)| query == id && state == want)
                };
                let looks = (0..TRIES).any(|_| {
                    std::thread::sleep(Duration::from_millis(1));
                    has(self)
                });
                assert!(looks, "{context}\n{}", self.queries());
            }
            "says" => {
                let (text, statement) = rest.split_once(" < ").expect("a text and a statement");
                let got = self.answer(statement);
                assert!(got.contains(text), "{context}\n{got}");
            }
            "print" => assert_eq!(self.print(rest), expected, "{context}"),
            "restart" => self.restart(),
            "crash" => self.crash(),
            other => panic!("no such line: {other}"),
        }
    }

    fn context(&self) -> RequestContext {
        RequestContext { properties: self.properties.clone(), ..RequestContext::default() }
    }

    #[track_caller]
    fn statement(&mut self, text: &str, context: &str) {
        if let Some(rest) = text.strip_prefix("SET ") {
            let (name, value) = rest.trim_end_matches(';').split_once('=').expect("a setting");
            let bare = |text: &str| text.trim().trim_matches('\'').to_owned();
            self.properties.insert(bare(name), bare(value));
        }
        let ctx = self.context();
        let executed = self.session.as_mut().expect("open").execute(text, &ctx);
        if let Some(e) = executed.error {
            panic!("{context}\n{}", e.error.render(&e.statement));
        }
    }

    /// The answers to a statement as clients get them.
    fn answer(&mut self, text: &str) -> String {
        let ctx = self.context();
        let executed = self.session.as_mut().expect("open").execute(text, &ctx);
        if let Some(e) = executed.error {
            panic!("{}", e.error.render(&e.statement));
        }
        serde_json::to_string(&executed.answers).expect("answers are plain data")
    }

    /// Deletes a topic as a Kafka client would.
    fn delete(&mut self, topic: &str) {
        let broker = self.node().broker();
        if let Some(topic) = broker.topic(topic) {
            let ticket = broker.delete_topic(topic.id).expect("deleted");
            broker.wait_durable(ticket).expect("durable");
        }
    }

    /// How the queries fare, for a test that failed.
    fn queries(&mut self) -> String {
        let ctx = self.context();
        let executed = self.session.as_mut().expect("open").execute("SHOW QUERIES EXTENDED;", &ctx);
        let answers: String = executed.answers.iter().map(|a| format!("{:#?}", a.entity)).collect();
        format!("{answers}\n{:?}\n{:?}", self.node().query_metrics(), self.node().metrics())
    }

    fn refused(&mut self, text: &str) -> Option<String> {
        let ctx = self.context();
        let session = self.session.as_mut().expect("open");
        let error = if text.starts_with("SELECT") || text.starts_with("PRINT") {
            session.query(text, &ctx).err()
        } else {
            session.execute(text, &ctx).error
        };
        error.map(|e| e.error.kind.to_string())
    }

    /// `topic time key value [header=value]`; a key `#7` is an INT, `-` is null.
    fn produce(&mut self, line: &str) {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().expect("topic time key value");
        let (topic, time, key, value) = (word(), word(), word(), word());
        let (value, header) = match value.rsplit_once(' ') {
            Some((value, header)) if header.contains('=') => (value, header.split_once('=')),
            _ => (value, None),
        };
        let key = match key {
            "-" => None,
            _ => Some(match key.strip_prefix('#') {
                Some(number) => number.parse::<i32>().expect("an INT").to_be_bytes().to_vec(),
                None => key.as_bytes().to_vec(),
            }),
        };
        let value = (value != "-").then_some(value.as_bytes());
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            header.iter().map(|(k, v)| (k.as_bytes(), Some(v.as_bytes()))).collect();
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(time.parse().expect("a time"), key.as_deref(), value, &headers);
        let broker = self.node().broker();
        let topic = broker.topic(topic).expect("the topic is there");
        let at = TopicPartition { topic: topic.id, partition: 0 };
        let appended = broker.append(at, batch.build().expect("a batch"), 0).expect("taken");
        broker.wait_durable(appended.ticket).expect("durable");
    }

    /// What has come into a topic since the last look, partition by partition.
    fn consume(&mut self, topic: &str) -> Vec<String> {
        assert!(self.node().wait_until_caught_up(TRIES), "queries do not catch up");
        let broker = self.node().broker();
        let found = broker.topic(topic).expect("the topic is there");
        let mut all = Vec::new();
        for partition in 0..found.partition_count() {
            let at = TopicPartition { topic: found.id, partition };
            let mut offset = broker.log_start(at).expect("there");
            loop {
                let read = broker.read(at, offset, 1 << 20, Isolation::ReadCommitted).expect("readable");
                let chunk = records::chunk(&read.records, offset, |_| false).expect("good batches");
                for record in &chunk.records {
                    let block = &chunk.blocks[record.block as usize];
                    let key = shown(record.key.of(block));
                    let value = shown(record.value.of(block));
                    let headers: String = record.headers.iter().flat_map(|h| &h.0).map(header).collect();
                    all.push(format!("{} {key} {value}{headers}", record.timestamp));
                }
                if read.next_offset == offset {
                    break;
                }
                offset = read.next_offset;
            }
        }
        let seen = self.seen.entry(topic.to_owned()).or_default();
        let new = all.split_off((*seen).min(all.len()));
        *seen += new.len();
        new
    }

    fn pull(&mut self, text: &str) -> Vec<String> {
        assert!(self.node().wait_until_caught_up(TRIES), "queries do not catch up");
        let ctx = self.context();
        match self.session.as_mut().expect("open").query(text, &ctx) {
            Ok(QueryAnswer::Pull(rows)) => rows.batches.iter().flat_map(|b| rows_of(b)).collect(),
            Ok(_) => panic!("not a pull query: {text}"),
            Err(e) => panic!("{}", e.error.render(&e.statement)),
        }
    }

    fn push(&mut self, line: &str) -> Vec<String> {
        let (reset, text) = line.split_once(' ').expect("where to start, and a query");
        let mut ctx = self.context();
        ctx.properties.insert("auto.offset.reset".to_owned(), reset.to_owned());
        let rows = match self.session.as_mut().expect("open").query(text, &ctx) {
            Ok(QueryAnswer::Push(rows)) => rows,
            Ok(_) => panic!("not a push query: {text}"),
            Err(e) => panic!("{}", e.error.render(&e.statement)),
        };
        let mut got = Vec::new();
        loop {
            match rows.rows.recv(Duration::from_secs(10)) {
                PushEvent::Rows { batch, .. } => got.extend(rows_of(&batch)),
                PushEvent::LimitReached => return got,
                other => panic!("{other:?} after {got:?}"),
            }
        }
    }
}

impl Player {
    fn print(&mut self, text: &str) -> Vec<String> {
        let ctx = self.context();
        let answer = self.session.as_mut().expect("open").query(text, &ctx);
        let Ok(QueryAnswer::Print(lines)) = answer else { panic!("not a PRINT: {text}") };
        let mut got = Vec::new();
        loop {
            match lines.lines.recv(Duration::from_secs(10)) {
                PrintEvent::Line(line) => got.push(line),
                PrintEvent::Ended => return got,
                PrintEvent::Idle => panic!("no end after {got:?}"),
            }
        }
    }
}

fn rows_of(batch: &arrow::array::RecordBatch) -> Vec<String> {
    let row = |row| {
        let mut out = Vec::new();
        write_row(batch, row, &mut out);
        String::from_utf8(out).expect("JSON")
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Whether the directory, or the state inside, still belongs to somebody.
fn is_busy(error: &str) -> bool {
    error.contains("in use") || error.contains("lock hold by current process")
}

fn header((name, value): &(String, Option<Vec<u8>>)) -> String {
    format!(" {name}={}", String::from_utf8_lossy(value.as_deref().unwrap_or_default()))
}

/// Text as it is; `#7` for four bytes that are none; a window behind a key as `key@start`.
fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "-".to_owned() };
    let readable = |text: &&str| text.chars().all(|c| !c.is_control());
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(readable) {
        return text.to_owned();
    }
    if let Ok(number) = <[u8; 4]>::try_from(bytes) {
        return format!("#{}", i32::from_be_bytes(number));
    }
    let kind = millstream_sql::catalog::KeyWindow::Time { size_ms: 0, hopping: false };
    match window::split(bytes, kind) {
        Ok((key, (start, _))) => format!("{}@{start}", String::from_utf8_lossy(key)),
        Err(_) => format!("{bytes:?}"),
    }
}
