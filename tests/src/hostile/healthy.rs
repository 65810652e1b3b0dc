//! The client that must not notice anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{SOON, connect};
use crate::wire_client::batch;

pub(super) const TOPIC: &str = "healthy";

/// Time between two records.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Seen {
    written: u64,
    slowest: Duration,
    failed: Option<String>,
    last: Option<Instant>,
}

pub(super) struct Healthy {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Healthy {
    /// Writes one record after the other, each its own number, until stopped.
    pub(super) fn start(address: &str) -> Healthy {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (seen, stop, address) = (seen.clone(), stop.clone(), address.to_owned());
            move || {
                let done = write(&address, &seen, &stop);
                if let (Err(reason), Ok(mut seen)) = (done, seen.lock()) {
                    seen.failed = Some(reason);
                }
            }
        });
        Healthy { seen, stop, thread }
    }

    /// The slowest answer since the last look.
    ///
    /// # Errors
    /// When something went wrong for it, or nothing goes on at all.
    pub(super) fn check(&self) -> Result<Duration, String> {
        let mut seen = self.seen.lock().map_err(|e| e.to_string())?;
        if let Some(reason) = &seen.failed {
            return Err(format!("the healthy client failed: {reason}"));
        }
        if seen.last.is_some_and(|last| last.elapsed() > SOON) {
            return Err("the healthy client gets no answers".into());
        }
        Ok(std::mem::take(&mut seen.slowest))
    }

    /// How many records were acknowledged.
    pub(super) fn stop(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the healthy client panicked")?;
        let seen = self.seen.lock().map_err(|e| e.to_string())?;
        match &seen.failed {
            Some(reason) => Err(format!("the healthy client failed: {reason}")),
            None => Ok(seen.written),
        }
    }
}

fn write(address: &str, seen: &Mutex<Seen>, stop: &AtomicBool) -> Result<(), String> {
    let mut client = connect(address)?;
    for n in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let record = (1_000_000, None, n.to_string().into_bytes());
        let batch = batch(&[record], None).map_err(|e| e.to_string())?;
        let begin = Instant::now();
        client.produce(TOPIC, 0, batch).map_err(|e| format!("record {n}: {e}"))?;
        let mut seen = seen.lock().map_err(|e| e.to_string())?;
        seen.written = n + 1;
        seen.slowest = seen.slowest.max(begin.elapsed());
        seen.last = Some(Instant::now());
        drop(seen);
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
