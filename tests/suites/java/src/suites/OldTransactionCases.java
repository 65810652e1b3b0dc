package suites;

import static suites.Cluster.committed;
import static suites.Cluster.end;
import static suites.Cluster.name;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.yes;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.AddOffsetsToTxnRequestData;
import org.apache.kafka.common.message.EndTxnRequestData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceResponseData.PartitionProduceResponse;
import org.apache.kafka.common.message.TxnOffsetCommitRequestData;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.requests.AddOffsetsToTxnRequest;
import org.apache.kafka.common.requests.AddOffsetsToTxnResponse;
import org.apache.kafka.common.requests.AddPartitionsToTxnRequest;
import org.apache.kafka.common.requests.AddPartitionsToTxnResponse;
import org.apache.kafka.common.requests.EndTxnRequest;
import org.apache.kafka.common.requests.EndTxnResponse;
import org.apache.kafka.common.requests.InitProducerIdRequest;
import org.apache.kafka.common.requests.InitProducerIdResponse;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.requests.ProduceResponse;
import org.apache.kafka.common.requests.TxnOffsetCommitRequest;
import org.apache.kafka.common.requests.TxnOffsetCommitResponse;

/**
 * Request by request, what no stock Java 4.x client sends: the old transaction protocol (AddPartitionsToTxn and
 * EndTxn below version 5), repeated requests, late requests of an old epoch, sequence numbers that jump.
 */
final class OldTransactionCases {
  /** A producer by hand. */
  private static final class Hand implements AutoCloseable {
    final Wire wire = new Wire();
    final String id;
    long pid;
    short epoch;

    Hand(String id) throws Exception {
      this.id = id;
      InitProducerIdResponse got = init();
      eq(Errors.NONE, got.error(), "InitProducerId");
      pid = got.data().producerId();
      epoch = got.data().producerEpoch();
    }

    InitProducerIdResponse init() throws Exception {
      // Right after a start the coordinator may still be loading.
      for (int i = 0; ; i++) {
        InitProducerIdResponse got = wire.ask(new InitProducerIdRequest.Builder(new InitProducerIdRequestData()
          .setTransactionalId(id).setTransactionTimeoutMs(30_000).setProducerId(-1).setProducerEpoch((short) -1)).build((short) 4));
        if (i == 50 || !List.of(Errors.COORDINATOR_NOT_AVAILABLE, Errors.NOT_COORDINATOR, Errors.CONCURRENT_TRANSACTIONS,
          Errors.COORDINATOR_LOAD_IN_PROGRESS).contains(got.error())) return got;
        Thread.sleep(100);
      }
    }

    Errors add(String topic) throws Exception {
      for (int i = 0; ; i++) {
        AddPartitionsToTxnResponse got =
            wire.ask(AddPartitionsToTxnRequest.Builder.forClient(id, pid, epoch, List.of(tp(topic, 0))).build((short) 3));
        Errors error = got.errors().get(AddPartitionsToTxnResponse.V3_AND_BELOW_TXN_ID).get(tp(topic, 0));
        // The end of the one before may still be written.
        if (i == 50 || error != Errors.CONCURRENT_TRANSACTIONS) return error;
        Thread.sleep(50);
      }
    }

    PartitionProduceResponse produce(String topic, int sequence, int version, String... values) throws Exception {
      SimpleRecord[] records = new SimpleRecord[values.length];
      for (int i = 0; i < values.length; i++) records[i] = new SimpleRecord("k".getBytes(), values[i].getBytes());
      MemoryRecords batch = id == null
        ? MemoryRecords.withIdempotentRecords(Compression.NONE, pid, epoch, sequence, records)
        : MemoryRecords.withTransactionalRecords(Compression.NONE, pid, epoch, sequence, records);
      return OldTransactionCases.produce(wire, topic, version, id, batch);
    }

    Errors finish(boolean commit, int version) throws Exception {
      return end(commit, version).error();
    }

