//! `crash --cycles N [--seed S]`: kills a real server under load and checks that it is never wrong.
//!
//! `cargo run --release -p millstream-tests --bin crash -- --cycles 100`

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use millstream_tests::crash::{Plan, run};
use millstream_tests::node::{build_server, tail};

/// Kills a server again and again and compares it with an oracle.
#[derive(Parser)]
struct Args {
    /// How often the server is killed.
    #[arg(long, default_value_t = 100)]
    cycles: u32,
    /// Decides all that is random; drawn and printed unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// What an acknowledgement means: fsync or os.
    #[arg(long, default_value = "fsync")]
    durability: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let done = build_server().and_then(|binary| {
        let folder = tempfile::Builder::new().prefix("millstream-crash").tempdir();
        let folder = folder.map_err(|e| format!("a folder: {e}"))?;
        let plan = Plan {
            binary,
            data_dir: folder.path().join("data"),
            log: folder.path().join("server.log"),
            durability: args.durability.clone(),
            cycles: args.cycles,
            seed,
        };
        let begin = Instant::now();
        let result = run(&plan, |cycle, summary| {
            if (cycle + 1) % 10 == 0 {
                println!(
                    "{} cycles, {} records, {:.0?}",
                    cycle + 1,
                    summary.records,
                    begin.elapsed()
                );
            }
        });
        match result {
            Ok(summary) => Ok(summary),
            Err(e) => {
                let log = tail(&plan.log);
                Err(format!("{e}\nkept: {}\n{log}", folder.keep().display()))
            }
        }
    });
    match done {
        Ok(s) => {
            println!(
                "green: {} kills, {} clean stops, {} records, {} results, {} pull queries, \
                 {} transactions, slowest start {:.0?}, seed {seed}",
                s.kills,
                s.clean_stops,
                s.records,
                s.results,
                s.pull_queries,
                s.transactions,
                s.slowest_start
            );
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("VIOLATION (seed {seed}): {e}");
            ExitCode::FAILURE
        }
    }
}
