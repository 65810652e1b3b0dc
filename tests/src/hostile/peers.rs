//! Peers that take what they can: giants, the deaf, the slow.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kafka_wire::{FetchRequest, OutboundFrameLimits, encode_request, fetch_request};
use kafka_wire_core::{ApiVersion, StrBytes};
use millstream_storage::log::batch::{BatchBuilder, Codec};

use super::SOON;
use crate::wire_client::Client;

/// What a server gives a request that began and a login, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).map_err(|e| format!("no connection: {e}"))?;
    stream.set_write_timeout(Some(SOON)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(SOON)).map_err(|e| e.to_string())?;
    Ok(stream)
}

/// Frames of up to 95 MB that are all tags, all tiny elements, or nothing, many at once.
pub(super) fn giants(address: &str) -> Result<String, String> {
    const MEGABYTES: usize = 95;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u8)
            .map(|n| {
                scope.spawn(move || {
                    let mut stream = connect(address)?;
                    // Metadata v9, Produce v9, Fetch v12, DescribeGroups v5, ApiVersions v3, …
                    let (key, version) =
                        [(3, 9), (0, 9), (1, 12), (15, 5), (18, 3), (10, 4)][usize::from(n) % 6];
                    let mut head = ((MEGABYTES << 20) as u32).to_be_bytes().to_vec();
                    head.extend([0, key, 0, version, 0, 0, 0, 1, 0, 1, b'g']);
                    // Twenty million tags in the header, or as many elements in the body.
                    head.extend(match n % 2 {
                        0 => [0xff, 0xff, 0xff, 0x0f],
                        _ => [0x00, 0xff, 0xff, 0x0f],
                    });
                    let filler = [5, 0].repeat(512 << 10);
                    if stream.write_all(&head).is_err() {
                        return Ok::<(), String>(());
                    }
                    for _ in 0..MEGABYTES {
                        // The server may close as soon as it has seen enough.
                        if stream.write_all(&filler).is_err() {
                            break;
                        }
                    }
                    let mut answer = [0; 1];
                    let _ = stream.read(&mut answer);
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a giant panicked".to_owned())?)
    })?;
    Ok(format!("8 frames of {MEGABYTES} MB at once"))
}

/// Readers that ask for much and take nothing.
pub(super) fn deaf(address: &str, client: &mut Client) -> Result<String, String> {
    const READERS: usize = 100;
    const TOPIC: &str = "large";
    client.create_topic(TOPIC, 1).map_err(|e| e.to_string())?;
    for _ in 0..100 {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(1_000_000, None, Some(&vec![b'x'; 900_000]), &[]);
        let batch = builder.build().map_err(|e| e.to_string())?;
        client.produce(TOPIC, 0, batch).map_err(|e| format!("large records: {e}"))?;
    }
    let fetch = fetch_frame(TOPIC)?;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut stream = connect(address)?;
        for _ in 0..10 {
            stream.write_all(&fetch).map_err(|e| format!("a deaf reader: {e}"))?;
        }
        readers.push(stream);
    }
    std::thread::sleep(Duration::from_secs(5));
    Ok(format!("{READERS} readers that ask for 90 MB ten times and take nothing"))
}

fn fetch_frame(topic: &str) -> Result<BytesMut, String> {
    let mut part = fetch_request::FetchPartition::default();
    part.current_leader_epoch = -1;
    part.last_fetched_epoch = -1;
    part.log_start_offset = -1;
    part.partition_max_bytes = i32::MAX;
    let mut asked = fetch_request::FetchTopic::default();
    asked.topic = topic.into();
    asked.partitions = vec![part];
    let mut fetch = FetchRequest::default();
    fetch.replica_id = -1;
    fetch.max_bytes = i32::MAX;
    fetch.session_epoch = -1;
    fetch.topics = vec![asked];
    let mut out = BytesMut::new();
    let limits = OutboundFrameLimits::new(1 << 20);
    encode_request(&mut out, 1, Some(StrBytes::from("deaf")), &fetch, ApiVersion::new(12), limits)
        .map_err(|e| format!("a fetch: {e:?}"))?;
    Ok(out)
}

/// Connections that begin a request and do not go on: they are closed, and hold up nobody.
pub(super) fn slow(address: &str) -> Result<String, String> {
    const CONNECTIONS: usize = 1500;
    let begin = Instant::now();
    let mut open = Vec::new();
    for n in 0..CONNECTIONS {
        let mut stream = connect(address)?;
        // A length and a little more; some announce much.
        let announced: u32 = if n % 10 == 0 { 90 << 20 } else { 100 };
        let begun = [&announced.to_be_bytes()[..], &[0]].concat();
        stream.write_all(&begun).map_err(|e| format!("connection {n}: {e}"))?;
        open.push(stream);
    }
    let mut closed = 0;
    for (n, stream) in open.iter_mut().enumerate() {
        // One byte now and then does not help.
        if n % 7 == 0 {
            let _ = stream.write_all(&[0]);
        }
        let left = (PATIENCE * 2).saturating_sub(begin.elapsed()).max(Duration::from_millis(10));
        stream.set_read_timeout(Some(left)).map_err(|e| e.to_string())?;
        match stream.read(&mut [0; 16]) {
            Ok(0) => closed += 1,
            Err(e) if !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                closed += 1
            }
            _ => return Err(format!("connection {n} that sent five bytes is still open")),
        }
    }
    Ok(format!("{closed} of {CONNECTIONS} connections with a request that began were closed"))
}
