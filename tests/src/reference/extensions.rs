//! `docs/sql-extensions.md`: what goes beyond ksqlDB, with examples that were run.
//!
//! The source is `extensions.txt`: Markdown with examples, whose answers are filled in by [`live`].

use super::live;

const SOURCE: &str = include_str!("extensions.txt");

/// The page.
///
/// # Errors
/// When an example's preparation fails.
pub fn page() -> Result<String, String> {
    live::run(SOURCE).map(|run| run.text)
}
