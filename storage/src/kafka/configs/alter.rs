//! Changes of settings: what AlterConfigs and IncrementalAlterConfigs have in common.
//!
//! A change of one resource is done as a whole or not at all. The messages are Kafka's
//! (`ConfigAdminManager`, `ConfigurationControlManager`).

use super::resources::{GROUP_SETTINGS, Known, METRICS_SETTINGS};
use super::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, Map, TOPIC, broker, resource_fact};
use crate::broker::Ticket;
use crate::error::{ErrorCode, Refused};
use crate::kafka::Call;
use crate::kafka::handlers::check_resource;
use crate::kafka::node::KafkaNode;
use crate::security::Operation;
use crate::setting::ConfigType;
use crate::topics::TopicConfig;

/// What is to be done with one setting, and the value it is to be done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Op {
    Set,
    Delete,
    /// Add to a list what is not in it.
    Append,
    /// Take from a list.
    Subtract,
}

impl Op {
    /// As IncrementalAlterConfigs numbers them.
    pub(in crate::kafka) fn from_wire(op: i8) -> Result<Op, Refused> {
        [Op::Set, Op::Delete, Op::Append, Op::Subtract]
            .get(usize::try_from(op).unwrap_or(usize::MAX))
            .copied()
            .ok_or_else(|| {
                Refused::new(ErrorCode::InvalidRequest, format!("Unknown operation {op}"))
            })
    }
}

/// One change of one setting.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Change {
    pub(in crate::kafka) name: String,
    pub(in crate::kafka) op: Op,
    pub(in crate::kafka) value: Option<String>,
}

/// Changes settings of one resource. With `replace` everything not named goes back to its default.
pub(in crate::kafka) fn alter(
    call: &Call<'_>,
    kind: i8,
    resource: &str,
    changes: &[Change],
    replace: bool,
    only_check: bool,
) -> Result<Ticket, Refused> {
    check_resource(call, Operation::AlterConfigs, kind, resource)?;
    check_changes(changes)?;
    match kind {
        TOPIC => alter_topic(call.node, resource, changes, replace, only_check),
        BROKER | GROUP | CLIENT_METRICS => {
            alter_kept(call.node, kind, resource, changes, replace, only_check)
        }
        BROKER_LOGGER => {
            let message = "Log levels are set when the node starts, with RUST_LOG.";
            Err(Refused::new(ErrorCode::InvalidRequest, message))
        }
        kind => {
            let message = format!("Unexpected resource type {kind}.");
            Err(Refused::new(ErrorCode::InvalidRequest, message))
        }
    }
}

fn check_changes(changes: &[Change]) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::InvalidRequest, message));
    let null = |change: &&Change| change.value.is_none() && change.op != Op::Delete;
    if let Some(change) = changes.iter().find(null) {
        return refuse(format!("Null value not supported for : {}", change.name));
    }
    let mut names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(format!("Error due to duplicate config keys: {}", pair[0])),
        None => Ok(()),
    }
}

fn alter_topic(
    node: &KafkaNode,
    name: &str,
    changes: &[Change],
    replace: bool,
    only_check: bool,
) -> Result<Ticket, Refused> {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let topic = node.broker.topic(name);
    let topic = topic
        .ok_or_else(|| Refused::new(unknown, format!("The topic '{name}' does not exist.")))?;
    let before = topic.config.set();
    let defaults = TopicConfig::default().entries();
    let known = |name: &str| {
        let entry = defaults.iter().find(|entry| entry.name == name);
        entry.map(|entry| (entry.kind, Some(entry.value.clone())))
    };
    let wanted = apply(before, changes, replace, &known)?;
    TopicConfig::new(wanted.clone())?;
    if only_check {
        return Ok(Ticket::default());
    }
    let gone = before.keys().filter(|name| !wanted.contains_key(*name));
    let mut all: Vec<(String, Option<String>)> = gone.map(|name| (name.clone(), None)).collect();
    all.extend(wanted.into_iter().map(|(name, value)| (name, Some(value))));
    node.broker.alter_config(topic.id, &all)
}

/// Changes settings that are kept in [`super::Settings`].
fn alter_kept(
    node: &KafkaNode,
    kind: i8,
    name: &str,
    changes: &[Change],
    replace: bool,
    only_check: bool,
) -> Result<Ticket, Refused> {
    check_name(node, kind, name)?;
    // Held until the change is in the journal, so that changes follow each other there as here.
    let mut settings = node.settings.lock();
    let before = settings.of(kind, name);
    let wanted = apply(&before, changes, replace, &|name| type_and_default(kind, name))?;
    let changed = wanted.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    check_values(kind, changed)?;
    if only_check || wanted == before {
        return Ok(settings.ticket);
    }
    let fact = resource_fact(kind, name, &wanted);
    settings.set_resource(kind, name, wanted);
    let written = match kind {
        BROKER => {
            let defaults = broker::topic_defaults(node.config.node_id, &settings);
            node.broker.change_topic_defaults(&[fact], defaults)
        }
        _ => node.broker.append_group(&[fact]).map_err(Refused::from),
    };
    if written.is_err() {
        settings.set_resource(kind, name, before);
    }
    settings.ticket = settings.ticket.max(written?);
    if kind == BROKER {
        let expiry_ms = broker::producer_expiry_ms(node.config.node_id, &settings);
        node.broker.set_producer_expiry(expiry_ms);
    }
    if kind == GROUP {
        node.pace_group(name, &settings.of(kind, name));
    }
    Ok(settings.ticket)
}

