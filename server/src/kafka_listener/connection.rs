//! One connection: frames in, answers out, in order.
//!
//! ```text
//! socket ─► input ─► frame ─► storage::kafka::handle ─► slot ─► socket
//!                                     ▲                   │ Wait
//!                                     └── resume ◄── wake ┘
//! ```
//!
//! A frame's length is not believed: memory grows as bytes arrive. One longer than
//! [`SMALL`] is received only with a leave for its bytes ([`super::admission`]), which is kept until
//! the request is carried out.
//!
//! Whoever is too slow is closed: a login that takes longer than it may, a frame that began and does
//! not end, a reader that does not take its answers, silence.
//!
//! Invariants:
//! - no wake-up is missed: register, look once more, then sleep;
//! - a connection holds at most [`PIPELINE_MAX`] answers and one frame more than it works on.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use millstream_storage::WakeKey;
use millstream_storage::kafka::{self, HeldAnswer, KafkaNode, Outcome, Pending, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Admitting, Permit, SMALL};
use super::wake::{WakeHub, Watcher};
use crate::clock::now_ms;
use crate::tls::Stream;

/// Answers a connection may have waiting for the disk before its next request is looked at.
const PIPELINE_MAX: usize = 32;

/// Answers that are ready are written before more requests are taken, if they have so many bytes.
const READY_BYTES_MAX: usize = 256 << 10;

/// While nothing may be taken from the socket, only so much of it is read: enough to notice that the
/// peer has gone.
const LOOKAHEAD: usize = 8 << 10;

/// Above it a frame has to come quickly: it holds up others' requests, in bytes.
const LARGE: usize = 4 << 20;

/// Where the key of a frame's request ends.
const KEY_END: usize = 6;

/// Pieces of answers in one system call.
const PIECES_MAX: usize = 64;

/// After a stop is asked for, answers that wait for the disk get so long.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// An answer on its way, or the request that will become one.
enum Slot {
    Ready(HeldAnswer),
    Wait {
        until_ms: i64,
        wake_on: Vec<WakeKey>,
        pending: Pending,
        /// For the bytes of a request that is not carried out yet.
        permit: Option<Permit>,
    },
}

pub(super) struct Connection {
    socket: Stream,
    node: Arc<KafkaNode>,
    admission: Arc<Admission>,
    session: Session,
    watcher: Watcher,
    input: BytesMut,
    slots: VecDeque<Slot>,
    /// The leave for the frame that is arriving, or the wait for it.
    permit: Option<Permit>,
    admitting: Option<Admitting>,
    /// Since when a frame is arriving, and by when it has to be there.
    frame_since: Option<(Instant, Instant)>,
    login_by: Instant,
    /// A login failed: the answer to it, and after how long it goes out. Nothing else is done.
    last: Option<(Bytes, Duration)>,
}

