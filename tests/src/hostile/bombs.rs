//! Batches that are small on the wire and huge when opened: on a plain topic, where the server does
//! not open them; on a compacted one and on one with a codec of its own, where it must; and under a
//! SQL stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_wire::{CreateTopicsRequest, create_topics_request};
use millstream_storage::log::batch::{BatchBuilder, Codec};

use super::SOON;
use crate::node::Node;
use crate::wire_client::{Client, ClientError};

/// A batch with one record of so many zeros. The codec is good at it.
fn bomb(codec: Codec, bytes: usize) -> Result<Bytes, String> {
    let mut builder = BatchBuilder::new(codec);
    builder.push(1_000_000, Some(b"key"), Some(&vec![0; bytes]), &[]);
    builder.build().map_err(|e| format!("a bomb cannot be made: {e}"))
}

fn create(client: &mut Client, name: &str, config: (&str, &str)) -> Result<(), String> {
    let mut setting = create_topics_request::CreatableTopicConfig::default();
    setting.name = config.0.into();
    setting.value = Some(config.1.into());
    let mut topic = create_topics_request::CreatableTopic::default();
    topic.name = name.into();
    topic.num_partitions = 1;
    topic.replication_factor = 1;
    topic.configs = vec![setting];
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = 10_000;
    let sent = client.send(&request, 7);
    let answer = sent.and_then(|()| client.receive::<CreateTopicsRequest>(7));
    let code = answer.map_err(|e| e.to_string())?.topics.first().map(|topic| topic.error_code);
    if code == Some(0) { Ok(()) } else { Err(format!("topic {name}: {code:?}")) }
}

/// Sends the bombs everywhere; says what came of them.
pub(super) fn run(node: &Node, client: &mut Client) -> Result<String, String> {
    // What fits into max.message.bytes (1 MiB) and opens as wide as possible.
    let bombs = [
        (Codec::Gzip, bomb(Codec::Gzip, 128 << 20)?),
        (Codec::Zstd, bomb(Codec::Zstd, 512 << 20)?),
        (Codec::Lz4, bomb(Codec::Lz4, 128 << 20)?),
        (Codec::Snappy, bomb(Codec::Snappy, 16 << 20)?),
    ];
    create(client, "bombed", ("max.message.bytes", "2000000"))?;
    create(client, "bombed-compacted", ("cleanup.policy", "compact"))?;
    create(client, "bombed-plain", ("compression.type", "uncompressed"))?;
    node.ksql(
        "CREATE STREAM bombs (v STRING) WITH (kafka_topic='bombed', value_format='JSON', partitions=1);
         CREATE TABLE bombs_counted AS SELECT v, COUNT(*) AS n FROM bombs GROUP BY v;
         CREATE STREAM calm (v STRING) WITH (kafka_topic='calm', value_format='JSON', partitions=1);
         CREATE TABLE calm_counted AS SELECT v, COUNT(*) AS n FROM calm GROUP BY v;",
    )?;
    let mut refused = 0;
    let mut taken = 0;
    for (codec, bomb) in &bombs {
        for topic in ["bombed", "bombed-compacted", "bombed-plain"] {
            match client.produce(topic, 0, bomb.clone()) {
                Ok(_) => taken += 1,
                Err(ClientError::Code { .. }) => refused += 1,
                Err(e) => return Err(format!("{codec:?} bomb to {topic}: {e}")),
            }
        }
    }
    if refused == 0 {
        return Err("no bomb was refused where the server has to open it".into());
    }
    // A query over the bombs may stop, and says why; the others go on.
    let last = crate::wire_client::batch(&[(1_000_001, None, br#"{"V":"after"}"#.to_vec())], None);
    let last = last.map_err(|e| e.to_string())?;
    client.produce("calm", 0, last).map_err(|e| format!("behind the bombs: {e}"))?;
    let begin = Instant::now();
    loop {
        let rows = node.pull("SELECT n FROM calm_counted WHERE v = 'after';")?;
        if !rows.is_empty() {
            break;
        }
        if begin.elapsed() > SOON {
            return Err("a SQL query beside a bombed topic does not go on".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let told = node.pull("SELECT n FROM bombs_counted WHERE v = 'after';");
    let named = |e: &String| e.contains("bombed") && e.contains("uncompressed");
    if told.as_ref().is_err_and(|e| !named(e)) {
        return Err(format!("the query over the bombs does not say why it stopped: {told:?}"));
    }
    Ok(format!(
        "decompression bombs: {taken} kept closed, {refused} refused, the queries beside them go on"
    ))
}
