//! Which segments a topic's settings let go.
//!
//! Kafka's rules (`UnifiedLog.deleteOldSegments`): oldest first, a segment goes when its newest record
//! is older than `retention.ms`, or when the partition without it is still at least
//! `retention.bytes`; never anything at or above the high watermark. If all would go, the newest
//! segment is ended first, so that the log keeps its end. Only `cleanup.policy` with `delete`.
//!
//! A segment that goes leaves the log at once. Its log is renamed to `.deleted` and removed after
//! `file.delete.delay.ms`; a restart removes it, too.

use std::sync::Arc;

use super::Partition;
use super::segment::Segment;
use crate::error::Error;
use crate::topics::TopicConfig;

/// A segment that left the log.
pub(super) struct Doomed {
    segment: Arc<Segment>,
    due_ms: i64,
    renamed: bool,
}

impl Partition {
    /// Segments whose files are to be removed at `due_ms`.
    pub(super) fn doom(&self, gone: Vec<Arc<Segment>>, due_ms: i64) {
        let doomed = gone.into_iter().map(|segment| Doomed { segment, due_ms, renamed: false });
        self.doomed.lock().extend(doomed);
    }

    /// Renames the files of segments that left the log, and removes them when their time has come;
    /// with `at_once` now.
    pub(crate) fn remove_doomed(&self, now_ms: i64, at_once: bool) -> Result<(), Error> {
        if self.doomed.lock().is_empty() {
            return Ok(());
        }
        // Not while a compaction runs: it is at the same names. Another time then.
        let Some(_upkeep) = self.upkeep.try_lock() else { return Ok(()) };
        let mut doomed = std::mem::take(&mut *self.doomed.lock());
        let mut done = Ok(());
        doomed.retain_mut(|one| {
            let _names = self.names.lock();
            if done.is_err() {
                return true;
            }
            if self.is_deleted() {
                return false;
            }
            let due = at_once || one.due_ms <= now_ms;
            done = match (due, one.renamed) {
                (true, _) => one.segment.remove_files(),
                (false, true) => Ok(()),
                (false, false) => one.segment.set_aside(),
            };
            one.renamed = true;
            !due
        });
        self.doomed.lock().append(&mut doomed);
        done
    }

    /// The log start that retention asks for; `None` when nothing may go.
    pub(crate) fn retention_start(
        &self,
        config: &TopicConfig,
        now_ms: i64,
    ) -> Result<Option<i64>, Error> {
        if !config.cleanup_delete {
            return Ok(None);
        }
        let high_watermark = self.high_watermark();
        let segments = self.segments.read().clone();
        let mut bytes: u64 = segments.iter().map(|segment| segment.bytes()).sum();
        let mut start = None;
        for (i, segment) in segments.iter().enumerate() {
            let end = segments.get(i + 1).map_or(high_watermark, |next| next.base_offset);
            let too_many = config.retention_bytes >= 0
                && bytes - segment.bytes() >= config.retention_bytes as u64;
            let goes = too_many || expired(segment, config, now_ms)?;
            if segment.bytes() == 0 || end > high_watermark || !goes {
                break;
            }
            bytes -= segment.bytes();
            start = Some(end);
        }
        Ok(start.filter(|start| *start > self.log_start()))
    }
}

fn expired(segment: &Arc<Segment>, config: &TopicConfig, now_ms: i64) -> Result<bool, Error> {
    if config.retention_ms < 0 {
        return Ok(false);
    }
    let newest = match segment.max_timestamp()? {
        (timestamp, _) if timestamp >= 0 => timestamp,
        _ => segment.created_ms,
    };
    Ok(now_ms.saturating_sub(newest) > config.retention_ms)
}
