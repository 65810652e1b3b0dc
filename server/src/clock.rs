//! The one place that reads the wall clock; everywhere else time is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The clock that storage is given.
pub struct SystemClock;

impl millstream_storage::Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        now_ms()
    }
}
