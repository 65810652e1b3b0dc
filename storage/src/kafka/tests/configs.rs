//! Settings: what is told of them, what may be changed, and that changes last.
//!
//! Error codes and messages were taken from Apache Kafka 4.1.1, asked the same.

use kafka_wire::incremental_alter_configs_request as incremental;
use kafka_wire::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use super::*;
use crate::kafka::configs::{BROKER, CLIENT_METRICS, GROUP, TOPIC};

/// Changes one setting: `=v` sets, `+v` appends, `-v` subtracts, `!` resets, `null` sets null. Gives the
/// error's number and message.
fn alter(client: &mut Client, at: (i8, &str), setting: &str, change: &str) -> (i16, String) {
    let (op, value) = match change.split_at(1) {
        ("=", value) => (0, Some(value)),
        ("!", _) => (1, None),
        ("+", value) => (2, Some(value)),
        ("-", value) => (3, Some(value)),
        _ => (0, None),
    };
    let mut config = incremental::AlterableConfig::default();
    config.name = setting.into();
    config.config_operation = op;
    config.value = value.map(Into::into);
    let mut resource = incremental::AlterConfigsResource::default();
    resource.resource_type = at.0;
    resource.resource_name = at.1.into();
    resource.configs = vec![config];
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    let answer = client.ask(1, &request).responses.remove(0);
    (answer.error_code, answer.error_message.map(|words| words.to_string()).unwrap_or_default())
}

/// A setting as `value source [name=value/source …]`; the error's number if there is one.
fn describe(client: &mut Client, at: (i8, &str), setting: &str) -> String {
    let mut resource = kafka_wire::describe_configs_request::DescribeConfigsResource::default();
    resource.resource_type = at.0;
    resource.resource_name = at.1.into();
    resource.configuration_keys = Some(vec![setting.into()]);
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    request.include_synonyms = true;
    let result = client.ask(4, &request).results.remove(0);
    if result.error_code != 0 {
        return format!("error {}", result.error_code);
    }
    let Some(config) = result.configs.first() else { return "absent".into() };
    let value = |value: &Option<StrBytes>| match value {
        Some(value) => value.to_string(),
        None => "null".into(),
    };
    let synonyms = config.synonyms.iter();
    let synonyms = synonyms.map(|s| format!("{}={}/{}", s.name, value(&s.value), s.source));
    let synonyms: Vec<String> = synonyms.collect();
    format!("{} {} [{}]", value(&config.value), config.config_source, synonyms.join(" "))
}

#[test]
fn changes_are_refused_as_kafka_does() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let mut check = |kind: i8, name: &str, setting: &str, change: &str, code: i16, says: &str| {
        let (got, message) = alter(&mut client, (kind, name), setting, change);
        assert_eq!((got, message.as_str()), (code, says), "{name} {setting}{change}");
    };
    check(TOPIC, "t", "retention.ms", "=5", 0, "");
    let not_a_long = "Invalid value x for configuration retention.ms: Not a number of type LONG";
    check(TOPIC, "t", "retention.ms", "=x", 40, not_a_long);
    let too_small = "Invalid value -5 for configuration retention.ms: Value must be at least -1";
    check(TOPIC, "t", "retention.ms", "=-5", 40, too_small);
    check(TOPIC, "t", "no.such", "=5", 40, "Unknown topic config name: no.such");
    check(TOPIC, "t", "no.such", "!", 0, "");
    check(TOPIC, "t", "retention.ms", "null", 42, "Null value not supported for : retention.ms");
    let not_a_list = "Can't APPEND to key segment.ms because its type is not LIST.";
    check(TOPIC, "t", "segment.ms", "+1", 40, not_a_list);
    check(TOPIC, "nope", "retention.ms", "=5", 3, "The topic 'nope' does not exist.");
    let fixed = "Cannot update these configs dynamically: Set(num.partitions)";
    check(BROKER, "1", "num.partitions", "=7", 42, fixed);
    let not_a_long =
        "Invalid value x for configuration log.retention.ms: Not a number of type LONG";
    check(BROKER, "1", "log.retention.ms", "=x", 42, not_a_long);
    let elsewhere = "Unexpected broker id, expected 1 or empty string, but received 9";
    check(BROKER, "9", "log.retention.ms", "=7", 42, elsewhere);
    check(BROKER, "1", "no.such.broker", "=7", 0, "");
    check(GROUP, "g", "consumer.session.timeout.ms", "=50000", 0, "");
    check(GROUP, "g", "no.such", "=5", 40, "Unknown group config name: no.such");
    check(GROUP, "", "no.such", "=5", 42, "Default group resources are not allowed.");
    check(CLIENT_METRICS, "m", "interval.ms", "=1000", 0, "");
    check(8, "1", "ROOT", "=DEBUG", 42, "Log levels are set when the node starts, with RUST_LOG.");
    check(99, "x", "a", "=b", 42, "Unexpected resource type 99.");
}

