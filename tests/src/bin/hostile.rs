//! `hostile [--frames N] [--seed S]`: a real server among enemies (see `tests/src/hostile/`).
//!
//! `cargo run --release -p millstream-tests --bin hostile -- --frames 65000`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use millstream_tests::hostile::{Plan, run};
use millstream_tests::node::{build_server, tail};

/// Attacks a server of its own and checks that it stays up, small and right.
#[derive(Parser)]
struct Args {
    /// How many mutated frames are sent.
    #[arg(long, default_value_t = 65_000)]
    frames: u32,
    /// Decides all that is random; drawn and printed unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Peak of resident memory that the server may reach, in MiB.
    #[arg(long, default_value_t = 256)]
    memory: u64,
    /// Writes what `tests/fuzz.sh` starts from into this folder, and does nothing else.
    #[arg(long)]
    fuzz_seeds: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(folder) = &args.fuzz_seeds {
        return match millstream_tests::fuzz::write_seeds(folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("{}: {e}", folder.display());
                ExitCode::FAILURE
            }
        };
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let done = build_server().and_then(|binary| {
        let folder = tempfile::Builder::new().prefix("millstream-hostile").tempdir();
        let folder = folder.map_err(|e| format!("a folder: {e}"))?;
        let plan = Plan {
            binary,
            folder: folder.path().to_owned(),
            frames: args.frames,
            seed,
            memory_max: args.memory << 20,
        };
        run(&plan, |told| println!("{told}")).map_err(|e| {
            let log = tail(&plan.folder.join("server.log"));
            format!("{e}\nkept: {}\n{log}", folder.keep().display())
        })
    });
    match done {
        Ok(()) => {
            println!("hostile: the server stayed up, small and right");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("hostile (seed {seed}): {e}");
            ExitCode::FAILURE
        }
    }
}
