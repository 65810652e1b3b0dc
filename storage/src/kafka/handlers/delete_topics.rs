//! DeleteTopics: remove these topics with all their records.
//!
//! Versions
//! - 4 is the first flexible version, 5 adds words to errors
//! - 6 names topics by name or by id
//!
//! Offsets that groups committed for a deleted topic are forgotten with it.

use kafka_wire::delete_topics_response::DeletableTopicResult;
use kafka_wire::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::*;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DeleteTopicsRequest,
) -> Step<DeleteTopicsResponse> {
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), WireUuid::ZERO));
    let by_either = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let mut ticket = Ticket::default();
    let mut response = DeleteTopicsResponse::default();
    for (name, id) in by_name.chain(by_either) {
        let mut answer = DeletableTopicResult::default();
        let wanted = name.as_deref().unwrap_or("");
        let found = topic_of(call, Operation::Describe, name.is_none(), wanted, id);
        answer.topic_id = found.as_ref().map_or(id, |topic| to_wire(topic.id));
        answer.name = match &found {
            Ok(topic) => Some(text(&topic.name)),
            // Versions before 6 cannot say "no name", and asked with one.
            Err(_) => name,
        };
        match found.map_err(Refused::from).and_then(|topic| delete(call, &topic)) {
            Ok(deleted) => ticket = ticket.max(deleted),
            Err(refused) => {
                answer.error_code = refused.code.code();
                answer.error_message = words(&refused);
            }
        }
        response.responses.push(answer);
    }
    Step::Once(ticket, response)
}

fn delete(call: &Call<'_>, topic: &Topic) -> Result<Ticket, Refused> {
    check_topic(call, Operation::Delete, &topic.name)?;
    let deleted = call.node.broker.delete_topic(topic.id)?;
    let forgotten = call.node.decide(call.now_ms, |groups| groups.forget_topic(&topic.name))?;
    Ok(deleted.max(forgotten.ticket))
}
