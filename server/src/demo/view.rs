//! The changing results in the terminal: totals by pull query, alerts from the sink topic.
//!
//! On a terminal the tables are redrawn in place; elsewhere a line is printed every few seconds.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use parking_lot::Mutex;
use serde_json::Value;

use super::check::read_topic;
use super::load::Account;
use crate::shell::SqlClient;

const REDRAW: Duration = Duration::from_millis(500);
/// Without a terminal: how often a line is printed.
const LINE: Duration = Duration::from_secs(5);
const ALERTS_SHOWN: usize = 4;

/// Shows results for `time`.
///
/// # Errors
/// When the server stops answering.
pub(super) async fn follow(
    client: &SqlClient,
    kafka: SocketAddr,
    account: &Arc<Mutex<Account>>,
    time: Duration,
) -> io::Result<()> {
    let live = io::stdout().is_terminal();
    let started = Instant::now();
    let mut drawn = 0_usize;
    println!();
    while started.elapsed() < time {
        tokio::time::sleep(if live { REDRAW } else { LINE.min(time) }).await;
        let totals = newest_window(client).await?;
        let alerts = tokio::task::spawn_blocking(move || read_topic(kafka, "FRAUD_ALERT"))
            .await
            .map_err(io::Error::other)??;
        let produced = account.lock().clone();
        let head = format!(
            "{:>4} s   {} payments, {} orders produced   {} fraud alerts",
            started.elapsed().as_secs(),
            produced.payments,
            produced.orders,
            alerts.len()
        );
        if !live {
            println!("{head}");
            for row in &totals {
                println!("         {}", row.join("  "));
            }
            continue;
        }
        let text = format!("{head}\n\n{}\n\n{}\n", totals_table(&totals), alerts_table(&alerts));
        // Back to where the last picture began, and clear from there.
        print!("\x1b[{drawn}A\x1b[J{text}");
        io::stdout().flush()?;
        drawn = text.matches('\n').count();
    }
    println!();
    Ok(())
}

/// The rows of the newest window of `merchant_totals`: merchant, window start, payments, total.
async fn newest_window(client: &SqlClient) -> io::Result<Vec<Vec<String>>> {
    let sql = "SELECT merchant, WINDOWSTART, payments, total FROM merchant_totals;";
    let mut lines = match client.query(sql).await? {
        Ok(lines) => lines,
        Err(error) => return Err(io::Error::other(error.to_string())),
    };
    let mut rows: Vec<Vec<Value>> = Vec::new();
    while let Some(line) = lines.next().await? {
        if let Ok(Value::Array(row)) = serde_json::from_slice(&line) {
            rows.push(row);
        }
    }
    let newest = rows.iter().filter_map(|row| row.get(1)?.as_i64()).max();
    rows.retain(|row| row.get(1).and_then(Value::as_i64) == newest);
    rows.sort_by_key(|row| row[0].to_string());
    Ok(rows.iter().map(|row| row.iter().map(crate::shell::cell).collect()).collect())
}

fn totals_table(rows: &[Vec<String>]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["MERCHANT", "WINDOWSTART", "PAYMENTS", "TOTAL"]);
    for row in rows {
        table.add_row(row);
    }
    table
}

fn alerts_table(alerts: &[(Vec<u8>, Option<Value>)]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["FRAUD_ALERT", "MERCHANT", "AMOUNT"]);
    for (key, value) in alerts.iter().rev().take(ALERTS_SHOWN) {
        let field = |name: &str| value.as_ref().map_or(String::new(), |v| crate::shell::cell(&v[name]));
        table.add_row([String::from_utf8_lossy(key).into_owned(), field("MERCHANT"), field("AMOUNT")]);
    }
    table
}
