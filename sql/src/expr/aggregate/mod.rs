//! Aggregate functions as the planner sees them: which exist, what they take and give.
//!
//! How they add up is the engine's (`engine/src/operators/aggregate/`).

mod library;
mod user;

use datafusion_common::ScalarValue;
pub(crate) use library::built_in;
use user::UserVariant;
pub use user::{RowAggregate, UserAggregate};

use super::Expr;
use super::functions::{About, Signature};
use crate::error::{ErrorKind, Result, SqlError};
use crate::types::{SqlType, StructField};

/// One aggregate of a GROUP BY, its variant chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// Over the columns of the aggregate step's input; empty for `COUNT(*)`.
    pub args: Vec<Expr>,
    /// Literal extra arguments: N of LATEST_BY_OFFSET, k of TOPK, ignore-nulls flags.
    pub constants: Vec<ScalarValue>,
    pub ty: SqlType,
    /// As the user wrote it, for EXPLAIN and messages.
    pub text: String,
    /// Set when the function is [`AggregateFunction::User`].
    pub user: Option<UserAggregate>,
}

impl AggregateCall {
    /// Whether the aggregate can take a row back, which a table as source needs.
    pub fn supports_table(&self) -> bool {
        match &self.user {
            Some(user) => user.0.supports_table(),
            None => supports_table(self.function),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    LatestByOffset,
    EarliestByOffset,
    CollectList,
    CollectSet,
    CountDistinct,
    TopK,
    TopKDistinct,
    Histogram,
    Attr,
    SumList,
    Correlation,
    StddevSample,
    StddevSamp,
    /// From outside the library; the call says which.
    User,
}

/// An aggregate function as the library knows it.
#[derive(Debug)]
pub struct AggregateInfo {
    pub about: About,
    pub function: AggregateFunction,
    pub(crate) signatures: Vec<Signature>,
    /// How those from outside the library are made, parallel to `signatures`.
    pub(crate) user: Vec<UserVariant>,
}

fn supports_table(function: AggregateFunction) -> bool {
    use AggregateFunction::*;
    match function {
        Attr | Avg | CollectList | Correlation | Count | Histogram | StddevSamp | StddevSample
        | Sum | SumList => true,
        CollectSet | CountDistinct | EarliestByOffset | LatestByOffset | Max | Min | TopK
        | TopKDistinct | User => false,
    }
}

/// Chooses the variant of an aggregate for bound arguments; none for `COUNT(*)`. The literal extra
/// arguments go into `constants`.
pub fn resolve_aggregate(info: &AggregateInfo, args: &[Expr]) -> Result<AggregateCall> {
    let (name, function) = (info.about.name.as_str(), info.function);
    let shown: Vec<String> = args.iter().map(Expr::to_string).collect();
    let shown = if args.is_empty() { "*".to_owned() } else { shown.join(", ") };
    let text = format!("{name}({shown})");
    if function == AggregateFunction::User {
        return user::resolve(info, args, text);
    }
    let resolved = Resolver { name, args }.resolve(function)?;
    Ok(AggregateCall {
        function,
        args: args[..resolved.values].to_vec(),
        constants: resolved.constants,
        ty: resolved.ty,
        text,
        user: None,
    })
}

struct Resolved {
    /// How many leading arguments are per row.
    values: usize,
    constants: Vec<ScalarValue>,
    ty: SqlType,
}

struct Resolver<'a> {
    name: &'a str,
    args: &'a [Expr],
}

impl Resolver<'_> {
    fn resolve(&self, function: AggregateFunction) -> Result<Resolved> {
        use AggregateFunction::*;
        match function {
            Count => match self.args {
                [] => self.done(0, SqlType::Bigint),
                [_] => self.done(1, SqlType::Bigint),
                _ => self.mismatch(),
            },
            Sum => {
                let ty = self.one()?;
                if ty.is_numeric() { self.done(1, ty) } else { self.mismatch() }
            }
            Avg | StddevSample | StddevSamp => match self.one()? {
                SqlType::Int | SqlType::Bigint | SqlType::Double => self.done(1, SqlType::Double),
                _ => self.mismatch(),
            },
            Correlation => match (self.typed(0)?, self.typed(1)?) {
                (x, y) if self.args.len() == 2 && x.is_numeric() && y.is_numeric() => {
                    self.done(2, SqlType::Double)
                }
                _ => self.mismatch(),
            },
            Min | Max => {
                let ty = self.one()?;
                if is_ordered(&ty) { self.done(1, ty) } else { self.mismatch() }
            }
            User => self.mismatch(),
            Attr => self.one().and_then(|ty| self.done(1, ty)),
            CollectList | CollectSet => self.one().and_then(|ty| self.done(1, SqlType::array(ty))),
            CountDistinct => self.one().and_then(|_| self.done(1, SqlType::Bigint)),
            Histogram => match self.one()? {
                SqlType::String => self.done(1, SqlType::map(SqlType::String, SqlType::Bigint)),
                _ => self.mismatch(),
            },
            SumList => match self.one()? {
                SqlType::Array(item) => match *item {
                    SqlType::Int | SqlType::Bigint | SqlType::Double => self.done(1, *item),
                    _ => self.mismatch(),
                },
                _ => self.mismatch(),
            },
            EarliestByOffset | LatestByOffset => self.by_offset(),
            TopK => self.top_k(),
            TopKDistinct => {
                let ty = self.typed(0)?;
                if self.args.len() != 2 || !is_ordered(&ty) {
                    return self.mismatch();
                }
                let k = self.int(1)?;
                Ok(Resolved { values: 1, constants: vec![k], ty: SqlType::array(ty) })
            }
        }
    }

