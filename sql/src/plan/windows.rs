//! Window clauses with their defaults, and how windows go together in joins.
//!
//! Defaults as in `reference/ksqldb.md` 5.3 no. 18: grace is 24 h less the window's size, not below
//! 0; with EMIT FINAL it is 0. Retention is at least size plus grace.

use crate::error::{ErrorKind, Result, SqlError};
use crate::plan::AggregateWindow;
use crate::syntax::ast::{Window, WindowKind};

const DAY_MS: i64 = 86_400_000;

pub(super) fn settle(window: &Window, emit_final: bool) -> Result<AggregateWindow> {
    let size_ms = size_ms(window.kind);
    let default_grace = if emit_final { 0 } else { (DAY_MS - size_ms).max(0) };
    let grace_ms = window.grace_ms.unwrap_or(default_grace);
    let least = size_ms.saturating_add(grace_ms);
    if let Some(retention) = window.retention_ms
        && retention < least
    {
        return Err(SqlError::new(
            ErrorKind::RetentionTooShort,
            format!("RETENTION of {retention} ms is less than size plus grace, {least} ms"),
            "Lengthen RETENTION, or shorten GRACE PERIOD.",
        ));
    }
    let retention_ms = window.retention_ms.unwrap_or(least);
    Ok(AggregateWindow { kind: window.kind, grace_ms, retention_ms })
}

/// The span of a window in milliseconds; for sessions the gap.
pub(super) fn size_ms(kind: WindowKind) -> i64 {
    match kind {
        WindowKind::Tumbling { size_ms } | WindowKind::Hopping { size_ms, .. } => size_ms,
        WindowKind::Session { gap_ms } => gap_ms,
    }
}
