//! Calls: which variant of a function fits, and its evaluation over columns.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arrow::array::Array;

use super::{Argument, Bindings, Call, Function, LambdaBody, Param};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
use crate::expr::eval::{Fail, Input, Node, NodeRef, Run, Value, null_out, union_failed};
use crate::types::SqlType;

/// A function that a bound expression calls; equal when the names are.
#[derive(Clone, Debug)]
pub struct FunctionRef(Arc<Function>);

impl FunctionRef {
    pub(crate) fn new(function: Arc<Function>) -> Self {
        FunctionRef(function)
    }
}

impl Deref for FunctionRef {
    type Target = Function;

    fn deref(&self) -> &Function {
        &self.0
    }
}

impl PartialEq for FunctionRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.name() == other.name()
    }
}

/// Whether the function's argument at `at` can be a bare time unit.
pub(crate) fn takes_unit(function: &Function, at: usize) -> bool {
    function
        .variants
        .iter()
        .any(|v| v.signature.params.get(at).is_some_and(|p| p.param == Param::Unit))
}

/// The place of the variant for these arguments, and what the letters of its signature stand for.
pub(crate) fn resolve(function: &Function, args: &[Argument]) -> Result<(usize, Bindings)> {
    for implicit in [false, true] {
        let mut found: Vec<(usize, Bindings)> = function
            .variants
            .iter()
            .enumerate()
            .filter_map(|(at, v)| Some((at, v.signature.accepts(args, implicit)?)))
            .collect();
        let rank = |at: usize| function.variants[at].signature.rank();
        found.sort_by_key(|(at, _)| rank(*at));
        if let [(first, _), (second, _), ..] = found.as_slice()
            && rank(*first) == rank(*second)
        {
            return Err(SqlError::new(
                ErrorKind::AmbiguousFunctionCall,
                format!("several variants of {} fit ({})", function.name(), list(args)),
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
        format!("{} does not accept ({})", function.name(), list(args)),
        format!("Its variants are {}.", variants.join("; ")),
    ))
}

fn list(args: &[Argument]) -> String {
    args.iter().map(Argument::to_string).collect::<Vec<_>>().join(", ")
}

/// The variant of a bound call: its arguments have exactly the parameters' types by now.
pub(crate) fn resolve_compiled(function: &Function, args: &[Expr], ty: &SqlType) -> Result<usize> {
    let args: Vec<Argument> = args
        .iter()
        .map(|arg| match arg {
            Expr::Lambda { params, .. } => Argument::Lambda(params.len()),
            Expr::Literal { ty: Some(SqlType::String), .. } => Argument::Text,
            other => other.ty().map_or(Argument::Null, Argument::Typed),
        })
        .collect();
    // A literal can fit both a unit and a STRING; the result's type tells variants apart too.
    let mut fitting: Vec<usize> = (0..function.variants.len())
        .filter(|at| {
            let v = &function.variants[*at];
            v.signature.accepts(&args, false).is_some_and(|bindings| {
                v.returns.is_some()
                    || v.signature.returns.resolve(&bindings).is_none_or(|r| r == *ty)
            })
        })
        .collect();
    fitting.sort_by_key(|at| function.variants[*at].signature.rank());
    match fitting.first() {
        Some(variant) => Ok(*variant),
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
    function: FunctionRef,
    /// Which of its variants.
    variant: usize,
    args: Vec<NodeRef>,
    lambdas: Vec<LambdaBody>,
    /// Which of `args` must not be NULL.
    required: Vec<bool>,
    ty: SqlType,
}

impl fmt::Debug for CallNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallNode")
            .field("function", &self.function)
            .field("args", &self.args)
            .finish()
    }
}

const NULL_ARGUMENT: Fail = Fail::Borrowed("an argument that must not be NULL is NULL");

impl CallNode {
    pub(crate) fn new(
        function: FunctionRef,
        variant: usize,
        args: Vec<NodeRef>,
        lambdas: Vec<LambdaBody>,
        ty: SqlType,
    ) -> Self {
        let count = args.len() + lambdas.len();
        let signature = &function.variants[variant].signature;
        let required = (0..args.len())
            .map(|i| signature.parameter(i, count).is_some_and(|p| p.rejects_null))
            .collect();
        Self { function, variant, args, lambdas, required, ty }
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
            (self.function.variants[self.variant].kernel)(&mut call)
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
