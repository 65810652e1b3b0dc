//! Fetch sessions as a client sees them (KIP-227), the script of Kafka's `FetchSessionTest` in spirit.

use kafka_wire::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_wire::{FetchRequest, FetchResponse};

use super::*;
use crate::error::ErrorCode;

/// `t/0@5 u/1@0`: partitions of topics and the offsets they are read from.
fn topics(text: &str) -> Vec<FetchTopic> {
    let one = |text: &str| {
        let (topic, rest) = text.split_once('/').unwrap();
        let (partition, offset) = rest.split_once('@').unwrap();
        let mut asked = FetchPartition::default();
        asked.partition = partition.parse().unwrap();
        asked.fetch_offset = offset.parse().unwrap();
        asked.partition_max_bytes = 1 << 20;
        let mut wanted = FetchTopic::default();
        wanted.topic = topic.into();
        wanted.partitions = vec![asked];
        wanted
    };
    text.split_whitespace().map(one).collect()
}

fn request(session: (i32, i32), text: &str) -> FetchRequest {
    let mut request = FetchRequest::default();
    request.max_bytes = 1 << 20;
    (request.session_id, request.session_epoch) = session;
    request.topics = topics(text);
    request
}

/// `t/0:3 u/1!6`: how many bytes came, or the error.
fn told(answer: &FetchResponse) -> String {
    let mut all = Vec::new();
    for topic in &answer.responses {
        for partition in &topic.partitions {
            let records = partition.records.as_ref().expect("records are never null");
            let what = match partition.error_code {
                0 if records.is_empty() => "-".to_owned(),
                0 => "records".to_owned(),
                code => format!("!{code}"),
            };
            assert_eq!(partition.preferred_read_replica, -1);
            all.push(format!("{}/{}:{what}", topic.topic, partition.partition_index));
        }
    }
    all.join(" ")
}

#[track_caller]
fn check(client: &mut Client, request: &FetchRequest, wanted: &str) -> i32 {
    let answer = client.ask(12, request);
    assert_eq!(answer.error_code, 0);
    assert_eq!(told(&answer), wanted);
    answer.session_id
}

fn put(client: &mut Client, topic: &str, partition: i32) {
    client.ask(9, &produce_to(topic, partition, batch(&["v"])));
}

#[test]
fn only_news_is_told_and_partitions_come_and_go() {
    let mut client = Client::new();
    client.create("t", 2, &[]);
    client.create("u", 1, &[]);
    put(&mut client, "t", 0);
    let all = "t/0@0 t/1@0";
    assert_eq!(check(&mut client, &request((0, -1), all), "t/0:records t/1:-"), 0, "no session");
    let id = check(&mut client, &request((0, 0), all), "t/0:records t/1:-");
    assert_ne!(id, 0);
    // The client read on; nothing else changed.
    check(&mut client, &request((id, 1), "t/0@1"), "");
    put(&mut client, "t", 1);
    check(&mut client, &request((id, 2), ""), "t/1:records");
    // Not read on: the records come again.
    check(&mut client, &request((id, 3), ""), "t/1:records");
    // A partition that is new to the session is told even without records; so is an error.
    check(&mut client, &request((id, 4), "t/1@1 u/0@0 none/0@0"), "u/0:- none/0:!3");
    check(&mut client, &request((id, 5), ""), "none/0:!3");
    let mut forget = request((id, 6), "");
    for topic in ["none", "t"] {
        let mut forgotten = ForgottenTopic::default();
        forgotten.topic = topic.into();
        forgotten.partitions = vec![0];
        forget.forgotten_topics_data.push(forgotten);
    }
    put(&mut client, "t", 0);
    put(&mut client, "u", 0);
    check(&mut client, &forget, "u/0:records");
    // The log start moves: news without records.
    let mut request_delete = kafka_wire::DeleteRecordsRequest::default();
    let mut topic = kafka_wire::delete_records_request::DeleteRecordsTopic::default();
    topic.name = "t".into();
    let mut partition = kafka_wire::delete_records_request::DeleteRecordsPartition::default();
    partition.partition_index = 1;
    partition.offset = 1;
    topic.partitions = vec![partition];
    request_delete.topics = vec![topic];
    client.ask(2, &request_delete);
    check(&mut client, &request((id, 7), "u/0@1"), "t/1:-");
}

#[test]
fn partitions_that_gave_records_go_to_the_end() {
    let mut client = Client::new();
    client.create("t", 3, &[]);
    (0..3).for_each(|partition| put(&mut client, "t", partition));
    let mut first = request((0, 0), "t/0@0 t/1@0 t/2@0");
    first.max_bytes = 1;
    let id = check(&mut client, &first, "t/0:records t/1:- t/2:-");
    let mut turn = |epoch: i32, wanted: &str| {
        let mut next = request((id, epoch), "");
        next.max_bytes = 1;
        check(&mut client, &next, wanted);
    };
    turn(1, "t/1:records");
    turn(2, "t/2:records");
    turn(3, "t/0:records");
}

