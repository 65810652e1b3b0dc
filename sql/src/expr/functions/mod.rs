//! The function library: one table per file, each function registered once with its name, what it
//! is for, its variants and their implementation. SHOW FUNCTIONS and DESCRIBE FUNCTION read the same
//! entries that [`resolve`] chooses from.
//!
//! An implementation is a [`Kernel`]: it gets whole columns and yields a whole column, reporting rows
//! that fail. Most are made from a function over one row by [`typed`].

mod arrays;
mod bytes;
mod json;
mod json_value;
mod lambdas;
mod maps;
mod masks;
mod nulls;
mod numbers;
mod picks;
mod regexes;
mod signature;
mod text;
mod time;
mod typed;
mod url;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef};

pub(crate) use lambdas::LambdaBody;
pub(crate) use signature::{Argument, Bindings, Param, Signature};
pub(crate) use time::unit_ms;

use super::eval::{Fail, Input, Node, NodeRef, Run, Value, null_out, union_failed};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
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
pub(crate) type ReturnRule = fn(&[SqlType]) -> SqlType;

/// One way to call a function.
pub struct Variant {
    pub(crate) signature: Signature,
    pub(crate) returns: Option<ReturnRule>,
    kernel: Kernel,
}

/// A scalar function of the library.
pub struct Function {
    pub name: &'static str,
    /// The heading SHOW FUNCTIONS and DESCRIBE FUNCTION put it under.
    pub category: &'static str,
    /// What it is for, one sentence.
    pub doc: &'static str,
    pub variants: Vec<Variant>,
}

impl Variant {
    /// Types of the parameters as text, `...` behind a repeated one, and the result's.
    pub fn describe(&self) -> (Vec<String>, String) {
        let params = self
            .signature
            .params
            .iter()
            .map(|p| format!("{}{}", p.param, if p.variadic { "..." } else { "" }))
            .collect();
        (params, self.signature.returns.to_string())
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (params, result) = self.describe();
        write!(f, "({}) -> {result}", params.join(", "))
    }
}

/// Collects functions while the library is built.
pub(crate) struct Library {
    category: &'static str,
    functions: Vec<Function>,
}

impl Library {
    fn category(&mut self, name: &'static str) {
        self.category = name;
    }

    /// Registers a function with variants given as signature and kernel.
    fn add<const N: usize>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        variants: [(&str, Kernel); N],
    ) {
        let variants = variants
            .into_iter()
            .map(|(text, kernel)| Variant {
                signature: Signature::parse(text),
                returns: None,
                kernel,
            })
            .collect();
        self.functions.push(Function { name, category: self.category, doc, variants });
    }

    /// Gives a variant of the function added last a result type that depends on the arguments'.
    fn returning(&mut self, variant: usize, rule: ReturnRule) {
        if let Some(v) = self.functions.last_mut().and_then(|f| f.variants.get_mut(variant)) {
            v.returns = Some(rule);
        }
    }
}

static LIBRARY: LazyLock<Vec<Function>> = LazyLock::new(|| {
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
    library.functions.sort_by_key(|f| f.name);
    library.functions
});

static BY_NAME: LazyLock<HashMap<&'static str, &'static Function>> =
    LazyLock::new(|| LIBRARY.iter().map(|f| (f.name, f)).collect());

/// Every scalar function, by name.
pub fn all() -> &'static [Function] {
    &LIBRARY
}

/// The function of that name (upper case).
pub fn find(name: &str) -> Option<&'static Function> {
    BY_NAME.get(name).copied()
}

/// Whether two calls with the same arguments may give different results.
pub(crate) fn is_volatile(name: &str) -> bool {
    matches!(name, "RANDOM" | "UUID" | "UNIX_TIMESTAMP" | "UNIX_DATE")
}

/// Whether the function's argument at `at` can be a bare time unit.
pub(crate) fn takes_unit(function: &Function, at: usize) -> bool {
    function
        .variants
        .iter()
        .any(|v| v.signature.params.get(at).is_some_and(|p| p.param == Param::Unit))
}

