//! What a function is, in words: for SHOW FUNCTIONS, DESCRIBE FUNCTION and `docs/functions.md`.

use std::fmt;

use super::Signature;

/// How a function is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// One row in, one value out.
    Scalar,
    /// The rows of a group in, one value out.
    Aggregate,
    /// One row in, any number of rows out.
    Table,
}

impl fmt::Display for FunctionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FunctionKind::Scalar => "SCALAR",
            FunctionKind::Aggregate => "AGGREGATE",
            FunctionKind::Table => "TABLE",
        })
    }
}

/// A call with what it gives; a test runs every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Column definitions of the rows the call is over, as in CREATE STREAM; empty for a call of
    /// constants.
    pub columns: String,
    /// The rows, each as VALUES has it.
    pub rows: Vec<String>,
    pub call: String,
    /// The result as text ([`crate::expr::literal::literal_text`]); of a table function the rows, each
    /// after `; `.
    pub gives: String,
}

impl Example {
    pub fn new(call: &str, gives: &str) -> Self {
        Example { columns: String::new(), rows: vec![], call: call.into(), gives: gives.into() }
    }

    /// An example over one group of rows.
    pub fn over(columns: &str, rows: &[&str], call: &str, gives: &str) -> Self {
        Example {
            columns: columns.into(),
            rows: rows.iter().map(|r| (*r).to_owned()).collect(),
            ..Example::new(call, gives)
        }
    }
}

/// A function's documentation, kept beside its implementation.
#[derive(Clone, Debug)]
pub struct About {
    /// Upper case.
    pub name: String,
    pub kind: FunctionKind,
    /// The heading it is listed under.
    pub category: String,
    /// What it is for, one sentence.
    pub summary: String,
    /// What else must be known: NULL, limits, errors. May be empty.
    pub note: String,
    /// Names of the arguments by their place, with what each is. A signature may name its own; those
    /// are described here by name, after the placed ones.
    pub arguments: Vec<(String, String)>,
    pub examples: Vec<Example>,
}

impl About {
    pub fn new(name: &str, kind: FunctionKind, category: &str, summary: &str) -> Self {
        About {
            name: name.to_owned(),
            kind,
            category: category.to_owned(),
            summary: summary.to_owned(),
            note: String::new(),
            arguments: vec![],
            examples: vec![],
        }
    }

    /// Everything a reader wants to know, with one entry for each of `signatures`.
    pub(crate) fn describe<'a>(
        &self,
        signatures: impl Iterator<Item = &'a Signature>,
    ) -> Described {
        let variants = signatures.map(|signature| {
            let arguments = signature.params.iter().enumerate().map(|(at, parameter)| {
                let placed = self.arguments.get(at);
                let (name, description) = match &parameter.name {
                    Some(name) => {
                        let own = self.arguments.iter().find(|(n, _)| n == name);
                        (name.clone(), own.map(|(_, doc)| doc.clone()).unwrap_or_default())
                    }
                    None => placed.cloned().unwrap_or_default(),
                };
                ArgumentDoc {
                    name,
                    ty: parameter.param.to_string(),
                    description,
                    is_variadic: parameter.variadic,
                }
            });
            VariantDoc { arguments: arguments.collect(), returns: signature.returns.to_string() }
        });
        let variants = variants.collect();
        Described { about: self.clone(), variants }
    }
}

/// One argument of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentDoc {
    pub name: String,
    pub ty: String,
    pub description: String,
    /// May be repeated, or left out.
    pub is_variadic: bool,
}

/// One way to call a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantDoc {
    pub arguments: Vec<ArgumentDoc>,
    pub returns: String,
}

/// A function with all its variants, in words.
#[derive(Clone, Debug)]
pub struct Described {
    pub about: About,
    pub variants: Vec<VariantDoc>,
}