#[test]
fn lists_are_added_to_and_taken_from() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    for (change, wanted) in [
        ("+compact", "delete,compact"),
        ("+compact", "delete,compact"),
        ("-delete", "compact"),
        ("-compact", ""),
        ("+compact,delete", "compact,delete"),
    ] {
        assert_eq!(alter(&mut client, (TOPIC, "t"), "cleanup.policy", change).0, 0, "{change}");
        let told = describe(&mut client, (TOPIC, "t"), "cleanup.policy");
        assert_eq!(told.split(" 1 [").next(), Some(wanted), "{change}: {told}");
    }
}

#[test]
fn values_come_from_the_topic_the_broker_the_cluster_or_are_built_in() {
    let disk = Arc::new(MemDisk::new());
    let mut running = Some(Client::on(disk.clone()));
    running.as_mut().unwrap().create("t", 1, &[]);
    let (topic, here, everywhere) = ((TOPIC, "t"), (BROKER, "1"), (BROKER, ""));
    let mut changes = 0;
    let mut check = |at: (i8, &str), setting: &str, change: &str, told: &str, limit: u32| {
        changes += 1;
        let client = running.as_mut().unwrap();
        assert_eq!(alter(client, at, setting, change), (0, String::new()));
        let got = describe(client, topic, "max.message.bytes");
        assert_eq!(got, told, "{change}");
        assert_eq!(client.node.broker.topic("t").unwrap().config.max_message_bytes, limit);
        // Every second change is followed by a restart.
        if changes % 2 == 0 {
            running = None;
            let client = running.insert(Client::on(disk.clone()));
            client.node.broker.commit_pending(client.now_ms).unwrap();
            assert_eq!(describe(client, topic, "max.message.bytes"), told, "{change}");
            assert_eq!(client.node.broker.topic("t").unwrap().config.max_message_bytes, limit);
        }
    };
    let built_in = "message.max.bytes=1048588/5";
    let told = format!("3000 3 [message.max.bytes=3000/3 {built_in}]");
    check(everywhere, "message.max.bytes", "=3000", &told, 3000);
    let told = format!("2000 2 [message.max.bytes=2000/2 message.max.bytes=3000/3 {built_in}]");
    check(here, "message.max.bytes", "=2000", &told, 2000);
    let told = format!(
        "1000 1 [max.message.bytes=1000/1 message.max.bytes=2000/2 message.max.bytes=3000/3 {built_in}]"
    );
    check(topic, "max.message.bytes", "=1000", &told, 1000);
    let told = format!("1000 1 [max.message.bytes=1000/1 message.max.bytes=2000/2 {built_in}]");
    check(everywhere, "message.max.bytes", "!", &told, 1000);
    let told = format!("2000 2 [message.max.bytes=2000/2 {built_in}]");
    check(topic, "max.message.bytes", "!", &told, 2000);
    check(here, "message.max.bytes", "!", &format!("1048588 5 [{built_in}]"), 1048588);
}

#[test]
fn a_new_topic_has_the_defaults_that_were_changed() {
    let mut client = Client::new();
    assert_eq!(alter(&mut client, (BROKER, ""), "log.cleanup.policy", "=compact").0, 0);
    client.create("t", 1, &[]);
    assert!(client.node.broker.topic("t").unwrap().config.cleanup_compact);
    let told = describe(&mut client, (TOPIC, "t"), "cleanup.policy");
    assert_eq!(told, "compact 3 [log.cleanup.policy=compact/3 log.cleanup.policy=delete/5]");
}

#[test]
fn settings_are_told_as_kafka_does() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let mut check = |kind: i8, name: &str, setting: &str, told: &str| {
        assert_eq!(describe(&mut client, (kind, name), setting), told, "{name} {setting}");
    };
    check(BROKER, "1", "log.retention.ms", "null 5 []");
    check(BROKER, "1", "log.retention.hours", "168 5 [log.retention.hours=168/5]");
    check(BROKER, "1", "node.id", "1 4 [node.id=1/4]");
    check(BROKER, "1", "broker.id", "1 4 [broker.id=1/4 broker.id=-1/5]");
    check(BROKER, "1", "sasl.jaas.config", "null 5 []");
    check(BROKER, "", "log.retention.ms", "absent");
    check(BROKER, "9", "node.id", "error 42");
    check(TOPIC, "nope", "x", "error 3");
    check(TOPIC, "a b", "x", "error 17");
    check(TOPIC, "t", "no.such", "absent");
    check(
        GROUP,
        "g",
        "share.isolation.level",
        "read_uncommitted 5 [share.isolation.level=read_uncommitted/5]",
    );
    check(CLIENT_METRICS, "m", "interval.ms", "absent");
    check(99, "m", "interval.ms", "error 42");
}
