//! The shape of a parsed expression: which `sqlparser::ast::Expr` each construct of the dialect takes.
//!
//! We borrow sqlparser's expression tree, not its text: `lexer.rs` and `expressions.rs` read ksqlDB's
//! own grammar, so nothing but the forms below can ever appear. Who walks an expression (the binder,
//! the planner, `print.rs`) need know no other.
//!
//! | written | tree |
//! |---|---|
//! | `a`, `` `a` ``, `"a"` | `Identifier`; `value` is normalised (upper case unless quoted), `quote_style` is `` Some('`') `` if it was quoted in either way |
//! | `s.a` | `CompoundIdentifier([s, a])`, always two parts: source, column |
//! | `a->b->c`, `a[1]`, `s.a->b[x]->c` | one flat `CompoundFieldAccess`: `root`, then `Dot(Identifier(field))` for `->` and `Subscript(Index { index })` for `[…]`; the root is never itself one |
//! | `7`, `-7`, `0.50`, `1E3` | `Value(Number(text, false))`; text as written (an exponent's `E` in upper case), with the sign if `-` stood directly before the digits as an operand. No point and no exponent: integer (checked to fit BIGINT). A point: DECIMAL of the written precision and scale. An exponent: DOUBLE (checked to be finite) |
//! | `'it''s'` | `Value(SingleQuotedString("it's"))` |
//! | `TRUE`, `FALSE`, `NULL` | `Value(Boolean(_))`, `Value(Null)` |
//! | `DECIMAL '1.2'`, `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'` | `TypedString`; `data_type` is `Custom` with that word, `value` a `SingleQuotedString` |
//! | `(e)` | just `e`: the tree has the precedence, there is no `Nested` |
//! | `-e`, `+e`, `NOT e` | `UnaryOp` with `Minus`, `Plus`, `Not` |
//! | `+ - * / %`, `\|\|` | `BinaryOp` with `Plus Minus Multiply Divide Modulo`, `StringConcat` |
//! | `= <> != < <= > >=` | `BinaryOp` with `Eq NotEq Lt LtEq Gt GtEq`; they do not chain |
//! | `AND`, `OR` | `BinaryOp` with `And`, `Or` |
//! | `e [NOT] BETWEEN l AND h` | `Between { negated, .. }` |
//! | `e [NOT] IN (x, …)` | `InList { negated, .. }`, at least one item |
//! | `e [NOT] LIKE p [ESCAPE 'c']` | `Like { negated, any: false, escape_char: Some(SingleQuotedString) or None, .. }`; the escape is one character |
//! | `e IS [NOT] NULL` | `IsNull`, `IsNotNull` |
//! | `e IS [NOT] DISTINCT FROM f` | `IsDistinctFrom`, `IsNotDistinctFrom` |
//! | `CASE [o] WHEN c THEN r … [ELSE d] END` | `Case`; `operand` is `Some(o)` for the simple form |
//! | `CAST(e AS t)` | `Cast { kind: Cast, .. }`; read the type with [`cast_type`], custom type names are already expanded |
//! | `ARRAY[a, b]`, `ARRAY[]` | `Array` |
//! | `MAP(k := v, …)` | `Function` named `MAP`; arguments `ExprNamed { name: k, arg: Expr(v), operator: Assignment }` |
//! | `STRUCT(f := v, …)` | `Function` named `STRUCT`; arguments `Named { name: f, arg: Expr(v), operator: Assignment }` |
//! | `MAP()`, `STRUCT()` | the same without arguments |
//! | `f(a, b)`, `f()` | `Function`; `args` is `List` with `Unnamed(Expr(_))` only; the name is one normalised identifier |
//! | `f(*)` | `Function` with the one argument `Unnamed(Wildcard)`, for any `f` |
//! | `x => e`, `(k, v) => e` | `Lambda` as an `Unnamed(Expr(_))` argument, after all others; `params` is `One` or `Many` as written |
//! | `DATEADD(DAYS, …)` | a unit is a plain `Identifier` (`DAYS`, `DAY`, …), also where the word is reserved |
//!
//! `AT TIME ZONE` is refused here as unsupported; there are no subqueries, OVER, FILTER or INTERVAL.
//!
//! Places: sqlparser's spans hold line 1 and "byte offset + 1" as column; [`span_of`] reads them back.

use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, Spanned, Value, ValueWithSpan,
};
use sqlparser::tokenizer::{Location, Span as ParserSpan};

use super::types::parse_type;
use crate::error::{Result, Span, SqlError};
use crate::types::SqlType;

/// The place of an expression in the statement's text: from its first to its last token.
pub fn span_of(expr: &Expr) -> Option<Span> {
    from_parser_span(expr.span())
}

/// The place of an identifier in the statement's text.
pub fn span_of_ident(ident: &Ident) -> Option<Span> {
    from_parser_span(ident.span)
}

/// The type in a `CAST` or a typed literal. Its text was written by this module, so custom type names
/// are already expanded and it always parses.
pub fn cast_type(data_type: &DataType) -> Result<SqlType> {
    match data_type {
        DataType::Custom(ObjectName(parts), _) => match parts.as_slice() {
            [ObjectNamePart::Identifier(ident)] => parse_type(&ident.value),
            _ => Err(not_ours(data_type)),
        },
        _ => Err(not_ours(data_type)),
    }
}

fn not_ours(data_type: &DataType) -> SqlError {
    SqlError::unsupported(format!("the type {data_type} does not come from this dialect"))
}

pub(super) fn to_parser_span(span: Span) -> ParserSpan {
    let at = |byte: usize| Location { line: 1, column: byte as u64 + 1 };
    ParserSpan { start: at(span.start), end: at(span.end) }
}

fn from_parser_span(span: ParserSpan) -> Option<Span> {
    let byte = |at: Location| usize::try_from(at.column.checked_sub(1)?).ok();
    let (start, end) = (byte(span.start)?, byte(span.end)?);
    (start <= end).then_some(Span { start, end })
}

pub(super) fn data_type(text: String, span: Span) -> DataType {
    let ident = Ident { value: text, quote_style: None, span: to_parser_span(span) };
    DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(ident)]), vec![])
}

pub(super) fn value(value: Value, span: Span) -> ValueWithSpan {
    ValueWithSpan { value, span: to_parser_span(span) }
}

pub(super) fn cast(operand: Box<Expr>, ty: &SqlType, span: Span) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: operand,
        data_type: data_type(ty.to_string(), span),
        array: false,
        format: None,
    }
}

pub(super) fn call(name: Ident, args: Vec<FunctionArg>) -> Expr {
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] };
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

pub(super) fn positional(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}
