//! DescribeClientQuotas: which quotas were set, for whom?
//!
//! Versions
//! - 1 is the first flexible version
//!
//! Quotas are kept and told; this node does not slow anybody down because of them.

use kafka_wire::describe_client_quotas_request::ComponentData;
use kafka_wire::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_wire::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::*;
use crate::kafka::configs::Entity;

const EXACTLY: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: DescribeClientQuotasRequest,
) -> Step<DescribeClientQuotasResponse> {
    let mut response = DescribeClientQuotasResponse::default();
    response.error_message = None;
    let allowed = check_cluster(call, Operation::DescribeConfigs).map_err(Refused::from);
    if let Err(refused) = allowed.and_then(|()| check(&request.components)) {
        response.error_code = refused.code.code();
        response.error_message = words(&refused);
        return Step::Now(response);
    }
    let settings = call.node.settings.lock();
    let matching = settings.quotas.iter().filter(|(entity, _)| {
        request.components.iter().all(|asked| matches(entity, asked))
            && (!request.strict || entity.len() == request.components.len())
    });
    let entries = matching.map(|(entity, limits)| {
        let mut entry = EntryData::default();
        for (kind, name) in entity {
            let mut part = EntityData::default();
            part.entity_type = text(kind);
            part.entity_name = name.as_deref().map(text);
            entry.entity.push(part);
        }
        for (key, value) in limits {
            let mut limit = ValueData::default();
            limit.key = text(key);
            limit.value = *value;
            entry.values.push(limit);
        }
        entry
    });
    response.entries = Some(entries.collect());
    Step::Once(settings.ticket, response)
}

fn check(asked: &[ComponentData]) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::InvalidRequest, message));
    for (place, component) in asked.iter().enumerate() {
        let kind = &*component.entity_type;
        if !matches!(kind, "user" | "client-id" | "ip") {
            let message = format!("Custom entity type '{kind}' not supported");
            return Err(Refused::new(ErrorCode::UnsupportedVersion, message));
        }
        if asked[..place].iter().any(|other| other.entity_type == component.entity_type) {
            return refuse(format!("Duplicate filter component entity type '{kind}'"));
        }
        if !(EXACTLY..=ANY).contains(&component.match_type) {
            return refuse(format!("Unexpected match type: {}", component.match_type));
        }
    }
    let has = |kind: &str| asked.iter().any(|component| &*component.entity_type == kind);
    if has("ip") && (has("user") || has("client-id")) {
        return refuse("Invalid entity filter component combination.".into());
    }
    Ok(())
}

fn matches(entity: &Entity, asked: &ComponentData) -> bool {
    match (entity.get(&*asked.entity_type), asked.match_type) {
        (None, _) => false,
        (Some(name), EXACTLY) => name.as_deref() == asked.match_.as_deref() && name.is_some(),
        (Some(name), DEFAULT) => name.is_none(),
        (Some(_), _) => true,
    }
}
