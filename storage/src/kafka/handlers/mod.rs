//! One file per API. Each says what it answers and what each version added.
//!
//! A handler is a function of the request, the node and the time. What goes wrong with one
//! partition, topic or group is a value in the answer; it never spoils the others.

pub(super) mod add_offsets_to_txn;
pub(super) mod add_partitions_to_txn;
pub(super) mod alter_client_quotas;
pub(super) mod alter_configs;
pub(super) mod alter_partition_reassignments;
pub(super) mod alter_replica_log_dirs;
pub(super) mod alter_user_scram_credentials;
pub(super) mod api_versions;
pub(super) mod consumer_group_describe;
pub(super) mod consumer_group_heartbeat;
pub(super) mod create_acls;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delegation_tokens;
pub(super) mod delete_acls;
pub(super) mod delete_groups;
pub(super) mod delete_records;
pub(super) mod delete_topics;
pub(super) mod describe_acls;
pub(super) mod describe_client_quotas;
pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod describe_groups;
pub(super) mod describe_log_dirs;
pub(super) mod describe_producers;
pub(super) mod describe_quorum;
pub(super) mod describe_topic_partitions;
pub(super) mod describe_transactions;
pub(super) mod describe_user_scram_credentials;
pub(super) mod elect_leaders;
pub(super) mod end_txn;
pub(super) mod fetch;
pub(super) mod find_coordinator;
pub(super) mod heartbeat;
pub(super) mod incremental_alter_configs;
pub(super) mod init_producer_id;
pub(super) mod join_group;
pub(super) mod leave_group;
pub(super) mod list_config_resources;
pub(super) mod list_groups;
pub(super) mod list_offsets;
pub(super) mod list_partition_reassignments;
pub(super) mod list_transactions;
pub(super) mod metadata;
pub(super) mod offset_commit;
mod offset_commits;
pub(super) mod offset_delete;
pub(super) mod offset_fetch;
pub(super) mod offset_for_leader_epoch;
pub(super) mod produce;
pub(super) mod sasl;
pub(super) mod sync_group;
pub(super) mod txn_offset_commit;
pub(super) mod unregister_broker;
pub(super) mod update_features;
pub(super) mod write_txn_markers;

use std::sync::Arc;

use kafka_wire_core::{StrBytes, Uuid as WireUuid};
use uuid::Uuid;

use super::node::Settled;
use super::{Call, KafkaNode, Step, Waiting, configs};
use crate::broker::{Broker, Ticket, TopicPartition, WakeKey};
use crate::error::{ErrorCode, Refused};
use crate::security::{Operation, Resource, ResourceKind};
use crate::topics::Topic;

/// There is one replica, so the leader never changes.
const LEADER_EPOCH: i32 = 0;

/// "Not told", where a request may ask which operations the client is allowed.
const OPERATIONS_UNKNOWN: i32 = super::session::OPERATIONS_UNKNOWN;

fn to_wire(id: Uuid) -> WireUuid {
    WireUuid::from_bytes(*id.as_bytes())
}

fn from_wire(id: WireUuid) -> Uuid {
    Uuid::from_bytes(id.to_bytes())
}

/// The words of a refusal for `error_message`; none if it has none.
fn words(refused: &Refused) -> Option<StrBytes> {
    (!refused.message.is_empty()).then(|| StrBytes::from(refused.message.as_str()))
}

fn text(value: &str) -> StrBytes {
    StrBytes::from(value)
}

/// Whether the client may do this to a topic, there or not.
fn check_topic(call: &Call<'_>, operation: Operation, name: &str) -> Result<(), ErrorCode> {
    let allowed = call.allowed(operation, Resource::topic(name));
    if allowed { Ok(()) } else { Err(ErrorCode::TopicAuthorizationFailed) }
}

/// Whether a topic may be made for this client: it may create any, or this one.
fn check_creation(call: &Call<'_>, name: &str) -> Result<(), ErrorCode> {
    check_cluster(call, Operation::Create).or_else(|_| check_topic(call, Operation::Create, name))
}

