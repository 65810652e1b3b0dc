//! What is measured: our server, or Apache Kafka in a process of its own.
//!
//! Kafka comes from Maven Central through `tests/suites/java/kafka-broker.sh`, with its defaults and
//! the collector settings of its own start script.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::load::ready_batch;
use super::raw::{connect, produce_frame};
use crate::node::{Node, NodeOptions, Usage, free_address, usage_of};

const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const FETCH_TIMEOUT: Duration = Duration::from_secs(600);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// `UNKNOWN_TOPIC_OR_PARTITION`.
const UNKNOWN_TOPIC: i16 = 3;

/// Codes of a topic that is being made: unknown, without a leader, not led here yet.
pub fn is_passing(code: i16) -> bool {
    matches!(code, UNKNOWN_TOPIC | 5 | 6)
}

/// What to do when Kafka cannot run.
const NO_JAVA: &str = "Kafka needs Java 17 and Maven on the PATH (Debian: apt-get install \
                       openjdk-17-jre-headless maven); without them leave out --against kafka";

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/java/kafka-broker.sh")
}

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Millstream,
    Kafka,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Millstream => "millstream",
            Kind::Kafka => "kafka",
        }
    }
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct How {
    pub kind: Kind,
    /// Our server.
    pub binary: PathBuf,
    pub folder: PathBuf,
    /// Ours: `fsync` or `os`.
    pub durability: &'static str,
}

/// A running broker. Killed when dropped.
pub enum Broker {
    Millstream(Node),
    Kafka(KafkaProcess),
}

/// Kafka's process. Killed when dropped.
pub struct KafkaProcess {
    child: Child,
    address: String,
}

impl Drop for KafkaProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gets Kafka, if it is not there yet.
///
/// # Errors
/// Without Java or Maven, or when it cannot be fetched.
pub fn fetch_kafka() -> Result<(), String> {
    for (program, flag) in [("java", "-version"), ("mvn", "--version")] {
        let mut command = Command::new(program);
        let command = command.arg(flag).stdin(Stdio::null());
        let ran = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !ran.is_ok_and(|status| status.success()) {
            return Err(format!("{program} cannot be run. {NO_JAVA}"));
        }
    }
    let mut child = Command::new(script())
        .arg("--classpath")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("{}: {e}", script().display()))?;
    match wait(&mut child, FETCH_TIMEOUT) {
        Some(status) if status.success() => Ok(()),
        ended => {
            let _ = child.kill();
            Err(format!("Kafka could not be fetched from Maven Central ({ended:?})"))
        }
    }
}

impl Broker {
    /// Starts a broker and waits until it answers a Produce for `topic`, partition 0: with a record
    /// taken if `taken`, else with anything. Gives the time that took.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(how: &How, topic: &str, taken: bool) -> Result<(Broker, Duration), String> {
        let frame = produce_frame(topic, 0, ready_batch(1)?)?;
        let begin = Instant::now();
        let mut broker = match how.kind {
            Kind::Millstream => Broker::Millstream(Node::spawn(&NodeOptions {
                binary: how.binary.clone(),
                data_dir: how.folder.join("millstream"),
                durability: how.durability.to_owned(),
                epoch_rows: None,
                log: how.folder.join("server.log"),
            })?),
            Kind::Kafka => Broker::Kafka(start_kafka(how)?),
        };
        loop {
            let failed = match take_one(broker.address(), &frame) {
                Ok(Ok(())) => return Ok((broker, begin.elapsed())),
                Ok(Err(UNKNOWN_TOPIC)) if !taken => return Ok((broker, begin.elapsed())),
                Ok(Err(code)) => format!("Kafka error {code}"),
                Err(e) => e,
            };
            if let Some(status) = broker.ended() {
                return Err(format!("{} ended with {status}", how.kind.name()));
            }
            if begin.elapsed() > START_TIMEOUT {
                return Err(format!("{} takes no record: {failed}", how.kind.name()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn address(&self) -> &str {
        match self {
            Broker::Millstream(node) => &node.kafka,
            Broker::Kafka(kafka) => &kafka.address,
        }
    }

    pub fn usage(&self) -> Usage {
        match self {
            Broker::Millstream(node) => node.usage(),
            Broker::Kafka(kafka) => usage_of(kafka.child.id()),
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Broker::Millstream(node) => node.ended(),
            Broker::Kafka(kafka) => kafka.child.try_wait().ok().flatten(),
        }
    }

    /// A clean stop.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(self) -> Result<(), String> {
        let mut kafka = match self {
            Broker::Millstream(node) => return node.stop(),
            Broker::Kafka(kafka) => kafka,
        };
        let id = i32::try_from(kafka.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.ok_or("no process id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .map_err(|e| format!("SIGTERM: {e}"))?;
        // Java ends with 143 when it was asked to.
        match wait(&mut kafka.child, STOP_TIMEOUT) {
            Some(_) => Ok(()),
            None => Err("Kafka does not stop on SIGTERM".into()),
        }
    }
}

fn start_kafka(how: &How) -> Result<KafkaProcess, String> {
    let (address, controller) = (free_address()?, free_address()?);
    let log = how.folder.join("kafka.log");
    let open = std::fs::OpenOptions::new().create(true).append(true).open(&log);
    let log = open.map_err(|e| format!("{}: {e}", log.display()))?;
    let both = log.try_clone().map_err(|e| e.to_string())?;
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let child = Command::new(script())
        .args([port(&address), port(&controller)])
        .arg(how.folder.join("kafka"))
        .stdin(Stdio::null())
        .stdout(Stdio::from(log))
        .stderr(Stdio::from(both))
        .spawn()
        .map_err(|e| format!("{}: {e}", script().display()))?;
    Ok(KafkaProcess { child, address })
}

/// One produce, for better or worse.
pub fn take_one(address: &str, frame: &[u8]) -> Result<Result<(), i16>, String> {
    let (mut sender, mut receiver) = connect(address, ANSWER_TIMEOUT)?;
    sender.send(frame)?;
    Ok(receiver.acked()?.map(drop))
}

fn wait(child: &mut Child, at_most: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < at_most {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
