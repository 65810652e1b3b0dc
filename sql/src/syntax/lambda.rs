//! Lambdas, the last arguments of a call: `x => e`, `(k, v) => e`.

use sqlparser::ast::{
    Expr, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax, OneOrManyWithParens,
};

use super::cursor::Cursor;
use super::expressions::read_boxed;
use crate::error::Result;

/// A lambda, if one starts here.
pub(super) fn read_lambda(cursor: &mut Cursor<'_>) -> Result<Option<Expr>> {
    let params = if Cursor::is_identifier(cursor.peek()) && cursor.peek_nth(1).is_symbol("=>") {
        OneOrManyWithParens::One(parameter(cursor.ident("a parameter")?))
    } else if at_parameter_list(cursor) {
        cursor.expect_symbol("(")?;
        let params = cursor.list(|cursor| cursor.ident("a parameter").map(parameter))?;
        cursor.expect_symbol(")")?;
        OneOrManyWithParens::Many(params)
    } else {
        return Ok(None);
    };
    cursor.expect_symbol("=>")?;
    let body = read_boxed(cursor)?;
    Ok(Some(Expr::Lambda(LambdaFunction { params, body, syntax: LambdaSyntax::Arrow })))
}

fn parameter(name: Ident) -> LambdaFunctionParameter {
    LambdaFunctionParameter { name, data_type: None }
}

/// Whether `(a, b) =>` comes next.
fn at_parameter_list(cursor: &Cursor<'_>) -> bool {
    if !cursor.at_symbol("(") {
        return false;
    }
    let mut ahead = 1;
    while Cursor::is_identifier(cursor.peek_nth(ahead)) && cursor.peek_nth(ahead + 1).is_symbol(",")
    {
        ahead += 2;
    }
    Cursor::is_identifier(cursor.peek_nth(ahead))
        && cursor.peek_nth(ahead + 1).is_symbol(")")
        && cursor.peek_nth(ahead + 2).is_symbol("=>")
}
