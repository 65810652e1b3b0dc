//! Which connection waits for what: storage wakes keys, connections wait for keys.
//!
//! Invariant: a connection that registers for a key before it looks is woken by whatever happens
//! after it looked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream_storage::{WakeKey, Wakes};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Wakes the connections whose requests wait. Give it to [`millstream_storage::Broker::open`].
#[derive(Default)]
pub struct WakeHub {
    waiting: Mutex<HashMap<WakeKey, Vec<(u64, Arc<Notify>)>>>,
    next_id: AtomicU64,
}

impl WakeHub {
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn watcher(self: &Arc<Self>) -> Watcher {
        Watcher {
            hub: self.clone(),
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            notify: Arc::new(Notify::new()),
            keys: Vec::new(),
        }
    }
}

impl Wakes for WakeHub {
    fn wake(&self, key: WakeKey) {
        if let Some(waiting) = self.waiting.lock().get(&key) {
            waiting.iter().for_each(|(_, notify)| notify.notify_one());
        }
    }
}

/// One connection's place in the hub.
pub(super) struct Watcher {
    hub: Arc<WakeHub>,
    id: u64,
    pub(super) notify: Arc<Notify>,
    keys: Vec<WakeKey>,
}

impl Watcher {
    /// Watches exactly these keys (sorted) from now on. True if that is a change: what was seen
    /// before may then be old.
    pub(super) fn watch(&mut self, keys: Vec<WakeKey>) -> bool {
        if keys == self.keys {
            return false;
        }
        let mut waiting = self.hub.waiting.lock();
        for key in self.keys.iter().filter(|key| keys.binary_search(key).is_err()) {
            forget(&mut waiting, key, self.id);
        }
        for key in keys.iter().filter(|key| self.keys.binary_search(key).is_err()) {
            waiting.entry(key.clone()).or_default().push((self.id, self.notify.clone()));
        }
        drop(waiting);
        self.keys = keys;
        true
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut waiting = self.hub.waiting.lock();
        self.keys.iter().for_each(|key| forget(&mut waiting, key, self.id));
    }
}

fn forget(waiting: &mut HashMap<WakeKey, Vec<(u64, Arc<Notify>)>>, key: &WakeKey, id: u64) {
    if let Some(of_key) = waiting.get_mut(key) {
        of_key.retain(|(other, _)| *other != id);
        if of_key.is_empty() {
            waiting.remove(key);
        }
    }
}
