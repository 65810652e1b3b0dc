//! AlterClientQuotas: set and remove quotas.
//!
//! Versions
//! - 1 is the first flexible version
//!
//! The changes of one entity are made as a whole or not at all. Rules and words are Kafka's
//! (`ClientQuotaControlManager`).

use std::collections::BTreeMap;

use kafka_wire::alter_client_quotas_request::{EntryData as Asked, OpData};
use kafka_wire::alter_client_quotas_response::{EntityData, EntryData};
use kafka_wire::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::*;
use crate::kafka::configs::{Entity, quota_fact};

/// Quotas of users and clients; the last one only of IP addresses.
const KEYS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const IP_KEY: &str = "connection_creation_rate";

pub(in crate::kafka) fn handle(
    call: &Call<'_>,
    request: AlterClientQuotasRequest,
) -> Step<AlterClientQuotasResponse> {
    let mut ticket = Ticket::default();
    let mut response = AlterClientQuotasResponse::default();
    for asked in &request.entries {
        let mut answer = EntryData::default();
        answer.error_message = None;
        for part in &asked.entity {
            let mut told = EntityData::default();
            told.entity_type = part.entity_type.clone();
            told.entity_name = part.entity_name.clone();
            answer.entity.push(told);
        }
        match alter(call, asked, request.validate_only) {
            Ok(altered) => ticket = ticket.max(altered),
            Err(refused) => {
                answer.error_code = refused.code.code();
                answer.error_message = words(&refused);
            }
        }
        response.entries.push(answer);
    }
    Step::Once(ticket, response)
}

fn alter(call: &Call<'_>, asked: &Asked, only_check: bool) -> Result<Ticket, Refused> {
    check_cluster(call, Operation::AlterConfigs)?;
    let entity = entity_of(asked)?;
    asked.ops.iter().try_for_each(|op| check(&entity, op))?;
    // Held until the change is in the journal, so that changes follow each other there as here.
    let mut settings = call.node.settings.lock();
    let mut limits: BTreeMap<String, f64> =
        settings.quotas.get(&entity).cloned().unwrap_or_default();
    for op in &asked.ops {
        match op.remove {
            true => drop(limits.remove(&*op.key)),
            false => drop(limits.insert(op.key.to_string(), op.value)),
        }
    }
    if only_check {
        return Ok(Ticket::default());
    }
    let ticket = call.node.broker.append_group(&[quota_fact(&entity, &limits)])?;
    settings.set_quotas(entity, limits);
    settings.ticket = settings.ticket.max(ticket);
    Ok(ticket)
}

fn entity_of(asked: &Asked) -> Result<Entity, Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::InvalidRequest, message));
    if asked.entity.is_empty() {
        return refuse("Invalid empty client quota entity".into());
    }
    let mut entity = Entity::new();
    for part in &asked.entity {
        let kind = &*part.entity_type;
        if !matches!(kind, "user" | "client-id" | "ip") {
            return refuse(format!("Unhandled client quota entity type: {kind}"));
        }
        if part.entity_name.as_deref() == Some("") {
            return refuse(format!("Empty {kind} not supported"));
        }
        let name = part.entity_name.as_deref().map(str::to_owned);
        if entity.insert(kind.to_owned(), name).is_some() {
            return refuse(format!("Invalid client quota entity, has duplicate types: {kind}"));
        }
    }
    if entity.contains_key("ip") && entity.len() > 1 {
        return refuse(
            "Invalid client quota entity: ip cannot be combined with user or client-id".into(),
        );
    }
    if let Some(Some(ip)) = entity.get("ip")
        && ip.parse::<std::net::IpAddr>().is_err()
    {
        return refuse(format!("{ip} is not a valid IP or resolvable host."));
    }
    Ok(entity)
}

fn check(entity: &Entity, op: &OpData) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::InvalidRequest, message));
    let key = &*op.key;
    let is_ip = entity.contains_key("ip");
    if !(if is_ip { key == IP_KEY } else { KEYS.contains(&key) }) {
        return refuse(format!("Invalid configuration key {key}"));
    }
    if op.remove {
        return Ok(());
    }
    if op.value <= 0.0 || !op.value.is_finite() {
        return refuse(format!("Quota {key} must be greater than 0"));
    }
    let is_whole = matches!(key, "producer_byte_rate" | "consumer_byte_rate" | IP_KEY);
    if is_whole && (op.value - op.value.round()).abs() > 1e-6 {
        return refuse(format!("{key} must be an integer, but it is {}", op.value));
    }
    Ok(())
}
