//! `millstream topics | produce | consume | groups`: the log for people without Kafka's tools.
//!
//! They are Kafka clients like any other (see [`crate::kafka_client`]) and work with any broker of
//! Kafka 4. Results go to standard output and everything else to standard error, so that pipes work;
//! a reader that goes away (`| head`) ends them quietly.
//!
//! Files: `args.rs` the command lines, one file for each command, `offsets.rs` what `consume` and
//! `groups` have in common, `errors.rs` Kafka's error codes in words.

pub mod args;
mod consume;
mod errors;
mod groups;
mod offsets;
mod print;
mod produce;
mod topics;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::kafka_client::KafkaClient;
use args::{Server, Tool};
use errors::check;

/// What the tools call themselves at the broker.
const CLIENT_ID: &str = "millstream-cli";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs one tool to its end. Gives the exit code.
///
/// # Errors
/// When the broker cannot be reached or refuses.
pub async fn run(tool: Tool) -> io::Result<i32> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            asked.store(true, Ordering::Release);
            // Whoever insists need not wait.
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        }
    });
    let done = tokio::task::spawn_blocking(move || match tool {
        Tool::Topics(args) => topics::run(args),
        Tool::Produce(args) => produce::run(&args, &stop),
        Tool::Consume(args) => consume::run(&args, &stop),
        Tool::Groups(args) => groups::run(args),
    });
    match done.await.map_err(io::Error::other)? {
        Ok(()) => Ok(0),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(e) => Err(e),
    }
}

fn connect(server: &Server) -> io::Result<KafkaClient> {
    let place = &server.kafka;
    let client = KafkaClient::connect_as(place, TIMEOUT, &server.login).map_err(|e| {
        let e = io::Error::from(e);
        let hint = "Is the server running? Say where with --kafka HOST:PORT.";
        io::Error::new(e.kind(), format!("cannot reach a Kafka broker at {place}: {e}. {hint}"))
    })?;
    Ok(client.named(CLIENT_ID))
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(head.iter().copied());
    table
}

/// Prints a table, or a word if it has no rows.
fn show(table: &Table, empty: &str) -> io::Result<()> {
    use std::io::Write;
    match table.row_iter().next() {
        Some(_) => writeln!(io::stdout(), "{table}"),
        None => writeln!(io::stderr(), "{empty}"),
    }
}

fn say(words: std::fmt::Arguments<'_>) -> io::Result<()> {
    use std::io::Write;
    writeln!(io::stdout(), "{words}")
}

/// `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}
