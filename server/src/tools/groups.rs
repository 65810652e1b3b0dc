//! `millstream groups`: list, describe, reset-offsets, delete.

use std::collections::BTreeMap;
use std::io;

use kafka_wire::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
};

use super::args::{GroupsArgs, GroupsCommand, Isolation, ResetTo};
use super::offsets::{self, EARLIEST, LATEST, Offsets};
use super::{check, connect, say, show, table};
use crate::kafka_client::KafkaClient;

const LIST_GROUPS: i16 = 5;
const DESCRIBE_GROUPS: i16 = 5;
const CONSUMER_GROUP_DESCRIBE: i16 = 0;
const DELETE_GROUPS: i16 = 2;

pub(super) fn run(args: GroupsArgs) -> io::Result<()> {
    let mut client = connect(&args.server)?;
    match args.command {
        GroupsCommand::List => list(&mut client),
        GroupsCommand::Describe { group } => describe(&mut client, &group),
        GroupsCommand::ResetOffsets { group, topics, to, execute } => {
            reset(&mut client, &group, topics, &to, execute)
        }
        GroupsCommand::Delete { groups } => delete(&mut client, &groups),
    }
}

fn list(client: &mut KafkaClient) -> io::Result<()> {
    let answer = client.call(&ListGroupsRequest::default(), LIST_GROUPS)?;
    check("list groups", answer.error_code, None)?;
    let mut rows = table(&["group", "state", "type", "protocol"]);
    for group in &answer.groups {
        rows.add_row([
            &*group.group_id,
            &*group.group_state,
            &*group.group_type,
            &*group.protocol_type,
        ]);
    }
    show(&rows, "There are no groups.")
}

fn describe(client: &mut KafkaClient, group: &str) -> io::Result<()> {
    let answer = client.call(&ListGroupsRequest::default(), LIST_GROUPS)?;
    let found = answer.groups.iter().find(|listed| &*listed.group_id == group);
    let Some(found) = found else {
        return Err(io::Error::other(format!("there is no group {group}")));
    };
    say(format_args!("Group {group}: {}, {}", found.group_state, found.group_type))?;
    members(client, group, &*found.group_type == "consumer")?;

    let committed = offsets::committed(client, group)?;
    let mut rows = table(&["topic", "partition", "committed", "end", "lag"]);
    for (topic, offsets) in &committed {
        // A topic may be gone while its offsets are still kept.
        let ends = ends(client, topic, offsets).unwrap_or_default();
        for (partition, offset) in offsets {
            let end = ends.get(partition);
            let or_dash = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
            rows.add_row([
                topic.clone(),
                partition.to_string(),
                offset.to_string(),
                or_dash(end.copied()),
                or_dash(end.map(|end| (end - offset).max(0))),
            ]);
        }
    }
    show(&rows, "It has committed no offsets.")
}

fn members(client: &mut KafkaClient, group: &str, is_new_protocol: bool) -> io::Result<()> {
    let mut rows = table(&["member", "client", "host", "assigned"]);
    if is_new_protocol {
        let mut request = ConsumerGroupDescribeRequest::default();
        request.group_ids = vec![group.into()];
        let answer = client.call(&request, CONSUMER_GROUP_DESCRIBE)?;
        for member in answer.groups.iter().flat_map(|group| &group.members) {
            let assigned = member.assignment.topic_partitions.iter();
            let assigned =
                assigned.map(|topic| format!("{} {:?}", topic.topic_name, topic.partitions));
            let assigned: Vec<String> = assigned.collect();
            rows.add_row([
                &*member.member_id,
                &*member.client_id,
                &*member.client_host,
                &assigned.join(", "),
            ]);
        }
    } else {
        let mut request = DescribeGroupsRequest::default();
        request.groups = vec![group.into()];
        let answer = client.call(&request, DESCRIBE_GROUPS)?;
        for member in answer.groups.iter().flat_map(|group| &group.members) {
            let assigned = format!("{} bytes", member.member_assignment.len());
            rows.add_row([&*member.member_id, &*member.client_id, &*member.client_host, &assigned]);
        }
    }
    show(&rows, "It has no members.")
}

fn ends(client: &mut KafkaClient, topic: &str, of: &Offsets) -> io::Result<Offsets> {
    let partitions: Vec<i32> = of.keys().copied().collect();
    offsets::at_time(client, topic, partitions, LATEST, Isolation::ReadCommitted)
}

fn reset(
    client: &mut KafkaClient,
    group: &str,
    topics: Vec<String>,
    to: &ResetTo,
    execute: bool,
) -> io::Result<()> {
    let committed = offsets::committed(client, group)?;
    let topics = match topics.is_empty() {
        true => committed.keys().cloned().collect(),
        false => topics,
    };
    let mut wanted: BTreeMap<String, Offsets> = BTreeMap::new();
    let mut rows = table(&["topic", "partition", "committed", "new"]);
    for topic in topics {
        let before = committed.get(&topic).cloned().unwrap_or_default();
        let after = targets(client, &topic, &before, to)?;
        for (partition, offset) in &after {
            let now = before.get(partition).map_or("-".to_owned(), |offset| offset.to_string());
            rows.add_row([topic.clone(), partition.to_string(), now, offset.to_string()]);
        }
        wanted.insert(topic, after);
    }
    show(&rows, "The group has no offsets: say which --topic.")?;
    if !execute {
        eprintln!("Nothing was changed: that needs --execute.");
        return Ok(());
    }
    offsets::commit(client, group, &wanted)?;
    say(format_args!("Offsets of group {group} changed."))
}

/// The new offset of each partition of a topic, never outside of what the log holds.
fn targets(
    client: &mut KafkaClient,
    topic: &str,
    before: &Offsets,
    to: &ResetTo,
) -> io::Result<Offsets> {
    let all = 0..offsets::partitions(client, topic)?;
    let mut at =
        |time| offsets::at_time(client, topic, all.clone(), time, Isolation::ReadUncommitted);
    let (starts, ends) = (at(EARLIEST)?, at(LATEST)?);
    let by_time = match to.to_datetime {
        Some(time) => at(time)?,
        None => Offsets::new(),
    };
    let mut after = Offsets::new();
    for (partition, start) in starts {
        let end = ends.get(&partition).copied().unwrap_or(start);
        let now = before.get(&partition).copied();
        let offset = match to {
            ResetTo { to_earliest: true, .. } => start,
            ResetTo { to_latest: true, .. } => end,
            ResetTo { to_offset: Some(offset), .. } => *offset,
            // Without an offset there is nothing to shift.
            ResetTo { shift_by: Some(by), .. } => match now {
                Some(now) => now.saturating_add(*by),
                None => continue,
            },
            _ => by_time.get(&partition).copied().filter(|offset| *offset >= 0).unwrap_or(end),
        };
        after.insert(partition, offset.clamp(start, end));
    }
    Ok(after)
}

fn delete(client: &mut KafkaClient, groups: &[String]) -> io::Result<()> {
    let mut request = DeleteGroupsRequest::default();
    request.groups_names = groups.iter().map(|group| group.as_str().into()).collect();
    let answer = client.call(&request, DELETE_GROUPS)?;
    for deleted in &answer.results {
        check(&format!("delete group {}", &*deleted.group_id), deleted.error_code, None)?;
        say(format_args!("Group {} deleted.", &*deleted.group_id))?;
    }
    Ok(())
}
