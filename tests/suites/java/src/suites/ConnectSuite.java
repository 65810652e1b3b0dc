package suites;

import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.yes;

import java.io.File;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.config.ConfigResource;

/**
 * `ConnectSuite HOST:PORT WORK_DIR -- SERVER COMMAND…`: a Connect distributed worker with exactly-once source support,
 * a file source and a file sink: lines in, lines out, over a worker's restart and kill and the server's kill; and the
 * worker's REST calls that turn into admin calls.
 */
public final class ConnectSuite {
  private static final int LINES = 500;
  private static final HttpClient HTTP = HttpClient.newHttpClient();

  private final String at;
  private final Child server;
  private final Child worker;
  private final String rest;
  private final File source;
  private final File sink;
  private final String topic = Cluster.name("lines");
  private final String stem = Cluster.name("connect");
  private final List<String> written = new ArrayList<>();

  public static void main(String[] args) throws Exception {
    boolean green;
    try (Child server = new Child(Arrays.asList(args).subList(3, args.length), new File(args[1], "server.log"))) {
      server.startListening(args[0]);
      Cluster.connect(args[0]);
      green = new ConnectSuite(args[0], new File(args[1]), server).run();
    }
    Runtime.getRuntime().halt(green ? 0 : 1);
  }

  private ConnectSuite(String at, File work, Child server) throws Exception {
    this.at = at;
    this.server = server;
    int port;
    try (ServerSocket probe = new ServerSocket(0)) {
      port = probe.getLocalPort();
    }
    rest = "127.0.0.1:" + port;
    source = new File(work, "source.txt");
    sink = new File(work, "sink.txt");
    File properties = new File(work, "worker.properties");
    Files.writeString(properties.toPath(), String.join("\n",
      "bootstrap.servers=" + at, "group.id=" + stem, "listeners=http://" + rest,
      "key.converter=org.apache.kafka.connect.storage.StringConverter", "value.converter=org.apache.kafka.connect.storage.StringConverter",
      "config.storage.topic=" + stem + "-configs", "offset.storage.topic=" + stem + "-offsets", "status.storage.topic=" + stem + "-status",
      "config.storage.replication.factor=1", "offset.storage.replication.factor=1", "status.storage.replication.factor=1",
      "exactly.once.source.support=enabled", "plugin.discovery=service_load", "offset.flush.interval.ms=1000",
      "session.timeout.ms=6000", "heartbeat.interval.ms=1000", "rebalance.timeout.ms=10000", "scheduled.rebalance.max.delay.ms=0",
      "consumer.session.timeout.ms=6000", "consumer.heartbeat.interval.ms=1000", ""));
    worker = Child.java("org.apache.kafka.connect.cli.ConnectDistributed", new File(work, "worker.log"), properties.getPath());
  }

