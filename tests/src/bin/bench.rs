//! `bench nexmark` and `bench log`: how fast a real server is.
//!
//! `cargo run --release -p millstream-tests --bin bench -- nexmark [--events N] [--queries q0,q1]
//! [--json FILE]`
//! `cargo run --release -p millstream-tests --bin bench -- log [--against kafka] [--json FILE]`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use millstream_tests::bench::queries::{QUERIES, Query, by_name};
use millstream_tests::bench::{log, nexmark};
use millstream_tests::node::{build_server, tail};
use serde::Serialize;

/// Measures a real server.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// What an acknowledgement means to `nexmark`: fsync or os.
    #[arg(long, global = true, default_value = "fsync")]
    durability: String,
    /// Also write the results as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Where logs are kept meanwhile.
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Nexmark queries from log to log.
    Nexmark {
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Comma-separated; all unless given.
        #[arg(long, value_delimiter = ',')]
        queries: Vec<String>,
    },
    /// Producing and consuming 1 KB records, in the page cache's durability and in the disk's.
    Log {
        /// Seconds of each load.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// Times each load is repeated (starts five times at least); medians are reported.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Sizes of record batches in KiB, comma-separated: 16 is Kafka's own producer's.
        #[arg(long, value_delimiter = ',', default_values_t = [16, 256])]
        batches: Vec<usize>,
        /// The same loads, in turns, on another broker.
        #[arg(long, value_enum)]
        against: Option<Peer>,
        /// Only these parts: A (page cache), B (disk), start. All unless given.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// Measure this server instead of building one.
        #[arg(long)]
        binary: Option<PathBuf>,
    },
}

/// Another broker to compare with.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// Apache Kafka 4.x from Maven Central; needs Java 17 and Maven.
    Kafka,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    match &args.what {
        What::Nexmark { events, queries } => run_nexmark(args, *events, queries),
        What::Log { seconds, rounds, batches, against, only, binary } => {
            let folder = folder(args)?;
            let options = log::Options {
                binary: binary.clone().map_or_else(build_server, Ok)?,
                folder: folder.path().to_owned(),
                against_kafka: *against == Some(Peer::Kafka),
                seconds: seconds.clamp(0.1, 60.0),
                rounds: (*rounds).clamp(1, 20),
                batch_kib: batches.iter().map(|kib| (*kib).clamp(1, 900)).collect(),
                only: only.clone(),
            };
            let medians = log::summary(&log::run(&options)?);
            print!("{}{}", log::report(&medians), log::ratios(&medians));
            write_json(args, &medians)
        }
    }
}

fn folder(args: &Args) -> Result<tempfile::TempDir, String> {
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("millstream-bench").tempdir_in(parent);
    folder.map_err(|e| format!("a folder: {e}"))
}

fn run_nexmark(args: &Args, events: u64, queries: &[String]) -> Result<(), String> {
    let folder = folder(args)?;
    let setup = nexmark::Setup {
        binary: build_server()?,
        folder: folder.path().to_owned(),
        durability: args.durability.clone(),
        events,
    };
    let log = setup.folder.join("server.log");
    measure_nexmark(args, &setup, queries).map_err(|e| format!("{e}\n{}", tail(&log)))
}

fn measure_nexmark(args: &Args, setup: &nexmark::Setup, queries: &[String]) -> Result<(), String> {
    let chosen: Vec<&Query> = if queries.is_empty() {
        QUERIES.iter().collect()
    } else {
        let named = |name: &String| by_name(name).ok_or(format!("no query {name}"));
        queries.iter().map(named).collect::<Result<_, _>>()?
    };
    println!("Nexmark, {} events: {}", setup.events, nexmark::kinds(setup.events));
    let oracle = nexmark::prepare(setup)?;
    let (mut measured, mut failed) = (Vec::new(), Vec::new());
    for query in chosen {
        match nexmark::run(setup, query, &oracle) {
            Ok(one) => {
                eprint!("{}", nexmark::report(std::slice::from_ref(&one)));
                measured.push(one);
            }
            Err(e) => {
                eprintln!("{}: {e}", query.name);
                eprintln!("{}", tail(&setup.folder.join("server.log")));
                failed.push(query.name);
            }
        }
    }
    print!("{}", nexmark::report(&measured));
    write_json(args, &measured)?;
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("failed: {}", failed.join(", "))),
    }
}

fn write_json<T: Serialize>(args: &Args, measured: &[T]) -> Result<(), String> {
    let text = serde_json::to_string_pretty(measured).map_err(|e| e.to_string())?;
    match &args.json {
        Some(path) => std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display())),
        None => Ok(()),
    }
}
