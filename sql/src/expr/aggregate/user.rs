//! Aggregates from outside the library: a fold over the rows of a group, whose state is a value.
//!
//! Slower than the built-in ones, since each value is boxed; the seam for tests and for user-defined
//! functions.

use std::fmt;
use std::sync::Arc;

use datafusion_common::ScalarValue;

use super::{AggregateCall, AggregateFunction, AggregateInfo};
use crate::error::{ErrorKind, Result, SqlError};
use crate::expr::Expr;
use crate::expr::functions::{About, Argument, FunctionKind, Param, Signature};
use crate::types::SqlType;

/// Adds up the rows of a group. Every state has the type of `initial`.
pub trait RowAggregate: fmt::Debug + Send + Sync {
    /// The state of a group without rows; typed also when it is NULL.
    fn initial(&self) -> ScalarValue;

    /// The state with one more row, of which `args` are the arguments (NULL ones too).
    ///
    /// # Errors
    /// The reason why the row cannot be added; it is reported and left out.
    fn add(
        &self,
        state: &ScalarValue,
        args: &[ScalarValue],
    ) -> std::result::Result<ScalarValue, String>;

    /// The state without a row that had been added; `None` when rows cannot be taken back, so that
    /// the function does not work on tables.
    fn subtract(&self, _state: &ScalarValue, _args: &[ScalarValue]) -> Option<ScalarValue> {
        None
    }

    /// Whether `subtract` works.
    fn supports_table(&self) -> bool {
        false
    }

    /// The state of two sessions that became one.
    fn merge(&self, earlier: &ScalarValue, later: &ScalarValue) -> ScalarValue;

    /// The function's value.
    fn finish(&self, state: &ScalarValue) -> ScalarValue {
        state.clone()
    }
}

/// One such aggregate, its variant chosen; equal only to itself.
#[derive(Clone, Debug)]
pub struct UserAggregate(pub Arc<dyn RowAggregate>);

impl PartialEq for UserAggregate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

type Make = dyn Fn(&[SqlType], &[ScalarValue]) -> Arc<dyn RowAggregate> + Send + Sync;

/// One way to call such an aggregate.
pub(crate) struct UserVariant {
    signature: Signature,
    /// How many of the last arguments are constants.
    constants: usize,
    make: Box<Make>,
}

impl fmt::Debug for UserVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.signature)
    }
}

impl AggregateInfo {
    /// An aggregate without variants yet.
    pub fn new(name: &str, category: &str, summary: &str) -> AggregateInfo {
        let about = About::new(&name.to_uppercase(), FunctionKind::Aggregate, category, summary);
        let function = AggregateFunction::User;
        AggregateInfo { about, function, signatures: vec![], user: vec![] }
    }

    /// Adds a way to call it. `signature` is in the language of `signature.rs`, as in `S, I n -> [S]`;
    /// the last `constants` arguments must be literals. `make` gets the types of the other arguments,
    /// and the literals.
    ///
    /// # Errors
    /// When the signature cannot be read.
    pub fn variant(
        mut self,
        signature: &str,
        constants: usize,
        make: impl Fn(&[SqlType], &[ScalarValue]) -> Arc<dyn RowAggregate> + Send + Sync + 'static,
    ) -> Result<AggregateInfo> {
        let signature = Signature::read(signature).map_err(|reason| {
            SqlError::new(
                ErrorKind::FunctionArgumentsMismatch,
                format!("{}: {reason}", self.about.name),
                "Correct the signature.",
            )
        })?;
        self.signatures.push(signature.clone());
        self.user.push(UserVariant { signature, constants, make: Box::new(make) });
        Ok(self)
    }
}

/// The call of a user-defined aggregate for bound arguments.
pub(super) fn resolve(info: &AggregateInfo, args: &[Expr], text: String) -> Result<AggregateCall> {
    let name = &info.about.name;
    let given: Vec<Argument> = args.iter().map(Argument::of).collect();
    let fitting = [false, true].into_iter().find_map(|implicit| {
        let mut fitting: Vec<_> = info
            .user
            .iter()
            .filter_map(|v| Some((v, v.signature.accepts(&given, implicit)?)))
            .collect();
        fitting.sort_by_key(|(v, _)| v.signature.rank());
        (!fitting.is_empty()).then(|| fitting.swap_remove(0))
    });
    let mismatch = || {
        let given: Vec<String> = given.iter().map(Argument::to_string).collect();
        SqlError::new(
            ErrorKind::FunctionArgumentsMismatch,
            format!("{name} has no variant for ({})", given.join(", ")),
            format!("DESCRIBE FUNCTION {name} lists its variants."),
        )
    };
    let (variant, bindings) = fitting.ok_or_else(mismatch)?;
    let ty = variant.signature.returns.resolve(&bindings).ok_or_else(mismatch)?;
    let mut values = Vec::with_capacity(args.len());
    for (at, arg) in args.iter().enumerate() {
        let parameter = variant.signature.parameter(at, args.len()).ok_or_else(mismatch)?;
        if parameter.param == Param::Any {
            arg.typed()?;
            values.push(arg.clone());
            continue;
        }
        let wanted = parameter.param.resolve(&bindings).ok_or_else(mismatch)?;
        values.push(crate::expr::bind::coerce(arg.clone(), &wanted)?);
    }
    let last = values.split_off(values.len().saturating_sub(variant.constants));
    let mut constants = Vec::with_capacity(last.len());
    for arg in last {
        if !matches!(arg, Expr::Literal { .. }) {
            return Err(SqlError::new(
                ErrorKind::NonLiteralArgument,
                format!("{arg} must be a constant in {name}"),
                "Write a literal.",
            ));
        }
        constants.push(crate::expr::value::constant(&arg, &Default::default())?);
    }
    let types = values.iter().map(Expr::typed).collect::<Result<Vec<_>>>()?;
    let user = Some(UserAggregate((variant.make)(&types, &constants)));
    Ok(AggregateCall { function: info.function, args: values, constants, ty, text, user })
}