    EndTxnResponse end(boolean commit, int version) throws Exception {
      for (int i = 0; ; i++) {
        EndTxnResponse got = wire.ask(new EndTxnRequest.Builder(new EndTxnRequestData()
          .setTransactionalId(id).setProducerId(pid).setProducerEpoch(epoch).setCommitted(commit), version >= 5).build((short) version));
        if (i == 50 || got.error() != Errors.CONCURRENT_TRANSACTIONS) return got;
        Thread.sleep(50);
      }
    }

    @Override
    public void close() throws Exception {
      wire.close();
    }
  }

  static PartitionProduceResponse produce(Wire wire, String topic, int version, String id, MemoryRecords batch) throws Exception {
    ProduceRequestData.TopicProduceDataCollection topics = new ProduceRequestData.TopicProduceDataCollection();
    topics.add(new ProduceRequestData.TopicProduceData().setName(topic)
      .setPartitionData(List.of(new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(batch))));
    ProduceResponse got = wire.ask(new ProduceRequest(new ProduceRequestData()
      .setAcks((short) -1).setTimeoutMs(10_000).setTransactionalId(id).setTopicData(topics), (short) version));
    return got.data().responses().iterator().next().partitionResponses().get(0);
  }

  private static Errors error(PartitionProduceResponse answer) {
    return Errors.forCode(answer.errorCode());
  }

