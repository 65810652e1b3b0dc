//! `millstream topics`: list, describe, create, alter, delete.

use std::io;

use kafka_wire::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest, create_partitions_request,
    create_topics_request, describe_configs_request, incremental_alter_configs_request,
};

use super::args::{Isolation, TopicsArgs, TopicsCommand};
use super::offsets::{EARLIEST, LATEST, Offsets, at_time, partitions};
use super::{check, connect, say, show, table};
use crate::kafka_client::KafkaClient;

const METADATA: i16 = 9;
const CREATE_TOPICS: i16 = 7;
const CREATE_PARTITIONS: i16 = 3;
const DELETE_TOPICS: i16 = 5;
const DESCRIBE_CONFIGS: i16 = 4;
const ALTER_CONFIGS: i16 = 1;

const TOPIC: i8 = 2;
const SET_ON_TOPIC: i8 = 1;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const TIMEOUT_MS: i32 = 30_000;

pub(super) fn run(args: TopicsArgs) -> io::Result<()> {
    let mut client = connect(&args.server)?;
    match args.command {
        TopicsCommand::List => list(&mut client),
        TopicsCommand::Describe { topics, configs } => {
            topics.iter().try_for_each(|topic| describe(&mut client, topic, configs))
        }
        TopicsCommand::Create { topic, partitions, configs, if_not_exists } => {
            create(&mut client, &topic, partitions, &configs, if_not_exists)
        }
        TopicsCommand::Alter { topic, partitions, configs, reset } => {
            if partitions.is_none() && configs.is_empty() && reset.is_empty() {
                return Err(io::Error::other(
                    "nothing to change: give --partitions, --config or --reset",
                ));
            }
            if let Some(count) = partitions {
                grow(&mut client, &topic, count)?;
            }
            if configs.is_empty() && reset.is_empty() {
                return Ok(());
            }
            alter(&mut client, &topic, &configs, &reset)
        }
        TopicsCommand::Delete { topics } => {
            topics.iter().try_for_each(|topic| delete(&mut client, topic))
        }
    }
}

fn list(client: &mut KafkaClient) -> io::Result<()> {
    let mut request = MetadataRequest::default();
    request.topics = None;
    let answer = client.call(&request, METADATA)?;
    let mut rows = table(&["topic", "partitions", "records"]);
    for topic in &answer.topics {
        let name = topic.name.as_deref().unwrap_or_default();
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let (start, end) = ends(client, name, count)?;
        let records: i64 = end.iter().map(|(at, end)| end - start.get(at).unwrap_or(&0)).sum();
        rows.add_row([name.to_owned(), count.to_string(), records.to_string()]);
    }
    show(&rows, "There are no topics.")
}

/// First and end offsets of all partitions. Their difference counts what is there, except for what
/// compaction took and the markers of transactions.
fn ends(client: &mut KafkaClient, topic: &str, count: i32) -> io::Result<(Offsets, Offsets)> {
    let uncommitted = Isolation::ReadUncommitted;
    let start = at_time(client, topic, 0..count, EARLIEST, uncommitted)?;
    Ok((start, at_time(client, topic, 0..count, LATEST, uncommitted)?))
}

fn describe(client: &mut KafkaClient, topic: &str, all: bool) -> io::Result<()> {
    let count = partitions(client, topic)?;
    let (start, end) = ends(client, topic, count)?;
    say(format_args!("Topic {topic}: {count} partitions"))?;
    let mut rows = table(&["partition", "first offset", "end offset", "records"]);
    for (partition, first) in &start {
        let end = end.get(partition).copied().unwrap_or(*first);
        rows.add_row([*partition as i64, *first, end, end - first].map(|n| n.to_string()));
    }
    show(&rows, "")?;

    let mut resource = describe_configs_request::DescribeConfigsResource::default();
    resource.resource_type = TOPIC;
    resource.resource_name = topic.into();
    resource.configuration_keys = None;
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    request.include_documentation = true;
    let answer = client.call(&request, DESCRIBE_CONFIGS)?;
    let result = answer.results.first().ok_or(io::ErrorKind::InvalidData)?;
    check(
        &format!("settings of topic {topic}"),
        result.error_code,
        result.error_message.as_deref(),
    )?;
    let mut rows = table(&["setting", "value", "from", "what it does"]);
    for config in &result.configs {
        if all || config.config_source == SET_ON_TOPIC {
            let source = match config.config_source {
                SET_ON_TOPIC => "topic",
                2 | 3 => "changed broker default",
                4 => "broker's start",
                _ => "default",
            };
            let doc = config.documentation.as_deref().unwrap_or_default();
            let value = config.value.as_deref().unwrap_or_default();
            rows.add_row([&*config.name, value, source, doc]);
        }
    }
    show(&rows, "All settings have their defaults; --configs shows them.")
}

