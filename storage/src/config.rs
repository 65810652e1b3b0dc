//! Settings of the storage layer. Topic settings with Kafka's names are in [`crate::topics`].

/// When an acknowledged record is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On the disk: one fdatasync of the journal before the acknowledgement.
    #[default]
    Fsync,
    /// In the page cache, as Kafka does it: survives `kill -9`, not a power cut.
    Os,
}

/// Settings of one node's storage.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// For all topics that do not say otherwise (`millstream.durability`), and for group offsets,
    /// catalog changes and seals.
    pub durability: Durability,
    /// Size of a preallocated journal file. A bigger group of records makes a bigger file.
    pub journal_file_bytes: u64,
    /// The journal is checkpointed when it grew by this much since the last time.
    pub checkpoint_bytes: u64,
    /// So, too, when so many bytes were written to segments only: a restart reads them.
    pub placed_checkpoint_bytes: u64,
    /// Bytes that may wait for the committer; then producers wait, and twice as many are
    /// refused. Bounds memory.
    pub pending_bytes_max: usize,
    /// How often retention is looked at.
    pub retention_check_ms: i64,
    /// How often compaction looks for a partition with enough to do (Kafka's
    /// `log.cleaner.backoff.ms`).
    pub compaction_check_ms: i64,
    /// Distinct keys that one compaction remembers: bounds its memory, at up to 50 bytes each. What
    /// it cannot remember waits for the next one.
    pub compaction_keys_max: usize,
    /// An idle producer id is forgotten after this time (Kafka: one day).
    pub producer_expiry_ms: i64,
    /// Bounds the memory of topics and the number of open files.
    pub partitions_max: usize,
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            durability: Durability::Fsync,
            journal_file_bytes: 64 << 20,
            checkpoint_bytes: 64 << 20,
            placed_checkpoint_bytes: 1 << 30,
            pending_bytes_max: 32 << 20,
            retention_check_ms: 300_000,
            compaction_check_ms: 15_000,
            compaction_keys_max: 1_800_000,
            producer_expiry_ms: 86_400_000,
            partitions_max: 100_000,
        }
    }
}
