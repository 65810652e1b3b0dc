//! Tumbling and hopping windows: which windows a time falls into, and where their slots are.
//!
//! Windows start at multiples of the advance from 1970 on, and do not hold their end. A record goes
//! into every window that covers it, oldest first, unless the window has closed: its end is not after
//! stream time less grace. Windows that start before stream time less retention are forgotten.
//!
//! State: the key of a window's group is its start and then the group's key, so that windows go in
//! ranges. Which starts there are is kept in memory.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use millstream_sql::plan::TimeRange;

use super::slots::Slots;
use super::state::{ROWS, window_key};
use crate::error::Result;
use crate::operators::table::from_ordered;
use crate::rows::Millis;
use crate::state::StateStore;

pub(super) struct TimeWindows {
    pub(super) size: i64,
    pub(super) advance: i64,
    pub(super) grace: i64,
    pub(super) retention: i64,
    slots: HashMap<(Millis, u32), u32, FixedState>,
    /// The starts of windows that the state or memory may have.
    starts: BTreeSet<Millis>,
    /// Those of windows that are new since anything was last evicted: all of their groups have slots.
    whole: BTreeSet<Millis>,
}

impl TimeWindows {
    pub(super) fn new(
        (size, advance): (i64, i64),
        (grace, retention): (i64, i64),
        store: &StateStore,
    ) -> Result<Self> {
        let mut starts = BTreeSet::new();
        let mut from = vec![ROWS];
        loop {
            let mut found = None;
            store.scan(&from, &[ROWS + 1], &mut |key, _| {
                found = key.get(1..9).map(from_ordered);
                false
            })?;
            let Some(start) = found else { break };
            starts.insert(start);
            from = window_key(start.saturating_add(1), &[]);
        }
        let (slots, whole) = (HashMap::default(), BTreeSet::new());
        let (size, advance) = (size.max(1), advance.max(1));
        Ok(TimeWindows { size, advance, grace, retention, slots, starts, whole })
    }

    pub(super) fn end(&self, start: Millis) -> Millis {
        start.saturating_add(self.size)
    }

    /// The starts of the windows that cover `time`, oldest first.
    pub(super) fn covering(&self, time: Millis) -> impl Iterator<Item = Millis> + use<> {
        let advance = self.advance;
        let first =
            time.saturating_sub(self.size).saturating_add(advance).max(0) / advance * advance;
        std::iter::successors(Some(first), move |start| start.checked_add(advance))
            .take_while(move |start| *start <= time)
    }

    /// The latest start of a window; `Millis::MIN` if there is none.
    pub(super) fn latest_start(&self) -> Millis {
        self.starts.last().copied().unwrap_or(Millis::MIN)
    }

    /// Whether the window that starts at `start` takes nothing any more.
    pub(super) fn is_closed(&self, start: Millis, stream_time: Millis) -> bool {
        self.end(start) <= stream_time.saturating_sub(self.grace)
    }

    /// The slot of a window's group, a new empty one if it has none.
    pub(super) fn slot(&mut self, start: Millis, key: u32, slots: &mut Slots) -> u32 {
        let end = self.end(start);
        *self.slots.entry((start, key)).or_insert_with(|| {
            if self.starts.insert(start) {
                self.whole.insert(start);
            }
            slots.push(key, start, end)
        })
    }

    /// Whether a group of this window that has no slot has no row in the state either.
    pub(super) fn is_whole(&self, start: Millis) -> bool {
        self.whole.contains(&start)
    }

    /// Says that slots went whose rows the state has.
    pub(super) fn evicted(&mut self) {
        self.whole.clear();
    }

    /// The starts of windows within `range`.
    pub(super) fn starts(&self, range: impl std::ops::RangeBounds<Millis>) -> Vec<Millis> {
        self.starts.range(range).copied().collect()
    }

    /// The starts of windows that a selection wants.
    pub(super) fn wanted(&self, start: &TimeRange, end: &TimeRange) -> Vec<Millis> {
        let from = start.from_ms.unwrap_or(Millis::MIN);
        let from = from.max(end.from_ms.map_or(Millis::MIN, |t| t.saturating_sub(self.size)));
        let to = start.to_ms.unwrap_or(Millis::MAX);
        let to = to.min(end.to_ms.map_or(Millis::MAX, |t| t.saturating_sub(self.size)));
        if from > to { vec![] } else { self.starts(from..=to) }
    }

    /// The first start that is not forgotten at `stream_time`.
    pub(super) fn horizon(&self, stream_time: Millis) -> Millis {
        stream_time.saturating_sub(self.retention)
    }

    /// Deletes the windows that start before `horizon` from the state, once there are enough of them
    /// that it pays; their slots in memory go when [`TimeWindows::rebuild`] is next called.
    pub(super) fn forget(&mut self, horizon: Millis, store: &mut StateStore) {
        let Some(&first) = self.starts.first() else { return };
        let step = self.advance.max(self.retention / 64);
        if first.saturating_add(step) > horizon {
            return;
        }
        store.delete_range(&window_key(first, &[]), &window_key(horizon, &[]));
        self.starts = self.starts.split_off(&horizon);
        self.whole = self.whole.split_off(&horizon);
    }

    /// Whether a slot's window is still in the state.
    pub(super) fn holds(&self, start: Millis) -> bool {
        self.starts.contains(&start)
    }

    /// Learns the slots anew after some of them went.
    pub(super) fn rebuild(&mut self, slots: &Slots) {
        self.slots.clear();
        for slot in 0..slots.len() {
            self.slots.insert((slots.start[slot], slots.key[slot]), slot as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::NodeState;

    #[test]
    fn times_fall_into_the_windows_that_cover_them() {
        let cases: &[(i64, i64, i64, &[i64])] = &[
            (10, 10, 0, &[0]),
            (10, 10, 9, &[0]),
            (10, 10, 10, &[10]),
            (10, 5, 12, &[5, 10]),
            (10, 5, 3, &[0]),
            (10, 3, 11, &[3, 6, 9]),
            (10, 10, -1, &[]),
            (10, 10, i64::MIN, &[]),
            (10, 5, i64::MAX, &[i64::MAX - 7, i64::MAX - 2]),
        ];
        for &(size, advance, time, starts) in cases {
            let mut node = NodeState::in_memory().unwrap();
            let (_, store) = node.store("Q", "Aggregate/0", 0).unwrap();
            let windows = TimeWindows::new((size, advance), (0, size), &store).unwrap();
            assert_eq!(
                windows.covering(time).collect::<Vec<_>>(),
                starts,
                "{size} {advance} {time}"
            );
        }
    }
}
