//! `conformance DIR`: runs the case files of a directory; the last line is the score.
//!
//! `cargo run --release -p millstream-tests --bin conformance -- DIR [--only FILE[/CASE]] [--failures]
//! [--ratchet FILE] [--known FILE]`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use millstream_tests::conformance::account::{self, Account, Ratchet};
use millstream_tests::conformance::{case, runner};

/// Runs query cases in ksqlDB's file format.
#[derive(Parser)]
struct Args {
    /// The directory with the case files.
    dir: PathBuf,
    /// Only this file, or only the cases of it whose name begins so: FILE[/CASE].
    #[arg(long)]
    only: Option<String>,
    /// Print the first difference of each failing case.
    #[arg(long)]
    failures: bool,
    /// Print groups of alike failures, the biggest first.
    #[arg(long)]
    groups: bool,
    /// A file with numbers: fail when fewer cases pass, or more are wrong.
    #[arg(long)]
    ratchet: Option<PathBuf>,
    /// The list of known failures: fail when others fail, or one of them passes.
    #[arg(long)]
    known: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("conformance: {e}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, String> {
    let mut cases = case::load_dir(&args.dir)?;
    if let Some(only) = &args.only {
        let (file, name) = only.split_once('/').unwrap_or((only, ""));
        let file = file.strip_suffix(".json").unwrap_or(file);
        cases.retain(|c| c.file == file && c.name.starts_with(name));
    }
    if cases.is_empty() {
        return Err(format!("no cases in {}", args.dir.display()));
    }
    let results = runner::run_all(&cases);
    if args.failures {
        print!("{}", runner::failures(&results));
    }
    if args.groups {
        print!("{}", runner::groups(&results));
    }
    print!("{}", runner::table(&results));
    let account = Account::of(&results);
    println!("{account}");
    let mut code = ExitCode::SUCCESS;
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
    };
    if let Some(path) = &args.ratchet
        && let Some(what) = Ratchet::parse(&read(path)?)?.broken_by(&account)
    {
        println!("the ratchet holds {what}");
        code = ExitCode::FAILURE;
    }
    if let Some(path) = &args.known {
        for difference in account::unlike(&account::known(&read(path)?)?, &results) {
            println!("{difference}");
            code = ExitCode::FAILURE;
        }
    }
    // The suite's own list of reasons, if it is there: each must be one of our public codes.
    let kinds = args.dir.parent().map(|suite| suite.join("error_kinds.md"));
    if let Some(table) = kinds.and_then(|path| std::fs::read_to_string(path).ok()) {
        for what in account::unknown_kinds(&table) {
            println!("{what}");
            code = ExitCode::FAILURE;
        }
    }
    println!("{}", runner::count(&results));
    Ok(code)
}
