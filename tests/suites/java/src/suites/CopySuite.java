package suites;

import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.yes;

import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * `CopySuite HOST:PORT WORK_DIR RECORDS KILLS COPIER… -- SERVER COMMAND…`: a transactional copy of RECORDS records
 * while the copier and the server are killed in turn, KILLS times in all. 0 lost, 0 doubled, in order.
 *
 * COPIER is `classic` or `consumer` (suites.Copy in that group protocol) or the command line of another client's
 * copier, which gets HOST:PORT FROM TO GROUP appended.
 */
public final class CopySuite {
  private static final int PARTITIONS = 4;

  public static void main(String[] args) throws Exception {
    String at = args[0];
    File work = new File(args[1]);
    int n = Integer.parseInt(args[2]), kills = Integer.parseInt(args[3]);
    List<String> rest = Arrays.asList(args).subList(4, args.length);
    int split = rest.indexOf("--");
    List<String> copier = new ArrayList<>(rest.subList(0, split));
    try (Child server = new Child(rest.subList(split + 1, rest.size()), new File(work, "server.log"))) {
      server.startListening(at);
      Cluster.connect(at);
      String from = Cluster.name("copy-from"), to = Cluster.name("copy-to"), group = Cluster.name("copiers");
      Suite.until("topics", 60, () -> {
        Cluster.admin.createTopics(List.of(new NewTopic(from, Optional.of(PARTITIONS), Optional.empty()),
          new NewTopic(to, Optional.of(PARTITIONS), Optional.empty()))).all().get();
        return true;
      });
      Child client;
      File log = new File(work, "copier.log");
      if (copier.size() == 1) {
        client = Child.java("suites.Copy", log, at, from, to, group, copier.get(0));
      } else {
        copier.addAll(List.of(at, from, to, group));
        client = new Child(copier, log);
      }
      try (client) {
        run(at, n, kills, from, to, group, server, client);
      }
    }
    Runtime.getRuntime().halt(0);
  }

  private static void run(String at, int n, int kills, String from, String to, String group, Child server, Child client) throws Exception {
    client.start();
    TopicPartition[] output = new TopicPartition[PARTITIONS];
    for (int p = 0; p < PARTITIONS; p++) output[p] = tp(to, p);
    Random random = new Random();
    int sent = 0;
    long begin = System.currentTimeMillis();
    try (KafkaProducer<String, String> producer = Cluster.producer("delivery.timeout.ms", "180000", "max.block.ms", "120000", "linger.ms", "20")) {
      for (int kill = 0; kill < kills; kill++) {
        // A share of the input each time, so that every kill finds work under way.
        long before = end(output);
        for (int upTo = (int) ((long) n * (kill + 1) / (kills + 1)); sent < upTo; sent++) send(producer, from, sent);
        producer.flush();
        Suite.until("the copy goes on before kill " + (kill + 1), 90, () -> end(output) > before);
        Thread.sleep(random.nextInt(400));
        boolean which = kill % 2 == 0;
        yes(client.alive(), "the copier ended by itself");
        (which ? client : server).kill();
        if (which) client.start();
        else server.startListening(at);
      }
      for (; sent < n; sent++) send(producer, from, sent);
    }
    // The copy is complete when the committed records are as many, or when nothing more comes.
    List<String>[] got = read(output, n);
    int lost = 0, doubled = 0, total = 0;
    for (int p = 0; p < PARTITIONS; p++) {
      java.util.Set<String> seen = new java.util.HashSet<>();
      for (String value : got[p]) if (!seen.add(value)) doubled++;
      for (int i = p; i < n; i += PARTITIONS) if (!seen.contains("" + i)) lost++;
      total += got[p].size();
    }
    System.out.printf("%d records, %d kills of the copier, %d of the server: %d copied, %d lost, %d doubled (%d s)%n",
      n, client.kills, server.kills, total, lost, doubled, (System.currentTimeMillis() - begin) / 1000);
    if (lost > 0) explain(from, to, group);
    Suite suite = new Suite("");
    int wasLost = lost, wasDoubled = doubled;
    suite.add("copy", "both were killed while they worked", () -> eq(kills, client.kills + server.kills, "kills"));
    suite.add("copy", "nothing is lost", () -> eq(0, wasLost, "lost"));
    suite.add("copy", "nothing is doubled", () -> eq(0, wasDoubled, "doubled"));
    suite.add("copy", "each partition is in the order of its input", () -> {
      for (int p = 0; p < PARTITIONS; p++) {
        for (int i = 0; i < got[p].size(); i++) eq("" + (p + i * PARTITIONS), got[p].get(i), "record " + i + " of partition " + p);
      }
    });
    suite.run();
  }

  /** Where it stands when records are missing: who holds what, what is open, what is not committed. */
  private static void explain(String from, String to, String group) throws Exception {
    System.out.println("group: " + Cluster.admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get());
    System.out.println("offsets: " + Cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
    for (var listed : Cluster.admin.listTransactions().all().get()) {
      String id = listed.transactionalId();
      System.out.println("transaction " + id + ": " + Cluster.admin.describeTransactions(List.of(id)).description(id).get());
    }
    for (String topic : List.of(from, to)) {
      for (String isolation : List.of("read_uncommitted", "read_committed")) {
        System.out.println(topic + " partition 0 ends for " + isolation + " at " + Cluster.end(isolation, topic));
      }
    }
  }

  private static void send(KafkaProducer<String, String> producer, String topic, int i) {
    producer.send(new ProducerRecord<>(topic, i % PARTITIONS, "k" + i, "" + i));
  }

  private static long end(TopicPartition[] partitions) {
    try (var consumer = Cluster.consumer("isolation.level", "read_committed")) {
      return consumer.endOffsets(List.of(partitions)).values().stream().mapToLong(Long::longValue).sum();
    }
  }

  /** Reads on until `n` records came, or 60 s brought none. */
  @SuppressWarnings("unchecked")
  static List<String>[] read(TopicPartition[] partitions, int n) {
    List<String>[] out = new List[partitions.length];
    for (int p = 0; p < partitions.length; p++) out[p] = new ArrayList<>();
    try (var consumer = Cluster.consumer("isolation.level", "read_committed")) {
      consumer.assign(List.of(partitions));
      int total = 0;
      long last = System.nanoTime();
      while (System.nanoTime() - last < (total < n ? 60_000_000_000L : 8_000_000_000L)) {
        for (var r : consumer.poll(java.time.Duration.ofMillis(200))) {
          out[r.partition()].add(r.value());
          total++;
          last = System.nanoTime();
        }
      }
    }
    return out;
  }

  private CopySuite() {}
}