impl Connection {
    pub(super) fn new(
        socket: Stream,
        session: Session,
        node: Arc<KafkaNode>,
        admission: Arc<Admission>,
        hub: &Arc<WakeHub>,
    ) -> Self {
        let login_by = Instant::now() + admission.limits.patience;
        Self {
            socket,
            node,
            session,
            watcher: hub.watcher(),
            admission,
            input: BytesMut::new(),
            slots: VecDeque::new(),
            permit: None,
            admitting: None,
            frame_since: None,
            login_by,
            last: None,
        }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) -> io::Result<()> {
        let mut stop_at: Option<Instant> = None;
        loop {
            self.settle()?;
            if stop_at.is_none() {
                self.take_frames().await?;
            }
            self.flush().await?;
            if self.slots.is_empty()
                && let Some((answer, after)) = self.last.take()
            {
                sleep(after).await;
                self.write(&answer).await?;
                return self.socket.shutdown().await;
            }
            if stop_at.is_none() && self.may_take() && self.has_frame()? {
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
            let wants_input = stop_at.is_none() && self.wants_input()?;
            let end = self.end(wants_input);
            let deadline = self.deadline().min(end).min(stop_at.unwrap_or(end));
            let watcher = self.watcher.notify.clone();
            tokio::select! {
                () = watcher.notified(), if !self.slots.is_empty() => {}
                () = sleep_until(deadline) => {
                    if Instant::now() >= end {
                        return self.give_up(end);
                    }
                }
                permit = admitted(&mut self.admitting), if self.admitting.is_some() => {
                    (self.permit, self.admitting) = (permit, None);
                }
                read = self.socket.read_buf(&mut self.input), if wants_input => {
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
    async fn take_frames(&mut self) -> io::Result<()> {
        let mut taken = false;
        while self.may_take() {
            let Some(frame) = self.take_frame()? else { break };
            taken = true;
            let permit = self.permit.take();
            let outcome = match self.session.is_logging_in() {
                true => self.log_in(frame).await?,
                false => kafka::handle(&self.node, &mut self.session, frame, now_ms()),
            };
            if let Some(slot) = self.to_slot(outcome, permit)? {
                self.slots.push_back(slot);
            }
        }
        // All that has arrived is committed together.
        if taken && self.node.broker().commit_held(now_ms()) {
            self.settle()?;
        }
        Ok(())
    }

    /// Passwords cost time by design: they are checked beside the threads that serve sockets, few at
    /// a time.
    async fn log_in(&mut self, frame: Bytes) -> io::Result<Outcome> {
        let turn = self.admission.logins.clone().acquire_owned().await.map_err(io::Error::other)?;
        let node = self.node.clone();
        let mut session = std::mem::replace(&mut self.session, Session::new(""));
        let done = tokio::task::spawn_blocking(move || {
            let outcome = kafka::handle(&node, &mut session, frame, now_ms());
            drop(turn);
            (session, outcome)
        });
        let (session, outcome) = done.await.map_err(io::Error::other)?;
        self.session = session;
        Ok(outcome)
    }

    fn to_slot(&mut self, outcome: Outcome, permit: Option<Permit>) -> io::Result<Option<Slot>> {
        Ok(match outcome {
            Outcome::Ready(answer) => Some(Slot::Ready(self.node.hold(vec![answer]))),
            Outcome::Pieces(pieces) => Some(Slot::Ready(self.node.hold(pieces))),
            Outcome::Wait { until_ms, wake_on, pending } => {
                // What waits only for the disk has let go of the request.
                let permit = permit.filter(|_| !pending.is_done_but_for_the_disk());
                Some(Slot::Wait { until_ms, wake_on, pending, permit })
            }
            Outcome::NoResponse => None,
            Outcome::Refuse { answer, after_ms } => {
                self.last = Some((answer, Duration::from_millis(after_ms)));
                None
            }
            Outcome::Close(reason) => return Err(io::Error::other(reason)),
        })
    }

    fn only_disk_is_missing(&self) -> bool {
        self.slots.iter().all(|slot| match slot {
            Slot::Ready(_) => true,
            Slot::Wait { pending, .. } => pending.is_done_but_for_the_disk(),
        })
    }

    fn may_take(&self) -> bool {
        self.last.is_none()
            && self.slots.len() < PIPELINE_MAX
            && self.only_disk_is_missing()
            && self.ready_bytes() < READY_BYTES_MAX
    }

    fn ready_bytes(&self) -> usize {
        let bytes = |slot: &Slot| match slot {
            Slot::Ready(answer) => answer.len(),
            Slot::Wait { .. } => 0,
        };
        self.slots.iter().map(bytes).sum()
    }

    /// Whether to read, with room in the input for what may come. Asks for the leave that a larger
    /// frame needs.
    fn wants_input(&mut self) -> io::Result<bool> {
        if self.last.is_some() || (!self.may_take() && self.input.len() >= LOOKAHEAD) {
            self.frame_since = None;
            return Ok(false);
        }
        let len = self.frame_len()?.unwrap_or(0);
        // With the key of the request at hand it is known whether it may be so long at all.
        if len > SMALL && self.input.len() < KEY_END {
            self.input.reserve(KEY_END);
            self.expect_frame(0);
            return Ok(true);
        }
        if len > SMALL && self.permit.is_none() {
            if self.admitting.is_none() {
                // Without a turn of the loop when nobody waits.
                self.permit = self.admission.try_admit(len);
            }
            if self.permit.is_none() {
                self.admitting.get_or_insert_with(|| self.admission.admit(len));
                // It waits for us now, not we for it.
                self.frame_since = None;
                return Ok(false);
            }
        }
        let missing = (4 + len).saturating_sub(self.input.len());
        if self.input.capacity() - self.input.len() < missing.min(4096).max(1) {
            // At once, so that it is never copied; pages are taken as bytes arrive.
            self.input.reserve(missing.max(SMALL));
        }
        match self.input.is_empty() {
            true => self.frame_since = None,
            false => self.expect_frame(len),
        }
        Ok(true)
    }

    /// A frame of `len` bytes is arriving. By when it has to be there grows with what has arrived:
    /// whoever announces much and sends nothing does not hold memory for long.
    fn expect_frame(&mut self, len: usize) {
        let limits = &self.admission.limits;
        let grace = if len > LARGE { limits.patience } else { limits.patience * 3 };
        let (since, by) = self.frame_since.get_or_insert_with(|| {
            let now = Instant::now();
            (now, now)
        });
        *by = *since + grace + limits.transfer_time(self.input.len());
    }

    /// Looks at the waiting requests again.
    fn settle(&mut self) -> io::Result<()> {
        let now = now_ms();
        for at in 0..self.slots.len() {
            if !matches!(self.slots[at], Slot::Wait { .. }) {
                continue;
            }
            let gone = Slot::Ready(self.node.hold(Vec::new()));
            if let Slot::Wait { pending, permit, .. } = std::mem::replace(&mut self.slots[at], gone)
            {
                let outcome = kafka::resume(&self.node, &mut self.session, pending, now);
                let slot = match outcome {
                    // A produce without acks that had to wait has no answer.
                    Outcome::NoResponse => Some(Slot::Ready(self.node.hold(Vec::new()))),
                    outcome => self.to_slot(outcome, permit)?,
                };
                self.slots[at] =
                    slot.ok_or_else(|| io::Error::other("a waiting request vanished"))?;
            }
        }
        Ok(())
    }

    /// Writes the answers that are ready and whose turn it is.
    async fn flush(&mut self) -> io::Result<()> {
        let mut answers = Vec::new();
        while let Some(Slot::Ready(_)) = self.slots.front() {
            let Some(Slot::Ready(answer)) = self.slots.pop_front() else { break };
            answers.push(answer);
        }
        let mut pieces: VecDeque<Bytes> = answers
            .iter()
            .flat_map(|answer| answer.pieces())
            .filter(|piece| !piece.is_empty())
            .cloned()
            .collect();
        if !pieces.is_empty() {
            let bytes = pieces.iter().map(Bytes::len).sum();
            let limits = &self.admission.limits;
            let time = limits.patience * 3 + limits.transfer_time(bytes);
            let written = timeout(time, write_all(&mut self.socket, &mut pieces)).await;
            written.map_err(|_| too_slow())??;
            timeout(self.admission.limits.patience * 3, self.socket.flush())
                .await
                .map_err(|_| too_slow())??;
        }
        Ok(())
    }

    async fn write(&mut self, answer: &[u8]) -> io::Result<()> {
        let write = async {
            self.socket.write_all(answer).await?;
            self.socket.flush().await
        };
        timeout(self.admission.limits.patience, write).await.map_err(|_| too_slow())?
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

    /// When to look again, whatever happens.
    fn deadline(&self) -> Instant {
        let now = now_ms();
        let idle = self.admission.limits.idle;
        let wait = |slot: &Slot| match slot {
            Slot::Ready(_) => None,
            Slot::Wait { until_ms, .. } => u64::try_from(until_ms.saturating_sub(now)).ok(),
        };
        match self.slots.iter().filter_map(wait).min() {
            Some(ms) => Instant::now() + Duration::from_millis(ms).min(idle),
            None => Instant::now() + idle,
        }
    }

    /// When the connection is given up if nothing happens until then.
    fn end(&self, wants_input: bool) -> Instant {
        let idle = Instant::now() + self.admission.limits.idle;
        let mut end = if self.slots.is_empty() { idle } else { idle + self.admission.limits.idle };
        if self.session.is_logging_in() {
            end = end.min(self.login_by);
        }
        match self.frame_since {
            Some((_, frame_by)) if wants_input => end.min(frame_by),
            _ => end,
        }
    }

    fn give_up(&self, end: Instant) -> io::Result<()> {
        let reason = if self.session.is_logging_in() && end == self.login_by {
            "it did not log in in time"
        } else if self.frame_since.is_some_and(|(_, by)| by == end) {
            "a request began and did not end in time"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, reason))
    }

    /// The length of the next frame, if that much of it is there.
    fn frame_len(&self) -> io::Result<Option<usize>> {
        let Some(prefix) = self.input.first_chunk::<4>() else { return Ok(None) };
        let max = self.admission.limits.request_bytes_max.min(self.session.frame_max());
        let announced = i32::from_be_bytes(*prefix);
        let len = usize::try_from(announced).ok().filter(|len| *len <= max);
        if let (Some(len), Some(key)) = (len, self.input.get(4..KEY_END))
            && !kafka::may_have_length(i16::from_be_bytes([key[0], key[1]]), len)
            && !self.session.is_logging_in()
        {
            let message =
                format!("a request that carries no records is announced with {len} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        len.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, misfit(*prefix)))
    }

    fn has_frame(&self) -> io::Result<bool> {
        Ok(self.frame_len()?.is_some_and(|len| self.input.len() >= 4 + len))
    }

    /// The next whole frame, without its length.
    fn take_frame(&mut self) -> io::Result<Option<Bytes>> {
        let Some(len) = self.frame_len()?.filter(|len| self.input.len() >= 4 + len) else {
            return Ok(None);
        };
        self.input.advance(4);
        let frame = self.input.split_to(len).freeze();
        self.frame_since = None;
        if self.input.is_empty() && len > SMALL {
            // The memory of a large frame goes with it.
            self.input = BytesMut::new();
        }
        Ok(Some(frame))
    }
}

async fn write_all(socket: &mut Stream, pieces: &mut VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> =
            pieces.iter().take(PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
        let mut written = socket.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

async fn admitted(admitting: &mut Option<Admitting>) -> Option<Permit> {
    match admitting {
        Some(admitting) => admitting.await,
        None => std::future::pending().await,
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not take its answers")
}

/// What somebody meant who sent this as the length of a frame.
fn misfit(prefix: [u8; 4]) -> String {
    const HTTP: [&[u8; 4]; 8] =
        [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"PRI "];
    if HTTP.contains(&&prefix) {
        return "this is an HTTP request; SQL over HTTP is on the port of --http".into();
    }
    if prefix[..2] == [0x16, 0x03] {
        return "this is a TLS hello, and this listener is without TLS; a client with \
                security.protocol=SSL or SASL_SSL needs a listener of that kind (--kafka-listener)"
            .into();
    }
    format!("a frame of {} bytes is announced", i32::from_be_bytes(prefix))
}

#[cfg(test)]
mod tests {
    use super::misfit;

    #[test]
    fn strangers_are_recognised() {
        for (prefix, word) in [
            (*b"GET ", "HTTP"),
            (*b"PRI ", "HTTP"),
            ([0x16, 3, 1, 2], "TLS"),
            ([0x7f, 0xff, 0xff, 0xff], "2147483647"),
            ([0xff; 4], "-1"),
        ] {
            assert!(misfit(prefix).contains(word), "{prefix:?}");
        }
    }
}
