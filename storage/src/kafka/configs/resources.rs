//! Settings of groups (KIP-848 and later) and of client metrics subscriptions (KIP-714).

use crate::setting::{ConfigType, check_value};
use ConfigType::{Int, List, Text};

/// One setting: name, type, default, legal numbers, legal words, what it does.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) kind: ConfigType,
    pub(super) default: &'static str,
    range: Option<(i64, i64)>,
    words: &'static [&'static str],
    pub(super) doc: &'static str,
}

impl Known {
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        check_value(self.name, value, self.kind, self.range, self.words)
    }
}

const fn known(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    range: Option<(i64, i64)>,
    words: &'static [&'static str],
    doc: &'static str,
) -> Known {
    Known { name, kind, default, range, words, doc }
}

const NO_SHARE: &str = "accepted; there are no share groups";
const NO_STREAMS: &str = "accepted; there are no streams groups";

/// By name (`GroupConfig`). The bounds of times are those of the broker's settings
/// `group.consumer.min.…` and `group.consumer.max.…`.
pub(super) const GROUP_SETTINGS: &[Known] = &[
    known(
        "consumer.heartbeat.interval.ms",
        Int,
        "5000",
        Some((5_000, 15_000)),
        &[],
        "how often members of the group are asked to heartbeat",
    ),
    known(
        "consumer.session.timeout.ms",
        Int,
        "45000",
        Some((45_000, 60_000)),
        &[],
        "a member of the group is gone after this time of silence",
    ),
    known("share.auto.offset.reset", Text, "latest", None, &[], NO_SHARE),
    known("share.heartbeat.interval.ms", Int, "5000", Some((5_000, 15_000)), &[], NO_SHARE),
    known(
        "share.isolation.level",
        Text,
        "read_uncommitted",
        None,
        &["read_committed", "read_uncommitted"],
        NO_SHARE,
    ),
    known("share.record.lock.duration.ms", Int, "30000", Some((15_000, 60_000)), &[], NO_SHARE),
    known("share.session.timeout.ms", Int, "45000", Some((45_000, 60_000)), &[], NO_SHARE),
    known("streams.heartbeat.interval.ms", Int, "5000", Some((5_000, 15_000)), &[], NO_STREAMS),
    known("streams.num.standby.replicas", Int, "0", Some((0, 2)), &[], NO_STREAMS),
    known("streams.session.timeout.ms", Int, "45000", Some((45_000, 60_000)), &[], NO_STREAMS),
];

/// By name (`ClientMetricsConfigs`). Kept and shown; no client is asked for metrics.
pub(super) const METRICS_SETTINGS: &[Known] = &[
    known(
        "interval.ms",
        Int,
        "300000",
        Some((100, 3_600_000)),
        &[],
        "how often clients would push",
    ),
    known("match", List, "", None, &[], "which clients would be asked"),
    known("metrics", List, "", None, &[], "which metrics they would be asked for"),
];
