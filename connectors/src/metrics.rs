//! Counters of the node's work since its start; the server prints them at `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use millstream_engine::io::Polled;

/// Counters only grow. They are read without a lock, so two of them may be of different moments.
#[derive(Debug, Default)]
pub struct Metrics {
    pub records_in: AtomicU64,
    pub records_out: AtomicU64,
    pub bytes_out: AtomicU64,
    pub bad_records: AtomicU64,
    pub epochs: AtomicU64,
    /// Time spent waiting for seals to be durable, in milliseconds.
    pub seal_wait_ms: AtomicU64,
    pub seal_waits: AtomicU64,
    pub statements: AtomicU64,
    pub statement_errors: AtomicU64,
    pub pull_queries: AtomicU64,
    pub push_queries: AtomicU64,
}

impl Metrics {
    pub(crate) fn polled(&self, polled: &Polled) {
        let rows: usize = polled.rows.iter().map(|(_, rows)| rows.len()).sum();
        self.records_in.fetch_add((rows + polled.bad.len()) as u64, Relaxed);
        self.bad_records.fetch_add(polled.bad.len() as u64, Relaxed);
    }

    pub(crate) fn sealed(&self, rows: usize, bytes: usize, bad: usize) {
        self.records_out.fetch_add(rows as u64, Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
        self.bad_records.fetch_add(bad as u64, Relaxed);
        self.epochs.fetch_add(1, Relaxed);
    }

    pub(crate) fn bad(&self, records: usize) {
        self.bad_records.fetch_add(records as u64, Relaxed);
    }

    pub(crate) fn waited(&self, ms: i64) {
        self.seal_wait_ms.fetch_add(ms.max(0) as u64, Relaxed);
        self.seal_waits.fetch_add(1, Relaxed);
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Name, help text and value of each counter, in the order they are printed.
    pub fn counters(&self) -> [(&'static str, &'static str, u64); 11] {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        [
            ("millstream_records_in_total", "Records read by queries.", of(&self.records_in)),
            ("millstream_records_out_total", "Records written by queries.", of(&self.records_out)),
            ("millstream_bytes_out_total", "Bytes written by queries.", of(&self.bytes_out)),
            ("millstream_bad_records_total", "Records left out as bad.", of(&self.bad_records)),
            ("millstream_epochs_total", "Epochs sealed.", of(&self.epochs)),
            (
                "millstream_seal_wait_milliseconds_total",
                "Time waited for seals to be durable.",
                of(&self.seal_wait_ms),
            ),
            ("millstream_seal_waits_total", "Waits for a seal.", of(&self.seal_waits)),
            ("millstream_statements_total", "Statements executed.", of(&self.statements)),
            (
                "millstream_statement_errors_total",
                "Statements refused.",
                of(&self.statement_errors),
            ),
            ("millstream_pull_queries_total", "Pull queries.", of(&self.pull_queries)),
            ("millstream_push_queries_total", "Push queries.", of(&self.push_queries)),
        ]
    }
}