  private boolean run() throws Exception {
    Suite suite = new Suite("");
    // The steps build on each other: they are one area, and run in this order.
    String area = "connect";
    Files.createFile(source.toPath());
    Suite.until("the topic is made", 60, () -> {
      Cluster.admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
      return true;
    });
    suite.add(area, "the worker starts, its REST answers, the plugins are found", () -> {
      start();
      String plugins = get("/connector-plugins").body();
      yes(plugins.contains("FileStreamSinkConnector") && plugins.contains("FileStreamSourceConnector"), plugins);
    });
    suite.add(area, "the three internal topics are compacted, 1, 25 and 5 partitions", () -> {
      for (var entry : Map.of("configs", 1, "offsets", 25, "status", 5).entrySet()) {
        String name = stem + "-" + entry.getKey();
        eq("compact", GroupAdminCases.entry(new ConfigResource(ConfigResource.Type.TOPIC, name), "cleanup.policy").value(), name);
        eq(entry.getValue(), Cluster.admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size(), name);
      }
    });
    suite.add(area, "source and sink are made and run", () -> {
      put("/connectors/source/config", "{\"connector.class\":\"FileStreamSource\",\"tasks.max\":\"1\",\"file\":\"" + source
        + "\",\"topic\":\"" + topic + "\"}");
      put("/connectors/sink/config", "{\"connector.class\":\"FileStreamSink\",\"tasks.max\":\"1\",\"file\":\"" + sink
        + "\",\"topics\":\"" + topic + "\"}");
      running("source");
      running("sink");
    });
    suite.add(area, "lines in are lines out", () -> {
      write();
      Suite.until("the sink has them", () -> out().size() >= written.size());
      eq(written, out(), "lines");
    });
    suite.add(area, "over a worker's restart, each line once", () -> {
      eq(true, worker.stop(), "the worker ends on SIGTERM");
      write();
      start();
      Suite.until("the sink has them", () -> out().size() >= written.size());
      eq(written, out(), "lines");
    });
    suite.add(area, "pause, stop and resume; offsets read and altered", () -> {
      Suite.until("offsets of the sink", () -> get("/connectors/sink/offsets").body().contains("\"kafka_offset\":"));
      yes(get("/connectors/source/offsets").body().contains("\"position\":" + source.length()), get("/connectors/source/offsets").body());
      put("/connectors/sink/pause", "");
      Suite.until("paused", () -> get("/connectors/sink/status").body().contains("PAUSED"));
      put("/connectors/sink/resume", "");
      running("sink");
      put("/connectors/sink/stop", "");
      Suite.until("stopped", () -> get("/connectors/sink/status").body().contains("STOPPED"));
      // To the current end: nothing comes twice. (AlterConsumerGroupOffsets of the sink's group.)
      long end = Cluster.admin.listOffsets(Map.of(tp(topic, 0), OffsetSpec.latest())).partitionResult(tp(topic, 0)).get().offset();
      Suite.until("altered", () -> send("PATCH", "/connectors/sink/offsets", "{\"offsets\":[{\"partition\":{\"kafka_topic\":\"" + topic
        + "\",\"kafka_partition\":0},\"offset\":{\"kafka_offset\":" + end + "}}]}").statusCode() == 200);
      put("/connectors/sink/resume", "");
      running("sink");
      write();
      Suite.until("the sink has them", () -> out().size() >= written.size());
      eq(written, out(), "lines");
    });
    suite.add(area, "over a kill of the worker: the topic has each line once, the sink none too few", () -> {
      write();
      Thread.sleep(700);
      eq(true, worker.kill(), "killed while it ran");
      write();
      start();
      complete();
    });
    suite.add(area, "over a kill of the server: the topic has each line once, the sink none too few", () -> {
      write();
      Thread.sleep(700);
      eq(true, server.kill(), "killed while it ran");
      write();
      server.startListening(at);
      complete();
    });
    suite.add(area, "the source's offsets are deleted, and it reads its file again from the start", () -> {
      put("/connectors/source/stop", "");
      Suite.until("stopped", () -> get("/connectors/source/status").body().contains("STOPPED"));
      Suite.until("deleted", () -> send("DELETE", "/connectors/source/offsets", "").statusCode() == 200);
      put("/connectors/source/resume", "");
      running("source");
      Suite.until("every line a second time", () -> committed().size() >= 2 * written.size());
      List<String> twice = new ArrayList<>(written);
      twice.addAll(written);
      eq(twice, committed(), "lines of the topic");
    });
    suite.add(area, "connectors are deleted, the worker's group goes away with it", () -> {
      eq(204, send("DELETE", "/connectors/sink", "").statusCode(), "sink");
      eq(204, send("DELETE", "/connectors/source", "").statusCode(), "source");
      Suite.until("none is left", () -> get("/connectors").body().equals("[]"));
      String group = Cluster.admin.describeClassicGroups(List.of(stem)).describedGroups().get(stem).get().protocol();
      eq("connect", group, "the group's protocol type");
      eq(true, worker.stop(), "the worker ends on SIGTERM");
      Suite.until("the group is empty", () ->
        Cluster.admin.describeClassicGroups(List.of(stem)).describedGroups().get(stem).get().members().isEmpty());
    });
    try (worker) {
      return suite.run();
    }
  }

  private void start() throws Exception {
    worker.startListening(rest);
    Suite.until("the worker is ready", 90, () -> get("/connectors").statusCode() == 200);
  }

  /** Appends lines of their own to the source file. */
  private void write() throws Exception {
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < LINES; i++) lines.add("line " + (written.size() + i));
    Files.write(source.toPath(), lines, StandardCharsets.UTF_8, StandardOpenOption.APPEND);
    written.addAll(lines);
  }

  private List<String> out() throws Exception {
    return sink.exists() ? Files.readAllLines(sink.toPath()) : List.of();
  }

  private List<String> committed() {
    return Cluster.values(Cluster.read("read_committed", tp(topic, 0)));
  }

  /** A sink that died may write again what it had not committed; the source is exactly once. */
  private void complete() throws Exception {
    Suite.until("the topic has them", 45, () -> committed().size() >= written.size());
    Suite.until("the sink has them", 45, () -> new TreeSet<>(out()).size() >= written.size());
    eq(written, committed(), "lines of the topic");
    eq(new TreeSet<>(written), new TreeSet<>(out()), "lines of the sink");
  }

  private void running(String name) throws Exception {
    Suite.until(name + " runs", () -> {
      String status = get("/connectors/" + name + "/status").body();
      yes(!status.contains("FAILED"), status);
      return status.split("\"RUNNING\"", -1).length == 3;
    });
  }

  private HttpResponse<String> get(String path) throws Exception {
    return send("GET", path, "");
  }

  private void put(String path, String body) throws Exception {
    Suite.until("PUT " + path, () -> {
      HttpResponse<String> answer = send("PUT", path, body);
      yes(Set.of(200, 201, 202, 204).contains(answer.statusCode()), answer.statusCode() + " " + answer.body());
      return true;
    });
  }

  private HttpResponse<String> send(String method, String path, String body) throws Exception {
    return HTTP.send(HttpRequest.newBuilder(URI.create("http://" + rest + path)).timeout(java.time.Duration.ofSeconds(20))
      .header("Content-Type", "application/json").method(method, HttpRequest.BodyPublishers.ofString(body)).build(),
      HttpResponse.BodyHandlers.ofString());
  }
}