  static void add(Suite suite) {
    String area = "by hand";
    for (int version : new int[] {7, 11}) {
      suite.add(area, "old protocol: AddPartitionsToTxn 3, Produce " + version + ", EndTxn 3: commit, abort, commit", () -> {
        String topic = topic(1);
        try (Hand hand = new Hand(name("tx"))) {
          String[] values = {"a", "b", "c"};
          for (int i = 0; i < 3; i++) {
            eq(Errors.NONE, hand.add(topic), "AddPartitionsToTxn");
            eq(Errors.NONE, error(hand.produce(topic, i, version, values[i])), "Produce");
            eq((long) 2 * i, end("read_committed", topic), "the end while open");
            eq(Errors.NONE, hand.finish(i != 1, 3), "EndTxn");
            long want = 2 * i + 2;
            Suite.until("the marker", () -> end("read_committed", topic) == want);
          }
        }
        eq(List.of("a", "c"), committed(topic), "records");
      });
    }
    suite.add(area, "old protocol: EndTxn repeated is answered as the first, the opposite is INVALID_TXN_STATE", () -> {
      String topic = topic(1);
      try (Hand hand = new Hand(name("tx"))) {
        hand.add(topic);
        eq(Errors.NONE, error(hand.produce(topic, 0, 11, "a")), "Produce");
        eq(Errors.NONE, hand.finish(true, 3), "EndTxn");
        eq(Errors.NONE, hand.finish(true, 3), "EndTxn again");
        eq(Errors.INVALID_TXN_STATE, hand.finish(false, 3), "abort after commit");
      }
      Suite.until("one marker only", () -> end("read_committed", topic) == 2);
      eq(List.of("a"), committed(topic), "records");
    });
    suite.add(area, "old protocol: a transactional batch for a partition not added is refused", () -> {
      String topic = topic(1), other = topic(1);
      try (Hand hand = new Hand(name("tx"))) {
        eq(Errors.NONE, hand.add(other), "AddPartitionsToTxn");
        Errors got = error(hand.produce(topic, 0, 11, "a"));
        // Kafka: INVALID_TXN_STATE below Produce 10 or so, TRANSACTION_ABORTABLE above.
        eq(Errors.TRANSACTION_ABORTABLE, got, "Produce 11");
        eq(0L, end("read_uncommitted", topic), "nothing is appended");
      }
    });
    suite.add(area, "old protocol: offsets by AddOffsetsToTxn and TxnOffsetCommit 3", OldTransactionCases::offsets);
    suite.add(area, "TV2: Produce 12 adds its partition, EndTxn 5 gives the next epoch", () -> {
      String topic = topic(1);
      try (Hand hand = new Hand(name("tx"))) {
        for (int i = 0; i < 3; i++) {
          eq(Errors.NONE, error(hand.produce(topic, 0, 12, "v" + i)), "Produce");
          EndTxnResponse end = hand.end(i != 1, 5);
          eq(Errors.NONE, end.error(), "EndTxn");
          eq(hand.pid, end.data().producerId(), "producer id");
          eq((short) (hand.epoch + 1), end.data().producerEpoch(), "epoch");
          hand.epoch++;
        }
      }
      Suite.until("both commits", () -> committed(topic).equals(List.of("v0", "v2")));
    });
    suite.add(area, "TV2: EndTxn repeated with the epoch before gives the same answer", () -> {
      String topic = topic(1);
      try (Hand hand = new Hand(name("tx"))) {
        hand.produce(topic, 0, 12, "a");
        EndTxnResponse first = hand.end(true, 5);
        EndTxnResponse again = hand.end(true, 5);
        eq(Errors.NONE, again.error(), "the repeat");
        eq(first.data().producerEpoch(), again.data().producerEpoch(), "its epoch");
        eq(first.data().producerId(), again.data().producerId(), "its producer id");
        Suite.until("one marker", () -> end("read_committed", topic) == 2);
      }
    });
    suite.add(area, "TV2: a late batch of the epoch before is refused", () -> {
      String topic = topic(1);
      try (Hand hand = new Hand(name("tx"))) {
        hand.produce(topic, 0, 12, "a");
        hand.end(true, 5);
        Suite.until("the marker", () -> end("read_committed", topic) == 2);
        eq(Errors.INVALID_PRODUCER_EPOCH, error(hand.produce(topic, 1, 12, "late")), "the late batch");
        eq(2L, end("read_uncommitted", topic), "nothing is appended");
      }
    });
    suite.add(area, "an old instance's EndTxn is PRODUCER_FENCED", () -> {
      String id = name("tx"), topic = topic(1);
      try (Hand zombie = new Hand(id)) {
        zombie.add(topic);
        zombie.produce(topic, 0, 11, "z");
        try (Hand second = new Hand(id)) {
          eq(zombie.pid, second.pid, "producer id");
          yes(second.epoch > zombie.epoch, "epoch " + second.epoch + " after " + zombie.epoch);
          Errors got = zombie.finish(true, 3);
          eq(Errors.PRODUCER_FENCED, got, "EndTxn of the zombie");
        }
      }
      Suite.until("the zombie's records are aborted", () -> end("read_committed", topic) == 2);
      eq(List.of(), committed(topic), "records");
    });
    suite.add(area, "EndTxn of an unknown id is INVALID_PRODUCER_ID_MAPPING", () -> {
      try (Hand hand = new Hand(name("tx"))) {
        hand.pid += 777;
        eq(Errors.INVALID_PRODUCER_ID_MAPPING, hand.finish(true, 3), "EndTxn");
      }
    });
    suite.add(area, "a batch repeated within the last five is acknowledged at its old offset", () -> {
      String topic = topic(1);
      try (Hand hand = new Hand(null)) {
        for (int i = 0; i < 6; i++) eq((long) i * 2, hand.produce(topic, i * 2, 11, "a", "b").baseOffset(), "offset");
        for (int i = 1; i < 6; i++) {
          PartitionProduceResponse again = hand.produce(topic, i * 2, 11, "a", "b");
          eq(Errors.NONE, error(again), "repeat " + i);
          eq((long) i * 2, again.baseOffset(), "its offset");
        }
        Errors beyond = error(hand.produce(topic, 0, 11, "a", "b"));
        yes(beyond == Errors.OUT_OF_ORDER_SEQUENCE_NUMBER || beyond == Errors.DUPLICATE_SEQUENCE_NUMBER, "the sixth back: " + beyond);
        eq(12L, end("read_uncommitted", topic), "nothing appended twice");
      }
    });
    suite.add(area, "a sequence that jumps is OUT_OF_ORDER_SEQUENCE_NUMBER", () -> {
      String topic = topic(1);
      try (Hand hand = new Hand(null)) {
        eq(Errors.NONE, error(hand.produce(topic, 0, 11, "a")), "first");
        eq(Errors.OUT_OF_ORDER_SEQUENCE_NUMBER, error(hand.produce(topic, 7, 11, "b")), "jump");
        eq(Errors.NONE, error(hand.produce(topic, 1, 11, "c")), "the right one");
      }
    });
    suite.add(area, "sequences wrap from 2147483647 to 0", () -> {
      String topic = topic(1);
      try (Hand hand = new Hand(null)) {
        // Of a producer nothing is known of, any first sequence is taken.
        eq(Errors.NONE, error(hand.produce(topic, Integer.MAX_VALUE - 1, 11, "a", "b")), "up to the last");
        eq(Errors.NONE, error(hand.produce(topic, 0, 11, "c")), "from zero");
      }
    });
    suite.add(area, "a batch whose crc is wrong is CORRUPT_MESSAGE", () -> {
      String topic = topic(1);
      MemoryRecords batch = MemoryRecords.withRecords(Compression.NONE, new SimpleRecord("k".getBytes(), "v".getBytes()));
      batch.buffer().put(batch.sizeInBytes() - 1, (byte) (batch.buffer().get(batch.sizeInBytes() - 1) ^ 1));
      try (Wire wire = new Wire()) {
        eq(Errors.CORRUPT_MESSAGE, error(produce(wire, topic, 11, null, batch)), "answer");
        eq(0L, end("read_uncommitted", topic), "nothing is appended");
      }
    });
    suite.add(area, "Produce 13 by topic id, and an id that is unknown", () -> {
      String topic = topic(1);
      MemoryRecords batch = MemoryRecords.withRecords(Compression.NONE, new SimpleRecord("k".getBytes(), "v".getBytes()));
      var uuid = Cluster.admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
      try (Wire wire = new Wire()) {
        for (var id : List.of(uuid, org.apache.kafka.common.Uuid.randomUuid())) {
          ProduceRequestData.TopicProduceDataCollection topics = new ProduceRequestData.TopicProduceDataCollection();
          topics.add(new ProduceRequestData.TopicProduceData().setTopicId(id)
            .setPartitionData(List.of(new ProduceRequestData.PartitionProduceData().setIndex(0).setRecords(batch))));
          ProduceResponse got = wire.ask(new ProduceRequest(
            new ProduceRequestData().setAcks((short) -1).setTimeoutMs(10_000).setTopicData(topics), (short) 13));
          Errors error = error(got.data().responses().iterator().next().partitionResponses().get(0));
          eq(id.equals(uuid) ? Errors.NONE : Errors.UNKNOWN_TOPIC_ID, error, "answer for " + id);
        }
      }
    });
  }

