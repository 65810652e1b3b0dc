package suites;

import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.yes;

import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/**
 * `StreamsSuite HOST:PORT WORK_DIR WORDS KILLS -- SERVER COMMAND…`: a word count, exactly_once_v2 with RocksDB and a
 * repartition topic, while its process and the server are killed in turn, KILLS times each; then windows and joins.
 */
public final class StreamsSuite {
  private static final int PARTITIONS = 3;
  private static final int WORDS_PER_LINE = 10;

  public static void main(String[] args) throws Exception {
    File work = new File(args[1]);
    List<String> command = Arrays.asList(args).subList(5, args.length);
    boolean green;
    try (Child server = new Child(command, new File(work, "server.log"))) {
      server.startListening(args[0]);
      Cluster.connect(args[0]);
      Suite suite = new Suite("");
      words(suite, args[0], work, Integer.parseInt(args[2]), Integer.parseInt(args[3]), server);
      windows(suite, args[0], work);
      green = suite.run();
    }
    Runtime.getRuntime().halt(green ? 0 : 1);
  }

  private static void words(Suite suite, String at, File work, int n, int kills, Child server) throws Exception {
    String prefix = Cluster.name("wc"), application = prefix + "-app", in = prefix + "-lines", out = prefix + "-counts";
    make(in, out);
    Map<String, Integer> want = new HashMap<>();
    TopicPartition[] output = partitions(out);
    long begin = System.currentTimeMillis();
    List<ConsumerRecord<String, String>> got;
    int appKills, serverKills;
    try (Child app = Child.java("suites.StreamsApp", new File(work, "streams.log"), at, "words", application,
          new File(work, "state").getPath(), prefix);
        KafkaProducer<String, String> producer = Cluster.producer("delivery.timeout.ms", "180000", "max.block.ms", "120000", "linger.ms", "20")) {
      app.start();
      Random random = new Random(11);
      int lines = n / WORDS_PER_LINE, sent = 0;
      for (int kill = 0; kill < 2 * kills; kill++) {
        long before = end(output);
        for (int upTo = lines * (kill + 1) / (2 * kills + 1); sent < upTo; sent++) send(producer, in, sent, random, want);
        producer.flush();
        Suite.until("the count goes on before kill " + (kill + 1), 120, () -> end(output) > before);
        Thread.sleep(random.nextInt(500));
        yes(app.alive(), "the application ended by itself");
        if (kill % 2 == 0) {
          app.kill();
          app.start();
        } else {
          server.kill();
          server.startListening(at);
        }
      }
      for (; sent < lines; sent++) send(producer, in, sent, random, want);
      producer.flush();
      got = read(output, n);
      appKills = app.kills;
      serverKills = server.kills;
      String repartition = application + "-by-word-repartition";
      suite.add("word count", "the repartition topic is purged by DeleteRecords", () -> {
        yes(start(repartition) > 0, "its log starts at 0");
      });
      yes(app.stop(), "the application ends on SIGTERM");
    }
    int total = want.values().stream().mapToInt(Integer::intValue).sum();
    System.out.printf("%d words, %d kills of the application, %d of the server: %d counts out (%d s)%n",
      total, appKills, serverKills, got.size(), (System.currentTimeMillis() - begin) / 1000);
    Map<String, List<Integer>> versions = new TreeMap<>();
    for (ConsumerRecord<String, String> r : got) versions.computeIfAbsent(r.key(), k -> new ArrayList<>()).add(Integer.parseInt(r.value()));
    String area = "word count";
    suite.add(area, "both were killed while they worked", () -> eq(kills + "/" + kills, appKills + "/" + serverKills, "kills"));
    suite.add(area, "the final counts are exact", () -> {
      Map<String, Integer> last = new HashMap<>();
      versions.forEach((word, counts) -> last.put(word, counts.get(counts.size() - 1)));
      eq(want, last, "counts");
    });
    suite.add(area, "each word's versions are 1, 2, 3, …: none doubled, none left out", () -> versions.forEach((word, counts) -> {
      for (int i = 0; i < counts.size(); i++) eq(i + 1, counts.get(i), "version " + i + " of " + word);
    }));
    suite.add(area, "the changelog is compacted, the repartition topic is not", () -> {
      eq("compact", config(application + "-counts-changelog", "cleanup.policy"), "changelog");
      eq("delete", config(application + "-by-word-repartition", "cleanup.policy"), "repartition");
      eq("-1", config(application + "-by-word-repartition", "retention.ms"), "its retention");
      eq("52428800", config(application + "-by-word-repartition", "segment.bytes"), "its segments");
    });
    suite.add(area, "the changelog's newest values are the counts", () -> {
      Map<String, Long> last = new HashMap<>();
      try (var consumer = new org.apache.kafka.clients.consumer.KafkaConsumer<>(Cluster.props("isolation.level", "read_committed"),
          new org.apache.kafka.common.serialization.StringDeserializer(), new org.apache.kafka.common.serialization.LongDeserializer())) {
        for (var r : Cluster.readWith(consumer, List.of(partitions(application + "-counts-changelog")))) last.put(r.key(), r.value());
      }
      want.forEach((word, count) -> eq((long) count, last.get(word), word));
    });
  }

