//! Aggregate functions as the planner sees them: which exist, what they take and give.
//!
//! How they add up is the engine's (`engine/src/operators/aggregate/`).

use datafusion::common::ScalarValue;

use super::Expr;
use crate::types::SqlType;

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
}
