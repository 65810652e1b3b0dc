package suites;

import static suites.Cluster.committed;
import static suites.Cluster.consumer;
import static suites.Cluster.end;
import static suites.Cluster.fill;
import static suites.Cluster.name;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Cluster.transactional;
import static suites.Cluster.uncommitted;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;

/** Transactions by the stock producer (TV2: this client uses it when transaction.version is finalized at 2). */
final class TransactionCases {
  static void add(Suite suite) {
    String area = "transactions";
    suite.add(area, "a commit is visible, an abort is not, both take offsets and a marker", () -> {
      String topic = topic(1);
      try (var producer = transactional(name("tx"))) {
        round(producer, topic, true, "a", "b");
        round(producer, topic, false, "c");
        round(producer, topic, true, "d");
      }
      eq(List.of("a", "b", "d"), committed(topic), "read_committed");
      eq(List.of("a", "b", "c", "d"), uncommitted(topic), "read_uncommitted");
      eq(7L, end("read_committed", topic), "end: 4 records and 3 markers");
      List<Long> offsets = Cluster.read("read_committed", tp(topic, 0)).stream().map(ConsumerRecord::offset).toList();
      eq(List.of(0L, 1L, 5L), offsets, "offsets");
    });
    suite.add(area, "TV2: every end of a transaction bumps the producer epoch", () -> {
      String topic = topic(1), id = name("tx");
      try (var producer = transactional(id)) {
        List<Integer> epochs = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
          producer.beginTransaction();
          producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
          epochs.add(Cluster.admin.describeTransactions(List.of(id)).description(id).get().producerEpoch());
          if (i % 2 == 0) producer.commitTransaction();
          else producer.abortTransaction();
        }
        int first = epochs.get(0);
        eq(List.of(first, first + 1, first + 2, first + 3), epochs, "epochs");
      }
    });
    suite.add(area, "the last stable offset holds until the oldest transaction ends", () -> {
      String topic = topic(1);
      try (var one = transactional(name("tx")); var two = transactional(name("tx"))) {
        one.beginTransaction();
        one.send(new ProducerRecord<>(topic, 0, "k", "one")).get();
        round(two, topic, true, "two");
        eq(0L, end("read_committed", topic), "end while one is open");
        eq(List.of(), committed(topic), "nothing to see");
        one.commitTransaction();
        eq(List.of("one", "two"), committed(topic), "both, in log order");
        eq(4L, end("read_committed", topic), "end");
      }
    });
    suite.add(area, "interleaved commits and aborts of five producers", TransactionCases::interleaved);
    suite.add(area, "one transaction over 20 partitions of 4 topics", () -> {
      List<String> topics = new ArrayList<>();
      for (int t = 0; t < 4; t++) topics.add(topic(5));
      try (var producer = transactional(name("tx"))) {
        for (String verdict : new String[] {"abort", "commit"}) {
          producer.beginTransaction();
          for (String topic : topics) for (int p = 0; p < 5; p++) producer.send(new ProducerRecord<>(topic, p, "k", verdict));
          if (verdict.equals("commit")) producer.commitTransaction();
          else producer.abortTransaction();
        }
      }
      for (String topic : topics) {
        for (int p = 0; p < 5; p++) {
          eq(List.of("commit"), Cluster.values(Cluster.read("read_committed", tp(topic, p))), topic + " " + p);
        }
      }
    });
    suite.add(area, "an empty transaction commits and aborts", () -> {
      try (var producer = transactional(name("tx"))) {
        for (int i = 0; i < 3; i++) {
          producer.beginTransaction();
          producer.commitTransaction();
          producer.beginTransaction();
          producer.abortTransaction();
        }
        String topic = topic(1);
        round(producer, topic, true, "after");
        eq(List.of("after"), committed(topic), "records");
      }
    });
    suite.add(area, "a large transaction: 5,000 records, lz4, then aborted, then committed", () -> {
      String topic = topic(1);
      try (var producer = transactional(name("tx"), "compression.type", "lz4")) {
        for (boolean commit : new boolean[] {false, true}) {
          producer.beginTransaction();
          for (int i = 0; i < 5000; i++) producer.send(new ProducerRecord<>(topic, 0, "k" + i, commit + "" + i));
          if (commit) producer.commitTransaction();
          else producer.abortTransaction();
        }
      }
      List<String> got = committed(topic);
      eq(5000, got.size(), "records");
      for (int i = 0; i < 5000; i++) eq("true" + i, got.get(i), "record " + i);
    });
    suite.add(area, "100 short transactions, every third aborted", () -> {
      String topic = topic(1);
      List<String> want = new ArrayList<>();
      try (var producer = transactional(name("tx"))) {
        for (int i = 0; i < 100; i++) {
          round(producer, topic, i % 3 != 0, "v" + i);
          if (i % 3 != 0) want.add("v" + i);
        }
      }
      eq(want, committed(topic), "records");
    });
    suite.add(area, "consume-transform-produce with sendOffsetsToTransaction, aborts among it", () -> copy("classic"));
    suite.add(area, "consume-transform-produce in a KIP-848 group", () -> copy("consumer"));
    suite.add(area, "offsets of an open transaction: pending, unstable, then there or gone", TransactionCases::pendingOffsets);
    suite.add(area, "sendOffsetsToTransaction of a group member that is no longer one", () -> {
      String topic = topic(1);
      try (var producer = transactional(name("tx"))) {
        producer.beginTransaction();
        ConsumerGroupMetadata stale = new ConsumerGroupMetadata(name("g"), 5, "nobody", java.util.Optional.empty());
        fails(CommitFailedException.class, () -> {
          producer.sendOffsetsToTransaction(Map.of(tp(topic, 0), new OffsetAndMetadata(1)), stale);
          producer.commitTransaction();
        });
        producer.abortTransaction();
        round(producer, topic, true, "after");
        eq(List.of("after"), committed(topic), "the producer goes on");
      }
    });
    suite.add(area, "zombie fencing: the second instance aborts the first one's transaction and fences it", () -> {
      String topic = topic(1), id = name("tx");
      try (var zombie = transactional(id)) {
        zombie.beginTransaction();
        zombie.send(new ProducerRecord<>(topic, 0, "k", "zombie")).get();
        try (var second = transactional(id)) {
          round(second, topic, true, "second");
          Throwable e = fails(KafkaException.class, () -> {
            zombie.send(new ProducerRecord<>(topic, 0, "k", "late")).get();
            zombie.commitTransaction();
          });
          yes(fenced(e), "a fencing error, not " + e);
          yes(fenced(fails(KafkaException.class, zombie::commitTransaction)), "fenced for good");
          round(second, topic, true, "third");
        }
      }
      eq(List.of("second", "third"), committed(topic), "records");
    });
    suite.add(area, "a fenced producer cannot begin again, in the other order too", () -> {
      String id = name("tx");
      try (var first = transactional(id); var second = transactional(id)) {
        String topic = topic(1);
        Throwable e = fails(KafkaException.class, () -> round(first, topic, true, "no"));
        yes(fenced(e), "a fencing error, not " + e);
        round(second, topic, true, "yes");
        eq(List.of("yes"), committed(topic), "records");
      }
    });
    suite.add(area, "initTransactions of the same id keeps the producer id and bumps its epoch", () -> {
      String id = name("tx"), topic = topic(1);
      List<String> seen = new ArrayList<>();
      long pid = -1;
      int epoch = -1;
      for (int i = 0; i < 3; i++) {
        try (var producer = transactional(id)) {
          producer.beginTransaction();
          producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
          var now = Cluster.admin.describeTransactions(List.of(id)).description(id).get();
          if (i > 0) {
            eq(pid, now.producerId(), "producer id");
            yes(now.producerEpoch() > epoch, "epoch " + now.producerEpoch() + " after " + epoch);
          }
          pid = now.producerId();
          epoch = now.producerEpoch();
          producer.commitTransaction();
        }
      }
      eq(3, committed(topic).size(), "records");
    });
    suite.add(area, "a transaction past its timeout is aborted by the server", () -> {
      String topic = topic(1);
      try (var producer = transactional(name("tx"), "transaction.timeout.ms", "1000")) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "k", "slow")).get();
        Suite.until("the abort marker is written", () -> end("read_committed", topic) == 2);
        eq(List.of(), committed(topic), "nothing committed");
        fails(KafkaException.class, producer::commitTransaction);
      }
    });
    suite.add(area, "a timeout above transaction.max.timeout.ms is refused", () -> {
      Throwable e = fails(KafkaException.class, () -> transactional(name("tx"), "transaction.timeout.ms", "900001"));
      yes(e.getMessage().contains("transaction.max.timeout.ms"), "INVALID_TRANSACTION_TIMEOUT, not " + e);
    });
    suite.add(area, "after a failed send the transaction can only abort, then all goes on", () -> {
      String topic = topic(1, "max.message.bytes", "5000");
      try (var producer = transactional(name("tx"))) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "k", "good")).get();
        fails(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, 0, "k", "x".repeat(9000))).get());
        fails(KafkaException.class, producer::commitTransaction);
        producer.abortTransaction();
        round(producer, topic, true, "next");
      }
      eq(List.of("next"), committed(topic), "records");
    });
    suite.add(area, "a closed producer's open transaction is aborted by its successor", () -> {
      String topic = topic(1), id = name("tx");
      var producer = transactional(id);
      producer.beginTransaction();
      producer.send(new ProducerRecord<>(topic, 0, "k", "lost")).get();
      producer.close(Duration.ZERO);
      try (var next = transactional(id)) {
        Suite.until("nothing is open", () -> end("read_committed", topic) == 2);
        round(next, topic, true, "kept");
      }
      eq(List.of("kept"), committed(topic), "records");
    });
    suite.add(area, "deleting a topic inside an open transaction does not hang its end", () -> {
      String doomed = topic(1), kept = topic(1);
      try (var producer = transactional(name("tx"))) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(doomed, 0, "k", "v"));
        producer.send(new ProducerRecord<>(kept, 0, "k", "v"));
        producer.flush();
        Cluster.admin.deleteTopics(List.of(doomed)).all().get();
        producer.commitTransaction();
        round(producer, kept, true, "w");
      }
      Suite.until("kept is committed", () -> committed(kept).equals(List.of("v", "w")));
    });
  }

  static void round(KafkaProducer<String, String> producer, String topic, boolean commit, String... values) {
    producer.beginTransaction();
    for (String value : values) producer.send(new ProducerRecord<>(topic, 0, "k", value));
    if (commit) {
      producer.commitTransaction();
    } else {
      // An abort drops what is not yet sent: the case wants it in the log.
      producer.flush();
      producer.abortTransaction();
    }
  }

  static boolean fenced(Throwable error) {
    for (Throwable e = error; e != null; e = e.getCause()) {
      if (e instanceof ProducerFencedException || e instanceof InvalidProducerEpochException) return true;
    }
    return false;
  }

  private static void interleaved() throws Exception {
    String topic = topic(1);
    Random random = new Random(7);
    List<KafkaProducer<String, String>> producers = new ArrayList<>();
    List<List<String>> open = new ArrayList<>();
    Map<Integer, List<String>> want = new HashMap<>();
    for (int i = 0; i < 5; i++) {
      producers.add(transactional(name("tx")));
      open.add(null);
      want.put(i, new ArrayList<>());
    }
    for (int step = 0; step < 400; step++) {
      int i = random.nextInt(5);
      if (open.get(i) == null) {
        producers.get(i).beginTransaction();
        open.set(i, new ArrayList<>());
      }
      String value = i + ":" + step;
      producers.get(i).send(new ProducerRecord<>(topic, 0, "k", value)).get();
      open.get(i).add(value);
      if (random.nextInt(6) == 0) finish(producers, open, want, i, random.nextBoolean());
    }
    for (int i = 0; i < 5; i++) if (open.get(i) != null) finish(producers, open, want, i, true);
    List<String> got = committed(topic);
    for (int i = 0; i < 5; i++) {
      String prefix = i + ":";
      eq(want.get(i), got.stream().filter(v -> v.startsWith(prefix)).toList(), "records of producer " + i);
      producers.get(i).close();
    }
    eq(want.values().stream().mapToInt(List::size).sum(), got.size(), "records");
  }

  private static void finish(
      List<KafkaProducer<String, String>> producers, List<List<String>> open, Map<Integer, List<String>> want, int i, boolean commit) {
    if (commit) {
      producers.get(i).commitTransaction();
      want.get(i).addAll(open.get(i));
    } else {
      producers.get(i).abortTransaction();
    }
    open.set(i, null);
  }

  private static void copy(String protocol) throws Exception {
    String from = topic(3), to = topic(3), group = name("g");
    int n = 600;
    try (KafkaProducer<String, String> producer = Cluster.producer()) {
      for (int i = 0; i < n; i++) producer.send(new ProducerRecord<>(from, i % 3, "k" + i, "v" + i));
    }
    Random random = new Random(3);
    try (KafkaProducer<String, String> producer = transactional(name("tx"));
        KafkaConsumer<String, String> consumer =
            consumer("group.id", group, "group.protocol", protocol, "isolation.level", "read_committed", "max.poll.records", "40")) {
      consumer.subscribe(List.of(from));
      int done = 0;
      while (done < n) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(5));
        if (records.isEmpty()) continue;
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (ConsumerRecord<String, String> r : records) {
          producer.send(new ProducerRecord<>(to, r.partition(), r.key(), r.value().toUpperCase()));
          next.put(tp(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1, "m" + r.offset()));
        }
        producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
        if (random.nextInt(3) == 0) {
          producer.abortTransaction();
          Map<TopicPartition, OffsetAndMetadata> back = consumer.committed(consumer.assignment());
          for (TopicPartition p : consumer.assignment()) consumer.seek(p, back.get(p) == null ? 0 : back.get(p).offset());
        } else {
          producer.commitTransaction();
          done += records.count();
        }
      }
    }
    for (int p = 0; p < 3; p++) {
      List<String> want = new ArrayList<>();
      for (int i = p; i < n; i += 3) want.add("V" + i);
      eq(want, Cluster.values(Cluster.read("read_committed", tp(to, p))), "copy of partition " + p);
      OffsetAndMetadata offset = Cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp(from, p));
      eq(200L, offset.offset(), "committed offset");
      eq("m199", offset.metadata(), "its metadata");
    }
  }

  private static void pendingOffsets() throws Exception {
    String topic = topic(1), group = name("g");
    fill(topic, 20);
    TopicPartition p = tp(topic, 0);
    try (KafkaProducer<String, String> producer = transactional(name("tx"));
        KafkaConsumer<String, String> stable =
            consumer("group.id", group, "isolation.level", "read_committed", "default.api.timeout.ms", "2500");
        KafkaConsumer<String, String> plain = consumer("group.id", group)) {
      producer.beginTransaction();
      producer.sendOffsetsToTransaction(Map.of(p, new OffsetAndMetadata(5)), new ConsumerGroupMetadata(group));
      producer.commitTransaction();
      eq(5L, plain.committed(Set.of(p)).get(p).offset(), "after the first commit");
      for (boolean commit : new boolean[] {false, true}) {
        producer.beginTransaction();
        producer.sendOffsetsToTransaction(Map.of(p, new OffsetAndMetadata(9)), new ConsumerGroupMetadata(group));
        producer.flush();
        // The old offset for who does not ask for a stable one; UNSTABLE_OFFSET_COMMIT, retried, for who does. A Java
        // consumer of either isolation level asks for a stable one.
        fails(TimeoutException.class, () -> stable.committed(Set.of(p)));
        if (commit) producer.commitTransaction();
        else producer.abortTransaction();
        eq(commit ? 9L : 5L, stable.committed(Set.of(p)).get(p).offset(), "after " + (commit ? "commit" : "abort"));
      }
    }
  }

  private TransactionCases() {}
}
