//! DescribeLogDirs: where the log is kept, and how large each partition is.
//!
//! Versions
//! - 2 is the first flexible version
//! - 3 adds an error code for the whole response
//! - 4 adds the volume's size and what is left of it
//!
//! There is one directory. Topics and partitions that are not there are left out, as in Kafka.

use kafka_wire::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_wire::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use super::*;

/// What is told when the volume cannot say.
const UNKNOWN_BYTES: i64 = -1;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeLogDirsRequest,
) -> Step<DescribeLogDirsResponse> {
    if let Err(code) = check_cluster(call, Operation::Describe) {
        let mut response = DescribeLogDirsResponse::default();
        if call.version() >= 3 {
            response.error_code = code.code();
        }
        return Step::Now(response);
    }
    let broker = &call.node.broker;
    let mut dir = DescribeLogDirsResult::default();
    dir.log_dir = text(&broker.log_dir());
    let space = broker.space();
    let told = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    dir.total_bytes = space.map_or(UNKNOWN_BYTES, |space| told(space.total));
    dir.usable_bytes = space.map_or(UNKNOWN_BYTES, |space| told(space.usable));
    dir.topics = match &request.topics {
        None => broker.topics().iter().map(|topic| describe(call, topic, None)).collect(),
        Some(asked) => asked
            .iter()
            .filter_map(|asked| {
                let topic = broker.topic(&asked.topic)?;
                Some(describe(call, &topic, Some(&asked.partitions)))
            })
            .collect(),
    };
    dir.topics.retain(|topic| !topic.partitions.is_empty());
    let mut response = DescribeLogDirsResponse::default();
    response.results = vec![dir];
    Step::Now(response)
}

fn describe(call: &Call<'_>, topic: &Topic, only: Option<&[i32]>) -> DescribeLogDirsTopic {
    let mut described = DescribeLogDirsTopic::default();
    described.name = text(&topic.name);
    for index in 0..topic.partition_count() {
        if only.is_some_and(|only| !only.contains(&index)) {
            continue;
        }
        let at = TopicPartition { topic: topic.id, partition: index };
        let Ok(bytes) = call.node.broker.partition_bytes(at) else { continue };
        let mut partition = DescribeLogDirsPartition::default();
        partition.partition_index = index;
        partition.partition_size = i64::try_from(bytes).unwrap_or(i64::MAX);
        described.partitions.push(partition);
    }
    described
}
