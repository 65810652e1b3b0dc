//! SHOW FUNCTIONS and DESCRIBE FUNCTION, from the function library.

use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_sql::expr::Functions;
use millstream_sql::expr::functions::Described;

use super::answer::{Entity, FunctionArgument, FunctionDescription, FunctionInfo, FunctionVariant};

/// Every function, by name.
pub(super) fn all(functions: &Functions) -> Vec<FunctionInfo> {
    let info = |f: Described| FunctionInfo {
        name: f.about.name,
        kind: f.about.kind.to_string(),
        category: f.about.category,
    };
    functions.all().into_iter().map(info).collect()
}

/// Answers DESCRIBE FUNCTION.
pub(super) fn describe(functions: &Functions, name: &str) -> Result<Entity> {
    let name = name.to_ascii_uppercase();
    let Some(function) = functions.describe(&name) else {
        let message = format!("no function is called {name}");
        return Err(SqlError::new(
            ErrorKind::UnknownFunction,
            message,
            "SHOW FUNCTIONS lists them.",
        ));
    };
    let about = function.about;
    let variants = function.variants.into_iter().map(|variant| FunctionVariant {
        arguments: variant
            .arguments
            .into_iter()
            .map(|argument| FunctionArgument {
                name: argument.name,
                ty: argument.ty,
                description: argument.description,
                is_variadic: argument.is_variadic,
            })
            .collect(),
        return_type: variant.returns,
        description: about.summary.clone(),
    });
    Ok(Entity::Function(FunctionDescription {
        name,
        description: [about.summary.as_str(), &about.note].join(" ").trim_end().to_owned(),
        author: "Millstream".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        path: "internal".to_owned(),
        kind: about.kind.to_string(),
        functions: variants.collect(),
    }))
}
