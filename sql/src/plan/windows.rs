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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: WindowKind, grace_ms: Option<i64>, emit_final: bool, grace: i64, kept: i64) {
        let window = Window { kind, retention_ms: None, grace_ms };
        let settled = settle(&window, emit_final).expect("legal");
        assert_eq!((settled.grace_ms, settled.retention_ms), (grace, kept));
    }

    #[test]
    fn defaults() {
        let minute = WindowKind::Tumbling { size_ms: 60_000 };
        check(minute, None, false, DAY_MS - 60_000, DAY_MS);
        check(minute, None, true, 0, 60_000);
        check(minute, Some(5), false, 5, 60_005);
        let week = WindowKind::Hopping { size_ms: 7 * DAY_MS, advance_ms: DAY_MS };
        check(week, None, false, 0, 7 * DAY_MS);
        check(WindowKind::Session { gap_ms: 10 }, None, false, DAY_MS - 10, DAY_MS);
    }
}
