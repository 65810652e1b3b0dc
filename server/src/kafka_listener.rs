//! The Kafka listener: accept, frame, call storage, wait, reply.
//!
//! One task per connection, and no thread for a request that waits. Storage says what a request
//! waits for; the [`WakeHub`] maps those keys to the connections that wait.
//!
//! ```text
//! socket ─► input ─► frame ─► storage::kafka::handle ─► slot ─► socket
//!                                     ▲                   │ Wait
//!                                     └── resume ◄── wake ┘
//! ```
//!
//! Answers leave in the order of the requests. A request that waits for the world (a long poll, a
//! join) holds the next one back, as in Kafka. One that is carried out and waits only for the disk
//! does not: the next is started behind it, so the requests a producer has in flight share a sync.
//!
//! A frame's length is not believed: memory grows as bytes arrive, up to [`FRAME_MAX`].
//!
//! Invariants:
//! - no wake-up is missed: register, look once more, then sleep;
//! - a connection holds at most [`PIPELINE_MAX`] answers and one frame more than it works on.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use millstream_storage::kafka::{self, Ids, KafkaConfig, KafkaNode, Outcome, Pending, Session};
use millstream_storage::{Broker, WakeKey, Wakes};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::now_ms;

/// Longest frame accepted, in bytes (Kafka: `socket.request.max.bytes`).
pub const FRAME_MAX: usize = 100 << 20;

/// Answers a connection may have waiting for the disk before its next request is looked at.
const PIPELINE_MAX: usize = 32;

/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 10_000;

/// A connection that says nothing for so long is closed (Kafka: `connections.max.idle.ms`), and so is
/// one that takes no answers.
const IDLE: Duration = Duration::from_secs(600);

/// While nothing may be taken from the socket, only so much of it is read: enough to notice that the
/// peer has gone.
const LOOKAHEAD: usize = 64 << 10;

/// How often groups are told that time passes.
const TICK: Duration = Duration::from_secs(1);

/// After a stop is asked for, answers that wait for the disk get so long.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

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

    fn watcher(self: &Arc<Self>) -> Watcher {
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
struct Watcher {
    hub: Arc<WakeHub>,
    id: u64,
    notify: Arc<Notify>,
    keys: Vec<WakeKey>,
}

impl Watcher {
    /// Watches exactly these keys (sorted) from now on. True if that is a change: what was seen
    /// before may then be old.
    fn watch(&mut self, keys: Vec<WakeKey>) -> bool {
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

/// Random ids for storage.
pub struct RandomIds;

impl Ids for RandomIds {
    fn fresh(&self) -> uuid::Uuid {
        uuid::Uuid::new_v4()
    }
}

/// The front door of an open broker, reached at `host` and `port`. To be made once: it owns the
/// broker's groups.
///
/// # Errors
/// When what the journal knows of the groups cannot be read.
pub fn node(
    broker: Arc<Broker>,
    host: &str,
    port: u16,
    default_partitions: i32,
) -> io::Result<Arc<KafkaNode>> {
    let config = KafkaConfig { default_partitions, ..KafkaConfig::at(host, port) };
    let groups = broker.group_facts();
    let node = KafkaNode::new(broker, &groups, config, Arc::new(RandomIds), now_ms());
    node.map(Arc::new).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("consumer groups: {error}"))
    })
}

