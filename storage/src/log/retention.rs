//! Which segments a topic's settings let go.
//!
//! Kafka's rules (`UnifiedLog.deleteOldSegments`): oldest first, a segment goes when its newest record
//! is older than `retention.ms`, or when the partition without it is still at least
//! `retention.bytes`; never anything at or above the high watermark. If all would go, the newest
//! segment is ended first, so that the log keeps its end. Only `cleanup.policy` with `delete`.

use std::sync::Arc;

use super::Partition;
use super::segment::Segment;
use crate::error::Error;
use crate::topics::TopicConfig;

impl Partition {
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