    /// `(T)`, `(T, ignoreNulls)`, `(T, n)`, `(T, n, ignoreNulls)`. The constants are always
    /// `[n or NULL, ignoreNulls]`.
    fn by_offset(&self) -> Result<Resolved> {
        let ty = self.typed(0)?;
        let yes = ScalarValue::Boolean(Some(true));
        let none = ScalarValue::Int32(None);
        let (n, ignore_nulls) = match self.args.len() {
            1 => (none, yes),
            2 if self.typed(1)? == SqlType::Boolean => (none, self.literal(1)?),
            2 => (self.int(1)?, yes),
            3 if self.typed(2)? == SqlType::Boolean => (self.int(1)?, self.literal(2)?),
            _ => return self.mismatch(),
        };
        let ty = if n.is_null() { ty } else { SqlType::array(ty) };
        Ok(Resolved { values: 1, constants: vec![n, ignore_nulls], ty })
    }

    /// `(sort, k)` or `(sort, other…, k)`; `k` is the constant.
    fn top_k(&self) -> Result<Resolved> {
        let sort = self.typed(0)?;
        let values = self.args.len().saturating_sub(1);
        let sortable =
            matches!(sort, SqlType::Int | SqlType::Bigint | SqlType::Double | SqlType::String);
        if values == 0 || !sortable {
            return self.mismatch();
        }
        let k = self.int(values)?;
        if values == 1 {
            return Ok(Resolved { values, constants: vec![k], ty: SqlType::array(sort) });
        }
        let mut fields = vec![StructField { name: "sort_col".into(), ty: sort }];
        for i in 1..values {
            fields.push(StructField { name: format!("col{}", i - 1), ty: self.typed(i)? });
        }
        let ty = SqlType::array(SqlType::Struct(fields));
        Ok(Resolved { values, constants: vec![k], ty })
    }

    fn done(&self, values: usize, ty: SqlType) -> Result<Resolved> {
        Ok(Resolved { values, constants: vec![], ty })
    }

    fn one(&self) -> Result<SqlType> {
        if self.args.len() == 1 { self.typed(0) } else { self.mismatch() }
    }

    fn typed(&self, at: usize) -> Result<SqlType> {
        match self.args.get(at) {
            Some(arg) => arg.typed(),
            None => self.mismatch(),
        }
    }

    fn literal(&self, at: usize) -> Result<ScalarValue> {
        match self.args.get(at) {
            Some(Expr::Literal { value, .. }) if !value.is_null() => Ok(value.clone()),
            Some(other) => Err(SqlError::new(
                ErrorKind::NonLiteralArgument,
                format!("argument {} of {} must be a constant, not {other}", at + 1, self.name),
                "Write a literal.",
            )),
            None => self.mismatch(),
        }
    }

    fn int(&self, at: usize) -> Result<ScalarValue> {
        match self.literal(at)? {
            v @ ScalarValue::Int32(_) => Ok(v),
            _ => self.mismatch(),
        }
    }

    fn mismatch<T>(&self) -> Result<T> {
        let types: Vec<String> =
            self.args.iter().map(|a| a.ty().map_or("NULL".to_owned(), |t| t.to_string())).collect();
        Err(SqlError::new(
            ErrorKind::FunctionArgumentsMismatch,
            format!("{} has no variant for ({})", self.name, types.join(", ")),
            format!("DESCRIBE FUNCTION {} lists its variants.", self.name),
        ))
    }
}

fn is_ordered(ty: &SqlType) -> bool {
    !matches!(ty, SqlType::Boolean | SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_))
}