/// Whether the client may do this to a group, there or not.
fn check_group(call: &Call<'_>, operation: Operation, name: &str) -> Result<(), ErrorCode> {
    let allowed = call.allowed(operation, Resource::group(name));
    if allowed { Ok(()) } else { Err(ErrorCode::GroupAuthorizationFailed) }
}

/// Whether the client may do this with a transactional id.
fn check_transactional_id(
    call: &Call<'_>,
    operation: Operation,
    id: &str,
) -> Result<(), ErrorCode> {
    let allowed = call.allowed(operation, Resource::transactional_id(id));
    if allowed { Ok(()) } else { Err(ErrorCode::TransactionalIdAuthorizationFailed) }
}

/// Whether the client may do this to the node as a whole.
fn check_cluster(call: &Call<'_>, operation: Operation) -> Result<(), ErrorCode> {
    let allowed = call.allowed(operation, Resource::CLUSTER);
    if allowed { Ok(()) } else { Err(ErrorCode::ClusterAuthorizationFailed) }
}

/// Whether the client may do this with the settings of a resource.
pub(super) fn check_resource(
    call: &Call<'_>,
    operation: Operation,
    kind: i8,
    name: &str,
) -> Result<(), ErrorCode> {
    match kind {
        configs::TOPIC => check_topic(call, operation, name),
        configs::GROUP => check_group(call, operation, name),
        _ => check_cluster(call, operation),
    }
}

/// The topic a request names, for one operation. That it is not there is told only to those who
/// may do it.
fn topic_named(call: &Call<'_>, operation: Operation, name: &str) -> Result<Arc<Topic>, ErrorCode> {
    check_topic(call, operation, name)?;
    call.node.broker.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// The topic a request means, by id from the version on in which the API uses ids, for one
/// operation.
fn topic_of(
    call: &Call<'_>,
    operation: Operation,
    by_id: bool,
    name: &str,
    id: WireUuid,
) -> Result<Arc<Topic>, ErrorCode> {
    if by_id {
        let topic = call.node.broker.topic_by_id(from_wire(id)).ok_or(ErrorCode::UnknownTopicId)?;
        check_topic(call, operation, &topic.name)?;
        Ok(topic)
    } else {
        topic_named(call, operation, name)
    }
}

/// A partition of a topic, if it has so many.
fn partition_of(topic: &Topic, partition: i32) -> Result<TopicPartition, ErrorCode> {
    if (0..topic.partition_count()).contains(&partition) {
        Ok(TopicPartition { topic: topic.id, partition })
    } else {
        Err(ErrorCode::UnknownTopicOrPartition)
    }
}

/// A client says which leader epoch it knows, -1 if it does not care.
fn check_leader_epoch(known: i32) -> Result<(), ErrorCode> {
    match known {
        known if known > LEADER_EPOCH => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// The code of a result, `None` for success.
fn code_of(result: Result<(), ErrorCode>) -> i16 {
    result.err().unwrap_or(ErrorCode::None).code()
}

/// What a decision came to, and when it may be told.
fn told<T>(
    decided: Result<Settled<Result<T, ErrorCode>>, ErrorCode>,
) -> (Ticket, Result<T, ErrorCode>) {
    match decided {
        Ok(settled) => (settled.ticket, settled.response),
        Err(code) => (Ticket::default(), Err(code)),
    }
}

/// PRODUCER_FENCED is new in version `since` of an API; before it had another name.
fn fenced_before<T>(
    since: i16,
    version: i16,
    result: Result<T, ErrorCode>,
) -> Result<T, ErrorCode> {
    result.map_err(|code| match code {
        ErrorCode::ProducerFenced if version < since => ErrorCode::InvalidProducerEpoch,
        code => code,
    })
}

/// What a write in a transaction is told (Kafka `AddPartitionsToTxnManager`): TRANSACTION_ABORTABLE is
/// new in version `since`.
fn in_a_write(since: i16, version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < since => ErrorCode::InvalidTxnState,
        code => code,
    }
}
