//! CreatePartitions: give these topics more partitions.
//!
//! Versions
//! - 2 is the first flexible version
//! - 3 may answer that a quota was exceeded; there is none here
//!
//! The answer waits until the partitions are there. Queries that read a grown topic read its new
//! partitions from their first record on; queries that write to it go on with the partitions they
//! began with until they are started again, so that a key keeps its partition.

use kafka_wire::create_partitions_request::CreatePartitionsTopic;
use kafka_wire::create_partitions_response::CreatePartitionsTopicResult;
use kafka_wire::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::create_topics::check_placed;
use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: CreatePartitionsRequest,
) -> Step<CreatePartitionsResponse> {
    let mut ticket = Ticket::default();
    let mut response = CreatePartitionsResponse::default();
    for asked in &request.topics {
        let mut answer = CreatePartitionsTopicResult::default();
        answer.name = asked.name.clone();
        let twice = request.topics.iter().filter(|other| other.name == asked.name).count() > 1;
        let grown = match twice {
            true => Err(Refused::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
            false => grow(call, asked, request.validate_only),
        };
        match grown {
            Ok(grown) => ticket = ticket.max(grown),
            Err(refused) => {
                answer.error_code = refused.code.code();
                answer.error_message = words(&refused);
            }
        }
        response.results.push(answer);
    }
    Step::Once(ticket, response)
}

fn grow(
    call: &Call<'_>,
    asked: &CreatePartitionsTopic,
    only_check: bool,
) -> Result<Ticket, Refused> {
    let broker = &call.node.broker;
    let topic = topic_named(call, Operation::Alter, &asked.name)?;
    if let Some(placed) = &asked.assignments {
        placed.iter().try_for_each(|one| check_placed(call.node, &one.broker_ids))?;
        let new = asked.count.saturating_sub(topic.partition_count());
        if new > 0 && usize::try_from(new) != Ok(placed.len()) {
            let message = format!(
                "Attempted to add {new} additional partition(s), but only {} assignment(s) were specified.",
                placed.len()
            );
            return Err(Refused::new(ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    broker.create_partitions(topic.id, asked.count, only_check)
}