/// Serves Kafka clients until `shutdown`; returns when the last connection has ended.
pub async fn serve(
    listener: TcpListener,
    node: Arc<KafkaNode>,
    hub: Arc<WakeHub>,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let open = Arc::new(AtomicUsize::new(0));
    let mut tick = tokio::time::interval(TICK);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => {
                node.tick(now_ms());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: it passes when connections end.
                tracing::warn!(%error, "a Kafka connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%peer, "too many Kafka connections; this one is closed");
            continue;
        }
        let connection = Connection::new(socket, peer, node.clone(), &hub);
        let (open, shutdown) = (open.clone(), shutdown.clone());
        connections.spawn(async move {
            match connection.run(shutdown).await {
                Ok(()) => {}
                Err(error) => tracing::debug!(%peer, %error, "Kafka connection closed"),
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    connections.close();
    connections.wait().await;
}

/// An answer on its way, or the request that will become one.
enum Slot {
    Ready(Bytes),
    Wait { until_ms: i64, wake_on: Vec<WakeKey>, pending: Pending },
}

struct Connection {
    socket: TcpStream,
    node: Arc<KafkaNode>,
    session: Session,
    watcher: Watcher,
    input: BytesMut,
    slots: VecDeque<Slot>,
}

impl Connection {
    fn new(socket: TcpStream, peer: SocketAddr, node: Arc<KafkaNode>, hub: &Arc<WakeHub>) -> Self {
        // Answers are written whole, so there is nothing to gain from holding small ones back.
        let _ = socket.set_nodelay(true);
        let session = Session::new(format!("/{}", peer.ip()));
        let watcher = hub.watcher();
        Self { socket, node, session, watcher, input: BytesMut::new(), slots: VecDeque::new() }
    }

    async fn run(mut self, shutdown: CancellationToken) -> io::Result<()> {
        let mut stop_at: Option<Instant> = None;
        loop {
            self.settle()?;
            if stop_at.is_none() {
                self.take_frames()?;
            }
            self.flush().await?;
            if stop_at.is_none() && self.may_take() && frame_len(&self.input)?.is_some() {
                continue;
            }
            if let Some(stop_at) = stop_at
                && (!self.only_disk_is_missing()
                    || self.slots.is_empty()
                    || Instant::now() >= stop_at)
            {
                return Ok(());
            }
            // Whoever has to wait registers first and looks once more, so that nothing that
            // happened in between is missed.
            if self.watch() {
                continue;
            }
            let deadline = self.deadline().min(stop_at.unwrap_or_else(far));
            let wants_input = stop_at.is_none() && self.wants_input();
            let watcher = self.watcher.notify.clone();
            tokio::select! {
                () = watcher.notified(), if !self.slots.is_empty() => {}
                () = sleep_until(deadline) => {
                    if self.slots.is_empty() {
                        return Ok(());
                    }
                }
                read = read_some(&mut self.socket, &mut self.input), if wants_input => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                () = shutdown.cancelled(), if stop_at.is_none() => {
                    stop_at = Some(Instant::now() + LAST_ANSWERS);
                }
            }
        }
    }

    /// Carries out the requests that have arrived, as far as order allows.
    fn take_frames(&mut self) -> io::Result<()> {
        while self.may_take() {
            let Some(frame) = take_frame(&mut self.input)? else { return Ok(()) };
            let outcome = kafka::handle(&self.node, &mut self.session, frame, now_ms());
            if let Some(slot) = to_slot(outcome)? {
                self.slots.push_back(slot);
            }
        }
        Ok(())
    }

    fn only_disk_is_missing(&self) -> bool {
        self.slots.iter().all(|slot| match slot {
            Slot::Ready(_) => true,
            Slot::Wait { pending, .. } => pending.is_done_but_for_the_disk(),
        })
    }

    fn may_take(&self) -> bool {
        self.slots.len() < PIPELINE_MAX && self.only_disk_is_missing()
    }

    fn wants_input(&self) -> bool {
        self.may_take() || self.input.len() < LOOKAHEAD
    }

    /// Looks at the waiting requests again.
    fn settle(&mut self) -> io::Result<()> {
        let now = now_ms();
        for slot in &mut self.slots {
            let old = std::mem::replace(slot, Slot::Ready(Bytes::new()));
            *slot = match old {
                Slot::Ready(answer) => Slot::Ready(answer),
                Slot::Wait { pending, .. } => {
                    let outcome = kafka::resume(&self.node, &mut self.session, pending, now);
                    to_slot(outcome)?
                        .ok_or_else(|| io::Error::other("a waiting request vanished"))?
                }
            };
        }
        Ok(())
    }

    /// Writes the answers that are ready and whose turn it is.
    async fn flush(&mut self) -> io::Result<()> {
        while let Some(Slot::Ready(_)) = self.slots.front() {
            let Some(Slot::Ready(answer)) = self.slots.pop_front() else { break };
            timeout(IDLE, self.socket.write_all(&answer)).await??;
        }
        Ok(())
    }

    /// Registers for what the slots wait for; true if that is news.
    fn watch(&mut self) -> bool {
        let keys_of = |slot: &Slot| match slot {
            Slot::Ready(_) => Vec::new(),
            Slot::Wait { wake_on, .. } => wake_on.clone(),
        };
        let mut keys: Vec<WakeKey> = self.slots.iter().flat_map(keys_of).collect();
        keys.sort_unstable();
        keys.dedup();
        self.watcher.watch(keys) && !self.slots.is_empty()
    }

    /// When to look again, whatever happens; for a connection without requests, when to give up.
    fn deadline(&self) -> Instant {
        let now = now_ms();
        let wait = |slot: &Slot| match slot {
            Slot::Ready(_) => None,
            Slot::Wait { until_ms, .. } => u64::try_from(until_ms.saturating_sub(now)).ok(),
        };
        match self.slots.iter().filter_map(wait).min() {
            Some(ms) => Instant::now() + Duration::from_millis(ms).min(IDLE),
            None => Instant::now() + IDLE,
        }
    }
}

fn far() -> Instant {
    Instant::now() + IDLE
}

fn to_slot(outcome: Outcome) -> io::Result<Option<Slot>> {
    Ok(match outcome {
        Outcome::Ready(answer) => Some(Slot::Ready(answer)),
        Outcome::Wait { until_ms, wake_on, pending } => {
            Some(Slot::Wait { until_ms, wake_on, pending })
        }
        Outcome::NoResponse => None,
        Outcome::Refuse { answer, .. } => Some(Slot::Ready(answer)),
        Outcome::Close(reason) => return Err(io::Error::other(reason)),
    })
}

/// The length of the next frame, if all of it is there.
fn frame_len(input: &BytesMut) -> io::Result<Option<usize>> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let announced = i32::from_be_bytes(*prefix);
    let len = usize::try_from(announced).ok().filter(|len| *len <= FRAME_MAX);
    let len = len.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {announced} bytes"))
    })?;
    Ok(Some(len).filter(|len| input.len() >= 4 + len))
}

/// The next whole frame, without its length.
fn take_frame(input: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(len) = frame_len(input)? else { return Ok(None) };
    input.advance(4);
    Ok(Some(input.split_to(len).freeze()))
}

/// Reads what is there. The buffer grows with what has arrived, not with what was announced.
async fn read_some(socket: &mut TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    if input.capacity() - input.len() < 4096 {
        input.reserve(input.len().max(8 << 10));
    }
    socket.read_buf(input).await
}
