package suites;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The server under test and how a case makes its clients: stock clients with their defaults, in a few words. */
final class Cluster {
  /** host:port of the server under test. */
  static String at;
  /** One admin client for all cases; its calls are safe from many threads. */
  static Admin admin;

  private static final String RUN = Long.toString(System.currentTimeMillis(), 36);
  private static final AtomicInteger NEXT = new AtomicInteger();

  static void connect(String hostPort) {
    at = hostPort;
    admin = Admin.create(props("default.api.timeout.ms", "30000", "request.timeout.ms", "20000"));
  }

  /** A name no other case and no earlier run on the same server has used. */
  static String name(String stem) {
    return stem + "-" + RUN + "-" + NEXT.incrementAndGet();
  }

  static Properties props(String... keyValues) {
    Properties props = new Properties();
    props.put("bootstrap.servers", at);
    for (int i = 0; i < keyValues.length; i += 2) props.put(keyValues[i], keyValues[i + 1]);
    return props;
  }

  static KafkaProducer<String, String> producer(String... keyValues) {
    Properties props = props("max.block.ms", "20000", "delivery.timeout.ms", "30000", "request.timeout.ms", "15000");
    props.putAll(props(keyValues));
    return new KafkaProducer<>(props, new StringSerializer(), new StringSerializer());
  }

  static KafkaProducer<String, String> transactional(String id, String... keyValues) {
    String[] all = java.util.Arrays.copyOf(keyValues, keyValues.length + 2);
    all[keyValues.length] = "transactional.id";
    all[keyValues.length + 1] = id;
    KafkaProducer<String, String> producer = producer(all);
    producer.initTransactions();
    return producer;
  }

  static KafkaConsumer<String, String> consumer(String... keyValues) {
    Properties props = props("auto.offset.reset", "earliest", "enable.auto.commit", "false");
    props.putAll(props(keyValues));
    return new KafkaConsumer<>(props, new StringDeserializer(), new StringDeserializer());
  }

  static String topic(int partitions, String... configs) throws Exception {
    String name = name("t");
    Map<String, String> map = new HashMap<>();
    for (int i = 0; i < configs.length; i += 2) map.put(configs[i], configs[i + 1]);
    admin.createTopics(List.of(new NewTopic(name, Optional.of(partitions), Optional.empty()).configs(map))).all().get();
    // With a separate controller the broker may hear of it a moment later.
    Suite.until("the new topic is described", () -> admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size() == partitions);
    return name;
  }

  static TopicPartition tp(String topic, int partition) {
    return new TopicPartition(topic, partition);
  }

  /** Writes v0 … v(n-1) with keys k0 … to partition 0 and waits for the acks. */
  static void fill(String topic, int n) throws Exception {
    try (KafkaProducer<String, String> producer = producer()) {
      for (int i = 0; i < n; i++) producer.send(new ProducerRecord<>(topic, 0, "k" + i, "v" + i));
      producer.flush();
    }
  }

  /** Reads the partitions from their beginning up to their end offset (as the isolation level sees it). */
  static List<ConsumerRecord<String, String>> read(String isolation, TopicPartition... partitions) {
    try (KafkaConsumer<String, String> consumer = consumer("isolation.level", isolation)) {
      return readWith(consumer, List.of(partitions));
    }
  }

  static <K, V> List<ConsumerRecord<K, V>> readWith(KafkaConsumer<K, V> consumer, Collection<TopicPartition> partitions) {
    consumer.assign(partitions);
    consumer.seekToBeginning(partitions);
    Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
    List<ConsumerRecord<K, V>> out = new ArrayList<>();
    long stop = System.nanoTime() + 30_000_000_000L;
    while (!partitions.stream().allMatch(p -> consumer.position(p) >= ends.get(p))) {
      if (System.nanoTime() > stop) {
        throw new AssertionError("read " + out.size() + " records in 30 s, wanted to reach " + ends);
      }
      consumer.poll(Duration.ofMillis(200)).forEach(out::add);
    }
    return out;
  }

  static List<String> values(List<ConsumerRecord<String, String>> records) {
    return records.stream().map(ConsumerRecord::value).toList();
  }

  static List<String> committed(String topic) {
    return values(read("read_committed", tp(topic, 0)));
  }

  static List<String> uncommitted(String topic) {
    return values(read("read_uncommitted", tp(topic, 0)));
  }

  static long end(String isolation, String topic) {
    try (KafkaConsumer<String, String> consumer = consumer("isolation.level", isolation)) {
      return consumer.endOffsets(List.of(tp(topic, 0))).get(tp(topic, 0));
    }
  }
}
