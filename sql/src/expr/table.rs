//! Table functions: one row in, any number of rows out.

use super::Expr;
use crate::types::SqlType;

/// One table function call of a SELECT; `ty` is the type of one resulting value.
#[derive(Clone, Debug, PartialEq)]
pub struct TableCall {
    pub function: TableFunction,
    pub arg: Expr,
    pub ty: SqlType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableFunction {
    Explode,
    CubeExplode,
}