/// Is there such a resource, or may there be one?
pub(in crate::kafka) fn check_name(node: &KafkaNode, kind: i8, name: &str) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::InvalidRequest, message));
    let id = node.config.node_id;
    match kind {
        BROKER if name.is_empty() || name.parse() == Ok(id) => Ok(()),
        BROKER if name.parse::<i32>().is_err() => {
            refuse(format!("Broker id must be an integer, but it is: {name}"))
        }
        BROKER => refuse(format!(
            "Unexpected broker id, expected {id} or empty string, but received {name}"
        )),
        BROKER_LOGGER if name.parse() != Ok(id) => {
            refuse(format!("Unexpected broker id, expected {id} but received {name}"))
        }
        GROUP if name.is_empty() => refuse("Default group resources are not allowed.".into()),
        CLIENT_METRICS if name.is_empty() => {
            refuse("Default client metrics resources are not allowed.".into())
        }
        _ => Ok(()),
    }
}

fn type_and_default(kind: i8, name: &str) -> Option<(ConfigType, Option<String>)> {
    let of_table = |table: &[Known]| {
        let known = table.iter().find(|known| known.name == name)?;
        Some((known.kind, Some(known.default.to_owned())))
    };
    match kind {
        GROUP => of_table(GROUP_SETTINGS),
        CLIENT_METRICS => of_table(METRICS_SETTINGS),
        _ => broker::row(name).map(|row| (row.kind, row.default.map(str::to_owned))),
    }
}

fn check_values<'a>(
    kind: i8,
    set: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), Refused> {
    for (name, value) in set {
        let (table, what): (&[Known], _) = match kind {
            GROUP => (GROUP_SETTINGS, "group"),
            CLIENT_METRICS => (METRICS_SETTINGS, "client metrics"),
            _ => {
                check_broker(name, value)?;
                continue;
            }
        };
        // As Kafka, whose checks of the two are not of one mind.
        let code = if kind == CLIENT_METRICS {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::InvalidConfig
        };
        let invalid = |message| Refused::new(code, message);
        let known = table.iter().find(|known| known.name == name);
        let known = known.ok_or_else(|| invalid(format!("Unknown {what} config name: {name}")))?;
        known.check(value).map_err(invalid)?;
    }
    Ok(())
}

fn check_broker(name: &str, value: &str) -> Result<(), Refused> {
    let invalid = |message| Refused::new(ErrorCode::InvalidRequest, message);
    let Some(row) = broker::row(name) else { return Ok(()) };
    if !row.is_dynamic {
        return Err(invalid(format!("Cannot update these configs dynamically: Set({name})")));
    }
    row.check(value).map_err(invalid)?;
    if let Some(topic) = broker::topic_setting(name) {
        let set = Map::from([(topic.to_owned(), value.to_owned())]);
        TopicConfig::new(set).map_err(|refused| invalid(refused.message))?;
    }
    Ok(())
}

/// What is set after the changes. `known` gives a setting's type and default.
fn apply(
    before: &Map,
    changes: &[Change],
    replace: bool,
    known: &dyn Fn(&str) -> Option<(ConfigType, Option<String>)>,
) -> Result<Map, Refused> {
    let mut wanted = if replace { Map::new() } else { before.clone() };
    for Change { name, op, value } in changes {
        let value = value.clone().unwrap_or_default();
        match op {
            Op::Delete => drop(wanted.remove(name)),
            Op::Set => drop(wanted.insert(name.clone(), value)),
            Op::Append | Op::Subtract => {
                let of = known(name);
                if of.as_ref().is_none_or(|(kind, _)| *kind != ConfigType::List) {
                    let verb = if *op == Op::Append { "APPEND" } else { "SUBTRACT" };
                    let message =
                        format!("Can't {verb} to key {name} because its type is not LIST.");
                    return Err(Refused::new(ErrorCode::InvalidConfig, message));
                }
                let default = of.and_then(|(_, default)| default).unwrap_or_default();
                let now = wanted.get(name).cloned().unwrap_or(default);
                wanted.insert(name.clone(), change_list(&now, &value, *op));
            }
        }
    }
    Ok(wanted)
}

fn change_list(now: &str, value: &str, op: Op) -> String {
    let items = |text: &'_ str| -> Vec<String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    };
    let (mut list, named) = (items(now), items(value));
    match op {
        Op::Subtract => list.retain(|item| !named.contains(item)),
        _ => {
            for item in named {
                if !list.contains(&item) {
                    list.push(item);
                }
            }
        }
    }
    list.join(",")
}
