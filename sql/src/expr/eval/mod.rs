//! Evaluation of compiled expressions over batches.

/// What an evaluation knows of the world: this crate has no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvalContext {
    /// The epoch's time, milliseconds since 1970: what UNIX_TIMESTAMP() and UNIX_DATE() give.
    pub now_ms: i64,
}
