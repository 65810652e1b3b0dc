//! The function library: one file per family, each function registered once with its name, what it
//! is for, its arguments, examples, variants and their implementation.
//!
//! [`Functions`] is the set that a catalog knows, a value that can be extended (`with`). The binder
//! looks names up in it; SHOW FUNCTIONS, DESCRIBE FUNCTION and `docs/functions.md` read the same
//! entries, and a test runs every example.
//!
//! An implementation is a [`Kernel`]: it gets whole columns and yields a whole column, reporting rows
//! that fail. Most are made from a function over one row by [`typed`].

mod about;
mod arrays;
mod bytes;
mod call;
mod json;
mod json_value;
mod lambdas;
mod maps;
mod masks;
mod memo;
mod nulls;
mod numbers;
mod picks;
mod regexes;
mod registry;
mod signature;
mod text;
mod time;
mod typed;
mod url;
mod user;

use std::fmt;

use arrow::array::ArrayRef;

pub use about::{About, ArgumentDoc, Described, Example, FunctionKind, VariantDoc};
pub use call::FunctionRef;
pub(crate) use call::{CallNode, resolve, resolve_compiled, takes_unit, unknown};
pub(crate) use lambdas::LambdaBody;
use memo::Memo;
pub use registry::Functions;
pub(crate) use signature::{Argument, Bindings, Param, Signature};
pub(crate) use time::unit_ms;

use super::eval::{Fail, Input, Run, Value};
use crate::types::SqlType;

/// A call being evaluated.
pub(crate) struct Call<'a, 'r> {
    /// The arguments that are no lambdas, failures already taken for NULL.
    pub args: Vec<Value>,
    pub lambdas: &'a [LambdaBody],
    pub rows: usize,
    pub input: &'a Input<'a>,
    pub run: &'a mut Run<'r>,
    /// The result's type.
    pub ty: &'a SqlType,
}

/// Computes a column of `call.rows` values of `call.ty`'s Arrow type.
pub(crate) type Kernel = Box<dyn Fn(&mut Call<'_, '_>) -> ArrayRef + Send + Sync>;

/// A result type that the signature's language cannot say.
pub type ReturnRule = fn(&[SqlType]) -> SqlType;

/// One way to call a function.
pub struct Variant {
    pub(crate) signature: Signature,
    pub(crate) returns: Option<ReturnRule>,
    kernel: Kernel,
}

/// A function of one row: SCALAR, or TABLE when its ARRAY result is to become rows.
pub struct Function {
    pub about: About,
    pub(crate) variants: Vec<Variant>,
    /// Whether two calls with the same arguments may give different results.
    pub(crate) volatile: bool,
}

impl Function {
    /// The name, upper case.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// Describes an argument: every signature takes it at this place, unless it names it itself.
    pub fn arg(&mut self, name: &str, doc: &str) -> &mut Self {
        self.about.arguments.push((name.to_owned(), doc.to_owned()));
        self
    }

    /// An example: a call of constants, and the result as text.
    pub fn example(&mut self, call: &str, gives: &str) -> &mut Self {
        self.about.examples.push(Example::new(call, gives));
        self
    }

    /// What else must be known: NULL, limits, errors.
    pub fn note(&mut self, text: &str) -> &mut Self {
        self.about.note = text.to_owned();
        self
    }

    /// Gives a variant a result type that depends on the arguments'.
    pub fn returning(&mut self, variant: usize, rule: ReturnRule) -> &mut Self {
        if let Some(v) = self.variants.get_mut(variant) {
            v.returns = Some(rule);
        }
        self
    }

    /// Says that equal arguments do not make equal results.
    pub(crate) fn volatile(&mut self) -> &mut Self {
        self.volatile = true;
        self
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.signature)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Collects functions while the library is built.
pub(crate) struct Library {
    category: &'static str,
    functions: Vec<Function>,
}

impl Library {
    /// The functions that Millstream brings, by name.
    fn built_in() -> Vec<Function> {
        let mut library = Library { category: "", functions: vec![] };
        numbers::add(&mut library);
        text::add(&mut library);
        masks::add(&mut library);
        regexes::add(&mut library);
        bytes::add(&mut library);
        nulls::add(&mut library);
        time::add(&mut library);
        arrays::add(&mut library);
        maps::add(&mut library);
        lambdas::add(&mut library);
        json::add(&mut library);
        url::add(&mut library);
        library.functions
    }

    fn category(&mut self, name: &'static str) {
        self.category = name;
    }

    /// Registers a function with variants given as signature and kernel; its documentation follows.
    fn add<const N: usize>(
        &mut self,
        name: &str,
        summary: &str,
        variants: [(&str, Kernel); N],
    ) -> &mut Function {
        let variants = variants
            .into_iter()
            .map(|(text, kernel)| Variant {
                signature: Signature::parse(text),
                returns: None,
                kernel,
            })
            .collect();
        let about = About::new(name, FunctionKind::Scalar, self.category, summary);
        self.functions.push(Function { about, variants, volatile: false });
        let last = self.functions.len() - 1;
        &mut self.functions[last]
    }
}