  private static void offsets() throws Exception {
    String topic = topic(1), group = name("g");
    try (Hand hand = new Hand(name("tx"))) {
      for (boolean commit : new boolean[] {true, false}) {
        AddOffsetsToTxnResponse added = hand.wire.ask(new AddOffsetsToTxnRequest.Builder(new AddOffsetsToTxnRequestData()
          .setTransactionalId(hand.id).setProducerId(hand.pid).setProducerEpoch(hand.epoch).setGroupId(group)).build((short) 3));
        eq(Errors.NONE, Errors.forCode(added.data().errorCode()), "AddOffsetsToTxn");
        Suite.until("TxnOffsetCommit is taken", () -> {
          TxnOffsetCommitResponse put = hand.wire.ask(new TxnOffsetCommitRequest.Builder(hand.id, group, hand.pid, hand.epoch,
            Map.of(tp(topic, 0), new TxnOffsetCommitRequest.CommittedOffset(commit ? 7L : 9L, "meta", Optional.empty())), false).build((short) 3));
          eq(Map.of(tp(topic, 0), Errors.NONE), put.errors(), "TxnOffsetCommit");
          return true;
        });
        eq(Errors.NONE, hand.finish(commit, 3), "EndTxn");
        Suite.until("the offset", () -> {
          OffsetAndMetadata got = Cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp(topic, 0));
          return got.offset() == 7 && got.metadata().equals("meta");
        });
      }
    }
  }

  private OldTransactionCases() {}
}