#[test]
fn a_session_waits_over_all_its_partitions() {
    let mut client = Client::new();
    client.create("t", 2, &[]);
    let id = check(&mut client, &request((0, 0), "t/0@0 t/1@0"), "t/0:- t/1:-");
    let mut next = request((id, 1), "");
    next.min_bytes = 1;
    next.max_wait_ms = 500;
    let sent = client.send(12, &next);
    let Outcome::Wait { wake_on, pending, .. } = sent else { panic!("{sent:?}") };
    assert_eq!(wake_on.len(), 2);
    put(&mut client, "t", 1);
    let woken = resume(&client.node, &mut client.session, pending, client.now_ms);
    let Outcome::Ready(answer) = woken else { panic!("{woken:?}") };
    assert_eq!(told(&read::<FetchRequest>(12, answer)), "t/1:records");
    // The time passes: an empty answer, and the session goes on.
    next = request((id, 2), "t/1@1");
    next.min_bytes = 1;
    next.max_wait_ms = 500;
    assert_eq!(check(&mut client, &next, ""), id);
}

#[test]
fn wrong_sessions_and_epochs_are_refused() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    let id = check(&mut client, &request((0, 0), "t/0@0"), "t/0:-");
    let mut refused = |version: i16, session: (i32, i32), wanted: ErrorCode| {
        let answer = client.ask(version, &request(session, ""));
        assert_eq!(answer.error_code, wanted.code(), "{session:?}");
        assert!(answer.responses.is_empty());
    };
    refused(12, (id + 1, 1), ErrorCode::FetchSessionIdNotFound);
    refused(12, (id, 2), ErrorCode::InvalidFetchSessionEpoch);
    refused(13, (id, 1), ErrorCode::FetchSessionTopicIdError);
    refused(12, (id, 1), ErrorCode::None);
    refused(12, (id, 1), ErrorCode::InvalidFetchSessionEpoch);
    // Epoch -1 ends the session; so does forgetting all it has.
    check(&mut client, &request((id, -1), "t/0@0"), "t/0:-");
    let answer = client.ask(12, &request((id, 2), ""));
    assert_eq!(answer.error_code, ErrorCode::FetchSessionIdNotFound.code());
    let id = check(&mut client, &request((0, 0), "t/0@0"), "t/0:-");
    let mut forget = request((id, 1), "");
    let mut forgotten = ForgottenTopic::default();
    forgotten.topic = "t".into();
    forgotten.partitions = vec![0];
    forget.forgotten_topics_data = vec![forgotten];
    assert_eq!(check(&mut client, &forget, ""), 0);
    assert_eq!(client.node.fetch_sessions.lock().len(), 0);
    // No session is made for nothing.
    assert_eq!(check(&mut client, &request((0, 0), ""), ""), 0);
}

#[test]
fn versions_without_sessions_leave_none() {
    let mut client = Client::new();
    client.create("t", 1, &[]);
    for version in 4..7 {
        client.ask(version, &request((0, -1), "t/0@0"));
    }
    assert_eq!(client.node.fetch_sessions.lock().len(), 0);
}

#[test]
fn a_full_cache_drops_the_idle_then_the_old_and_small() {
    let mut client = Client::new();
    client.create("t", 2, &[]);
    let one = |client: &mut Client| client.ask(12, &request((0, 0), "t/0@0")).session_id;
    let two = |client: &mut Client| client.ask(12, &request((0, 0), "t/0@0 t/1@0")).session_id;
    let first = one(&mut client);
    let all: Vec<i32> = (1..1000).map(|_| one(&mut client)).collect();
    assert_eq!(client.node.fetch_sessions.lock().len(), 1000);
    assert_eq!(two(&mut client), 0, "all are young");
    client.now_ms += 120_001;
    for (used, id) in all.iter().enumerate() {
        assert_eq!(client.ask(12, &request((*id, 1), "")).error_code, 0, "{used}");
    }
    assert_ne!(one(&mut client), 0, "the first was idle");
    let gone = client.ask(12, &request((first, 1), ""));
    assert_eq!(gone.error_code, ErrorCode::FetchSessionIdNotFound.code());
    assert_eq!(one(&mut client), 0, "none is smaller");
    assert_ne!(two(&mut client), 0, "a smaller one was old enough");
    assert_eq!(client.node.fetch_sessions.lock().len(), 1000);
}
