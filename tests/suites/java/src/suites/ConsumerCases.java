package suites;

import static suites.Cluster.consumer;
import static suites.Cluster.fill;
import static suites.Cluster.producer;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;

/** Consumers without a group: positions, offsets by every rule, fetch limits. */
final class ConsumerCases {
  static void add(Suite suite) {
    suite.add("consumer", "beginning, end and position", () -> {
      String topic = topic(2);
      fill(topic, 10);
      try (var consumer = consumer()) {
        List<TopicPartition> both = List.of(tp(topic, 0), tp(topic, 1));
        eq(Map.of(tp(topic, 0), 0L, tp(topic, 1), 0L), consumer.beginningOffsets(both), "beginning");
        eq(Map.of(tp(topic, 0), 10L, tp(topic, 1), 0L), consumer.endOffsets(both), "end");
        consumer.assign(both);
        eq(0L, consumer.position(tp(topic, 0)), "position");
      }
    });
    suite.add("consumer", "seek, seekToEnd, seekToBeginning", () -> {
      String topic = topic(1);
      fill(topic, 20);
      try (var consumer = consumer()) {
        TopicPartition p = tp(topic, 0);
        consumer.assign(List.of(p));
        consumer.seek(p, 13);
        eq("v13", first(consumer).value(), "after seek(13)");
        consumer.seekToEnd(List.of(p));
        eq(20L, consumer.position(p), "end");
        consumer.seekToBeginning(List.of(p));
        eq("v0", first(consumer).value(), "after seekToBeginning");
      }
    });
    suite.add("consumer", "seek into the middle of a compressed batch", () -> {
      String topic = topic(1);
      try (KafkaProducer<String, String> producer = producer("compression.type", "zstd", "linger.ms", "300", "batch.size", "100000")) {
        for (int i = 0; i < 100; i++) producer.send(new ProducerRecord<>(topic, 0, "k", "v" + i));
      }
      try (var consumer = consumer()) {
        consumer.assign(List.of(tp(topic, 0)));
        for (int at : new int[] {99, 1, 50}) {
          consumer.seek(tp(topic, 0), at);
          ConsumerRecord<String, String> got = first(consumer);
          eq("v" + at + "@" + at, got.value() + "@" + got.offset(), "record");
        }
      }
    });
    suite.add("consumer", "pause and resume", () -> {
      String topic = topic(2);
      try (KafkaProducer<String, String> producer = producer()) {
        for (int i = 0; i < 10; i++) producer.send(new ProducerRecord<>(topic, i % 2, "k", "p" + i % 2));
      }
      try (var consumer = consumer()) {
        consumer.assign(List.of(tp(topic, 0), tp(topic, 1)));
        consumer.pause(List.of(tp(topic, 0)));
        List<String> got = take(consumer, 5);
        eq(List.of("p1", "p1", "p1", "p1", "p1"), got, "only the partition that runs");
        consumer.resume(List.of(tp(topic, 0)));
        eq(List.of("p0", "p0", "p0", "p0", "p0"), take(consumer, 5), "the other, after resume");
      }
    });
    suite.add("consumer", "offsetsForTimes: exact, between, before all, after all", ConsumerCases::forTimes);
    suite.add("consumer", "offsetsForTimes with timestamps out of order", () -> {
      String topic = topic(1);
      long[] times = {5000, 1000, 9000, 3000, 7000};
      try (KafkaProducer<String, String> producer = producer()) {
        for (long time : times) producer.send(new ProducerRecord<>(topic, 0, time, "k", "v")).get();
      }
      try (var consumer = consumer()) {
        // The first offset whose timestamp is at or after the one asked for.
        eq("0", at(consumer, topic, 900), "900");
        eq("0", at(consumer, topic, 4000), "4000");
        eq("2", at(consumer, topic, 5001), "5001");
        eq("none", at(consumer, topic, 9001), "9001");
      }
    });
    suite.add("consumer", "listOffsets: earliest, latest, max timestamp, by time, earliest local, latest tiered", () -> {
      String topic = topic(1);
      long[] times = {1000, 9000, 3000};
      try (KafkaProducer<String, String> producer = producer()) {
        for (long time : times) producer.send(new ProducerRecord<>(topic, 0, time, "k", "v")).get();
      }
      eq("0/-1", list(topic, OffsetSpec.earliest()), "earliest");
      eq("3/-1", list(topic, OffsetSpec.latest()), "latest");
      eq("1/9000", list(topic, OffsetSpec.maxTimestamp()), "max timestamp");
      eq("1/9000", list(topic, OffsetSpec.forTimestamp(2000)), "at 2000");
      eq("0/-1", list(topic, OffsetSpec.earliestLocal()), "earliest local");
      eq("-1/-1", list(topic, OffsetSpec.latestTiered()), "latest tiered");
      eq("-1/-1", list(topic, OffsetSpec.forTimestamp(10_000)), "after all");
    });
    suite.add("consumer", "max timestamp of an empty partition is -1", () -> eq("-1/-1", list(topic(1), OffsetSpec.maxTimestamp()), "offset"));
    for (String isolation : new String[] {"read_uncommitted", "read_committed"}) {
      suite.add("consumer", "end, latest and offsetsForTimes beside an open transaction, " + isolation, () -> beside(isolation));
    }
    suite.add("consumer", "auto.offset.reset=none without a position", () -> {
      String topic = topic(1);
      try (var consumer = consumer("auto.offset.reset", "none", "group.id", Cluster.name("g"))) {
        consumer.assign(List.of(tp(topic, 0)));
        fails(NoOffsetForPartitionException.class, () -> consumer.poll(Duration.ofSeconds(5)));
      }
    });
    suite.add("consumer", "OFFSET_OUT_OF_RANGE with reset none", () -> {
      String topic = topic(1);
      fill(topic, 5);
      try (var consumer = consumer("auto.offset.reset", "none")) {
        consumer.assign(List.of(tp(topic, 0)));
        consumer.seek(tp(topic, 0), 77);
        OffsetOutOfRangeException e = fails(OffsetOutOfRangeException.class, () -> {
          for (int i = 0; i < 20; i++) consumer.poll(Duration.ofMillis(500));
        });
        eq(Map.of(tp(topic, 0), 77L), e.offsetOutOfRangePartitions(), "which");
      }
    });
    suite.add("consumer", "out of range goes to latest or earliest as configured", () -> {
      String topic = topic(1);
      fill(topic, 5);
      try (var consumer = consumer("auto.offset.reset", "earliest")) {
        consumer.assign(List.of(tp(topic, 0)));
        consumer.seek(tp(topic, 0), 77);
        eq("v0", first(consumer).value(), "earliest");
      }
      try (var consumer = consumer("auto.offset.reset", "latest")) {
        consumer.assign(List.of(tp(topic, 0)));
        consumer.seek(tp(topic, 0), 77);
        consumer.poll(Duration.ofMillis(1000));
        fill(topic, 1);
        eq(5L, first(consumer).offset(), "latest");
      }
    });
    suite.add("consumer", "auto.offset.reset=by_duration", () -> {
      String topic = topic(1);
      long now = System.currentTimeMillis();
      try (KafkaProducer<String, String> producer = producer()) {
        producer.send(new ProducerRecord<>(topic, 0, now - 7_200_000, "k", "old")).get();
        producer.send(new ProducerRecord<>(topic, 0, now - 600_000, "k", "new")).get();
      }
      try (var consumer = consumer("auto.offset.reset", "by_duration:PT1H")) {
        consumer.assign(List.of(tp(topic, 0)));
        eq("new", first(consumer).value(), "first within the hour");
      }
    });
    suite.add("consumer", "max.poll.records", () -> {
      String topic = topic(1);
      fill(topic, 30);
      try (var consumer = consumer("max.poll.records", "7")) {
        consumer.assign(List.of(tp(topic, 0)));
        int seen = 0;
        while (seen < 30) {
          int n = consumer.poll(Duration.ofSeconds(5)).count();
          yes(n > 0 && n <= 7, "a poll of " + n);
          seen += n;
        }
        eq(30, seen, "records");
      }
    });
    suite.add("consumer", "a long poll waits for fetch.min.bytes and ends when they are there", () -> {
      String topic = topic(1);
      try (var consumer = consumer("fetch.min.bytes", "5000", "fetch.max.wait.ms", "8000")) {
        consumer.assign(List.of(tp(topic, 0)));
        fill(topic, 1);
        eq(0, consumer.poll(Duration.ofMillis(1500)).count(), "too little to answer");
        long start = System.nanoTime();
        fill(topic, 500);
        int n = 0;
        while (n < 501 && System.nanoTime() - start < 6_000_000_000L) n += consumer.poll(Duration.ofMillis(200)).count();
        eq(501, n, "records");
      }
    });
    suite.add("consumer", "many small fetches read all of it", () -> {
      String topic = topic(3);
      try (KafkaProducer<String, String> producer = producer("batch.size", "1000")) {
        for (int i = 0; i < 3000; i++) producer.send(new ProducerRecord<>(topic, i % 3, "k", "value number " + i));
      }
      try (var consumer = consumer("max.partition.fetch.bytes", "1500", "fetch.max.bytes", "4000")) {
        List<TopicPartition> all = List.of(tp(topic, 0), tp(topic, 1), tp(topic, 2));
        Map<Integer, Long> next = new HashMap<>();
        List<ConsumerRecord<String, String>> got = Cluster.readWith(consumer, all);
        for (ConsumerRecord<String, String> r : got) {
          eq(next.getOrDefault(r.partition(), 0L), r.offset(), "offset in partition " + r.partition());
          next.put(r.partition(), r.offset() + 1);
        }
        eq(3000, got.size(), "records");
      }
    });
    suite.add("consumer", "a fetch session of 200 partitions, few of them active", () -> {
      String topic = topic(200);
      List<TopicPartition> all = new ArrayList<>();
      for (int p = 0; p < 200; p++) all.add(tp(topic, p));
      try (var consumer = consumer(); KafkaProducer<String, String> producer = producer()) {
        consumer.assign(all);
        consumer.poll(Duration.ofMillis(500));
        for (int round = 0; round < 10; round++) {
          int p = (round * 37) % 200;
          producer.send(new ProducerRecord<>(topic, p, "k", "r" + round)).get();
          ConsumerRecord<String, String> got = first(consumer);
          eq("r" + round + "@" + p, got.value() + "@" + got.partition(), "round " + round);
        }
      }
    });
    suite.add("consumer", "partitionsFor and listTopics", () -> {
      String topic = topic(4);
      try (var consumer = consumer("allow.auto.create.topics", "false")) {
        eq(4, consumer.partitionsFor(topic).size(), "partitions");
        yes(consumer.listTopics().containsKey(topic), "listed");
        eq(List.of(), consumer.partitionsFor(Cluster.name("missing")), "unknown topic");
      }
    });
    suite.add("consumer", "currentLag and metrics after a poll", () -> {
      String topic = topic(1);
      fill(topic, 50);
      try (var consumer = consumer("max.poll.records", "10")) {
        consumer.assign(List.of(tp(topic, 0)));
        first(consumer);
        OptionalLong lag = consumer.currentLag(tp(topic, 0));
        eq(OptionalLong.of(40), lag, "lag after 10 of 50");
      }
    });
    suite.add("consumer", "a deleted and remade topic is read from its new beginning", () -> {
      String topic = topic(1);
      fill(topic, 5);
      try (var consumer = consumer("metadata.max.age.ms", "500")) {
        consumer.assign(List.of(tp(topic, 0)));
        eq(5, take(consumer, 5).size(), "records of the first");
        Cluster.admin.deleteTopics(List.of(topic)).all().get();
        Suite.until("it can be made again", () -> {
          Cluster.admin.createTopics(List.of(new org.apache.kafka.clients.admin.NewTopic(topic, Optional.of(1), Optional.empty()))).all().get();
          return true;
        });
        fill(topic, 2);
        eq(List.of("v0", "v1"), take(consumer, 2), "records of the second");
      }
    });
  }

