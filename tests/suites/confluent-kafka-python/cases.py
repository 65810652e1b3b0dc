"""What confluent-kafka-python's own integration tests check, written for a broker that runs already.

Its source distributions carry no integration tests since 1.5, so these cases are ours. Groups are tried with both
protocols: GROUP_PROTOCOL is `classic` or `consumer`. BROKERS says where the broker is.
"""

import os
import time
import uuid

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupType,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

BROKERS = os.environ["BROKERS"]
PROTOCOL = os.environ.get("GROUP_PROTOCOL", "classic")
SECONDS = 30


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def one(futures):
    """The result of the only future in an admin call's answer."""
    (future,) = futures.values()
    return future.result(timeout=SECONDS)


def until(check, seconds=SECONDS):
    """Calls `check` until it gives something true, and gives it back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    pytest.fail("it did not come to pass in time")


@pytest.fixture(scope="module")
def admin():
    return AdminClient({"bootstrap.servers": BROKERS})


@pytest.fixture
def topic(admin):
    name = unique("topic")
    one(admin.create_topics([NewTopic(name, num_partitions=4, replication_factor=1)]))
    yield name
    one(admin.delete_topics([name]))


def dotted(conf):
    """Settings under librdkafka's names; its callbacks are the only ones with an underscore."""
    return {key if key.endswith("_cb") else key.replace("_", "."): value for key, value in conf.items()}


def producer(**conf):
    return Producer({"bootstrap.servers": BROKERS, **dotted(conf)})


