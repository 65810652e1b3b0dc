//! Text to statements.

pub mod ast;
