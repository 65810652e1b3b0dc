//! Every decoder of stored facts and of records, fed with changed bytes: an error or a value, never a
//! panic, never memory for what is only announced. (Changed bytes in whole data directories are in
//! `broker/tests/damage.rs`, changed requests in `hostile.rs`.)

use proptest::prelude::*;

use super::*;
use crate::coordinator::protocol::{read_assignment, read_subscription};
use crate::log::batch::{self, BatchHeader, RecordIter};
use crate::security::scram::{ClientFirst, Credential, ScramMechanism};

/// A node that knows a fact of each kind.
fn facts() -> (Client, Vec<(Bytes, Bytes)>) {
    let mut client = Client::with(Arc::new(MemDisk::new()), |config| {
        config.access.enforced = true;
        config.access.super_users = ["User:ANONYMOUS".to_owned()].into();
    });
    client.create("t", 2, &[]);
    let credential = Credential::from_salted(ScramMechanism::Sha256, 4096, b"salt", &[7; 32]);
    let users = vec![("alice".to_owned(), credential)];
    client.node.access.change_users(&client.node.broker, users, Vec::new()).unwrap();
    let mut acls = kafka_wire::CreateAclsRequest::default();
    let mut acl = kafka_wire::create_acls_request::AclCreation::default();
    (acl.resource_type, acl.resource_pattern_type, acl.operation, acl.permission_type) =
        (2, 3, 3, 3);
    (acl.resource_name, acl.principal, acl.host) = ("t".into(), "User:a".into(), "*".into());
    acls.creations = vec![acl];
    assert_eq!(client.ask(3, &acls).results[0].error_code, 0);

    let mut commit = kafka_wire::OffsetCommitRequest::default();
    commit.group_id = "g".into();
    commit.generation_id_or_member_epoch = -1;
    commit.group_instance_id = None;
    let mut topic = kafka_wire::offset_commit_request::OffsetCommitRequestTopic::default();
    topic.name = "t".into();
    topic.partitions.push(Default::default());
    commit.topics = vec![topic];
    assert_eq!(client.ask(8, &commit).topics[0].partitions[0].error_code, 0);
    let mut producer = kafka_wire::InitProducerIdRequest::default();
    producer.transactional_id = Some("txn".into());
    producer.transaction_timeout_ms = 1000;
    producer.producer_id = -1;
    producer.producer_epoch = -1;
    assert_eq!(client.ask(4, &producer).error_code, 0);
    let mut alter = kafka_wire::IncrementalAlterConfigsRequest::default();
    let mut resource =
        kafka_wire::incremental_alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = 4;
    let mut config = kafka_wire::incremental_alter_configs_request::AlterableConfig::default();
    config.name = "message.max.bytes".into();
    config.value = Some("2000000".into());
    resource.configs = vec![config];
    alter.resources = vec![resource];
    assert_eq!(client.ask(1, &alter).responses[0].error_code, 0);
    client.node.broker.commit_pending(client.now_ms).unwrap();
    let facts = client.node.broker.group_facts();
    let kinds: std::collections::BTreeSet<u8> = facts.iter().map(|(key, _)| key[0]).collect();
    assert!(kinds.len() >= 5, "kinds of facts: {kinds:?}");
    (client, facts)
}

/// Opens a node over facts, as a restart does.
fn reopen(client: &Client, facts: &[(Bytes, Bytes)]) -> bool {
    let config = KafkaConfig::at("localhost", 9092);
    let broker = client.node.broker.clone();
    KafkaNode::new(broker, facts, config, Arc::new(CountingIds::default()), 1).is_ok()
}

#[test]
fn changed_facts_are_refused_or_read() {
    let (client, facts) = facts();
    assert!(reopen(&client, &facts), "unchanged facts are read");
    for (key, value) in &facts {
        for bytes in [key, value] {
            for at in 0..bytes.len() {
                let spoil = |spoiled: Bytes| match std::ptr::eq(bytes, key) {
                    true => (spoiled, value.clone()),
                    false => (key.clone(), spoiled),
                };
                reopen(&client, &[spoil(bytes.slice(..at))]);
                for lie in [&[0xff; 4][..], &[0x7f, 0xff, 0xff, 0xff], &[0], &[0x80]] {
                    let mut changed = bytes.to_vec();
                    let end = (at + lie.len()).min(changed.len());
                    changed[at..end].copy_from_slice(&lie[..end - at]);
                    reopen(&client, &[spoil(changed.into())]);
                }
            }
        }
    }
}

/// Walks a batch as everything does that looks into one.
fn walk(bytes: &[u8]) {
    let Ok(header) = BatchHeader::verify(bytes) else { return };
    let Ok((_, body)) = batch::records(bytes, 1 << 20) else { return };
    assert!(body.len() <= 1 << 20, "more was opened than allowed");
    for record in RecordIter::new(header, &body) {
        let Ok(record) = record else { return };
        record.headers().for_each(drop);
    }
}

fn batch_with(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for n in 0..10_i64 {
        builder.push(n, Some(b"key"), Some(&[b'x'; 50]), &[(b"h", Some(b"v")), (b"h", None)]);
    }
    builder.build().unwrap().to_vec()
}

#[test]
fn a_bomb_opens_no_wider_than_allowed() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        builder.push(1, None, Some(&vec![0; 8 << 20]), &[]);
        let bomb = builder.build().unwrap();
        assert!(batch::records(&bomb, 1 << 20).is_err(), "{codec:?}");
        assert!(batch::records(&bomb, 16 << 20).is_ok(), "{codec:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// With the checksum made right again, so that what is behind it is reached.
    #[test]
    fn changed_batches_are_refused_or_read(
        codec in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep_codec in any::<bool>(),
    ) {
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let mut bytes = batch_with(codecs[codec]);
        let attributes = i16::from_be_bytes([bytes[21], bytes[22]]);
        for (at, value) in &changes {
            let at = 23 + at.index(bytes.len() - 23);
            bytes[at] = *value;
        }
        let attributes = if keep_codec { attributes } else { i16::from(changes[0].1) & 7 };
        batch::patch_append_time(&mut bytes, attributes, 5);
        walk(&bytes);
    }

    #[test]
    fn noise_is_no_message(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        walk(&noise);
        read_subscription(&noise);
        read_assignment(&noise);
        ClientFirst::parse(&noise);
    }
}