def consumer(group=None, **conf):
    base = {
        "bootstrap.servers": BROKERS,
        "group.id": group or unique("group"),
        "group.protocol": PROTOCOL,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    if PROTOCOL == "classic":
        base["heartbeat.interval.ms"] = 500
    return Consumer({**base, **dotted(conf)})


def fill(topic, values, partition=None, **conf):
    """Produces values and gives their messages back, each delivered."""
    done = []
    out = producer(**conf)
    for value in values:
        place = {} if partition is None else {"partition": partition}
        out.produce(topic, value, on_delivery=lambda error, message: done.append((error, message)), **place)
        out.poll(0)
    assert out.flush(SECONDS) == 0
    assert [error for error, _ in done if error] == []
    assert len(done) == len(values)
    return [message for _, message in done]


def take(client, count, seconds=SECONDS):
    """Polls so many messages."""
    got = []
    end = time.monotonic() + seconds
    while len(got) < count:
        assert time.monotonic() < end, f"{len(got)} of {count} messages came"
        message = client.poll(0.2)
        if message is not None:
            assert message.error() is None, message.error()
            got.append(message)
    return got


def nothing_more(client, seconds=1.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert client.poll(0.1) is None


# Producing and consuming


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_come_back_as_they_went(topic, codec):
    now = int(time.time() * 1000)
    out = producer(compression_type=codec, linger_ms=50)
    headers = [("a", b"1"), ("a", None), ("b", b"")]
    for i in range(100):
        out.produce(topic, f"v{i}" * 50, key=f"k{i}", headers=headers, timestamp=now + i, partition=1)
    assert out.flush(SECONDS) == 0
    client = consumer()
    client.assign([TopicPartition(topic, 1, OFFSET_BEGINNING)])
    for i, message in enumerate(take(client, 100)):
        assert (message.offset(), message.key(), message.value()) == (i, f"k{i}".encode(), (f"v{i}" * 50).encode())
        assert message.headers() == headers
        assert message.timestamp() == (TIMESTAMP_CREATE_TIME, now + i)
    client.close()


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_acknowledgement(topic, acks):
    idempotent = {"enable_idempotence": True} if acks == "all" else {}
    fill(topic, [f"{i}" for i in range(1000)], acks=acks, **idempotent)
    client = consumer()
    client.subscribe([topic])
    assert {message.value() for message in take(client, 1000)} == {str(i).encode() for i in range(1000)}
    client.close()


def test_messages_that_are_too_large(admin, topic):
    big = producer(message_max_bytes=5_000_000)
    seen = []
    big.produce(topic, b"x" * 2_000_000, on_delivery=lambda error, message: seen.append(error))
    big.flush(SECONDS)
    assert seen[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_cluster_metadata(admin, topic):
    meta = admin.list_topics(timeout=SECONDS)
    assert list(meta.brokers) == [meta.controller_id] and len(meta.cluster_id) == 22
    assert sorted(meta.topics[topic].partitions) == [0, 1, 2, 3]
    assert meta.topics[topic].partitions[0].isrs == [meta.controller_id]
    # A consumer does not make the topics it asks for.
    missing = consumer().list_topics("no.such.topic.at.all", timeout=SECONDS).topics["no.such.topic.at.all"]
    assert missing.error is not None
    assert consumer().list_topics(topic, timeout=SECONDS).cluster_id == meta.cluster_id


def test_statistics_and_consume_batches(topic):
    fill(topic, [f"{i}" for i in range(500)])
    seen = []
    client = consumer(statistics_interval_ms=200, stats_cb=seen.append)
    client.subscribe([topic])
    got = []
    until(lambda: got.extend(client.consume(100, 0.5)) or len(got) >= 500)
    assert len(got) == 500
    until(lambda: client.poll(0.1) is None and seen)
    client.close()


# Positions


def test_watermarks_seek_pause_and_position(topic):
    fill(topic, [f"{i}" for i in range(50)], partition=0)
    client = consumer()
    here = TopicPartition(topic, 0)
    assert client.get_watermark_offsets(here, timeout=SECONDS) == (0, 50)
    client.assign([TopicPartition(topic, 0, 45)])
    assert [message.offset() for message in take(client, 5)] == list(range(45, 50))
    client.seek(TopicPartition(topic, 0, 10))
    assert take(client, 1)[0].offset() == 10
    client.pause([here])
    nothing_more(client)
    client.resume([here])
    assert take(client, 1)[0].offset() >= 11
    assert client.position([here])[0].offset >= 12
    client.incremental_unassign([here])
    client.incremental_assign([TopicPartition(topic, 0, OFFSET_END)])
    nothing_more(client)
    client.close()


def test_offsets_for_times(topic):
    start = 1_700_000_000_000
    out = producer()
    for i in range(20):
        out.produce(topic, f"{i}", partition=2, timestamp=start + 1000 * i)
    out.flush(SECONDS)
    client = consumer()
    found = lambda at: client.offsets_for_times([TopicPartition(topic, 2, at)], timeout=SECONDS)[0].offset  # noqa: E731
    assert [found(start), found(start + 4500), found(start + 19_000)] == [0, 5, 19]
    assert found(start + 60_000) == OFFSET_END
    client.close()


def test_an_offset_out_of_range_is_told_or_reset(topic):
    fill(topic, ["a", "b"], partition=0)
    client = consumer(auto_offset_reset="error")
    client.assign([TopicPartition(topic, 0, 100)])
    message = until(lambda: client.poll(0.2))
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET
    client.close()
    client = consumer(auto_offset_reset="earliest")
    client.assign([TopicPartition(topic, 0, 100)])
    assert [message.value() for message in take(client, 2)] == [b"a", b"b"]
    client.close()


# Groups


def test_committed_offsets_and_their_metadata_last(topic):
    fill(topic, [f"{i}" for i in range(10)], partition=3)
    group = unique("group")
    client = consumer(group)
    client.subscribe([topic])
    take(client, 4)
    place = TopicPartition(topic, 3, 4, "where I was")
    client.commit(offsets=[place], asynchronous=False)
    assert client.memberid()
    client.close()
    client = consumer(group)
    kept = client.committed([TopicPartition(topic, 3), TopicPartition(topic, 0)], timeout=SECONDS)
    assert [(one.offset, one.metadata) for one in kept] == [(4, "where I was"), (-1001, None)]
    client.subscribe([topic])
    assert [message.offset() for message in take(client, 6)] == list(range(4, 10))
    client.close()


def test_stored_offsets_are_committed_on_close(topic):
    fill(topic, [f"{i}" for i in range(10)], partition=0)
    group = unique("group")
    client = consumer(group, enable_auto_commit=True, enable_auto_offset_store=False)
    client.subscribe([topic])
    client.store_offsets(take(client, 3)[-1])
    client.close()
    kept = consumer(group).committed([TopicPartition(topic, 0)], timeout=SECONDS)[0]
    assert kept.offset == 3


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_come_and_go(topic, strategy):
    conf = {} if PROTOCOL == "consumer" else {"partition_assignment_strategy": strategy}
    if PROTOCOL == "consumer":
        remote = {"range": "range", "roundrobin": "uniform", "cooperative-sticky": "uniform"}[strategy]
        conf["group_remote_assignor"] = remote
    group = unique("group")
    members = [consumer(group, **conf) for _ in range(3)]

    def spread(count):
        def check():
            for member in members[:count]:
                member.poll(0.05)
            held = [{place.partition for place in member.assignment()} for member in members[:count]]
            whole = set().union(*held)
            return sum(map(len, held)) == 4 and whole == {0, 1, 2, 3} and all(held)

        until(check)

    for count in range(3):
        members[count].subscribe([topic])
        spread(count + 1)
    members.pop(0).close()
    spread(2)
    for member in members:
        member.close()


def test_nothing_is_lost_or_doubled_over_a_rebalance(topic):
    fill(topic, [f"{i}" for i in range(400)])
    group = unique("group")
    seen = []

    def revoked(client, _):
        try:
            client.commit(asynchronous=False)
        except KafkaException as error:
            assert error.args[0].code() == KafkaError._NO_OFFSET

    first, second = consumer(group), consumer(group)
    first.subscribe([topic], on_revoke=revoked)
    seen += take(first, 100)
    second.subscribe([topic], on_revoke=revoked)
    end = time.monotonic() + SECONDS
    while len(seen) < 400 and time.monotonic() < end:
        for client in (first, second):
            message = client.poll(0.05)
            if message is not None and message.error() is None:
                seen.append(message)
    values = [message.value() for message in seen]
    assert len(values) == 400 and len(set(values)) == 400
    first.close()
    second.close()


def test_a_static_member_keeps_its_partitions(topic):
    group = unique("group")
    conf = {"group_instance_id": "one"}
    if PROTOCOL == "classic":
        conf["session_timeout_ms"] = 10_000
    client = consumer(group, **conf)
    client.subscribe([topic])
    until(lambda: client.poll(0.1) or len(client.assignment()) == 4)
    client.close()
    client = consumer(group, **conf)
    client.subscribe([topic])
    until(lambda: client.poll(0.1) or len(client.assignment()) == 4)
    client.close()


def test_a_regular_expression_finds_new_topics(admin):
    prefix = unique("re")
    client = consumer(topic_metadata_refresh_interval_ms=500)
    client.subscribe([f"^{prefix}.*"])
    names = [f"{prefix}-a", f"{prefix}-b"]
    for name in names:
        one(admin.create_topics([NewTopic(name, 1, 1)]))
        fill(name, [name])
        # Without a commit an eager rebalance would begin again at the first topic.
        (message,) = take(client, 1)
        assert message.topic() == name
        client.commit(message, asynchronous=False)
    client.close()
    for name in names:
        one(admin.delete_topics([name]))


def test_a_group_changes_its_protocol_and_back(topic):
    group = unique("group")
    fill(topic, [f"{i}" for i in range(8)], partition=0)
    for protocol in ("classic", "consumer", "classic"):
        client = Consumer({
            "bootstrap.servers": BROKERS, "group.id": group, "group.protocol": protocol,
            "auto.offset.reset": "earliest", "enable.auto.commit": False,
        })
        client.subscribe([topic])
        client.commit(take(client, 2)[-1], asynchronous=False)
        client.close()
    kept = consumer(group).committed([TopicPartition(topic, 0)], timeout=SECONDS)[0]
    assert kept.offset == 6


# Transactions


def transactional(name=None):
    out = producer(transactional_id=name or unique("txn"), transaction_timeout_ms=30_000)
    out.init_transactions(SECONDS)
    return out


def values_of(topic, count, level):
    client = consumer(isolation_level=level)
    client.subscribe([topic])
    got = sorted(message.value() for message in take(client, count))
    nothing_more(client)
    client.close()
    return got


def test_commit_and_abort(topic):
    out = transactional()
    for name, end in (("kept", out.commit_transaction), ("lost", out.abort_transaction), ("also", out.commit_transaction)):
        out.begin_transaction()
        for i in range(10):
            out.produce(topic, f"{name}{i}", partition=0)
        if name == "lost":
            out.flush(SECONDS)
        end(SECONDS)
    wanted = sorted(f"{name}{i}".encode() for name in ("kept", "also") for i in range(10))
    assert values_of(topic, 20, "read_committed") == wanted
    assert len(values_of(topic, 30, "read_uncommitted")) == 30


def test_an_open_transaction_holds_readers_back(topic):
    out = transactional()
    out.begin_transaction()
    out.produce(topic, "open", partition=0)
    assert out.flush(SECONDS) == 0
    fill(topic, ["after"], partition=0)
    client = consumer(isolation_level="read_committed")
    client.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    nothing_more(client)
    out.commit_transaction(SECONDS)
    assert [message.value() for message in take(client, 2)] == [b"open", b"after"]
    client.close()


def test_consume_process_produce(admin, topic):
    to = unique("out")
    one(admin.create_topics([NewTopic(to, 4, 1)]))
    fill(topic, [f"{i}" for i in range(200)])
    group = unique("group")
    client = consumer(group, isolation_level="read_committed")
    client.subscribe([topic])
    out = transactional()
    done = 0
    while done < 200:
        batch = take(client, 20)
        out.begin_transaction()
        for message in batch:
            out.produce(to, message.value())
        out.send_offsets_to_transaction(client.position(client.assignment()), client.consumer_group_metadata(), SECONDS)
        out.commit_transaction(SECONDS)
        done += len(batch)
    kept = client.committed(client.assignment(), timeout=SECONDS)
    assert sum(max(place.offset, 0) for place in kept) == 200
    client.close()
    assert values_of(to, 200, "read_committed") == sorted(f"{i}".encode() for i in range(200))
    one(admin.delete_topics([to]))


def test_offsets_of_an_aborted_transaction_are_not_kept(topic):
    fill(topic, ["a", "b"], partition=0)
    group = unique("group")
    client = consumer(group)
    client.subscribe([topic])
    take(client, 2)
    out = transactional()
    out.begin_transaction()
    out.send_offsets_to_transaction([TopicPartition(topic, 0, 2)], client.consumer_group_metadata(), SECONDS)
    out.abort_transaction(SECONDS)
    assert client.committed([TopicPartition(topic, 0)], timeout=SECONDS)[0].offset == -1001
    client.close()


def test_a_second_producer_fences_the_first(topic):
    name = unique("txn")
    old = transactional(name)
    old.begin_transaction()
    old.produce(topic, "old", partition=0)
    old.flush(SECONDS)
    new = transactional(name)
    new.begin_transaction()
    new.produce(topic, "new", partition=0)
    new.commit_transaction(SECONDS)
    with pytest.raises(KafkaException) as refused:
        old.commit_transaction(SECONDS)
    assert refused.value.args[0].fatal()
    assert values_of(topic, 1, "read_committed") == [b"new"]


# Admin


def test_topics_are_made_described_and_deleted(admin):
    name = unique("admin")
    wanted = NewTopic(name, 2, 1, config={"compression.type": "lz4", "min.insync.replicas": "1"})
    one(admin.create_topics([wanted], validate_only=True))
    assert name not in admin.list_topics(timeout=SECONDS).topics
    one(admin.create_topics([wanted]))
    with pytest.raises(KafkaException) as refused:
        one(admin.create_topics([wanted]))
    assert refused.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    one(admin.create_partitions([NewPartitions(name, 5)], validate_only=True))
    one(admin.create_partitions([NewPartitions(name, 5)]))
    described = one(admin.describe_topics(TopicCollection([name])))
    assert described.name == name and len(described.partitions) == 5 and not described.is_internal
    one(admin.delete_topics([name]))
    until(lambda: name not in admin.list_topics(timeout=SECONDS).topics)
    with pytest.raises(KafkaException) as refused:
        one(admin.describe_topics(TopicCollection([name])))
    assert refused.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


@pytest.mark.parametrize("name, config, code", [
    ("bad name!", {}, KafkaError.TOPIC_EXCEPTION),
    ("good", {"no.such.setting": "1"}, KafkaError.INVALID_CONFIG),
    ("good", {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG),
])
def test_wrong_topics_are_refused(admin, name, config, code):
    with pytest.raises(KafkaException) as refused:
        one(admin.create_topics([NewTopic(name, 1, 1, config=config)]))
    assert refused.value.args[0].code() == code


def test_settings_of_a_topic(admin, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    assert one(admin.describe_configs([resource]))["retention.ms"].source == ConfigSource.DEFAULT_CONFIG.value
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
        ConfigEntry("retention.ms", "123456", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
    ])
    one(admin.incremental_alter_configs([change]))
    now = one(admin.describe_configs([resource]))
    assert (now["retention.ms"].value, now["cleanup.policy"].value) == ("123456", "delete,compact")
    assert now["retention.ms"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    undo = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SUBTRACT),
    ])
    one(admin.incremental_alter_configs([undo]))
    now = one(admin.describe_configs([resource]))
    assert (now["retention.ms"].value, now["cleanup.policy"].value) == ("604800000", "delete")
    one(admin.alter_configs([ConfigResource(ResourceType.TOPIC, topic, set_config={"max.message.bytes": "2000"})]))
    assert one(admin.describe_configs([resource]))["max.message.bytes"].value == "2000"


def test_settings_of_the_broker(admin):
    meta = admin.list_topics(timeout=SECONDS)
    settings = one(admin.describe_configs([ConfigResource(ResourceType.BROKER, str(meta.controller_id))]))
    assert settings["num.partitions"].value == "4"
    assert len(settings) > 150


def test_delete_records_and_list_offsets(admin, topic):
    fill(topic, [f"{i}" for i in range(10)], partition=0)
    here = TopicPartition(topic, 0, 4)
    assert one(admin.delete_records([here])).low_watermark == 4
    wanted = [(OffsetSpec.earliest(), 4), (OffsetSpec.latest(), 10), (OffsetSpec.for_timestamp(0), 4)]
    for spec, offset in wanted:
        assert one(admin.list_offsets({here: spec}, isolation_level=IsolationLevel.READ_COMMITTED)).offset == offset
    assert one(admin.list_offsets({here: OffsetSpec.max_timestamp()})).offset >= 4
    with pytest.raises(KafkaException) as refused:
        one(admin.delete_records([TopicPartition(topic, 0, 11)]))
    assert refused.value.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE


def test_groups_are_listed_described_altered_and_deleted(admin, topic):
    fill(topic, [f"{i}" for i in range(10)], partition=0)
    group = unique("group")
    client = consumer(group, client_id="the-client")
    client.subscribe([topic])
    take(client, 10)
    client.commit(asynchronous=False)
    listed = admin.list_consumer_groups(request_timeout=SECONDS).result().valid
    (mine,) = [found for found in listed if found.group_id == group]
    kind = ConsumerGroupType.CLASSIC if PROTOCOL == "classic" else ConsumerGroupType.CONSUMER
    assert (mine.state, mine.type) == (ConsumerGroupState.STABLE, kind)
    described = one(admin.describe_consumer_groups([group]))
    (member,) = described.members
    assert described.state == ConsumerGroupState.STABLE and member.client_id == "the-client"
    assert {place.partition for place in member.assignment.topic_partitions} == {0, 1, 2, 3}
    with pytest.raises(KafkaException) as refused:
        one(admin.delete_consumer_groups([group]))
    assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    client.close()
    request = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    assert one(admin.list_consumer_group_offsets([request])).topic_partitions[0].offset == 10
    one(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3)])]))
    assert one(admin.list_consumer_group_offsets([request])).topic_partitions[0].offset == 3
    until(lambda: one(admin.describe_consumer_groups([group])).state == ConsumerGroupState.EMPTY)
    one(admin.delete_consumer_groups([group]))
    listed = admin.list_consumer_groups(request_timeout=SECONDS).result().valid
    assert group not in [found.group_id for found in listed]


