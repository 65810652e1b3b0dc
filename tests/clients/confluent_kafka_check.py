#!/usr/bin/env python3
"""confluent-kafka-python (librdkafka): admin, idempotent producers, codecs, groups with rebalance.

    python confluent_kafka_check.py HOST:PORT

Prints what it verified; exits non-zero at the first thing that is wrong.
"""

import sys
import time
import uuid

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

BROKER = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
RUN = f"ck-{uuid.uuid4().hex[:8]}"
WAIT = 60


def ok(what):
    print(f"ok: confluent-kafka: {what}", flush=True)


def wait_for(futures):
    return {key: future.result(WAIT) for key, future in futures.items()}


def consumer(group, **more):
    return Consumer({
        "bootstrap.servers": BROKER,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        **more,
    })


def produce(topic, records, partition=None, **config):
    failed = []
    sent = []

    def done(error, message):
        (failed if error else sent).append(error or (message.partition(), message.offset()))

    producer = Producer({"bootstrap.servers": BROKER, **config})
    for key, value in records:
        more = {} if partition is None else {"partition": partition}
        producer.produce(topic, key=key, value=value, on_delivery=done, **more)
        producer.poll(0)
    assert producer.flush(WAIT) == 0, "records were not delivered"
    assert not failed, failed[:3]
    return sent


def drain(reader, count, deadline=WAIT):
    """Reads until `count` records are there; list of (partition, offset, value)."""
    got = []
    end = time.time() + deadline
    while len(got) < count and time.time() < end:
        message = reader.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        got.append((message.partition(), message.offset(), message.value()))
    return got


def topics(admin):
    name = f"{RUN}-made"
    wait_for(admin.create_topics([
        NewTopic(name, num_partitions=3, replication_factor=1, config={"retention.ms": "60000"})
    ]))
    shown = admin.list_topics(name, timeout=WAIT).topics[name]
    assert len(shown.partitions) == 3, shown.partitions
    try:
        wait_for(admin.create_topics([NewTopic(name, 3, 1)]))
        raise AssertionError("a topic was made twice")
    except KafkaException as error:
        assert error.args[0].name() == "TOPIC_ALREADY_EXISTS", error
    for bad, says in [
        (NewTopic("not a name", 1, 1), "TOPIC_EXCEPTION"),
        (NewTopic(f"{RUN}-rf", 1, 3), "INVALID_REPLICATION_FACTOR"),
        (NewTopic(f"{RUN}-cfg", 1, 1, config={"no.such": "1"}), "INVALID_CONFIG"),
    ]:
        try:
            wait_for(admin.create_topics([bad]))
            raise AssertionError(f"{bad} was made")
        except KafkaException as error:
            assert says in error.args[0].name(), error
    ok("create topics, and refusals with the right codes")
    return name


def configs(admin, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    read = lambda: wait_for(admin.describe_configs([resource]))[resource]
    before = read()
    assert before["retention.ms"].value == "60000", before["retention.ms"]
    assert before["retention.ms"].source == 1 and before["cleanup.policy"].source == 5
    change = ConfigResource(ResourceType.TOPIC, topic)
    change.add_incremental_config(
        ConfigEntry("retention.ms", "70000", incremental_operation=AlterConfigOpType.SET))
    change.add_incremental_config(
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND))
    wait_for(admin.incremental_alter_configs([change]))
    after = read()
    assert after["retention.ms"].value == "70000", after["retention.ms"]
    assert after["cleanup.policy"].value == "delete,compact", after["cleanup.policy"]
    node = str(admin.describe_cluster().result(WAIT).controller.id)
    broker = ConfigResource(ResourceType.BROKER, node)
    entries = wait_for(admin.describe_configs([broker]))[broker]
    assert "num.partitions" in entries and all(e.source > 0 for e in entries.values())
    ok("describe and alter configs of topics, describe the broker's")


def codecs():
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        topic = f"{RUN}-{codec}"
        records = [(f"k{i}", f"{codec}-{i}-" + "x" * 300) for i in range(2000)]
        sent = produce(topic, records, **{"enable.idempotence": True, "compression.type": codec})
        assert len(sent) == 2000
        reader = consumer(f"{RUN}-codec")
        reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        got = drain(reader, 2000)
        reader.close()
        assert [offset for _, offset, _ in got] == list(range(2000)), f"{codec}: offsets"
        assert [value.decode() for *_, value in got] == [value for _, value in records], codec
        ok(f"idempotent produce and fetch of 2000 records with codec {codec}, in order")


