//! The generated pages under `docs/`: what the product says of itself, written out.
//!
//! `cargo run -p millstream-tests --bin reference -- --write` writes them; a test fails when one is
//! not what would be written.

pub mod examples;
pub mod extensions;
pub mod functions;
pub mod live;
pub mod statements;

/// A generated page: its path from the repository's root, and its text.
pub struct Page {
    pub path: &'static str,
    pub text: String,
}

/// Every generated page.
///
/// # Errors
/// When the examples of one cannot be run.
pub fn pages() -> Result<Vec<Page>, String> {
    Ok(vec![
        Page { path: "docs/functions.md", text: functions::page() },
        Page { path: "docs/statements.md", text: statements::page()? },
        Page { path: "docs/sql-extensions.md", text: extensions::page()? },
    ])
}
