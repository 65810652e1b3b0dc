package suites;

import static suites.Cluster.producer;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/** Plain and idempotent producing: what is acknowledged is what is read back. */
final class ProducerCases {
  private static final String[][] CODECS = {
    {"none"}, {"gzip"}, {"gzip", "1"}, {"gzip", "9"}, {"snappy"}, {"lz4"}, {"lz4", "1"}, {"lz4", "17"},
    {"zstd"}, {"zstd", "-7"}, {"zstd", "1"}, {"zstd", "22"},
  };

  static void add(Suite suite) {
    for (String[] codec : CODECS) {
      String label = codec[0] + (codec.length > 1 ? " level " + codec[1] : "");
      suite.add("producer", "codec " + label + ": values come back and are stored compressed", () -> codec(codec));
    }
    for (String stored : new String[] {"gzip", "snappy", "lz4", "zstd", "uncompressed"}) {
      suite.add("producer", "topic compression.type=" + stored + " over a zstd and a plain producer", () -> recompress(stored));
    }
    for (String acks : new String[] {"0", "1", "all"}) {
      suite.add("producer", "acks=" + acks, () -> acks(acks));
    }
    suite.add("producer", "idempotent: 20,000 records over 8 partitions, five in flight, in order and once", ProducerCases::idempotent);
    suite.add("producer", "headers: order, duplicates, null and empty values", ProducerCases::headers);
    suite.add("producer", "null and empty keys and values stay apart", () -> {
      String topic = topic(1);
      try (KafkaProducer<String, String> producer = producer()) {
        for (String key : new String[] {null, "", "k"}) {
          for (String value : new String[] {null, "", "v"}) producer.send(new ProducerRecord<>(topic, 0, key, value)).get();
        }
      }
      List<String> got = Cluster.read("read_uncommitted", tp(topic, 0)).stream().map(r -> r.key() + "/" + r.value()).toList();
      eq(List.of("null/null", "null/", "null/v", "/null", "/", "/v", "k/null", "k/", "k/v"), got, "pairs");
    });
    suite.add("producer", "CreateTime: the producer's timestamps are kept", () -> timestamps("CreateTime"));
    suite.add("producer", "LogAppendTime: the server's clock, told to the producer", () -> timestamps("LogAppendTime"));
    suite.add("producer", "a timestamp too far in the future is INVALID_TIMESTAMP", () -> {
      String topic = topic(1, "message.timestamp.after.max.ms", "60000");
      try (KafkaProducer<String, String> producer = producer()) {
        long now = System.currentTimeMillis();
        fails(InvalidTimestampException.class, () -> producer.send(new ProducerRecord<>(topic, 0, now + 3_600_000, "k", "v")).get());
        eq(0L, producer.send(new ProducerRecord<>(topic, 0, now, "k", "v")).get().offset(), "the next is taken");
      }
    });
    suite.add("producer", "a timestamp too old is INVALID_TIMESTAMP", () -> {
      String topic = topic(1, "message.timestamp.before.max.ms", "60000");
      try (KafkaProducer<String, String> producer = producer()) {
        fails(InvalidTimestampException.class,
          () -> producer.send(new ProducerRecord<>(topic, 0, System.currentTimeMillis() - 3_600_000, "k", "v")).get());
      }
    });
    suite.add("producer", "900 KB records pass under the default limit", () -> large(topic(1), 900_000));
    suite.add("producer", "5 MB records pass when max.message.bytes allows", () -> large(topic(1, "max.message.bytes", "8000000"), 5_000_000));
    suite.add("producer", "MESSAGE_TOO_LARGE above max.message.bytes, and the producer goes on", () -> {
      String topic = topic(1, "max.message.bytes", "20000");
      try (KafkaProducer<String, String> producer = producer("max.request.size", "10000000")) {
        fails(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, 0, "k", text(30_000))).get());
        eq(0L, producer.send(new ProducerRecord<>(topic, 0, "k", "small")).get().offset(), "offset of the next");
      }
      eq(List.of("small"), Cluster.uncommitted(topic), "what is stored");
    });
    suite.add("producer", "a keyless record on a compacted topic is INVALID_RECORD", () -> {
      String topic = topic(1, "cleanup.policy", "compact");
      try (KafkaProducer<String, String> producer = producer()) {
        fails(InvalidRecordException.class, () -> producer.send(new ProducerRecord<>(topic, 0, null, "v")).get());
        eq(0L, producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get().offset(), "a keyed one is taken");
      }
    });
    suite.add("producer", "an illegal topic name is refused", () -> {
      try (KafkaProducer<String, String> producer = producer()) {
        fails(InvalidTopicException.class, () -> producer.send(new ProducerRecord<>("no/good name", "v")).get());
      }
    });
    suite.add("producer", "an unknown topic is made by the first record", () -> {
      String topic = Cluster.name("auto");
      try (KafkaProducer<String, String> producer = producer()) {
        eq(0L, producer.send(new ProducerRecord<>(topic, "k", "v")).get().offset(), "offset");
        yes(producer.partitionsFor(topic).size() >= 1, "partitions");
      }
    });
    suite.add("producer", "a partition that does not exist times out in the client", () -> {
      String topic = topic(1);
      try (KafkaProducer<String, String> producer = producer("max.block.ms", "1500")) {
        fails(TimeoutException.class, () -> producer.send(new ProducerRecord<>(topic, 5, "k", "v")).get());
      }
    });
    suite.add("producer", "partitionsFor names this node as leader and only replica", () -> {
      String topic = topic(3);
      try (KafkaProducer<String, String> producer = producer()) {
        List<PartitionInfo> infos = producer.partitionsFor(topic);
        eq(3, infos.size(), "partitions");
        for (PartitionInfo info : infos) {
          eq(info.leader(), info.replicas()[0], "the only replica");
          eq(1, info.inSyncReplicas().length, "in sync");
          eq(0, info.offlineReplicas().length, "offline");
        }
      }
    });
    suite.add("producer", "min.insync.replicas=2 on one node", () -> {
      // Kafka 4.1 measures against the replicas there are, so that one node still takes acks=all.
      String topic = topic(1, "min.insync.replicas", "2");
      try (KafkaProducer<String, String> producer = producer("delivery.timeout.ms", "6000", "request.timeout.ms", "3000")) {
        eq(0L, producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get().offset(), "offset");
      }
    });
    suite.add("producer", "keys spread over partitions as murmur2 says", () -> {
      String topic = topic(7);
      try (KafkaProducer<String, String> producer = producer()) {
        for (int i = 0; i < 70; i++) {
          String key = "key" + i;
          int want = org.apache.kafka.common.utils.Utils.toPositive(
            org.apache.kafka.common.utils.Utils.murmur2(key.getBytes())) % 7;
          eq(want, producer.send(new ProducerRecord<>(topic, key, "v")).get().partition(), key);
        }
      }
    });
  }

  private static String text(int length) {
    char[] chars = new char[length];
    Arrays.fill(chars, 'x');
    return new String(chars);
  }

  private static void codec(String[] codec) throws Exception {
    String topic = topic(1);
    int n = 400;
    String[] settings = {"compression.type", codec[0], "linger.ms", "200", "batch.size", "1000000"};
    if (codec.length > 1) {
      settings = Arrays.copyOf(settings, 8);
      settings[6] = "compression." + codec[0] + ".level";
      settings[7] = codec[1];
    }
    List<String> want = new ArrayList<>();
    try (KafkaProducer<String, String> producer = producer(settings)) {
      for (int i = 0; i < n; i++) {
        String value = "value " + i + " " + text(300);
        want.add(value);
        producer.send(new ProducerRecord<>(topic, 0, "key" + i, value));
      }
    }
    eq(want, Cluster.uncommitted(topic), "values");
    long size = logSize(topic);
    long raw = n * 310L;
    if (codec[0].equals("none")) yes(size > raw, "plain is " + size + " bytes");
    else yes(size > 0 && size < raw / 3, "compressed is " + size + " of " + raw + " bytes");
  }

  private static void recompress(String stored) throws Exception {
    String topic = topic(1, "compression.type", stored);
    List<String> want = new ArrayList<>();
    int n = 200;
    for (String codec : new String[] {"zstd", "none"}) {
      try (KafkaProducer<String, String> producer = producer("compression.type", codec, "linger.ms", "200", "batch.size", "1000000")) {
        for (int i = 0; i < n; i++) {
          want.add(codec + i + text(200));
          producer.send(new ProducerRecord<>(topic, 0, "k", codec + i + text(200)));
        }
      }
    }
    eq(want, Cluster.uncommitted(topic), "values");
    long size = logSize(topic);
    long raw = 2 * n * 200L;
    if (stored.equals("uncompressed")) yes(size > raw, "stored plain is " + size + " of " + raw);
    else yes(size < raw / 3, "stored compressed is " + size + " of " + raw);
  }

  /** Bytes of the log of partition 0, as the server tells them. */
  static long logSize(String topic) throws Exception {
    long[] size = {-1};
    Cluster.admin.describeLogDirs(List.of(Cluster.admin.describeCluster().nodes().get().iterator().next().id()))
      .allDescriptions().get().values().forEach(dirs -> dirs.values().forEach(dir -> {
        if (dir.replicaInfos().containsKey(tp(topic, 0))) size[0] = dir.replicaInfos().get(tp(topic, 0)).size();
      }));
    return size[0];
  }

  private static void acks(String acks) throws Exception {
    String topic = topic(1);
    try (KafkaProducer<String, String> producer = producer("acks", acks, "enable.idempotence", acks.equals("all") ? "true" : "false")) {
      for (int i = 0; i < 100; i++) {
        RecordMetadata ack = producer.send(new ProducerRecord<>(topic, 0, "k", "v" + i)).get();
        eq(acks.equals("0") ? -1L : i, ack.offset(), "offset told");
        eq(!acks.equals("0"), ack.hasOffset(), "has an offset");
      }
    }
    Suite.until("100 records are there", () -> Cluster.uncommitted(topic).size() == 100);
  }

  private static void idempotent() throws Exception {
    int partitions = 8, n = 20_000;
    String topic = topic(partitions);
    try (KafkaProducer<String, String> producer = producer("batch.size", "2000", "linger.ms", "0")) {
      List<Future<RecordMetadata>> acks = new ArrayList<>();
      for (int i = 0; i < n; i++) acks.add(producer.send(new ProducerRecord<>(topic, i % partitions, "k", "" + i)));
      for (int i = 0; i < n; i++) eq((long) i / partitions, acks.get(i).get().offset(), "offset of " + i);
    }
    for (int p = 0; p < partitions; p++) {
      List<ConsumerRecord<String, String>> got = Cluster.read("read_uncommitted", tp(topic, p));
      eq(n / partitions, got.size(), "records of partition " + p);
      for (int i = 0; i < got.size(); i++) eq("" + (i * partitions + p), got.get(i).value(), "order");
    }
  }

  private static void headers() throws Exception {
    String topic = topic(1);
    try (KafkaProducer<String, String> producer = producer("compression.type", "lz4")) {
      ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, "k", "v");
      record.headers().add("a", "1".getBytes()).add("b", null).add("a", "2".getBytes()).add("c", new byte[0]).add("", "e".getBytes());
      producer.send(record).get();
    }
    List<String> got = new ArrayList<>();
    for (Header header : Cluster.read("read_uncommitted", tp(topic, 0)).get(0).headers()) {
      got.add(header.key() + "=" + (header.value() == null ? "null" : new String(header.value())));
    }
    eq(List.of("a=1", "b=null", "a=2", "c=", "=e"), got, "headers");
  }

  private static void timestamps(String type) throws Exception {
    String topic = topic(1, "message.timestamp.type", type);
    long before = System.currentTimeMillis();
    long[] told = new long[3];
    try (KafkaProducer<String, String> producer = producer()) {
      for (int i = 0; i < 3; i++) {
        told[i] = producer.send(new ProducerRecord<>(topic, 0, 1_000_000L + i * 10, "k", "v" + i)).get().timestamp();
      }
    } catch (ExecutionException e) {
      throw new AssertionError(e.getCause());
    }
    List<ConsumerRecord<String, String>> got = Cluster.read("read_uncommitted", tp(topic, 0));
    for (int i = 0; i < 3; i++) {
      ConsumerRecord<String, String> record = got.get(i);
      eq(told[i], record.timestamp(), "told and stored");
      if (type.equals("CreateTime")) {
        eq(1_000_000L + i * 10, record.timestamp(), "timestamp");
        eq(TimestampType.CREATE_TIME, record.timestampType(), "type");
      } else {
        yes(record.timestamp() >= before && record.timestamp() <= System.currentTimeMillis(), "now: " + record.timestamp());
        eq(TimestampType.LOG_APPEND_TIME, record.timestampType(), "type");
      }
    }
  }

  private static void large(String topic, int size) throws Exception {
    try (KafkaProducer<String, String> producer = producer("max.request.size", "10000000", "buffer.memory", "40000000")) {
      for (int i = 0; i < 3; i++) producer.send(new ProducerRecord<>(topic, 0, "k" + i, i + text(size))).get();
    }
    // Smaller fetch limits than one record: the first batch comes all the same (KIP-74).
    try (var consumer = Cluster.consumer("max.partition.fetch.bytes", "1000", "fetch.max.bytes", "1000")) {
      List<ConsumerRecord<String, String>> got = Cluster.readWith(consumer, List.of(tp(topic, 0)));
      eq(3, got.size(), "records");
      for (int i = 0; i < 3; i++) eq(size + 1, got.get(i).value().length(), "length");
    }
  }

  private ProducerCases() {}
}