def list_offsets(admin):
    topic = f"{RUN}-offsets"
    produce(topic, [(None, "one")])
    time.sleep(0.05)
    middle = int(time.time() * 1000)
    time.sleep(0.05)
    produce(topic, [(None, "two"), (None, "three")])
    place = TopicPartition(topic, 0)
    ask = lambda spec: wait_for(admin.list_offsets({place: spec}))[place].offset
    assert ask(OffsetSpec.earliest()) == 0
    assert ask(OffsetSpec.latest()) == 3
    assert ask(OffsetSpec.for_timestamp(middle)) == 1
    assert ask(OffsetSpec.max_timestamp()) in (1, 2)
    wait_for(admin.delete_records([TopicPartition(topic, 0, 2)]))
    assert ask(OffsetSpec.earliest()) == 2
    ok("list offsets: earliest, latest, by timestamp, greatest timestamp; delete records")


def long_poll():
    topic = f"{RUN}-poll"
    produce(topic, [(None, "first")])
    reader = consumer(f"{RUN}-poll", **{"fetch.wait.max.ms": 10000})
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert len(drain(reader, 1)) == 1
    reader.poll(0.3)
    produce(topic, [(None, "second")])
    start = time.time()
    assert len(drain(reader, 1)) == 1
    took = time.time() - start
    reader.close()
    assert took < 2, f"a waiting reader was woken after {took:.1f} s"
    ok("a waiting reader is woken by a record")


def group(admin, strategy):
    topic, name = f"{RUN}-g-{strategy}", f"{RUN}-group-{strategy}"
    wait_for(admin.create_topics([NewTopic(topic, 4, 1)]))
    for partition in range(4):
        produce(topic, [(None, f"{partition}-{i}") for i in range(50)], partition=partition)

    seen = []
    first = consumer(name, **{"partition.assignment.strategy": strategy})
    second = consumer(name, **{"partition.assignment.strategy": strategy})
    first.subscribe([topic])
    seen += drain(first, 20)
    assert len(first.assignment()) == 4, first.assignment()
    first.commit(asynchronous=False)

    second.subscribe([topic])
    end = time.time() + WAIT
    while time.time() < end:
        for reader in (first, second):
            message = reader.poll(0.1)
            if message is not None and not message.error():
                seen.append((message.partition(), message.offset(), message.value()))
        if len(first.assignment()) == 2 and len(second.assignment()) == 2:
            break
    assert len(first.assignment()) == 2 and len(second.assignment()) == 2, "no rebalance"
    both = {p.partition for reader in (first, second) for p in reader.assignment()}
    assert both == {0, 1, 2, 3}, both
    described = wait_for(admin.describe_consumer_groups([name]))[name]
    assert len(described.members) == 2 and described.state.name == "STABLE", described
    ok(f"{strategy}: two members share four partitions after a rebalance")

    second.commit(asynchronous=False, offsets=[
        TopicPartition(topic, p.partition, 50, "by hand") for p in second.assignment()])
    second.close()
    end = time.time() + WAIT
    while len(first.assignment()) != 4 and time.time() < end:
        message = first.poll(0.1)
        if message is not None and not message.error():
            seen.append((message.partition(), message.offset(), message.value()))
    assert len(first.assignment()) == 4, "the one that stayed did not get everything"
    while True:
        message = first.poll(1.0)
        if message is None:
            break
        seen.append((message.partition(), message.offset(), message.value()))
    first.commit(asynchronous=False, offsets=[TopicPartition(topic, p, 50, "end") for p in range(4)])
    first.close()
    ok(f"{strategy}: the one that stays takes over")

    produce(topic, [(None, "after")], partition=1)
    again = consumer(name, **{"partition.assignment.strategy": strategy})
    again.subscribe([topic])
    got = drain(again, 1)
    more = again.poll(1.0)
    committed = again.committed([TopicPartition(topic, 1)], timeout=WAIT)[0]
    again.close()
    assert got == [(1, 50, b"after")] and more is None, (got, more)
    assert committed.offset == 50 and committed.metadata == "end", committed
    ok(f"{strategy}: a new start goes on from the committed offsets, metadata kept")

    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])
    offsets = wait_for(offsets)[name].topic_partitions
    assert {p.partition: p.offset for p in offsets} == {0: 50, 1: 50, 2: 50, 3: 50}, offsets
    listed = admin.list_consumer_groups().result(WAIT)
    assert name in [entry.group_id for entry in listed.valid]
    wait_for(admin.delete_consumer_groups([name]))
    listed = admin.list_consumer_groups().result(WAIT)
    assert name not in [entry.group_id for entry in listed.valid]
    ok(f"{strategy}: list, describe and delete the group")


def main():
    admin = AdminClient({"bootstrap.servers": BROKER})
    name = topics(admin)
    configs(admin, name)
    codecs()
    list_offsets(admin)
    long_poll()
    for strategy in ["range", "roundrobin", "cooperative-sticky"]:
        group(admin, strategy)
    wait_for(admin.delete_topics([name]))
    assert name not in admin.list_topics(timeout=WAIT).topics
    ok("delete a topic")
    print("confluent-kafka: all passed")


main()
