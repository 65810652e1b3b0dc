#!/usr/bin/env python3
"""confluent-kafka-python (librdkafka, the first transaction protocol): transactions.

    python transactions_check.py HOST:PORT

Commit and abort over two topics, what readers of either isolation see, fencing of a zombie, a
transaction that times out, and a copy (read, process, write) with aborts in between that must
give every record once. Prints what it verified; exits non-zero at the first thing that is wrong.
"""

import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BROKER = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
RUN = f"tx-{uuid.uuid4().hex[:8]}"
WAIT = 60
A, B, INPUT, OUTPUT = (f"{RUN}-{name}" for name in ["a", "b", "in", "out"])


def ok(what):
    print(f"ok: transactions: {what}", flush=True)


def producer(name, timeout_ms=30000):
    made = Producer({
        "bootstrap.servers": BROKER,
        "transactional.id": f"{RUN}-{name}",
        "transaction.timeout.ms": timeout_ms,
        "linger.ms": 0,
    })
    made.init_transactions(WAIT)
    return made


def consumer(group, isolation="read_committed", **more):
    return Consumer({
        "bootstrap.servers": BROKER,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": isolation,
        "session.timeout.ms": 6000,
        "enable.partition.eof": True,
        **more,
    })


def read(topic, isolation="read_committed"):
    """Everything in partition 0 that a reader sees up to the end it is told."""
    reader = consumer(f"{RUN}-{uuid.uuid4().hex}", isolation)
    reader.assign([TopicPartition(topic, 0, 0)])
    values = []
    deadline = time.time() + WAIT
    while time.time() < deadline:
        message = reader.poll(1)
        if message is None:
            continue
        if message.error():
            break
        values.append(message.value().decode())
    reader.close()
    return values


def commit_and_abort():
    writer = producer("basic")
    expected = []
    for round in range(6):
        writer.begin_transaction()
        values = [f"{round}.{i}" for i in range(10)]
        for value in values:
            writer.produce(A, value.encode(), partition=0)
            writer.produce(B, value.encode(), partition=0)
        writer.flush(WAIT)
        if round == 2:
            assert not [v for v in read(A) if v.startswith("2.")], "an open transaction was read"
            assert [v for v in read(A, "read_uncommitted") if v.startswith("2.")]
        if round % 2 == 0:
            writer.commit_transaction(WAIT)
            expected += values
        else:
            writer.abort_transaction(WAIT)
    assert read(A) == expected, read(A)
    assert read(B) == expected, read(B)
    assert len(read(A, "read_uncommitted")) == 60
    ok("committed ones are read in both topics, aborted ones in none")
    reader = consumer(f"{RUN}-w")
    low, high = reader.get_watermark_offsets(TopicPartition(A, 0), WAIT)
    reader.close()
    assert (low, high) == (0, 66), (low, high)
    ok("each end takes an offset")


def the_end_waits_for_the_open_transaction():
    slow, quick = producer("slow"), producer("quick")
    before = read(A)
    slow.begin_transaction()
    slow.produce(A, b"slow", partition=0)
    slow.flush(WAIT)
    quick.begin_transaction()
    quick.produce(A, b"quick", partition=0)
    quick.commit_transaction(WAIT)
    assert read(A) == before, "read beyond the last stable offset"
    slow.commit_transaction(WAIT)
    assert read(A) == before + ["slow", "quick"]
    ok("readers stop at the oldest open transaction")


def a_zombie_is_fenced():
    zombie = producer("fence")
    zombie.begin_transaction()
    zombie.produce(A, b"zombie", partition=0)
    zombie.flush(WAIT)
    heir = producer("fence")
    try:
        zombie.produce(A, b"zombie again", partition=0)
        zombie.commit_transaction(WAIT)
        raise AssertionError("a zombie committed")
    except KafkaException as error:
        assert error.args[0].fatal(), error
    heir.begin_transaction()
    heir.produce(A, b"heir", partition=0)
    heir.commit_transaction(WAIT)
    values = read(A)
    assert values[-1] == "heir" and not [v for v in values if v.startswith("zombie")], values
    ok("a new instance fences the old one and aborts what it left open")


def a_transaction_times_out():
    writer = producer("timeout", timeout_ms=1500)
    before = read(A)
    writer.begin_transaction()
    writer.produce(A, b"too late", partition=0)
    writer.flush(WAIT)
    time.sleep(4)
    other = producer("after-timeout")
    other.begin_transaction()
    other.produce(A, b"not held back", partition=0)
    other.commit_transaction(WAIT)
    assert read(A) == before + ["not held back"]
    try:
        writer.commit_transaction(WAIT)
        raise AssertionError("a transaction that timed out was committed")
    except KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error
    ok("a transaction that takes too long is aborted, and its producer learns of it")
    try:
        Producer({
            "bootstrap.servers": BROKER,
            "transactional.id": f"{RUN}-long",
            "transaction.timeout.ms": 1000 * 60 * 16,
        }).init_transactions(WAIT)
        raise AssertionError("a timeout of 16 minutes was taken")
    except KafkaException as error:
        assert error.args[0].name() == "INVALID_TRANSACTION_TIMEOUT", error
    ok("a longer timeout than transaction.max.timeout.ms is refused")


def a_copy_is_exact():
    feeder = Producer({"bootstrap.servers": BROKER, "enable.idempotence": True})
    total = 500
    for i in range(total):
        feeder.produce(INPUT, str(i).encode(), partition=i % 2)
    assert feeder.flush(WAIT) == 0
    group = f"{RUN}-copy"
    done = 0
    life = 0
    while done < total:
        life += 1
        source = consumer(group)
        source.subscribe([INPUT])
        writer = producer("copy")
        taken = 0
        rounds = 0
        deadline = time.time() + WAIT
        while done < total and time.time() < deadline:
            batch = [m for m in source.consume(37, 2) if not m.error()]
            if not batch:
                break
            rounds += 1
            writer.begin_transaction()
            for message in batch:
                writer.produce(OUTPUT, message.value(), partition=0)
            writer.send_offsets_to_transaction(
                source.position(source.assignment()), source.consumer_group_metadata(), WAIT)
            if life == 2 and rounds == 2:
                # Dies without a word: its successor must take over where it committed last.
                writer.flush(WAIT)
                break
            if rounds == 3 and life < 5:
                writer.abort_transaction(WAIT)
                break
            writer.commit_transaction(WAIT)
            taken += len(batch)
            done += len(batch)
        source.close()
    values = read(OUTPUT)
    assert sorted(map(int, values)) == list(range(total)), (len(values), len(set(values)))
    committed = consumer(group)
    ends = committed.committed([TopicPartition(INPUT, 0), TopicPartition(INPUT, 1)], WAIT)
    committed.close()
    assert [p.offset for p in ends] == [total // 2, total // 2], ends
    ok(f"a copy in {life} lives gives each of {total} records once, its offsets with them")


def main():
    admin = AdminClient({"bootstrap.servers": BROKER})
    topics = [NewTopic(A, 1, 1), NewTopic(B, 1, 1), NewTopic(INPUT, 2, 1), NewTopic(OUTPUT, 1, 1)]
    for future in admin.create_topics(topics).values():
        future.result(WAIT)
    commit_and_abort()
    the_end_waits_for_the_open_transaction()
    a_zombie_is_fenced()
    a_transaction_times_out()
    a_copy_is_exact()
    for future in admin.delete_topics([A, B, INPUT, OUTPUT]).values():
        future.result(WAIT)
    print("transactions: all passed")


main()
