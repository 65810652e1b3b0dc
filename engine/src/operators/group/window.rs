//! Time windows: which of them a time lies in, and when they close.
//!
//! Windows are `[start, start + size)`, starts are multiples of `advance` and never negative, as in
//! Kafka Streams. A window is open while its end is after stream time − grace.

use crate::rows::Millis;

#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWindows {
    pub(crate) size: Millis,
    pub(crate) advance: Millis,
    pub(crate) grace: Millis,
    pub(crate) retention: Millis,
}

impl TimeWindows {
    /// The starts of the windows that `time` lies in, oldest first.
    pub(crate) fn starts(&self, time: Millis) -> impl Iterator<Item = Millis> + use<> {
        let first = (time - self.size + self.advance).max(0) / self.advance * self.advance;
        let advance = self.advance;
        std::iter::successors(Some(first), move |start| start.checked_add(advance))
            .take_while(move |start| *start <= time)
    }

    pub(crate) fn end(&self, start: Millis) -> Millis {
        start.saturating_add(self.size)
    }

    /// Windows that end at or before this are closed.
    pub(crate) fn close_time(&self, stream_time: Millis) -> Millis {
        stream_time.saturating_sub(self.grace)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_time_lies_in_its_windows_and_in_no_other(
            time in 0i64..100_000, advance in 1i64..500, times in 1i64..6, off in 0i64..400,
        ) {
            let size = advance * times + off.min(advance - 1);
            let windows = TimeWindows { size, advance, grace: 0, retention: 0 };
            let found: Vec<_> = windows.starts(time).collect();
            let expected: Vec<_> =
                (0..=time / advance).map(|i| i * advance).filter(|s| s + size > time).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
