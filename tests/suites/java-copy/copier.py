#!/usr/bin/env python3
"""Read, process, write with confluent-kafka (librdkafka), exactly once, by the old transaction protocol.

    copier.py HOST:PORT FROM TO GROUP

Two workers of one group, each with its own transactional id; some transactions are aborted on purpose. Runs until it is
killed; the driver (../java/src/suites/CopySuite.java) also kills the server under it.
"""

import os
import random
import sys
import threading

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

BATCH = 300
# librdkafka's own log, e.g. COPIER_DEBUG=cgrp,fetch,eos
DEBUG = {"debug": os.environ["COPIER_DEBUG"]} if os.environ.get("COPIER_DEBUG") else {}


def work(broker, source, target, group, name):
    """Until an error that new clients must be made for."""
    consumer = Consumer({
        "bootstrap.servers": broker, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
        "partition.assignment.strategy": "range", **DEBUG,
    })
    producer = Producer({
        "bootstrap.servers": broker, "transactional.id": name, "transaction.timeout.ms": 20000, **DEBUG,
        # With the default (rebootstrap) librdkafka 2.16 waits for a dead handle of the group's coordinator after the only
        # broker was away, whichever broker it is: ../java/README.md, librdkafka issue 5511.
        "metadata.recovery.strategy": os.environ.get("COPIER_RECOVERY", "none"),
    })
    try:
        producer.init_transactions(60)
        consumer.subscribe([source])
        while True:
            records = [r for r in consumer.consume(BATCH, 0.5) if r.error() is None]
            if not records:
                continue
            producer.begin_transaction()
            try:
                ends = {}
                for record in records:
                    producer.produce(target, record.value(), record.key(), partition=record.partition())
                    ends[record.partition()] = record.offset() + 1
                positions = [TopicPartition(source, partition, offset) for partition, offset in ends.items()]
                producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 60)
                if random.randrange(10) == 0:
                    raise KafkaException("an abort on purpose")
                producer.commit_transaction(60)
            except KafkaException as error:
                if hasattr(error.args[0], "fatal") and error.args[0].fatal():
                    raise
                producer.abort_transaction(60)
                for place in consumer.committed(consumer.assignment(), 60):
                    consumer.seek(TopicPartition(source, place.partition, max(place.offset, 0)))
    finally:
        consumer.close()


def forever(*args):
    while True:
        try:
            work(*args)
        except (KafkaException, BufferError, RuntimeError) as error:
            print(f"{args[-1]} starts over: {error}", flush=True)


def main():
    broker, source, target, group = sys.argv[1:]
    # Threads of one process: SIGKILL must take both.
    workers = [
        threading.Thread(target=forever, args=(broker, source, target, group, f"{group}-{i}")) for i in range(2)
    ]
    for worker in workers:
        worker.start()


main()
