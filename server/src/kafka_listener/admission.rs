//! How much is let in: connections in all and per address, bytes of requests, logins at a time.
//!
//! Kafka's names for the limits are in [`Limits`]. What does not fit is not refused where it can
//! wait: a connection whose next request does not fit into memory is simply not read from, so its
//! client is held back by TCP. Only connections that are too many are closed.
//!
//! Invariant: the bytes of requests that are being received or worked on are never more than
//! [`Limits::queued_bytes_max`], besides [`SMALL`] for each connection, and besides a single request
//! that is larger than that by itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request up to this size is received without asking, in bytes.
pub(super) const SMALL: usize = 8 << 10;

/// Passwords are checked by so many threads at a time: thousands of hash rounds each.
const LOGINS_AT_A_TIME: usize = 2;

/// What the semaphore of bytes counts.
const UNIT: usize = 1 << 10;

/// The bounds of a node's Kafka listeners.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time (Kafka: `max.connections`).
    pub connections_max: usize,
    /// Connections at a time from one address (Kafka: `max.connections.per.ip`).
    pub connections_per_ip_max: usize,
    /// Longest request, in bytes (Kafka: `socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Bytes of all requests in flight (Kafka: `queued.max.request.bytes`).
    pub queued_bytes_max: usize,
    /// A connection that says nothing for so long is closed (Kafka: `connections.max.idle.ms`).
    pub idle: Duration,
    /// TLS and SASL each have to be done by then; a request that began to arrive, and a reader of
    /// answers, get a few times as much.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_000,
            connections_per_ip_max: 2_000,
            request_bytes_max: 100 << 20,
            queued_bytes_max: 64 << 20,
            idle: Duration::from_secs(600),
            patience: Duration::from_secs(10),
        }
    }
}

/// A peer that is slower than this, in bytes a second, is taken for one that holds memory for its
/// own sake.
const SLOWEST: u64 = 256 << 10;

impl Limits {
    /// How long so many bytes may take on the wire, at the slowest.
    pub(super) fn transfer_time(&self, bytes: usize) -> Duration {
        Duration::from_secs(bytes as u64 / SLOWEST)
    }
}

/// The counts behind the limits, shared by all listeners of a node.
pub struct Admission {
    pub(super) limits: Limits,
    open: Mutex<Open>,
    bytes: Arc<Semaphore>,
    units: u32,
    pub(super) logins: Arc<Semaphore>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The leave to hold the bytes of one request.
pub(super) type Permit = OwnedSemaphorePermit;

/// A leave that is waited for.
pub(super) type Admitting = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

impl Admission {
    pub fn new(limits: Limits) -> Arc<Self> {
        let units = u32::try_from(limits.queued_bytes_max / UNIT).unwrap_or(u32::MAX).max(1);
        Arc::new(Self {
            limits,
            open: Mutex::default(),
            bytes: Arc::new(Semaphore::new(units as usize)),
            units,
            logins: Arc::new(Semaphore::new(LOGINS_AT_A_TIME)),
        })
    }

    /// Counts a connection in, until the guard is dropped. The error says which limit is reached.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Result<Entered, &'static str> {
        let mut open = self.open.lock();
        if open.all >= self.limits.connections_max {
            return Err("--max-connections");
        }
        let of_address = open.by_address.entry(from).or_default();
        if *of_address >= self.limits.connections_per_ip_max {
            return Err("--max-connections-per-ip");
        }
        *of_address += 1;
        open.all += 1;
        Ok(Entered { admission: self.clone(), from })
    }

    /// Waits, in turn, until so many bytes of a request may be held. A request that is larger than
    /// all there is gets all there is.
    pub(super) fn admit(&self, bytes: usize) -> Admitting {
        let (units, semaphore) = (self.units_of(bytes), self.bytes.clone());
        Box::pin(async move { semaphore.acquire_many_owned(units).await.ok() })
    }

    /// The same, if there is no need to wait.
    pub(super) fn try_admit(&self, bytes: usize) -> Option<Permit> {
        self.bytes.clone().try_acquire_many_owned(self.units_of(bytes)).ok()
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }
}

/// An open connection, counted.
pub(super) struct Entered {
    admission: Arc<Admission>,
    from: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.all -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.from) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_all_and_per_address() {
        let limits = Limits { connections_max: 3, connections_per_ip_max: 2, ..Limits::default() };
        let admission = Admission::new(limits);
        let [a, b] = [IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2])];
        let first = admission.enter(a);
        let second = admission.enter(a);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(admission.enter(a).err(), Some("--max-connections-per-ip"));
        let third = admission.enter(b);
        assert!(third.is_ok());
        assert_eq!(admission.enter(b).err(), Some("--max-connections"));
        drop(first);
        assert!(admission.enter(a).is_ok());
        drop((second, third));
        assert_eq!(admission.open.lock().all, 0);
        assert!(admission.open.lock().by_address.is_empty());
    }

    #[tokio::test]
    async fn bytes_in_flight_are_bounded_and_a_giant_gets_all() {
        let limits = Limits { queued_bytes_max: 100 << 10, ..Limits::default() };
        let admission = Admission::new(limits);
        let giant = admission.admit(1 << 30).await;
        assert!(giant.is_some());
        let mut next = admission.admit(1);
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, &mut next).await.is_err(), "nothing is left");
        drop(giant);
        assert!(tokio::time::timeout(soon, next).await.is_ok());
    }
}