  private static void send(KafkaProducer<String, String> producer, String topic, int line, Random random, Map<String, Integer> want) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < WORDS_PER_LINE; i++) {
      // Few words are frequent, most are rare, as in a language.
      String word = "w" + (int) (1000 * Math.pow(random.nextDouble(), 3));
      want.merge(word, 1, Integer::sum);
      text.append(i == 0 ? "" : " ").append(word);
    }
    producer.send(new ProducerRecord<>(topic, line % PARTITIONS, null, text.toString()));
  }

  private static void windows(Suite suite, String at, File work) throws Exception {
    String prefix = Cluster.name("win");
    make(prefix + "-numbers", prefix + "-sums", prefix + "-left", prefix + "-right", prefix + "-pairs",
      prefix + "-orders", prefix + "-customers", prefix + "-named");
    Map<String, String> sums = new TreeMap<>();
    Set<String> pairs = new HashSet<>();
    Map<String, String> named = new TreeMap<>();
    List<ConsumerRecord<String, String>> gotSums, gotPairs, gotNamed;
    try (Child app = Child.java("suites.StreamsApp", new File(work, "windows.log"), at, "windows", prefix + "-app",
          new File(work, "state").getPath(), prefix);
        KafkaProducer<String, String> producer = Cluster.producer()) {
      Random random = new Random(5);
      // Two hours ago: the topics keep seven days, and the server takes times up to an hour ahead.
      long now = System.currentTimeMillis();
      long base = now - now % 10_000 - 7_200_000;
      for (int i = 0; i < 3000; i++) {
        long time = base + i * 20L;
        String key = "k" + random.nextInt(20);
        int p = Math.floorMod(key.hashCode(), PARTITIONS);
        producer.send(new ProducerRecord<>(prefix + "-numbers", p, time, key, "" + i));
        sums.merge(key + "@" + (time - time % 10_000), "" + i, (a, b) -> "" + (Long.parseLong(a) + Long.parseLong(b)));
      }
      // One late record in every partition closes all windows before it.
      for (int p = 0; p < PARTITIONS; p++) producer.send(new ProducerRecord<>(prefix + "-numbers", p, base + 3_600_000, "end" + p, "0"));
      for (int i = 0; i < 200; i++) {
        long time = base + i * 10_000L;
        boolean near = i % 3 != 0;
        producer.send(new ProducerRecord<>(prefix + "-left", i % PARTITIONS, time, "j" + i, "l" + i));
        producer.send(new ProducerRecord<>(prefix + "-right", i % PARTITIONS, time + (near ? 4000 : 6000), "j" + i, "r" + i));
        if (near) pairs.add("l" + i + "+r" + i);
      }
      for (int i = 0; i < 20; i++) producer.send(new ProducerRecord<>(prefix + "-customers", "c" + i, "name" + i));
      for (int i = 0; i < 200; i++) {
        producer.send(new ProducerRecord<>(prefix + "-orders", "o" + i, "c" + i % 25 + ":item" + i));
        if (i % 25 < 20) named.put("o" + i, "item" + i + " for name" + i % 25);
      }
      producer.flush();
      app.start();
      gotSums = read(partitions(prefix + "-sums"), sums.size());
      gotPairs = read(partitions(prefix + "-pairs"), pairs.size());
      gotNamed = read(partitions(prefix + "-named"), named.size());
      yes(app.stop(), "the application ends on SIGTERM");
    }
    String area = "windows and joins";
    suite.add(area, "a windowed sum with suppress is told once per window, exactly", () -> {
      Map<String, String> got = new TreeMap<>();
      for (var r : gotSums) eq(null, got.put(r.key(), r.value()), "a second value of " + r.key());
      eq(sums, got, "sums");
    });
    suite.add(area, "a stream-stream join pairs what lies within the window, once", () -> {
      List<String> got = gotPairs.stream().map(ConsumerRecord::value).toList();
      eq(pairs, new HashSet<>(got), "pairs");
      eq(pairs.size(), got.size(), "number of pairs");
    });
    suite.add(area, "a foreign-key table join", () -> {
      Map<String, String> got = new TreeMap<>();
      for (var r : gotNamed) got.put(r.key(), r.value());
      eq(named, got, "joined");
    });
    suite.add(area, "window changelogs are compact,delete, and every internal topic is named as Streams does", () -> {
      Set<String> all = Cluster.admin.listTopics().names().get();
      Set<String> mine = new java.util.TreeSet<>();
      for (String topic : all) if (topic.startsWith(prefix + "-app-")) mine.add(topic.substring(prefix.length() + 5));
      yes(mine.containsAll(Set.of("sums-changelog", "pairs-this-join-store-changelog", "pairs-other-join-store-changelog")), "" + mine);
      Set<String> policy = Set.of(config(prefix + "-app-sums-changelog", "cleanup.policy").split(","));
      eq(Set.of("compact", "delete"), policy, "policy");
    });
  }

  private static void make(String... topics) throws Exception {
    List<NewTopic> all = new ArrayList<>();
    for (String topic : topics) all.add(new NewTopic(topic, PARTITIONS, (short) 1));
    Suite.until("topics are made", 60, () -> {
      Cluster.admin.createTopics(all).all().get();
      return true;
    });
  }

  private static TopicPartition[] partitions(String topic) {
    TopicPartition[] out = new TopicPartition[PARTITIONS];
    for (int p = 0; p < PARTITIONS; p++) out[p] = tp(topic, p);
    return out;
  }

  private static long end(TopicPartition[] partitions) {
    try (var consumer = Cluster.consumer("isolation.level", "read_committed")) {
      return consumer.endOffsets(List.of(partitions)).values().stream().mapToLong(Long::longValue).sum();
    }
  }

  private static long start(String topic) {
    try (var consumer = Cluster.consumer()) {
      return consumer.beginningOffsets(List.of(partitions(topic))).values().stream().mapToLong(Long::longValue).sum();
    }
  }

  private static String config(String topic, String name) throws Exception {
    return GroupAdminCases.entry(new ConfigResource(ConfigResource.Type.TOPIC, topic), name).value();
  }

  /** Reads the partitions as a read_committed reader until `n` records came, and 5 s more; gives up after 90 s of silence. */
  private static List<ConsumerRecord<String, String>> read(TopicPartition[] partitions, int n) {
    List<ConsumerRecord<String, String>> out = new ArrayList<>();
    try (var consumer = Cluster.consumer("isolation.level", "read_committed")) {
      consumer.assign(List.of(partitions));
      long last = System.nanoTime();
      while (System.nanoTime() - last < (out.size() < n ? 90_000_000_000L : 5_000_000_000L)) {
        for (var r : consumer.poll(java.time.Duration.ofMillis(200))) {
          out.add(r);
          last = System.nanoTime();
        }
      }
    }
    return out;
  }

  private StreamsSuite() {}
}
