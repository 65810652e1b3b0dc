//! Mutated frames of all APIs and versions, over real connections.
//!
//! Behind each frame goes a question that has one answer: if it comes, the frame was digested. A
//! frame may also close its connection, or wait (a long poll, a join); then the connection is left.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::mutate::mutate;
use super::{SOON, seeds};

const THREADS: u32 = 4;

/// A frame whose answer does not come by then waits for something.
const ANSWER: Duration = Duration::from_millis(150);

/// The correlation id of the question behind each frame.
const QUESTION: i32 = 0x7e57_7e57;

/// ApiVersions version 0.
const ASKED: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0x7e, 0x57, 0x7e, 0x57, 0, 0];

#[derive(Default)]
struct Counts {
    answered: u32,
    closed: u32,
    waited: u32,
}

/// Sends `frames` mutated frames; says what came of them.
pub(super) fn run(address: &str, frames: u32, seed: u64) -> Result<String, String> {
    let (seeds, bare) = seeds::seeds();
    let mut all = Counts::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let seeds = &seeds;
                let mut rng = StdRng::seed_from_u64(seed ^ u64::from(n) << 32);
                let share = frames / THREADS + u32::from(n < frames % THREADS);
                scope.spawn(move || send_all(address, seeds, share, &mut rng))
            })
            .collect();
        for thread in threads {
            let counts = thread.join().map_err(|_| "a sender panicked")??;
            all.answered += counts.answered;
            all.closed += counts.closed;
            all.waited += counts.waited;
        }
        Ok::<_, String>(())
    })?;
    if all.answered == 0 || all.closed == 0 {
        return Err("the frames did not reach the server as they should".into());
    }
    Ok(format!(
        "{frames} mutated frames from {} seeds ({bare} APIs without a type): {} answered, {} closed, {} waiting",
        seeds.len(),
        all.answered,
        all.closed,
        all.waited
    ))
}

fn send_all(
    address: &str,
    seeds: &[Bytes],
    frames: u32,
    rng: &mut StdRng,
) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut open: Option<TcpStream> = None;
    for _ in 0..frames {
        let seed = &seeds[rng.random_range(0..seeds.len())];
        let other = &seeds[rng.random_range(0..seeds.len())];
        let (bytes, announced) = mutate(rng, seed, other);
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => connect(address)?,
        };
        let mut message = announced.to_be_bytes().to_vec();
        message.extend(&bytes);
        if usize::try_from(announced) == Ok(bytes.len()) {
            message.extend(ASKED);
        }
        match stream.write_all(&message).and_then(|()| answered(&mut stream)) {
            Ok(()) => {
                counts.answered += 1;
                open = Some(stream);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                counts.waited += 1;
            }
            Err(_) => counts.closed += 1,
        }
    }
    Ok(counts)
}

/// Reads answers up to the one to the question.
fn answered(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let rest = u64::from(length.saturating_sub(4));
        std::io::copy(&mut (&mut *stream).take(rest), &mut std::io::sink())?;
        if correlation == QUESTION {
            return Ok(());
        }
    }
}

/// A new connection; ports that were used a moment ago may have to be waited for.
fn connect(address: &str) -> Result<TcpStream, String> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                let set = stream.set_read_timeout(Some(ANSWER));
                return set.map(|()| stream).map_err(|e| e.to_string());
            }
            Err(e) if begin.elapsed() > SOON => return Err(format!("no connection: {e}")),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
