package suites;

import static suites.Cluster.admin;
import static suites.Cluster.consumer;
import static suites.Cluster.fill;
import static suites.Cluster.name;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What an admin client sees of groups and does to them, for groups of either protocol. */
final class GroupAdminCases {
  static void add(Suite suite, String protocol) {
    String area = protocol + " group admin";
    boolean classic = protocol.equals("classic");
    suite.add(area, "describe: state, assignor, coordinator, members and what they own", () -> {
      String topic = topic(3), group = name("g");
      try (var member = settled(topic, group, protocol, 3, "client.id", "me")) {
        ConsumerGroupDescription d = describe(group);
        eq(GroupState.STABLE, d.groupState(), "state");
        eq(classic ? GroupType.CLASSIC : GroupType.CONSUMER, d.type(), "type");
        eq(classic ? "range" : "uniform", d.partitionAssignor(), "assignor");
        eq(admin.describeCluster().nodes().get().iterator().next().id(), d.coordinator().id(), "coordinator");
        eq(1, d.members().size(), "members");
        MemberDescription m = d.members().iterator().next();
        eq("me", m.clientId(), "client id");
        yes(m.host().contains("127.0.0.1"), "host " + m.host());
        eq(Set.of(tp(topic, 0), tp(topic, 1), tp(topic, 2)), m.assignment().topicPartitions(), "assignment");
        eq(member.groupMetadata().memberId(), m.consumerId(), "member id");
        if (!classic) {
          eq(Optional.of(m.assignment()), m.targetAssignment(), "target");
          eq(d.groupEpoch(), m.memberEpoch(), "member epoch");
          eq(d.groupEpoch(), d.targetAssignmentEpoch(), "target epoch");
        }
        var with = admin.describeConsumerGroups(List.of(group), new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true))
          .describedGroups().get(group).get();
        eq(Set.of(AclOperation.READ, AclOperation.DESCRIBE, AclOperation.DELETE, AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS),
          with.authorizedOperations(), "authorized operations");
      }
    });
    suite.add(area, "list: by state and by type", () -> {
      String topic = topic(1), group = name("g");
      GroupType mine = classic ? GroupType.CLASSIC : GroupType.CONSUMER;
      GroupType other = classic ? GroupType.CONSUMER : GroupType.CLASSIC;
      try (var member = settled(topic, group, protocol, 1)) {
        GroupListing listed = admin.listGroups().all().get().stream().filter(g -> g.groupId().equals(group)).findFirst().get();
        eq(Optional.of(GroupState.STABLE), listed.groupState(), "state");
        eq(Optional.of(mine), listed.type(), "type");
        eq("consumer", listed.protocol(), "protocol type");
        eq(true, ids(new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE))).contains(group), "among the stable");
        eq(false, ids(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).contains(group), "among the empty");
        eq(true, ids(new ListGroupsOptions().withTypes(Set.of(mine))).contains(group), "of its type");
        eq(false, ids(new ListGroupsOptions().withTypes(Set.of(other))).contains(group), "of the other type");
        eq(true, ids(ListGroupsOptions.forConsumerGroups()).contains(group), "among the consumer groups");
      }
      Suite.until("empty", () -> ids(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).contains(group));
    });
    suite.add(area, "alter offsets: refused while active, taken when empty", () -> {
      String topic = topic(2), group = name("g");
      fill(topic, 10);
      try (var member = settled(topic, group, protocol, 2)) {
        member.commitSync(Map.of(tp(topic, 0), new OffsetAndMetadata(1)));
        fails(UnknownMemberIdException.class, () -> alter(group, topic, 5));
      }
      Suite.until("taken", () -> {
        alter(group, topic, 5);
        return true;
      });
      eq(5L, offsets(group).get(tp(topic, 0)).offset(), "offset");
      try (var member = settled(topic, group, protocol, 2)) {
        eq(5L, member.committed(Set.of(tp(topic, 0))).get(tp(topic, 0)).offset(), "where a member goes on");
      }
    });
    suite.add(area, "delete offsets: refused for a topic subscribed to, done for another", () -> {
      String topic = topic(1), other = topic(1), group = name("g");
      try (var member = settled(topic, group, protocol, 1)) {
        member.commitSync(Map.of(tp(topic, 0), new OffsetAndMetadata(1), tp(other, 0), new OffsetAndMetadata(2)));
        fails(GroupSubscribedToTopicException.class,
          () -> admin.deleteConsumerGroupOffsets(group, Set.of(tp(topic, 0))).partitionResult(tp(topic, 0)).get());
        admin.deleteConsumerGroupOffsets(group, Set.of(tp(other, 0))).partitionResult(tp(other, 0)).get();
        eq(Set.of(tp(topic, 0)), offsets(group).keySet(), "what is left");
      }
      Suite.until("done when empty", () -> {
        admin.deleteConsumerGroupOffsets(group, Set.of(tp(topic, 0))).all().get();
        return offsets(group).isEmpty();
      });
    });
    suite.add(area, "delete group: refused with members, done when empty, gone after", () -> {
      String topic = topic(1), group = name("g");
      try (var member = settled(topic, group, protocol, 1)) {
        member.commitSync(Map.of(tp(topic, 0), new OffsetAndMetadata(1)));
        fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
      }
      Suite.until("deleted", () -> {
        admin.deleteConsumerGroups(List.of(group)).all().get();
        return true;
      });
      fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
      eq(false, ids(new ListGroupsOptions()).contains(group), "listed");
      eq(Map.of(), offsets(group), "offsets");
    });
    suite.add(area, "removeMembersFromConsumerGroup: a static one by name, then all", () -> {
      String topic = topic(2), group = name("g");
      var one = settled(topic, group, protocol, 2, "group.instance.id", "one");
      try {
        fails(KafkaException.class, () -> admin.removeMembersFromConsumerGroup(group,
          new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("nobody")))).all().get());
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("one")))).all().get();
        Suite.until("no members", () -> describe(group).members().isEmpty());
        // Put out, it would join again by itself.
        one.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(1)));
        Suite.until("no members", () -> describe(group).members().isEmpty());
        try (var two = settled(topic, group, protocol, 2)) {
          RemoveMembersFromConsumerGroupOptions all = new RemoveMembersFromConsumerGroupOptions();
          all.reason("the suite says so");
          admin.removeMembersFromConsumerGroup(group, all).all().get();
          eq(0, describe(group).members().size(), "members");
          // It joins again by itself.
          Suite.until("back", () -> {
            two.poll(Duration.ofMillis(100));
            return describe(group).members().size() == 1;
          });
        }
      } finally {
        one.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(1)));
      }
    });
    suite.add(area, "offsets of two groups in one call, all partitions and some", () -> {
      String topic = topic(3), a = name("g"), b = name("g");
      alterAll(a, Map.of(tp(topic, 0), new OffsetAndMetadata(1), tp(topic, 2), new OffsetAndMetadata(3)));
      alterAll(b, Map.of(tp(topic, 1), new OffsetAndMetadata(2)));
      var got = admin.listConsumerGroupOffsets(Map.of(a, new ListConsumerGroupOffsetsSpec(),
        b, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(tp(topic, 0), tp(topic, 1))))).all().get();
      eq(Set.of(tp(topic, 0), tp(topic, 2)), got.get(a).keySet(), "all of the first");
      eq(2L, got.get(b).get(tp(topic, 1)).offset(), "the second");
      eq(null, got.get(b).get(tp(topic, 0)), "one it never committed");
    });
    if (classic) {
      suite.add(area, "offsets of a group that does not exist are empty, without an error", () -> eq(Map.of(), offsets(name("none")), "offsets"));
      suite.add(area, "describe of a group that does not exist", () -> fails(GroupIdNotFoundException.class, () -> describe(name("none"))));
      suite.add(area, "describeClassicGroups with its protocol data", () -> {
        String topic = topic(2), group = name("g");
        try (var member = settled(topic, group, protocol, 2)) {
          ClassicGroupDescription d = admin.describeClassicGroups(List.of(group)).describedGroups().get(group).get();
          eq("consumer/range/STABLE", d.protocol() + "/" + d.protocolData() + "/" + d.state().name(), "described");
          eq(1, d.members().size(), "members");
        }
      });
      suite.add(area, "a simple group: offsets only", () -> {
        String topic = topic(1), group = name("g");
        alterAll(group, Map.of(tp(topic, 0), new OffsetAndMetadata(3, "m")));
        ConsumerGroupDescription d = describe(group);
        eq(GroupState.EMPTY, d.groupState(), "state");
        yes(d.isSimpleConsumerGroup(), "simple");
        eq("m", offsets(group).get(tp(topic, 0)).metadata(), "metadata");
      });
      suite.add(area, "offsets of an unknown topic are refused", () -> fails(UnknownTopicOrPartitionException.class,
        () -> alterAll(name("g"), Map.of(tp(name("none"), 0), new OffsetAndMetadata(3)))));
      suite.add(area, "deleting a topic deletes its committed offsets", () -> {
        String topic = topic(1), stays = topic(1), group = name("g");
        alterAll(group, Map.of(tp(topic, 0), new OffsetAndMetadata(3), tp(stays, 0), new OffsetAndMetadata(4)));
        admin.deleteTopics(List.of(topic)).all().get();
        Suite.until("only the other is left", () -> offsets(group).keySet().equals(Set.of(tp(stays, 0))));
      });
    } else {
      suite.add(area, "group configs: described with defaults, altered, refused out of bounds", () -> {
        ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, name("g"));
        ConfigEntry entry = entry(group, "consumer.session.timeout.ms");
        eq("45000", entry.value(), "default");
        ConfigCases.alter(group, "consumer.session.timeout.ms", "50000");
        Suite.until("altered", () -> "50000".equals(entry(group, "consumer.session.timeout.ms").value()));
        eq(ConfigEntry.ConfigSource.DYNAMIC_GROUP_CONFIG, entry(group, "consumer.session.timeout.ms").source(), "source");
        fails(KafkaException.class, () -> ConfigCases.alter(group, "consumer.session.timeout.ms", "1"));
        fails(InvalidConfigurationException.class, () -> ConfigCases.alter(group, "no.such.config", "1"));
        admin.incrementalAlterConfigs(Map.of(group, List.of(new AlterConfigOp(
          new ConfigEntry("consumer.session.timeout.ms", ""), AlterConfigOp.OpType.DELETE)))).all().get();
        Suite.until("back to the default", () -> "45000".equals(entry(group, "consumer.session.timeout.ms").value()));
      });
    }
  }

  static ConfigEntry entry(ConfigResource resource, String name) throws Exception {
    return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name);
  }

  private static KafkaConsumer<String, String> settled(String topic, String group, String protocol, int partitions, String... more) throws Exception {
    String[] settings = {"group.id", group, "group.protocol", protocol};
    String[] both = java.util.Arrays.copyOf(settings, settings.length + more.length);
    System.arraycopy(more, 0, both, settings.length, more.length);
    KafkaConsumer<String, String> member = consumer(both);
    member.subscribe(List.of(topic));
    Suite.until("an assignment", () -> {
      member.poll(Duration.ofMillis(100));
      return member.assignment().size() == partitions;
    });
    return member;
  }

  private static ConsumerGroupDescription describe(String group) throws Exception {
    return admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
  }

  private static Set<String> ids(ListGroupsOptions options) throws Exception {
    return admin.listGroups(options).all().get().stream().map(GroupListing::groupId).collect(Collectors.toSet());
  }

  private static void alter(String group, String topic, long offset) throws Exception {
    alterAll(group, Map.of(tp(topic, 0), new OffsetAndMetadata(offset)));
  }

  private static void alterAll(String group, Map<org.apache.kafka.common.TopicPartition, OffsetAndMetadata> offsets) throws Exception {
    admin.alterConsumerGroupOffsets(group, offsets).all().get();
  }

  private static Map<org.apache.kafka.common.TopicPartition, OffsetAndMetadata> offsets(String group) throws Exception {
    return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
  }

  private GroupAdminCases() {}
}
