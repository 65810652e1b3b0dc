//! A whole node in memory, fed with requests, or opened over changed files.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use millstream_storage::kafka::{self, Ids, KafkaConfig, KafkaNode, Outcome, Session};
use millstream_storage::log::batch::Codec;
use millstream_storage::{Broker, Disk, MemDisk, StorageConfig, WakeKey, Wakes};
use uuid::Uuid;

use crate::hostile::seeds;

const NOW_MS: i64 = 1_000_000;
/// A node forgets nothing; so now and then it is a new one.
const REQUESTS_PER_NODE: usize = 2000;

struct NoWakes;

impl Wakes for NoWakes {
    fn wake(&self, _: WakeKey) {}
}

#[derive(Default)]
struct CountedIds(AtomicU64);

impl Ids for CountedIds {
    fn fresh(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + (1 << 64))
    }
}

/// `None` when the directory is refused, which a damaged one may be.
fn open(disk: Arc<dyn Disk>) -> Option<KafkaNode> {
    let config = StorageConfig { journal_file_bytes: 64 << 10, ..StorageConfig::default() };
    let opened = Broker::open(disk, config, NOW_MS, Uuid::from_u128(7), Arc::new(NoWakes));
    let (broker, recovered) = opened.ok()?;
    let ids = Arc::new(CountedIds::default());
    let config = KafkaConfig::at("localhost", 9092);
    KafkaNode::new(Arc::new(broker), &recovered.groups, config, ids, NOW_MS).ok()
}

/// Carries a frame out as a connection would, to the end.
fn endure(node: &KafkaNode, session: &mut Session, frame: Bytes) {
    if let Outcome::Wait { pending, .. } = kafka::handle(node, session, frame, NOW_MS) {
        node.broker().commit_pending(NOW_MS).expect("a disk in memory takes everything");
        kafka::resume(node, session, pending, NOW_MS + 1000);
    }
}

/// One request frame, without its length.
pub(super) fn request(data: &[u8]) {
    thread_local! {
        static NODE: RefCell<Option<(KafkaNode, usize)>> = const { RefCell::new(None) };
    }
    NODE.with_borrow_mut(|kept| {
        let (node, used) = kept.get_or_insert_with(|| {
            (open(Arc::new(MemDisk::new())).expect("an empty directory opens"), 0)
        });
        endure(node, &mut Session::new("/127.0.0.1"), Bytes::copy_from_slice(data));
        node.broker().commit_pending(NOW_MS).expect("a disk in memory takes everything");
        *used += 1;
        if *used == REQUESTS_PER_NODE {
            *kept = None;
        }
    });
}

pub(super) fn request_seeds() -> Vec<Vec<u8>> {
    seeds::seeds().0.iter().map(|seed| seed.to_vec()).collect()
}

/// The first byte says which file of a small data directory the others replace. Opening it either
/// refuses or gives a node that takes and gives records.
pub(super) fn data_directory(data: &[u8]) {
    let Some((which, content)) = data.split_first() else { return };
    let (disk, files) = directory();
    let Some(file) = files.get(usize::from(*which)) else { return };
    let opened = disk.open(file, true).expect("a disk in memory opens");
    opened.truncate(0).expect("a disk in memory truncates");
    opened.write_at(0, content).expect("a disk in memory takes everything");
    drop(opened);
    let Some(node) = open(disk) else { return };
    let mut session = Session::new("/127.0.0.1");
    for frame in exchange() {
        endure(&node, &mut session, frame);
    }
}

pub(super) fn directory_seeds() -> Vec<Vec<u8>> {
    let (disk, files) = directory();
    let content = |(which, file): (usize, &String)| {
        let opened = disk.open(file, false).expect("a file that was listed");
        let len = opened.len().expect("a disk in memory tells");
        let bytes = opened.read_at(0, len as usize).expect("a disk in memory reads");
        // The rest of a preallocated journal is zeros.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        [&[which as u8], &bytes[..end]].concat()
    };
    files.iter().enumerate().map(content).collect()
}

/// Creates a topic, produces twice, and reads.
fn exchange() -> Vec<Bytes> {
    seeds::exchange([Codec::None, Codec::Zstd].map(seeds::batch))
}

/// A directory with a checkpoint, and something in the journal after it; and its files.
fn directory() -> (Arc<MemDisk>, Vec<String>) {
    let disk = Arc::new(MemDisk::new());
    let node = open(disk.clone()).expect("an empty directory opens");
    let mut session = Session::new("/127.0.0.1");
    for frame in exchange() {
        endure(&node, &mut session, frame);
    }
    node.broker().checkpoint(NOW_MS).expect("a disk in memory takes everything");
    for frame in exchange() {
        endure(&node, &mut session, frame);
    }
    drop(node);
    let mut files = Vec::new();
    collect(&*disk, "", &mut files);
    files.sort();
    (disk, files)
}

fn collect(disk: &MemDisk, folder: &str, files: &mut Vec<String>) {
    for name in disk.list(folder).unwrap_or_default() {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match disk.open(&path, false) {
            Ok(_) => files.push(path),
            Err(_) => collect(disk, &path, files),
        }
    }
}