fn create(
    client: &mut KafkaClient,
    name: &str,
    partitions: Option<i32>,
    configs: &[(String, String)],
    if_not_exists: bool,
) -> io::Result<()> {
    let mut topic = create_topics_request::CreatableTopic::default();
    topic.name = name.into();
    topic.num_partitions = partitions.unwrap_or(-1);
    topic.replication_factor = -1;
    for (name, value) in configs {
        let mut config = create_topics_request::CreatableTopicConfig::default();
        config.name = name.as_str().into();
        config.value = Some(value.as_str().into());
        topic.configs.push(config);
    }
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request, CREATE_TOPICS)?;
    let made = answer.topics.first().ok_or(io::ErrorKind::InvalidData)?;
    if if_not_exists && made.error_code == TOPIC_ALREADY_EXISTS {
        return say(format_args!("Topic {name} is there already."));
    }
    check(&format!("create topic {name}"), made.error_code, made.error_message.as_deref())?;
    say(format_args!("Topic {name} created with {} partitions.", made.num_partitions))
}

fn grow(client: &mut KafkaClient, name: &str, count: i32) -> io::Result<()> {
    let mut topic = create_partitions_request::CreatePartitionsTopic::default();
    topic.name = name.into();
    topic.count = count;
    topic.assignments = None;
    let mut request = CreatePartitionsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request, CREATE_PARTITIONS)?;
    let grown = answer.results.first().ok_or(io::ErrorKind::InvalidData)?;
    check(&format!("alter topic {name}"), grown.error_code, grown.error_message.as_deref())?;
    say(format_args!("Topic {name} has {count} partitions now."))
}

fn alter(
    client: &mut KafkaClient,
    name: &str,
    set: &[(String, String)],
    reset: &[String],
) -> io::Result<()> {
    let change = |name: &str, operation: i8, value: Option<&str>| {
        let mut config = incremental_alter_configs_request::AlterableConfig::default();
        config.name = name.into();
        config.config_operation = operation;
        config.value = value.map(Into::into);
        config
    };
    let mut resource = incremental_alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = TOPIC;
    resource.resource_name = name.into();
    resource.configs = set.iter().map(|(name, value)| change(name, 0, Some(value))).collect();
    resource.configs.extend(reset.iter().map(|name| change(name, 1, None)));
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = vec![resource];
    let answer = client.call(&request, ALTER_CONFIGS)?;
    let altered = answer.responses.first().ok_or(io::ErrorKind::InvalidData)?;
    check(&format!("alter topic {name}"), altered.error_code, altered.error_message.as_deref())?;
    say(format_args!("Settings of topic {name} changed."))
}

fn delete(client: &mut KafkaClient, name: &str) -> io::Result<()> {
    let mut request = DeleteTopicsRequest::default();
    request.topic_names = vec![name.into()];
    request.timeout_ms = TIMEOUT_MS;
    let answer = client.call(&request, DELETE_TOPICS)?;
    let gone = answer.responses.first().ok_or(io::ErrorKind::InvalidData)?;
    check(&format!("delete topic {name}"), gone.error_code, gone.error_message.as_deref())?;
    say(format_args!("Topic {name} deleted."))
}
