//! The binary: reads the command line and starts what it asks for.
//!
//! Exit codes: 0 done, 1 it failed and said why, 2 the command line is wrong.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use millstream::cli::{Cli, Command};
use millstream::run::{self, ServerConfig};
use millstream::tools::args::Tool;
use millstream::{demo, dump_log, shell, tools};

// RocksDB's C++ allocates through it too: glibc's allocator fragments badly under it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&e),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Server(args) => {
                run::log_to_stderr("info");
                run::serve(ServerConfig::from_args(args)?).await.map(|()| 0)
            }
            Command::DumpLog(args) => dump_log::run(&args),
            Command::Sql(args) => shell::run(args).await,
            Command::Demo(args) => {
                run::log_to_stderr("warn");
                demo::run(args).await
            }
            Command::Topics(args) => tools::run(Tool::Topics(args)).await,
            Command::Produce(args) => tools::run(Tool::Produce(args)).await,
            Command::Consume(args) => tools::run(Tool::Consume(args)).await,
            Command::Groups(args) => tools::run(Tool::Groups(args)).await,
        }
    });
    // A thread of the blocking pool may still wait for a socket; nothing durable depends on it.
    runtime.shutdown_background();
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(e) => failed(&e),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
