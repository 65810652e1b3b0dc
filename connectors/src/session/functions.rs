//! SHOW FUNCTIONS and DESCRIBE FUNCTION, from the function library.

use millstream_sql::error::{ErrorKind, Result, SqlError};
use millstream_sql::expr::{aggregate, functions};

use super::answer::{Entity, FunctionArgument, FunctionDescription, FunctionInfo, FunctionVariant};

const SCALAR: &str = "SCALAR";
const AGGREGATE: &str = "AGGREGATE";
const TABLE: &str = "TABLE";
const TABLE_FUNCTIONS: [&str; 2] = ["CUBE_EXPLODE", "EXPLODE"];

/// Every function, by name.
pub(super) fn all() -> Vec<FunctionInfo> {
    let info = |name: &str, kind, category: &str| FunctionInfo {
        name: name.to_owned(),
        kind,
        category: category.to_owned(),
    };
    let mut all: Vec<FunctionInfo> =
        functions::all().iter().map(|f| info(f.name, SCALAR, f.category)).collect();
    all.extend(aggregate::names().map(|name| info(name, AGGREGATE, AGGREGATE)));
    all.extend(TABLE_FUNCTIONS.iter().map(|name| info(name, TABLE, TABLE)));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Answers DESCRIBE FUNCTION.
pub(super) fn describe(name: &str) -> Result<Entity> {
    let name = name.to_ascii_uppercase();
    let description = |description: &str, kind, functions| {
        Entity::Function(FunctionDescription {
            name: name.clone(),
            description: description.to_owned(),
            author: "Millstream".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            path: "internal".to_owned(),
            kind,
            functions,
        })
    };
    if let Some(function) = functions::find(&name) {
        let variants = function.variants.iter().map(|variant| {
            let (params, returns) = variant.describe();
            variant_of(params, returns, function.doc)
        });
        return Ok(description(function.doc, SCALAR, variants.collect()));
    }
    if aggregate::is_aggregate(&name) {
        return Ok(description("", AGGREGATE, Vec::new()));
    }
    if TABLE_FUNCTIONS.contains(&name.as_str()) {
        return Ok(description("", TABLE, Vec::new()));
    }
    let message = format!("no function is called {name}");
    Err(SqlError::new(ErrorKind::UnknownFunction, message, "SHOW FUNCTIONS lists them."))
}

fn variant_of(params: Vec<String>, returns: String, doc: &str) -> FunctionVariant {
    let argument = |ty: String| FunctionArgument {
        name: String::new(),
        is_variadic: ty.ends_with("..."),
        ty: ty.trim_end_matches("...").to_owned(),
        description: String::new(),
    };
    FunctionVariant {
        arguments: params.into_iter().map(argument).collect(),
        return_type: returns,
        description: doc.to_owned(),
    }
}
