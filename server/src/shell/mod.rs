//! `millstream sql`: a shell on a running server.
//!
//! Statements end with `;` and may span lines. SELECT and PRINT go to `/query-stream`, all else to
//! `/ksql`. SET, UNSET, DEFINE and UNDEFINE are kept here and sent with every request, as in ksqlDB's
//! own shell. Ctrl-C stops a push query and keeps the shell; Ctrl-D leaves it.

mod client;
mod complete;
mod highlight;
pub mod render;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use millstream_sql::syntax;
use parking_lot::Mutex;
use serde_json::Value;

use crate::cli::SqlArgs;
pub use client::SqlClient;
pub use render::cell;

const HELP: &str = "\
Statements end with ';'. Some to start with:
  SHOW STREAMS;  SHOW TABLES;  SHOW TOPICS;  SHOW QUERIES;
  DESCRIBE name;                        columns and who reads and writes it
  CREATE STREAM s (id STRING KEY, v INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);
  INSERT INTO s (id, v) VALUES ('a', 1);
  SELECT * FROM s EMIT CHANGES;         a push query: runs until Ctrl-C
  SELECT * FROM t WHERE id = 'a';       a pull query: looks into a table and ends
  EXPLAIN query;                        how a query runs
  SET 'auto.offset.reset' = 'earliest'; read topics from their beginning
In the shell:  help  exit  clear  (Tab completes, arrows bring back earlier lines, Ctrl-C stops a query, Ctrl-D leaves)
";
/// How wide a push query's columns are, unless the terminal says otherwise.
const COLUMN_WIDTH: usize = 20;

/// Runs the shell or the given statements; the result is the process's exit code.
///
/// # Errors
/// When the terminal or a file fails.
pub async fn run(args: SqlArgs) -> io::Result<i32> {
    let mut shell = Shell { client: SqlClient::with_login(&args.server, &args.login)?, json: args.json };
    if let Some(mut text) = args.execute {
        // One statement on the command line needs no end of its own.
        if !text.trim_end().ends_with(';') {
            text.push(';');
        }
        return shell.run_text(&text).await;
    }
    if let Some(file) = args.file {
        let text = std::fs::read_to_string(&file)
            .map_err(|e| io::Error::new(e.kind(), format!("read {}: {e}", file.display())))?;
        return shell.run_text(&text).await;
    }
    shell.interact().await
}

struct Shell {
    client: SqlClient,
    json: bool,
}

/// Where the history of earlier sessions is.
fn history_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME")?;
    Some(PathBuf::from(home).join(".millstream_history"))
}

impl Shell {
    async fn interact(&mut self) -> io::Result<i32> {
        let info = self.client.get("/info").await?;
        let version = info["KsqlServerInfo"]["version"].as_str().unwrap_or("?");
        println!("Millstream {version} at {}. Statements end with ';', 'help' helps.", self.client.base());
        let names = Arc::new(Mutex::new(complete::Names::default()));
        let mut editor = highlight::editor(history_file(), names.clone())?;
        let prompt = highlight::Prompt;
        loop {
            *names.lock() = complete::Names::ask(&self.client).await;
            let signal = tokio::task::block_in_place(|| editor.read_line(&prompt))?;
            let text = match signal {
                reedline::Signal::Success(text) => text,
                reedline::Signal::CtrlC => continue,
                _ => return Ok(0),
            };
            match text.trim().trim_end_matches(';').to_ascii_lowercase().as_str() {
                "" => {}
                "exit" | "quit" => return Ok(0),
                "help" => print!("{HELP}"),
                "clear" => editor.clear_screen()?,
                _ => {
                    if let Err(e) = self.run_text(&text).await {
                        eprintln!("{e}");
                    }
                }
            }
        }
    }

    /// Runs every statement of the text in order; the first that fails ends it with exit code 1.
    async fn run_text(&mut self, text: &str) -> io::Result<i32> {
        let statements = match syntax::split_statements(text) {
            Ok(statements) => statements,
            Err(e) => {
                eprint!("{}", e.render(text));
                return Ok(1);
            }
        };
        for statement in statements {
            if !self.run_statement(statement.text).await? {
                return Ok(1);
            }
        }
        Ok(0)
    }

