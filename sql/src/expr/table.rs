//! Table functions: one row in, any number of rows out.

use super::Expr;
use crate::error::{ErrorKind, Result, SqlError};
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

/// Whether `name` (upper case) is a table function.
pub fn is_table_function(name: &str) -> bool {
    function(name).is_some()
}

fn function(name: &str) -> Option<TableFunction> {
    match name {
        "EXPLODE" => Some(TableFunction::Explode),
        "CUBE_EXPLODE" => Some(TableFunction::CubeExplode),
        _ => None,
    }
}

/// Chooses the variant of a table function for bound arguments.
pub fn resolve_table_function(name: &str, args: &[Expr]) -> Result<TableCall> {
    let function = function(name).ok_or_else(|| {
        SqlError::new(
            ErrorKind::UnknownFunction,
            format!("no table function is called {name}"),
            "SHOW FUNCTIONS lists what there is.",
        )
    })?;
    let mismatch = || {
        SqlError::new(
            ErrorKind::FunctionArgumentsMismatch,
            format!("{name} takes one ARRAY"),
            "Give it one expression of an ARRAY type.",
        )
    };
    let [arg] = args else { return Err(mismatch()) };
    let Some(SqlType::Array(item)) = arg.ty() else { return Err(mismatch()) };
    let ty = match function {
        TableFunction::Explode => *item,
        TableFunction::CubeExplode => SqlType::Array(item),
    };
    Ok(TableCall { function, arg: arg.clone(), ty })
}
