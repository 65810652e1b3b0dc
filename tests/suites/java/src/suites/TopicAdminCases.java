package suites;

import static suites.Cluster.admin;
import static suites.Cluster.fill;
import static suites.Cluster.name;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics, partitions and DeleteRecords through the admin client. */
final class TopicAdminCases {
  static void add(Suite suite) {
    String area = "topic admin";
    suite.add(area, "createTopics answers with id, partitions, replication and every config", () -> {
      String name = name("t");
      CreateTopicsResult made = admin.createTopics(List.of(new NewTopic(name, 3, (short) 1).configs(Map.of("retention.ms", "1234567"))));
      eq(3, made.numPartitions(name).get(), "partitions");
      eq(1, made.replicationFactor(name).get(), "replication factor");
      eq("1234567", made.config(name).get().get("retention.ms").value(), "its config");
      eq("delete", made.config(name).get().get("cleanup.policy").value(), "a default");
      Suite.until("described", () -> describe(name) != null);
      TopicDescription seen = describe(name);
      eq(made.topicId(name).get(), seen.topicId(), "id");
      eq(3, seen.partitions().size(), "partitions described");
      yes(!seen.isInternal(), "internal");
      int node = admin.describeCluster().nodes().get().iterator().next().id();
      for (TopicPartitionInfo p : seen.partitions()) {
        eq(node + "/1/1", p.leader().id() + "/" + p.replicas().size() + "/" + p.isr().size(), "partition " + p.partition());
        yes(p.elr() == null || p.elr().isEmpty(), "no eligible leader replicas");
      }
    });
    suite.add(area, "createTopics with the server's defaults and with a manual assignment", () -> {
      String name = name("t"), placed = name("t");
      int node = admin.describeCluster().nodes().get().iterator().next().id();
      admin.createTopics(List.of(new NewTopic(name, Optional.empty(), Optional.empty()),
        new NewTopic(placed, Map.of(0, List.of(node), 1, List.of(node))))).all().get();
      Suite.until("default partitions", () -> describe(name).partitions().size() >= 1);
      Suite.until("placed", () -> describe(placed) != null);
      eq(2, describe(placed).partitions().size(), "placed partitions");
    });
    suite.add(area, "validateOnly makes nothing", () -> {
      String name = name("t");
      admin.createTopics(List.of(new NewTopic(name, 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all().get();
      fails(UnknownTopicOrPartitionException.class, () -> describe(name));
    });
    suite.add(area, "createTopics: what is refused, one by one, beside one that is made", () -> {
      String exists = topic(1), fine = name("t");
      String many = name("t"), zero = name("t"), config = name("t"), value = name("t"), elsewhere = name("t");
      CreateTopicsResult made = admin.createTopics(List.of(
        new NewTopic(exists, 1, (short) 1), new NewTopic(many, 1, (short) 3), new NewTopic(zero, 0, (short) 1),
        new NewTopic("bad name", 1, (short) 1), new NewTopic(config, 1, (short) 1).configs(Map.of("no.such", "1")),
        new NewTopic(value, 1, (short) 1).configs(Map.of("retention.ms", "soon")),
        new NewTopic(elsewhere, Map.of(0, List.of(777))), new NewTopic(fine, 1, (short) 1)));
      fails(TopicExistsException.class, () -> made.values().get(exists).get());
      fails(InvalidReplicationFactorException.class, () -> made.values().get(many).get());
      fails(InvalidPartitionsException.class, () -> made.values().get(zero).get());
      fails(InvalidTopicException.class, () -> made.values().get("bad name").get());
      fails(InvalidConfigurationException.class, () -> made.values().get(config).get());
      fails(InvalidConfigurationException.class, () -> made.values().get(value).get());
      fails(InvalidReplicaAssignmentException.class, () -> made.values().get(elsewhere).get());
      made.values().get(fine).get();
    });
    suite.add(area, "topic names: 249 characters, '.', '..', and names that collide", () -> {
      String stem = name("n");
      String longest = stem + "x".repeat(249 - stem.length());
      admin.createTopics(List.of(new NewTopic(longest, 1, (short) 1))).all().get();
      for (String bad : List.of(longest + "x", ".", "..", "", "ü")) {
        fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic(bad, 1, (short) 1))).all().get());
      }
      admin.createTopics(List.of(new NewTopic(stem + ".a", 1, (short) 1))).all().get();
      fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic(stem + "_a", 1, (short) 1))).all().get());
    });
    suite.add(area, "describeTopics by name and id, in pages of 7 partitions", () -> {
      List<String> names = List.of(topic(10), topic(3), topic(12));
      Map<String, TopicDescription> got =
          admin.describeTopics(names, new DescribeTopicsOptions().partitionSizeLimitPerResponse(7)).allTopicNames().get();
      for (int i = 0; i < 3; i++) {
        List<Integer> partitions = got.get(names.get(i)).partitions().stream().map(TopicPartitionInfo::partition).toList();
        int n = List.of(10, 3, 12).get(i);
        List<Integer> want = new ArrayList<>();
        for (int p = 0; p < n; p++) want.add(p);
        eq(want, partitions, "partitions of " + names.get(i));
      }
      Uuid id = got.get(names.get(0)).topicId();
      eq(names.get(0), admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id).name(), "by id");
      fails(UnknownTopicIdException.class, () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get());
      fails(UnknownTopicOrPartitionException.class, () -> describe(name("none")));
      eq(Set.of(AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DELETE, AclOperation.ALTER, AclOperation.DESCRIBE,
          AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS),
        admin.describeTopics(names, new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get()
          .get(names.get(0)).authorizedOperations(), "authorized operations");
    });
    suite.add(area, "listTopics, with and without the internal ones", () -> {
      String topic = topic(1);
      try (var member = Cluster.consumer("group.id", name("g"))) {
        member.commitSync(Map.of(tp(topic, 0), new org.apache.kafka.clients.consumer.OffsetAndMetadata(0)));
      }
      Set<String> plain = admin.listTopics().names().get();
      Set<String> all = admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
      yes(plain.contains(topic) && all.contains(topic), "listed");
      yes(plain.stream().noneMatch(t -> t.startsWith("__consumer_offsets") || t.startsWith("__transaction_state")), "internal ones hidden");
    });
    suite.add(area, "createPartitions: more, the same, fewer, validateOnly, with assignment", () -> {
      String topic = topic(2);
      int node = admin.describeCluster().nodes().get().iterator().next().id();
      admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(9)), new CreatePartitionsOptions().validateOnly(true)).all().get();
      eq(2, describe(topic).partitions().size(), "after validateOnly");
      admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
      Suite.until("4 partitions", () -> describe(topic).partitions().size() == 4);
      admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5, List.of(List.of(node))))).all().get();
      Suite.until("5 partitions", () -> describe(topic).partitions().size() == 5);
      fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get());
      fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get());
      fails(InvalidReplicaAssignmentException.class,
        () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6, List.of(List.of(777))))).all().get());
      fails(UnknownTopicOrPartitionException.class, () -> admin.createPartitions(Map.of(name("none"), NewPartitions.increaseTo(3))).all().get());
      try (var producer = Cluster.producer()) {
        eq(0L, producer.send(new org.apache.kafka.clients.producer.ProducerRecord<>(topic, 4, "k", "v")).get().offset(), "the new one takes records");
      }
    });
    suite.add(area, "deleteTopics by name and by id; a new one of the name is another", () -> {
      String topic = topic(1), byId = topic(1);
      fill(topic, 3);
      Uuid old = describe(topic).topicId(), id = describe(byId).topicId();
      admin.deleteTopics(List.of(topic)).all().get();
      admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
      Suite.until("gone", () -> {
        Set<String> names = admin.listTopics().names().get();
        return !names.contains(topic) && !names.contains(byId);
      });
      fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
      fails(UnknownTopicIdException.class, () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get());
      admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
      Suite.until("a new id", () -> !describe(topic).topicId().equals(old));
      eq(0L, Cluster.end("read_uncommitted", topic), "and empty");
    });
    suite.add(area, "deleteRecords: to an offset, to the end, past the end", () -> {
      String topic = topic(1);
      fill(topic, 10);
      eq(4L, delete(topic, 4), "low watermark");
      eq(List.of("v4", "v5", "v6", "v7", "v8", "v9"), Cluster.uncommitted(topic), "records");
      eq(4L, delete(topic, 2), "going back does nothing");
      fails(OffsetOutOfRangeException.class, () -> delete(topic, 11));
      eq(10L, delete(topic, -1), "to the high watermark");
      eq(List.of(), Cluster.uncommitted(topic), "records");
      fill(topic, 1);
      eq(List.of("v0"), Cluster.uncommitted(topic), "after");
    });
    suite.add(area, "deleteRecords on a compacted topic is POLICY_VIOLATION", () -> {
      String topic = topic(1, "cleanup.policy", "compact");
      fill(topic, 3);
      fails(org.apache.kafka.common.errors.PolicyViolationException.class, () -> delete(topic, 1));
    });
  }

  private static long delete(String topic, long before) throws Exception {
    return admin.deleteRecords(Map.of(tp(topic, 0), RecordsToDelete.beforeOffset(before))).lowWatermarks().get(tp(topic, 0)).get().lowWatermark();
  }

  private static TopicDescription describe(String topic) throws Exception {
    return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
  }

  private TopicAdminCases() {}
}