def test_the_cluster_is_described(admin):
    cluster = admin.describe_cluster().result(timeout=SECONDS)
    assert [node.id for node in cluster.nodes] == [cluster.controller.id]
    assert cluster.cluster_id == admin.list_topics(timeout=SECONDS).cluster_id


def test_users_with_scram_credentials(admin):
    user = unique("user")
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192)
    one(admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, info, b"password")]))
    (found,) = one(admin.describe_user_scram_credentials([user])).scram_credential_infos
    assert (found.mechanism, found.iterations) == (ScramMechanism.SCRAM_SHA_512, 8192)
    one(admin.alter_user_scram_credentials([UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)]))
    with pytest.raises(KafkaException) as refused:
        one(admin.describe_user_scram_credentials([user]))
    assert refused.value.args[0].code() == KafkaError.RESOURCE_NOT_FOUND


def test_rights_are_given_found_and_taken(admin):
    name = unique("acl")
    given = AclBinding(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:ann", "*",
                       AclOperation.READ, AclPermissionType.ALLOW)
    any_of = AclBindingFilter(ResourceType.TOPIC, name, ResourcePatternType.ANY, None, None,
                              AclOperation.ANY, AclPermissionType.ANY)
    one(admin.create_acls([given]))
    assert admin.describe_acls(any_of).result(timeout=SECONDS) == [given]
    assert one(admin.delete_acls([any_of])) == [given]
    assert admin.describe_acls(any_of).result(timeout=SECONDS) == []