/// The variant for these arguments, and what the letters of its signature stand for.
pub(crate) fn resolve(
    function: &'static Function,
    args: &[Argument],
) -> Result<(&'static Variant, Bindings)> {
    for implicit in [false, true] {
        let mut found: Vec<(&'static Variant, Bindings)> = function
            .variants
            .iter()
            .filter_map(|v| Some((v, v.signature.accepts(args, implicit)?)))
            .collect();
        found.sort_by_key(|(v, _)| v.signature.rank());
        if let [(first, _), (second, _), ..] = found.as_slice()
            && first.signature.rank() == second.signature.rank()
        {
            return Err(SqlError::new(
                ErrorKind::AmbiguousFunctionCall,
                format!("several variants of {} fit ({})", function.name, list(args)),
                "Cast the arguments to one type.",
            ));
        }
        if !found.is_empty() {
            return Ok(found.swap_remove(0));
        }
    }
    let variants: Vec<String> = function.variants.iter().map(|v| format!("{v:?}")).collect();
    Err(SqlError::new(
        ErrorKind::FunctionArgumentsMismatch,
        format!("{} does not accept ({})", function.name, list(args)),
        format!("Its variants are {}.", variants.join("; ")),
    ))
}

fn list(args: &[Argument]) -> String {
    args.iter().map(Argument::to_string).collect::<Vec<_>>().join(", ")
}

/// The variant of a bound call: its arguments have exactly the parameters' types by now.
pub(crate) fn resolve_compiled(
    name: &str,
    args: &[Expr],
    ty: &SqlType,
) -> Result<&'static Variant> {
    let function = find(name).ok_or_else(|| unknown(name))?;
    let args: Vec<Argument> = args
        .iter()
        .map(|arg| match arg {
            Expr::Lambda { params, .. } => Argument::Lambda(params.len()),
            Expr::Literal { ty: Some(SqlType::String), .. } => Argument::Text,
            other => other.ty().map_or(Argument::Null, Argument::Typed),
        })
        .collect();
    // A literal can fit both a unit and a STRING; the result's type tells variants apart too.
    let mut fitting: Vec<&'static Variant> = function
        .variants
        .iter()
        .filter(|v| {
            v.signature.accepts(&args, false).is_some_and(|bindings| {
                v.returns.is_some()
                    || v.signature.returns.resolve(&bindings).is_none_or(|r| r == *ty)
            })
        })
        .collect();
    fitting.sort_by_key(|v| v.signature.rank());
    match fitting.first() {
        Some(variant) => Ok(variant),
        None => resolve(function, &args).map(|(variant, _)| variant),
    }
}

pub(crate) fn unknown(name: &str) -> SqlError {
    SqlError::new(
        ErrorKind::UnknownFunction,
        format!("no function is called {name}"),
        "Check the spelling; SHOW FUNCTIONS lists what there is.",
    )
}

/// A call of a function over columns.
pub(crate) struct CallNode {
    variant: &'static Variant,
    args: Vec<NodeRef>,
    lambdas: Vec<LambdaBody>,
    /// Which of `args` must not be NULL.
    required: Vec<bool>,
    ty: SqlType,
}

impl fmt::Debug for CallNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallNode").field("variant", self.variant).field("args", &self.args).finish()
    }
}

const NULL_ARGUMENT: Fail = Fail::Borrowed("an argument that must not be NULL is NULL");

impl CallNode {
    pub(crate) fn new(
        variant: &'static Variant,
        args: Vec<NodeRef>,
        lambdas: Vec<LambdaBody>,
        ty: SqlType,
    ) -> Self {
        let count = args.len() + lambdas.len();
        let required = (0..args.len())
            .map(|i| variant.signature.parameter(i, count).is_some_and(|p| p.rejects_null))
            .collect();
        Self { variant, args, lambdas, required, ty }
    }
}

impl Node for CallNode {
    fn eval(&self, input: &Input<'_>, run: &mut Run<'_>) -> Value {
        let rows = input.rows;
        let args: Vec<Value> = self.args.iter().map(|a| a.eval(input, run)).collect();
        let mut failed = union_failed(&args.iter().collect::<Vec<_>>(), rows);
        let mark = run.errors.0.len();
        for (arg, _) in args.iter().zip(&self.required).filter(|(_, required)| **required) {
            if arg.array.null_count() == 0 {
                continue;
            }
            let null = arrow::buffer::BooleanBuffer::collect_bool(rows, |row| arg.is_null(row));
            for row in null.set_indices() {
                if !failed.as_ref().is_some_and(|f| f.value(row)) {
                    run.fail(row, NULL_ARGUMENT);
                }
            }
            failed = Some(failed.map_or(null.clone(), |f| &f | &null));
        }
        let kept = run.errors.0.len();
        let args = args.into_iter().map(Value::contained).collect();
        let array = {
            let mut call = Call { args, lambdas: &self.lambdas, rows, input, run, ty: &self.ty };
            (self.variant.kernel)(&mut call)
        };
        debug_assert!(mark <= kept);
        let array = match &failed {
            None => array,
            Some(failed) => {
                // The kernel saw NULL where an argument had failed: what it says there is noise.
                let mut at = 0;
                run.errors.0.retain(|e| {
                    at += 1;
                    at <= kept || !failed.value(e.row)
                });
                null_out(array, failed)
            }
        };
        debug_assert_eq!(array.data_type(), &self.ty.to_arrow());
        Value::array(array)
    }
}

/// Remembers what was last made of a text, such as a compiled regex, across rows and batches.
pub(crate) struct Memo<T>(std::sync::Mutex<Option<(String, Arc<T>)>>);

impl<T> Memo<T> {
    pub(crate) fn new() -> Self {
        Self(std::sync::Mutex::new(None))
    }

    pub(crate) fn get(
        &self,
        text: &str,
        make: impl FnOnce(&str) -> std::result::Result<T, Fail>,
    ) -> std::result::Result<Arc<T>, Fail> {
        let mut last = match self.0.lock() {
            Ok(last) => last,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some((of, made)) = &*last
            && of == text
        {
            return Ok(made.clone());
        }
        let made = Arc::new(make(text)?);
        *last = Some((text.to_owned(), made.clone()));
        Ok(made)
    }
}
