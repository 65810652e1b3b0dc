//! Table functions: one row in, any number of rows out.

use super::functions::{About, Example, FunctionKind, Signature};
use super::{Expr, Scope, bind};
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

/// A table function as the library knows it.
#[derive(Debug)]
pub struct TableInfo {
    pub about: About,
    pub function: TableFunction,
    pub(crate) signatures: Vec<Signature>,
}

/// Every table function, by name.
pub(crate) fn built_in() -> Vec<TableInfo> {
    let about = |name: &str, summary: &str, note: &str, arg: (&str, &str), examples| About {
        arguments: vec![(arg.0.to_owned(), arg.1.to_owned())],
        note: note.to_owned(),
        examples,
        ..About::new(name, FunctionKind::Table, "TABLE", summary)
    };
    vec![
        TableInfo {
            about: about(
                "CUBE_EXPLODE",
                "All combinations of an array's elements, each there or NULL, a row each.",
                "An element that is NULL does not double the rows. More than 20 elements are an error.",
                ("columns", "The elements."),
                vec![Example::new(
                    "CUBE_EXPLODE(ARRAY[1, 2])",
                    "ARRAY[NULL, NULL]; ARRAY[NULL, 2]; ARRAY[1, NULL]; ARRAY[1, 2]",
                )],
            ),
            function: TableFunction::CubeExplode,
            signatures: vec![Signature::parse("[T] -> [T]")],
        },
        TableInfo {
            about: about(
                "EXPLODE",
                "The elements of an array, a row each.",
                "NULL and an empty array give no row. Several table functions of one SELECT run side by \
                 side; shorter ones are filled up with NULL.",
                ("list", "The array."),
                vec![Example::new("EXPLODE(ARRAY['a', NULL, 'b'])", "'a'; NULL; 'b'")],
            ),
            function: TableFunction::Explode,
            signatures: vec![Signature::parse("[T] -> T")],
        },
    ]
}

/// Chooses the variant of a table function for bound arguments.
///
/// # Errors
/// When no table function is called so, or it does not take the arguments.
pub fn resolve_table_function(name: &str, args: Vec<Expr>, scope: &dyn Scope) -> Result<TableCall> {
    let mismatch = || {
        SqlError::new(
            ErrorKind::FunctionArgumentsMismatch,
            format!("{name} takes one ARRAY"),
            "Give it one expression of an ARRAY type.",
        )
    };
    let functions = scope.functions();
    let (function, arg) = if let Some(info) = functions.table(name) {
        let [arg] = <[Expr; 1]>::try_from(args).map_err(|_| mismatch())?;
        (info.function, arg)
    } else {
        // A registered one gives an ARRAY for each row; spreading it is EXPLODE's work.
        let rows = functions.table_rows(name).ok_or_else(|| super::functions::unknown(name))?;
        (TableFunction::Explode, bind::bind_call(rows, args, scope)?)
    };
    let Some(SqlType::Array(item)) = arg.ty() else { return Err(mismatch()) };
    let ty = match function {
        TableFunction::Explode => *item,
        TableFunction::CubeExplode => SqlType::Array(item),
    };
    Ok(TableCall { function, arg, ty })
}
