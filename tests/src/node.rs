//! A real `millstream server` as a child process: built, started, watched, killed.
//!
//! The binary is the one that Cargo builds with the profile and features of the harness itself, so
//! that `cargo run --bin crash` from a clean clone needs no second command.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the server beside this program and says where it is.
///
/// # Errors
/// When Cargo fails, or there is neither Cargo nor a binary.
pub fn build_server() -> Result<PathBuf, String> {
    let me = std::env::current_exe().map_err(|e| format!("own path: {e}"))?;
    let folder = me.parent().ok_or("own path has no folder")?;
    let binary = folder.join("millstream");
    // Set by `cargo run`; a harness started by hand uses what is there.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        // Both packages, so that their dependencies get the same features as in the harness.
        command.args(["build", "-q", "-p", "millstream-tests", "-p", "millstream"]);
        command.args(["--bin", "millstream"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let faults = [
            (cfg!(feature = "fault-skip-sync"), "millstream-tests/fault-skip-sync"),
            (cfg!(feature = "fault-double-apply"), "millstream-tests/fault-double-apply"),
        ];
        for (_, feature) in faults.iter().filter(|(on, _)| *on) {
            command.args(["--features", feature]);
        }
        let status = command.status().map_err(|e| format!("cargo: {e}"))?;
        if !status.success() {
            return Err(format!("cargo build ended with {status}"));
        }
    }
    if binary.exists() { Ok(binary) } else { Err(format!("{} is missing", binary.display())) }
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub binary: PathBuf,
    pub data_dir: PathBuf,
    /// `fsync` or `os`.
    pub durability: String,
    /// Rows an epoch takes of a backlog; the server's default unless given.
    pub epoch_rows: Option<u32>,
    /// Standard error goes to this file, appended.
    pub log: PathBuf,
}

/// A running server. Killed when dropped.
pub struct Node {
    child: Child,
    pub kafka: String,
    pub http: String,
}

/// What the operating system knows of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time in its own code since its start, in steps of 10 ms.
    pub user: Duration,
    /// Time in the kernel on its behalf since its start, in steps of 10 ms.
    pub system: Duration,
    pub peak_rss_bytes: u64,
    pub rss_bytes: u64,
}

impl Node {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time; says what it wrote last.
    pub fn start(options: &NodeOptions) -> Result<Node, String> {
        let mut node = Node::spawn(options)?;
        node.wait_until_ready()?;
        Ok(node)
    }

    /// Starts a server and does not wait for it.
    ///
    /// # Errors
    /// When the process cannot be made.
    pub fn spawn(options: &NodeOptions) -> Result<Node, String> {
        let (kafka, http) = (free_address()?, free_address()?);
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&options.log);
        let log = open.map_err(|e| format!("{}: {e}", options.log.display()))?;
        let epoch_rows = options.epoch_rows.map(|rows| format!("--epoch-rows={rows}"));
        let child = Command::new(&options.binary)
            .arg("server")
            .args(epoch_rows)
            .arg("--data-dir")
            .arg(&options.data_dir)
            .args(["--kafka", &kafka, "--http", &http, "--durability", &options.durability])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(|e| format!("{}: {e}", options.binary.display()))?;
        Ok(Node { child, kafka, http })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended with {status}"));
            }
            let answer = self.get("/healthcheck");
            if answer.as_ref().is_ok_and(|a| a.status == 200) {
                return Ok(());
            }
            if begin.elapsed() > START_TIMEOUT {
                return Err(format!("the server does not answer: {answer:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn get(&self, path: &str) -> Result<http::Answer, String> {
        http::request(&self.http, "GET", path, "*/*", "", REQUEST_TIMEOUT)
    }

    /// Runs statements through `/ksql`.
    ///
    /// # Errors
    /// When one is refused; the answer's text.
    pub fn ksql(&self, statements: &str) -> Result<String, String> {
        let properties = serde_json::json!({"ksql.streams.auto.offset.reset": "earliest"});
        let body = serde_json::json!({"ksql": statements, "streamsProperties": properties});
        let accept = "application/vnd.ksql.v1+json";
        let answer =
            http::request(&self.http, "POST", "/ksql", accept, &body.to_string(), REQUEST_TIMEOUT)?;
        if answer.status == 200 { Ok(answer.body) } else { Err(answer.body) }
    }

    /// The rows of a pull query, each a JSON array, through `/query-stream`.
    ///
    /// # Errors
    /// When it is refused, or the answer is not what the protocol says.
    pub fn pull(&self, sql: &str) -> Result<Vec<Vec<serde_json::Value>>, String> {
        let body = serde_json::json!({"sql": sql, "properties": {}}).to_string();
        let accept = "application/vnd.ksqlapi.delimited.v1";
        let answer =
            http::request(&self.http, "POST", "/query-stream", accept, &body, REQUEST_TIMEOUT)?;
        if answer.status != 200 {
            return Err(answer.body);
        }
        let lines = answer.body.lines().filter(|l| l.starts_with('['));
        lines.map(|line| serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))).collect()
    }

    /// The plain numbers of `/metrics`, labels left in the names.
    pub fn metrics(&self) -> Result<Vec<(String, f64)>, String> {
        let body = self.get("/metrics")?.body;
        let lines = body.lines().filter(|l| !l.starts_with('#'));
        let parsed = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(parsed.collect())
    }

    pub fn usage(&self) -> Usage {
        usage_of(self.child.id())
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        // It may have ended by itself; then the next start shows why.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    /// When it does not end, or not cleanly.
    pub fn stop(mut self) -> Result<(), String> {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.ok_or("no process id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .map_err(|e| format!("SIGTERM: {e}"))?;
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the server ended with {status}")),
                Ok(None) if begin.elapsed() < START_TIMEOUT => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) => return Err("the server does not stop on SIGTERM".into()),
                Err(e) => return Err(format!("waiting for the server: {e}")),
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// CPU time and memory of a process from `/proc`; zeros when it is gone.
pub fn usage_of(pid: u32) -> Usage {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let mut usage = Usage::default();
    for line in read("status").unwrap_or_default().lines() {
        let kib = || line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
        if line.starts_with("VmHWM:") {
            usage.peak_rss_bytes = kib().unwrap_or(0) * 1024;
        } else if line.starts_with("VmRSS:") {
            usage.rss_bytes = kib().unwrap_or(0) * 1024;
        }
    }
    // Fields 14 and 15, counted behind the name in brackets, in ticks of 10 ms.
    let stat = read("stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    usage.user = Duration::from_millis(ticks(11) * 10);
    usage.system = Duration::from_millis(ticks(12) * 10);
    usage
}

impl Usage {
    /// User and system time since its start.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// An address on the loopback that nobody listens on right now.
pub fn free_address() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("a free port: {e}"))?;
    let address = listener.local_addr().map_err(|e| format!("a free port: {e}"))?;
    Ok(address.to_string())
}

/// The end of a log file.
pub fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(10)..].join("\n");
    format!("{} ends with:\n{last}", path.display())
}
