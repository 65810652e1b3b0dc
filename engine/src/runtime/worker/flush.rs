//! Making state survive without the journal, so that the journal can let go of its oldest epochs.
//!
//! When enough was applied or enough time has passed, RocksDB is flushed on a thread of its own, one
//! flush at a time; the log is told afterwards which epoch needs its payload no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use tracing::{error, warn};

use super::Worker;
use crate::io::Epoch;
use crate::rows::Millis;
use crate::state::SharedBackend;

/// Flushes state on a thread of its own, one flush at a time.
pub(super) struct Flusher {
    pub(super) thread: Option<JoinHandle<()>>,
    pub(super) running: Arc<AtomicBool>,
    pub(super) durable: Arc<AtomicU64>,
    pub(super) told: Epoch,
    pub(super) last_ms: Millis,
}

impl Worker {
    pub(super) fn flush_if_due(&mut self) {
        let durable = self.flusher.durable.load(Ordering::Acquire);
        if durable > self.flusher.told {
            self.flusher.told = durable;
            self.io.state_durable(durable);
        }
        let backend = self.state.backend();
        let waiting = backend.unflushed_bytes();
        let now = self.now();
        let due = waiting >= self.options.flush_bytes
            || (waiting > 0 && now - self.flusher.last_ms >= self.options.flush_ms);
        if !due || self.flusher.running.swap(true, Ordering::AcqRel) {
            return;
        }
        self.flusher.last_ms = now;
        let (backend, running) = (backend.clone(), self.flusher.running.clone());
        let durable = self.flusher.durable.clone();
        let spawned = std::thread::Builder::new()
            .name("flush".into())
            .spawn(move || flush(&backend, &running, &durable));
        match spawned {
            Ok(thread) => self.flusher.thread = Some(thread),
            Err(reason) => {
                warn!(%reason, "no thread to flush state");
                self.flusher.running.store(false, Ordering::Release);
            }
        }
    }
}

fn flush(backend: &SharedBackend, running: &AtomicBool, durable: &AtomicU64) {
    match backend.flush() {
        Ok(epoch) => {
            durable.fetch_max(epoch, Ordering::AcqRel);
        }
        // The journal keeps what state did not take; the next apply will fail too, and stop the engine.
        Err(reason) => error!(%reason, "state cannot be flushed"),
    }
    running.store(false, Ordering::Release);
}
