//! Wakes the engine when input may have come, or somebody wants it.
//!
//! The broker tells of every partition that got records; only those the engine waits for count. What
//! happens between a poll's cut and the wait is not lost: the wait then returns at once.

use std::time::Duration;

use hashbrown::HashSet;
use millstream_storage::{TopicPartition, WakeKey};
use parking_lot::{Condvar, Mutex};

#[derive(Default)]
pub struct InputSignal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Partitions that got records since the last poll began.
    fresh: HashSet<TopicPartition>,
    called: bool,
    stopped: bool,
}

impl InputSignal {
    /// To be called by the broker's `Wakes`: quick, and calls nothing back.
    pub fn wake(&self, key: &WakeKey) {
        if let WakeKey::Partition(at) = key {
            self.state.lock().fresh.insert(*at);
            self.changed.notify_all();
        }
    }

    /// Ends the wait that is on, or the next one.
    pub fn call(&self) {
        self.state.lock().called = true;
        self.changed.notify_all();
    }

    /// Ends all waits from now on.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    /// What came before is seen by the cut that follows.
    pub(super) fn begin_poll(&self) {
        self.state.lock().fresh.clear();
    }

    pub(super) fn wait<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        timeout: Duration,
    ) {
        let watched: HashSet<TopicPartition> = partitions.copied().collect();
        let mut state = self.state.lock();
        loop {
            let fresh = state.fresh.iter().any(|at| watched.contains(at));
            if std::mem::take(&mut state.called) || state.stopped || fresh {
                return;
            }
            state.fresh.clear();
            // A wake for other partitions begins the timeout anew: it only bounds idleness.
            if self.changed.wait_for(&mut state, timeout).timed_out() {
                return;
            }
        }
    }
}
