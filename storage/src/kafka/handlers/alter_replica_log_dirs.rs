//! AlterReplicaLogDirs: move partitions to another directory of this broker.
//!
//! Versions
//! - 2 is the first flexible version
//!
//! There is one directory. To move a partition to where it is does nothing and succeeds; any other
//! directory is not there.

use kafka_wire::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_wire::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AlterReplicaLogDirsRequest,
) -> Step<AlterReplicaLogDirsResponse> {
    let broker = &call.node.broker;
    let here = broker.log_dir();
    let allowed = check_cluster(call, Operation::Alter);
    let mut response = AlterReplicaLogDirsResponse::default();
    for dir in &request.dirs {
        let is_here = *dir.path == *here;
        for asked in &dir.topics {
            let topic = broker.topic(&asked.name);
            let mut answer = AlterReplicaLogDirTopicResult::default();
            answer.topic_name = asked.name.clone();
            for index in &asked.partitions {
                let code = match (&topic, is_here) {
                    _ if allowed.is_err() => ErrorCode::ClusterAuthorizationFailed,
                    (_, false) => ErrorCode::LogDirNotFound,
                    (None, true) => ErrorCode::UnknownTopicOrPartition,
                    (Some(topic), true) => {
                        partition_of(topic, *index).err().unwrap_or(ErrorCode::None)
                    }
                };
                let mut partition = AlterReplicaLogDirPartitionResult::default();
                partition.partition_index = *index;
                partition.error_code = code.code();
                answer.partitions.push(partition);
            }
            response.results.push(answer);
        }
    }
    Step::Now(response)
}