    /// Whether the statement succeeded; what it answered is printed.
    async fn run_statement(&mut self, statement: &str) -> io::Result<bool> {
        if self.keep_setting(statement) {
            return Ok(true);
        }
        let with_end = format!("{};", statement.trim().trim_end_matches(';'));
        let first = statement.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
        if first == "SELECT" || first == "PRINT" {
            return self.query(&with_end).await;
        }
        let answer = self.client.execute(&with_end).await?;
        match &answer {
            Value::Array(entities) => {
                for entity in entities {
                    if self.json { println!("{entity}") } else { print!("{}", render::entity(entity)) }
                }
                Ok(true)
            }
            error => {
                eprint!("{}", render::error(error));
                Ok(false)
            }
        }
    }

    /// SET, UNSET, DEFINE and UNDEFINE belong to the session, which is here.
    fn keep_setting(&mut self, statement: &str) -> bool {
        use millstream_sql::syntax::ast::Statement;
        let Ok(parsed) = syntax::parse_statement(statement, &syntax::NoTypes) else { return false };
        match parsed.statement {
            Statement::Set { name, value } => {
                println!("{name} = {value}");
                self.client.properties.insert(name, Value::String(value));
            }
            Statement::Unset { name } => {
                self.client.properties.remove(&name);
            }
            Statement::Define { name, value } => {
                self.client.variables.insert(name, Value::String(value));
            }
            Statement::Undefine { name } => {
                self.client.variables.remove(&name);
            }
            _ => return false,
        }
        true
    }

    async fn query(&mut self, statement: &str) -> io::Result<bool> {
        let mut lines = match self.client.query(statement).await? {
            Ok(lines) => lines,
            Err(error) => {
                eprint!("{}", render::error(&error));
                return Ok(false);
            }
        };
        let mut view = RowView { json: self.json, columns: Vec::new(), query_id: None, push: false, kept: Vec::new() };
        loop {
            let line = tokio::select! {
                line = lines.next() => line?,
                _ = tokio::signal::ctrl_c() => {
                    if let Some(id) = &view.query_id {
                        self.client.close(id).await?;
                    }
                    println!("Query stopped.");
                    return Ok(true);
                }
            };
            let Some(line) = line else { break };
            if !view.line(&line, statement)? {
                return Ok(false);
            }
        }
        view.finish();
        Ok(true)
    }
}

/// Turns the lines of `/query-stream` into what is printed: a pull query's rows as one table at the
/// end, a push query's rows as they come.
struct RowView {
    json: bool,
    columns: Vec<String>,
    query_id: Option<String>,
    push: bool,
    kept: Vec<Vec<String>>,
}

impl RowView {
    /// Whether to go on: false after an error of the server, which was printed.
    fn line(&mut self, line: &[u8], statement: &str) -> io::Result<bool> {
        if self.json {
            println!("{}", String::from_utf8_lossy(line));
            return Ok(true);
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            println!("{}", String::from_utf8_lossy(line));
            return Ok(true);
        };
        match &value {
            Value::Object(head) if head.contains_key("columnNames") => {
                let names = head["columnNames"].as_array().map_or(&[][..], Vec::as_slice);
                self.columns = names.iter().map(render::cell).collect();
                self.query_id = head.get("queryId").and_then(Value::as_str).map(str::to_owned);
                self.push = statement.to_ascii_uppercase().contains("EMIT");
                if self.push {
                    print!("{}", render::push_head(&self.columns, COLUMN_WIDTH));
                }
            }
            Value::Object(_) => {
                eprint!("{}", render::error(&value));
                return Ok(false);
            }
            Value::Array(cells) => {
                let cells: Vec<String> = cells.iter().map(render::cell).collect();
                if self.push {
                    println!("{}", render::push_row(&cells, COLUMN_WIDTH));
                } else {
                    self.kept.push(cells);
                }
            }
            other => println!("{}", render::cell(other)),
        }
        io::stdout().flush()?;
        Ok(true)
    }

    fn finish(&self) {
        if !self.push && !self.json && !self.columns.is_empty() {
            print!("{}", render::rows(&self.columns, &self.kept));
        }
    }
}
