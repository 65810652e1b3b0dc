package suites;

import static suites.Cluster.admin;
import static suites.Cluster.name;
import static suites.Cluster.topic;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.ConfigResource.Type;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Configs of topics, the broker and client metrics: described, altered, refused. */
final class ConfigCases {
  static void add(Suite suite) {
    String area = "configs";
    suite.add(area, "every topic config this client knows is described, with a source", () -> {
      Config config = describe(topicOf(topic(1)));
      Set<String> got = config.entries().stream().map(ConfigEntry::name).collect(Collectors.toCollection(TreeSet::new));
      Set<String> missing = new TreeSet<>();
      for (Field field : TopicConfig.class.getFields()) {
        if (!field.getName().endsWith("_CONFIG")) continue;
        String name = (String) field.get(null);
        // Removed from the server in 4.0; the name is kept for clients.
        if (!got.contains(name) && !name.startsWith("message.format") && !name.equals("message.downconversion.enable")
            && !name.equals("message.timestamp.difference.max.ms")) missing.add(name);
      }
      eq(Set.of(), missing, "missing");
      for (ConfigEntry entry : config.entries()) {
        yes(entry.source() != ConfigSource.UNKNOWN, entry.name() + " has no source");
        yes(entry.type() != ConfigEntry.ConfigType.UNKNOWN, entry.name() + " has no type");
        yes(!entry.isSensitive() && !entry.isReadOnly(), entry.name() + " is sensitive or read-only");
      }
    });
    suite.add(area, "defaults are Kafka's", () -> {
      Config config = describe(topicOf(topic(1)));
      Map<String, String> want = Map.ofEntries(Map.entry("cleanup.policy", "delete"), Map.entry("compression.type", "producer"),
        Map.entry("delete.retention.ms", "86400000"), Map.entry("file.delete.delay.ms", "60000"),
        Map.entry("flush.messages", "9223372036854775807"), Map.entry("flush.ms", "9223372036854775807"),
        Map.entry("index.interval.bytes", "4096"), Map.entry("max.compaction.lag.ms", "9223372036854775807"),
        Map.entry("max.message.bytes", "1048588"), Map.entry("message.timestamp.type", "CreateTime"),
        Map.entry("min.cleanable.dirty.ratio", "0.5"), Map.entry("min.compaction.lag.ms", "0"), Map.entry("min.insync.replicas", "1"),
        Map.entry("preallocate", "false"), Map.entry("retention.bytes", "-1"), Map.entry("retention.ms", "604800000"),
        Map.entry("segment.bytes", "1073741824"), Map.entry("segment.index.bytes", "10485760"), Map.entry("segment.jitter.ms", "0"),
        Map.entry("segment.ms", "604800000"), Map.entry("unclean.leader.election.enable", "false"));
      for (var entry : want.entrySet()) eq(entry.getValue(), config.get(entry.getKey()).value(), entry.getKey());
      yes(config.get("retention.ms").isDefault(), "retention.ms is a default");
    });
    suite.add(area, "synonyms and documentation when asked for, none when not", () -> {
      ConfigResource topic = topicOf(topic(1, "max.message.bytes", "777000"));
      ConfigEntry bare = describe(topic).get("max.message.bytes");
      eq(List.of(), bare.synonyms(), "synonyms not asked for");
      ConfigEntry full = admin.describeConfigs(List.of(topic), new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true))
        .all().get().get(topic).get("max.message.bytes");
      eq("777000", full.value(), "value");
      eq(ConfigSource.DYNAMIC_TOPIC_CONFIG, full.source(), "source");
      var first = full.synonyms().get(0);
      eq("max.message.bytes=777000 DYNAMIC_TOPIC_CONFIG", first.name() + "=" + first.value() + " " + first.source(), "first synonym");
      var last = full.synonyms().get(full.synonyms().size() - 1);
      eq("message.max.bytes=1048588 DEFAULT_CONFIG", last.name() + "=" + last.value() + " " + last.source(), "last synonym");
      yes(full.documentation() != null && full.documentation().length() > 20, "documentation");
    });
    suite.add(area, "describe of some names only, of an unknown topic, of two resources", () -> {
      ConfigResource a = topicOf(topic(1)), none = topicOf(name("none"));
      eq(Set.of("retention.ms"), new TreeSet<>(admin.describeConfigs(List.of(a)).all().get().get(a).entries().stream()
        .map(ConfigEntry::name).filter(n -> n.equals("retention.ms")).toList()), "names");
      var both = admin.describeConfigs(List.of(a, none)).values();
      both.get(a).get();
      fails(UnknownTopicOrPartitionException.class, () -> both.get(none).get());
    });
    suite.add(area, "incremental: set, append, subtract, delete", () -> {
      ConfigResource topic = topicOf(topic(1, "retention.ms", "1000000"));
      alter(topic, "segment.ms", "70000");
      eq("1000000/70000", value(topic, "retention.ms") + "/" + value(topic, "segment.ms"), "both are set");
      op(topic, OpType.APPEND, "cleanup.policy", "compact");
      eq("delete,compact", value(topic, "cleanup.policy"), "appended");
      op(topic, OpType.SUBTRACT, "cleanup.policy", "delete");
      eq("compact", value(topic, "cleanup.policy"), "subtracted");
      op(topic, OpType.DELETE, "retention.ms", "");
      eq("604800000", value(topic, "retention.ms"), "deleted: the default again");
      eq(ConfigSource.DEFAULT_CONFIG, describe(topic).get("retention.ms").source(), "its source");
    });
    suite.add(area, "incremental: what is refused leaves everything as it was", () -> {
      ConfigResource topic = topicOf(topic(1));
      fails(InvalidConfigurationException.class, () -> alter(topic, "no.such.config", "1"));
      fails(InvalidConfigurationException.class, () -> alter(topic, "retention.ms", "abc"));
      fails(InvalidConfigurationException.class, () -> alter(topic, "cleanup.policy", "shred"));
      fails(InvalidConfigurationException.class, () -> alter(topic, "min.cleanable.dirty.ratio", "2"));
      fails(InvalidConfigurationException.class, () -> alter(topic, "segment.bytes", "1"));
      fails(InvalidConfigurationException.class, () -> op(topic, OpType.APPEND, "retention.ms", "5"));
      fails(InvalidRequestException.class, () -> admin.incrementalAlterConfigs(Map.of(topic, List.of(
        new AlterConfigOp(new ConfigEntry("retention.ms", "1"), OpType.SET),
        new AlterConfigOp(new ConfigEntry("retention.ms", "2"), OpType.SET)))).all().get());
      fails(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(topic, List.of(
        new AlterConfigOp(new ConfigEntry("segment.ms", "60000"), OpType.SET),
        new AlterConfigOp(new ConfigEntry("retention.ms", "abc"), OpType.SET)))).all().get());
      eq("604800000", value(topic, "segment.ms"), "segment.ms");
      fails(UnknownTopicOrPartitionException.class, () -> alter(topicOf(name("none")), "retention.ms", "5"));
    });
    suite.add(area, "incremental: validateOnly changes nothing", () -> {
      ConfigResource topic = topicOf(topic(1));
      admin.incrementalAlterConfigs(Map.of(topic, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "5"), OpType.SET))),
        new AlterConfigsOptions().validateOnly(true)).all().get();
      eq("604800000", value(topic, "retention.ms"), "retention.ms");
    });
    suite.add(area, "the broker's configs: the names tools look for, with sources and read-only marks", () -> {
      Config config = describe(broker());
      for (String name : List.of("num.partitions", "default.replication.factor", "log.retention.ms", "log.retention.hours",
          "log.segment.bytes", "message.max.bytes", "auto.create.topics.enable", "offsets.topic.replication.factor",
          "offsets.retention.minutes", "group.initial.rebalance.delay.ms", "transaction.max.timeout.ms", "min.insync.replicas",
          "log.cleanup.policy", "compression.type", "log.dirs", "listeners", "advertised.listeners", "num.io.threads",
          "transactional.id.expiration.ms", "unclean.leader.election.enable", "delete.topic.enable", "node.id", "process.roles",
          "group.consumer.assignors", "max.connections", "ssl.keystore.password", "log.message.timestamp.type")) {
        ConfigEntry entry = config.get(name);
        yes(entry != null, name + " is described");
        yes(entry.source() != ConfigSource.UNKNOWN, name + " has a source");
      }
      yes(config.get("node.id").isReadOnly(), "node.id is read-only");
      yes(!config.get("log.cleaner.threads").isReadOnly(), "log.cleaner.threads is dynamic");
      yes(config.get("ssl.keystore.password").isSensitive(), "a password is sensitive");
      eq(null, config.get("ssl.keystore.password").value(), "and not told");
    });
    suite.add(area, "the broker's defaults hold for topics and can be altered", () -> {
      ConfigResource cluster = new ConfigResource(Type.BROKER, "");
      ConfigResource topic = topicOf(topic(1));
      alter(cluster, "log.segment.delete.delay.ms", "61000");
      try {
        Suite.until("the topic has it", () -> "61000".equals(value(topic, "file.delete.delay.ms")));
        eq(ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, describe(topic).get("file.delete.delay.ms").source(), "source");
        eq("61000", value(cluster, "log.segment.delete.delay.ms"), "described at the cluster");
      } finally {
        op(cluster, OpType.DELETE, "log.segment.delete.delay.ms", "");
      }
      Suite.until("back", () -> "60000".equals(value(topic, "file.delete.delay.ms")));
    });
    suite.add(area, "a read-only broker config is refused", () -> fails(InvalidRequestException.class, () -> alter(broker(), "node.id", "5")));
    suite.add(area, "configs of a broker that is not there", () -> fails(Exception.class,
      () -> admin.describeConfigs(List.of(new ConfigResource(Type.BROKER, "777")),
        new DescribeConfigsOptions().timeoutMs(3000)).all().get()));
    suite.add(area, "broker loggers: described and altered", () -> {
      ConfigResource loggers = new ConfigResource(Type.BROKER_LOGGER, broker().name());
      Config config = describe(loggers);
      yes(config.entries().size() > 0, "some loggers");
      for (ConfigEntry entry : config.entries()) {
        yes(Set.of("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF").contains(entry.value()), entry.name() + "=" + entry.value());
      }
    });
    suite.add(area, "client metrics subscriptions: altered, listed, described, refused, deleted", () -> {
      ConfigResource metrics = new ConfigResource(Type.CLIENT_METRICS, name("metrics"));
      alter(metrics, "interval.ms", "60000");
      alter(metrics, "metrics", "org.apache.kafka.producer.");
      Suite.until("listed", () -> admin.listConfigResources(Set.of(Type.CLIENT_METRICS), new ListConfigResourcesOptions()).all().get()
        .contains(metrics));
      eq("60000", value(metrics, "interval.ms"), "interval.ms");
      eq("org.apache.kafka.producer.", value(metrics, "metrics"), "metrics");
      fails(InvalidRequestException.class, () -> alter(metrics, "no.such", "1"));
      fails(InvalidRequestException.class, () -> alter(metrics, "interval.ms", "1"));
      admin.incrementalAlterConfigs(Map.of(metrics, List.of(
        new AlterConfigOp(new ConfigEntry("interval.ms", ""), OpType.DELETE),
        new AlterConfigOp(new ConfigEntry("metrics", ""), OpType.DELETE)))).all().get();
      Suite.until("no longer listed", () -> !admin.listConfigResources(Set.of(Type.CLIENT_METRICS), new ListConfigResourcesOptions())
        .all().get().contains(metrics));
    });
    suite.add(area, "listConfigResources by type", () -> {
      String topic = topic(1);
      Set<ConfigResource> topics = Set.copyOf(admin.listConfigResources(Set.of(Type.TOPIC), new ListConfigResourcesOptions()).all().get());
      yes(topics.contains(topicOf(topic)), "the topic");
      yes(topics.stream().allMatch(r -> r.type() == Type.TOPIC), "topics only");
      Set<ConfigResource> brokers = Set.copyOf(admin.listConfigResources(Set.of(Type.BROKER), new ListConfigResourcesOptions()).all().get());
      eq(Set.of(broker()), brokers, "brokers");
      List<ConfigResource> all = new ArrayList<>(admin.listConfigResources().all().get());
      yes(all.contains(topicOf(topic)) && all.contains(broker()), "all");
    });
  }

  static void alter(ConfigResource resource, String name, String value) throws Exception {
    op(resource, OpType.SET, name, value);
  }

  private static void op(ConfigResource resource, OpType type, String name, String value) throws Exception {
    admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(name, value), type)))).all().get();
    // A KRaft controller answers before the broker has applied it.
    Thread.sleep(100);
  }

  private static Config describe(ConfigResource resource) throws Exception {
    return admin.describeConfigs(List.of(resource)).all().get().get(resource);
  }

  private static String value(ConfigResource resource, String name) throws Exception {
    return describe(resource).get(name).value();
  }

  private static ConfigResource topicOf(String topic) {
    return new ConfigResource(Type.TOPIC, topic);
  }

  private static ConfigResource broker() throws Exception {
    return new ConfigResource(Type.BROKER, "" + admin.describeCluster().nodes().get().iterator().next().id());
  }

  private ConfigCases() {}
}
