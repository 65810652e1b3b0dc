//! `bench nexmark` and `bench log`: how fast a real server is.
//!
//! `cargo run --release -p millstream-tests --bin bench -- nexmark [--events N] [--queries q0,q1]
//! [--json FILE]`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millstream_tests::bench::queries::{QUERIES, Query, by_name};
use millstream_tests::bench::{log, nexmark};
use millstream_tests::node::{build_server, tail};
use serde::Serialize;

/// Measures a real server.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// What an acknowledgement means: fsync or os.
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
    /// Producing and consuming 1 KB records.
    Log {
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
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
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("millstream-bench").tempdir_in(parent);
    let folder = folder.map_err(|e| format!("a folder: {e}"))?;
    let mut setup = nexmark::Setup {
        binary: build_server()?,
        folder: folder.path().to_owned(),
        durability: args.durability.clone(),
        events: 0,
    };
    let log = setup.folder.join("server.log");
    measure(args, &mut setup).map_err(|e| format!("{e}\n{}", tail(&log)))
}

fn measure(args: &Args, setup: &mut nexmark::Setup) -> Result<(), String> {
    match &args.what {
        What::Nexmark { events, queries } => {
            setup.events = *events;
            let chosen: Vec<&Query> = if queries.is_empty() {
                QUERIES.iter().collect()
            } else {
                let named = |name: &String| by_name(name).ok_or(format!("no query {name}"));
                queries.iter().map(named).collect::<Result<_, _>>()?
            };
            println!("Nexmark, {events} events: {}", nexmark::kinds(*events));
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
            if !failed.is_empty() {
                return Err(format!("failed: {}", failed.join(", ")));
            }
        }
        What::Log { seconds } => {
            let measured = log::run(setup, *seconds)?;
            print!("{}", log::report(&measured));
            write_json(args, &measured)?;
        }
    }
    Ok(())
}

fn write_json<T: Serialize>(args: &Args, measured: &[T]) -> Result<(), String> {
    let text = serde_json::to_string_pretty(measured).map_err(|e| e.to_string())?;
    match &args.json {
        Some(path) => std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display())),
        None => Ok(()),
    }
}
