//! Typed expressions: bound from the parsed text, then compiled to run over batches.
//!
//! Life of an expression: `sqlparser::ast::Expr` → [`bind`] resolves names, overloads and implicit
//! conversions and yields a [`Expr`] (data: comparable, printable) → [`compile`] turns it into
//! a tree of vectorised operations inside a [`Compiled`], evaluated once per batch.
//!
//! Rules that hold everywhere (`reference/ksqldb.md` 5.1):
//! - a row for which evaluation fails yields NULL and an entry in [`RowErrors`]; a batch never fails;
//! - a comparison with NULL is FALSE, not NULL; a predicate that is NULL filters the row out.
//!
//! So every row of every subexpression has one of three outcomes: a value, NULL, or failed. That is
//! why the tree is ours and calls Arrow's kernels itself: DataFusion's `PhysicalExpr` knows only the
//! first two, and a kernel's error there is the batch's. See [`eval`] for the rules.
//!
//! Reading order: this file (the IR), [`bind`](bind/index.html), [`functions`], [`compile`], [`eval`].

pub mod aggregate;
mod bind;
mod compile;
pub mod eval;
pub mod functions;
pub mod java;
pub mod literal;
mod show;
pub mod table;
#[cfg(test)]
mod tests;
mod tree;
mod types;
pub mod value;

use std::borrow::Cow;

pub use datafusion_common::ScalarValue;

pub use aggregate::{
    AggregateCall, AggregateFunction, AggregateInfo, RowAggregate, UserAggregate, resolve_aggregate,
};
pub use bind::{bind, bind_predicate, bind_with_expected_type};
pub use compile::{Compiled, compile};
pub use eval::EvalContext;
pub use functions::{Function, FunctionKind, FunctionRef, Functions};
pub use table::{TableCall, TableFunction, resolve_table_function};

use crate::error::{Result, Span};
use crate::types::SqlType;

/// A typed expression over the columns of one step's rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// The column at `index` among the input's `columns()`.
    Column {
        index: usize,
        name: String,
        ty: SqlType,
    },
    /// A constant; `ty` is `None` for an untyped NULL.
    Literal {
        value: ScalarValue,
        ty: Option<SqlType>,
    },
    /// A scalar function of the library, its overload chosen.
    Call {
        function: FunctionRef,
        args: Vec<Expr>,
        ty: SqlType,
    },
    /// `+ - * / %`, operands already of the result's kind (a DECIMAL's operands keep their own
    /// precision and scale).
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Expr>,
        right: Box<Expr>,
        ty: SqlType,
    },
    /// Unary minus.
    Negate(Box<Expr>),
    /// Always BOOLEAN.
    Compare {
        op: CompareOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `a AND b`, `a OR b`.
    Logical {
        and: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Not(Box<Expr>),
    IsNull {
        operand: Box<Expr>,
        negated: bool,
    },
    Like {
        operand: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<char>,
        negated: bool,
    },
    In {
        operand: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    /// Searched CASE; branches of one type.
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
        ty: SqlType,
    },
    Cast {
        operand: Box<Expr>,
        ty: SqlType,
    },
    /// `struct->field`
    Field {
        operand: Box<Expr>,
        name: String,
        ty: SqlType,
    },
    /// `array[i]` (1-based, negative from the end) or `map[k]`.
    Element {
        operand: Box<Expr>,
        index: Box<Expr>,
        ty: SqlType,
    },
    /// `ARRAY[…]`
    Array {
        items: Vec<Expr>,
        ty: SqlType,
    },
    /// `MAP(k := v, …)`
    Map {
        entries: Vec<(Expr, Expr)>,
        ty: SqlType,
    },
    /// `STRUCT(f := v, …)`
    Struct {
        fields: Vec<(String, Expr)>,
        ty: SqlType,
    },
    /// A lambda argument: parameters are the columns after the outer ones, in order.
    Lambda {
        params: Vec<(String, SqlType)>,
        body: Box<Expr>,
    },
    /// A parameter of an enclosing lambda.
    LambdaParam {
        name: String,
        ty: SqlType,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    IsDistinctFrom,
    IsNotDistinctFrom,
}

/// Names an expression may use: what the planner offers to [`bind`].
pub trait Scope {
    /// Answers for `name` or `qualifier.name`, or says why it cannot (unknown column, unknown alias,
    /// ambiguous), because only the planner knows which sources are in scope.
    fn resolve(&self, qualifier: Option<&str>, name: &str) -> Result<Expr>;

    /// Asked for every subexpression, outermost first, before it is bound: `Some` is taken as it is.
    /// Lets the planner put columns of an aggregate step in place of grouping expressions and
    /// aggregate calls.
    fn substitute(&self, _expr: &sqlparser::ast::Expr) -> Result<Option<Expr>> {
        Ok(None)
    }

    /// The functions an expression may call.
    fn functions(&self) -> &Functions {
        Functions::built_in()
    }

    /// Byte offsets of a place the tokenizer gave as line and column.
    fn locate(&self, _span: sqlparser::tokenizer::Span) -> Option<Span> {
        None
    }
}

/// One failed row of one evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Row number in the batch.
    pub row: usize,
    pub message: Cow<'static, str>,
}

/// The rows that failed while a batch was evaluated; each of them yielded NULL.
#[derive(Clone, Debug, Default)]
pub struct RowErrors(pub Vec<RowError>);
