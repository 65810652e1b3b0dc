//! The Kafka listener over real sockets: what only the socket side can get wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream::clock::{SystemClock, now_ms};
use millstream::kafka_listener::{WakeHub, node, serve};
use millstream_storage::{Broker, MemDisk, StorageConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

struct Server {
    address: std::net::SocketAddr,
    broker: Arc<Broker>,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let hub = Arc::new(WakeHub::new());
        let disk = Arc::new(MemDisk::new());
        let config = StorageConfig { journal_file_bytes: 64 << 10, ..StorageConfig::default() };
        let salt = uuid::Uuid::new_v4();
        let (broker, _) =
            Broker::open(disk, config, now_ms(), salt, hub.clone()).expect("an empty disk opens");
        let broker = Arc::new(broker);
        std::thread::spawn({
            let broker = broker.clone();
            move || broker.run_committer(&SystemClock)
        });
        let node = node(broker.clone(), "127.0.0.1", address.port(), 1).expect("no groups yet");
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve(listener, node, hub, shutdown.clone()));
        Self { address, broker, shutdown, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(SOON, self.served).await.expect("the listener ends").expect("without a panic");
        self.broker.shut_down();
    }
}

/// A frame: length, key, version, correlation id, client id "c", body.
fn frame(key: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&correlation.to_be_bytes());
    frame.extend_from_slice(&[0, 1, b'c']);
    frame.extend_from_slice(body);
    let len = i32::try_from(frame.len()).expect("a small frame");
    [&len.to_be_bytes()[..], &frame].concat()
}

fn api_versions(correlation: i32) -> Vec<u8> {
    frame(18, 0, correlation, &[])
}

/// Metadata version 4 for one topic, which is made.
fn metadata(correlation: i32, topic: &str) -> Vec<u8> {
    let name = topic.as_bytes();
    let mut body = vec![0, 0, 0, 1, 0, u8::try_from(name.len()).expect("a short name")];
    body.extend_from_slice(name);
    body.push(1);
    frame(3, 4, correlation, &body)
}

/// Fetch version 4 of partition 0 from offset 0, waiting for one byte.
fn fetch(correlation: i32, topic: &str, max_wait_ms: i32) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [-1, max_wait_ms, 1, 1 << 20] {
        body.extend_from_slice(&number.to_be_bytes());
    }
    body.push(0);
    body.extend_from_slice(&[0, 0, 0, 1, 0, u8::try_from(topic.len()).expect("a short name")]);
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    body.extend_from_slice(&0_i64.to_be_bytes());
    body.extend_from_slice(&(1_i32 << 20).to_be_bytes());
    frame(1, 4, correlation, &body)
}

/// Reads one answer; its correlation id and the rest.
async fn answer(socket: &mut TcpStream) -> (i32, Vec<u8>) {
    let read = async {
        let len = socket.read_i32().await.expect("a length");
        let mut bytes = vec![0; usize::try_from(len).expect("a length")];
        socket.read_exact(&mut bytes).await.expect("the whole answer");
        let (id, rest) = bytes.split_first_chunk::<4>().expect("a correlation id");
        (i32::from_be_bytes(*id), rest.to_vec())
    };
    timeout(SOON, read).await.expect("an answer in time")
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut byte = [0];
    matches!(timeout(SOON, socket.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order() {
    let server = Server::start().await;
    let mut socket = server.connect().await;
    let mut all = Vec::new();
    for id in 0..100 {
        // Topics to be made wait for the disk; the others would be ready before them.
        all.extend(if id % 3 == 0 { metadata(id, &format!("t{id}")) } else { api_versions(id) });
    }
    socket.write_all(&all).await.expect("the server reads");
    for id in 0..100 {
        assert_eq!(answer(&mut socket).await.0, id);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte() {
    let server = Server::start().await;
    let mut socket = server.connect().await;
    for byte in api_versions(7) {
        socket.write_all(&[byte]).await.expect("the server reads");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(answer(&mut socket).await.0, 7);
    server.stop().await;
}

#[tokio::test]
async fn lengths_that_cannot_be_close_the_connection() {
    let server = Server::start().await;
    for len in [-1, i32::MIN, i32::MAX, (100 << 20) + 1] {
        let mut socket = server.connect().await;
        socket.write_all(&len.to_be_bytes()).await.expect("the server reads");
        assert!(is_closed(&mut socket).await, "{len}");
    }
    // Noise that is no request does so too, and harms nobody else.
    let mut other = server.connect().await;
    let mut socket = server.connect().await;
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("the server reads");
    assert!(is_closed(&mut socket).await);
    other.write_all(&api_versions(1)).await.expect("the server reads");
    assert_eq!(answer(&mut other).await.0, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_in_time_and_holds_the_next_request_back() {
    let server = Server::start().await;
    let mut socket = server.connect().await;
    socket.write_all(&metadata(1, "t")).await.expect("the server reads");
    answer(&mut socket).await;
    let started = Instant::now();
    let both = [fetch(2, "t", 300), api_versions(3)].concat();
    socket.write_all(&both).await.expect("the server reads");
    assert_eq!(answer(&mut socket).await.0, 2);
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert_eq!(answer(&mut socket).await.0, 3);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_ends_long_polls_and_idle_connections() {
    let server = Server::start().await;
    let mut waiting = server.connect().await;
    waiting.write_all(&metadata(1, "t")).await.expect("the server reads");
    answer(&mut waiting).await;
    waiting.write_all(&fetch(2, "t", 60_000)).await.expect("the server reads");
    let mut idle = server.connect().await;
    idle.write_all(&api_versions(1)).await.expect("the server reads");
    answer(&mut idle).await;
    server.stop().await;
    assert!(is_closed(&mut waiting).await && is_closed(&mut idle).await);
}
