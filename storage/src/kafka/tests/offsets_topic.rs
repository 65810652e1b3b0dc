//! `__consumer_offsets` as a reader of it sees it.

use kafka_wire::FindCoordinatorRequest;

use super::groups::{commit, heartbeat};
use super::*;
use crate::coordinator::offsets_topic::partition_for;
use crate::log::batch::{RecordIter, batches};
use crate::topics::OFFSETS_TOPIC;

fn find_coordinator(client: &mut Client) {
    let mut request = FindCoordinatorRequest::default();
    request.coordinator_keys = vec!["g".into()];
    assert_eq!(client.ask(4, &request).coordinators[0].error_code, 0);
}

/// The keys of all records told of group `g`, with whether they have a value.
fn told(client: &mut Client) -> Vec<(Vec<u8>, bool)> {
    let mut request = fetch_from(OFFSETS_TOPIC, partition_for("g", 50), 0);
    request.max_wait_ms = 0;
    let answer = client.ask(11, &request);
    let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
    let mut keys = Vec::new();
    for batch in batches(&records) {
        let (header, batch) = batch.unwrap();
        let body = &batch[61..];
        for record in RecordIter::new(header, body) {
            let record = record.unwrap();
            keys.push((record.key.unwrap().to_vec(), record.value.is_some()));
        }
    }
    keys
}

#[test]
fn it_is_told_every_change_with_the_change_and_is_not_for_others_to_write() {
    let disk = Arc::new(MemDisk::new());
    let mut client = Client::on(disk.clone());
    client.create("t", 2, &[]);
    // A group that was there before the topic is told as a whole.
    client.ask(8, &commit("", -1, &[("t", 0, 5)]));
    find_coordinator(&mut client);
    let offset = |partition: u8| [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, partition].to_vec();
    assert_eq!(told(&mut client), [(offset(0), true)]);

    client.ask(8, &commit("", -1, &[("t", 0, 6), ("t", 1, 7)]));
    client.ask(1, &heartbeat("m", 0));
    let seen = told(&mut client);
    assert_eq!(seen[1..3], [(offset(0), true), (offset(1), true)]);
    let kinds: Vec<(u8, bool)> = seen[3..].iter().map(|(key, set)| (key[1], *set)).collect();
    assert_eq!(kinds, [(2, false), (3, true), (6, true), (5, true), (7, true), (8, true)]);

    let mut metadata = kafka_wire::MetadataRequest::default();
    metadata.topics = None;
    let topics = client.ask(9, &metadata).topics;
    let shown: Vec<(&str, bool, usize)> = topics
        .iter()
        .map(|topic| (topic.name.as_deref().unwrap(), topic.is_internal, topic.partitions.len()))
        .collect();
    assert_eq!(shown, [(OFFSETS_TOPIC, true, 50), ("t", false, 2)]);
    let refused = client.ask(9, &produce_to(OFFSETS_TOPIC, 0, batch(&["v"])));
    let code = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(code, crate::error::ErrorCode::InvalidTopicException.code());

    // A restart tells nothing twice and goes on.
    drop(client);
    let mut client = Client::on(disk);
    find_coordinator(&mut client);
    assert_eq!(told(&mut client), seen);
    client.ask(9, &commit("m", 1, &[("t", 0, 9)]));
    assert_eq!(told(&mut client).len(), seen.len() + 1);
}