  static ConsumerRecord<String, String> first(KafkaConsumer<String, String> consumer) {
    for (int i = 0; i < 40; i++) {
      ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(500));
      if (!records.isEmpty()) return records.iterator().next();
    }
    throw new AssertionError("no record within 20 s");
  }

  /** The next `n` values; fails if they do not come within 20 s. */
  static List<String> take(KafkaConsumer<String, String> consumer, int n) {
    List<String> out = new ArrayList<>();
    for (int i = 0; i < 100 && out.size() < n; i++) {
      consumer.poll(Duration.ofMillis(200)).forEach(r -> out.add(r.value()));
    }
    if (out.size() != n) throw new AssertionError("want " + n + " records, got " + out);
    return out;
  }

  private static String at(KafkaConsumer<String, String> consumer, String topic, long time) {
    OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(tp(topic, 0), time)).get(tp(topic, 0));
    return found == null ? "none" : "" + found.offset();
  }

  private static String list(String topic, OffsetSpec spec) throws Exception {
    ListOffsetsResultInfo info = Cluster.admin.listOffsets(Map.of(tp(topic, 0), spec)).partitionResult(tp(topic, 0)).get();
    return info.offset() + "/" + info.timestamp();
  }

  private static void forTimes() throws Exception {
    String topic = topic(1);
    try (KafkaProducer<String, String> producer = producer("batch.size", "0")) {
      for (int i = 0; i < 500; i++) producer.send(new ProducerRecord<>(topic, 0, 100_000L + i * 10, "k", "v" + i));
    }
    try (var consumer = consumer()) {
      eq("0", at(consumer, topic, 1), "before all");
      eq("0", at(consumer, topic, 100_000), "the first");
      eq("1", at(consumer, topic, 100_001), "just after the first");
      eq("250", at(consumer, topic, 102_500), "exact");
      eq("251", at(consumer, topic, 102_501), "between");
      eq("499", at(consumer, topic, 104_990), "the last");
      eq("none", at(consumer, topic, 104_991), "after all");
      OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(tp(topic, 0), 102_501L)).get(tp(topic, 0));
      eq(102_510L, found.timestamp(), "timestamp told");
    }
  }

  private static void beside(String isolation) throws Exception {
    String topic = topic(1);
    fill(topic, 3);
    try (KafkaProducer<String, String> producer = Cluster.transactional(Cluster.name("tx"));
        KafkaConsumer<String, String> consumer = consumer("isolation.level", isolation)) {
      producer.beginTransaction();
      long now = System.currentTimeMillis() + 50_000;
      for (int i = 0; i < 4; i++) producer.send(new ProducerRecord<>(topic, 0, now, "k", "open" + i));
      producer.flush();
      boolean all = isolation.equals("read_uncommitted");
      long want = all ? 7 : 3;
      eq(want, Cluster.end(isolation, topic), "end offset");
      IsolationLevel level = all ? IsolationLevel.READ_UNCOMMITTED : IsolationLevel.READ_COMMITTED;
      eq(want, Cluster.admin.listOffsets(Map.of(tp(topic, 0), OffsetSpec.latest()), new ListOffsetsOptions(level))
        .partitionResult(tp(topic, 0)).get().offset(), "latest");
      eq(all ? "3" : "none", at(consumer, topic, now), "by time");
      eq((int) want, Cluster.values(Cluster.read(isolation, tp(topic, 0))).size(), "records read");
      producer.commitTransaction();
      eq(8L, Cluster.end(isolation, topic), "end after commit: the marker has an offset");
      eq("3", at(consumer, topic, now), "by time, after commit");
    }
  }

  private ConsumerCases() {}
}
