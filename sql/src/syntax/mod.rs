//! Text to statements.
//!
//! Life of a text: `variables` puts in `${…}` values → `lexer` makes tokens with byte spans →
//! `parser` splits at semicolons and reads one statement each (its families: `statements`, `create`,
//! `query`, `expressions`, `primaries`, `types`) → [`ast`]. `dialect` says which tree an expression becomes,
//! `print` turns trees into text again.
//!
//! Nothing here looks a source or function up; only custom type names are resolved, by a
//! [`types::TypeResolver`]. All places in errors are byte offsets into the text given.

pub mod ast;
pub mod complete;
mod create;
mod cursor;
pub mod dialect;
mod expressions;
mod lambda;
mod lexer;
pub mod parser;
mod primaries;
pub mod print;
mod query;
mod statements;
pub mod types;
pub mod variables;

pub use dialect::{cast_type, span_of, span_of_ident};
pub use parser::{
    Piece, is_complete, parse_expression, parse_statement, parse_statements, split_statements,
};
pub use print::expr_text;
pub use types::{NoTypes, TypeResolver, parse_type};
pub use variables::Variables;

#[cfg(test)]
mod tests;
