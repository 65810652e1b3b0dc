//! `docs/statements.md`: every statement, property, window and join, with examples that were run.
//!
//! The table is `statements.txt`: Markdown with examples, whose answers are filled in by [`live`].

use std::sync::OnceLock;

use super::live::{self, Run};

const SOURCE: &str = include_str!("statements.txt");

/// The page and what its examples ran; made once in a process.
///
/// # Errors
/// When an example's preparation fails.
pub fn examples() -> Result<&'static Run, String> {
    static RUN: OnceLock<Result<Run, String>> = OnceLock::new();
    RUN.get_or_init(|| live::run(SOURCE)).as_ref().map_err(Clone::clone)
}

/// The page.
///
/// # Errors
/// As [`examples`].
pub fn page() -> Result<String, String> {
    examples().map(|run| run.text.clone())
}
