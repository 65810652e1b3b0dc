package suites;

import static suites.Cluster.consumer;
import static suites.Cluster.fill;
import static suites.Cluster.name;
import static suites.Cluster.producer;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** Consumer groups by either protocol, `classic` or `consumer` (KIP-848). */
final class GroupCases {
  private static final Map<String, String> CLASSIC_ASSIGNORS = Map.of(
    "range", "org.apache.kafka.clients.consumer.RangeAssignor",
    "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor",
    "sticky", "org.apache.kafka.clients.consumer.StickyAssignor",
    "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

  /** Members of one group, polled in turn by the case's own thread. */
  private static final class Members implements AutoCloseable {
    final List<KafkaConsumer<String, String>> all = new ArrayList<>();
    final List<String> values = new ArrayList<>();

    KafkaConsumer<String, String> join(String topic, String group, String protocol, String... more) {
      String[] settings = {"group.id", group, "group.protocol", protocol};
      String[] both = Arrays.copyOf(settings, settings.length + more.length);
      System.arraycopy(more, 0, both, settings.length, more.length);
      KafkaConsumer<String, String> member = consumer(both);
      member.subscribe(List.of(topic));
      all.add(member);
      return member;
    }

    void poll() {
      for (KafkaConsumer<String, String> member : all) {
        for (ConsumerRecord<String, String> r : member.poll(Duration.ofMillis(50))) values.add(r.value());
      }
    }

    /** Polls until every partition has one owner and the members own these many partitions (in any order). */
    void settle(int partitions, Integer... want) throws Exception {
      String[] last = {""};
      try {
        Suite.until("an assignment", () -> {
          poll();
          List<Integer> sizes = new ArrayList<>();
          Set<TopicPartition> owned = new java.util.HashSet<>();
          for (KafkaConsumer<String, String> member : all) {
            sizes.add(member.assignment().size());
            owned.addAll(member.assignment());
          }
          sizes.sort(null);
          last[0] = sizes + " of " + owned.size();
          return sizes.equals(Arrays.asList(want)) && owned.size() == partitions;
        });
      } catch (AssertionError e) {
        throw new AssertionError("want " + Arrays.asList(want) + " over " + partitions + ", last was " + last[0], e.getCause());
      }
    }

    @Override
    public void close() {
      for (KafkaConsumer<String, String> member : all) member.close(CloseOptions.timeout(Duration.ofSeconds(3)));
    }
  }

  static void add(Suite suite, String protocol) {
    String area = protocol + " groups";
    boolean classic = protocol.equals("classic");
    List<String> assignors = classic ? List.of("range", "roundrobin", "sticky", "cooperative-sticky") : List.of("uniform", "range");
    for (String assignor : assignors) {
      suite.add(area, assignor + ": one, two, three members, one leaves", () -> rebalance(protocol, assignor));
    }
    suite.add(area, "no record is lost or read twice over joins and leaves with commits", () -> handover(protocol));
    suite.add(area, "commits: sync, async, metadata, leader epoch, of one partition", () -> {
      String topic = topic(2), group = name("g");
      fill(topic, 10);
      try (Members members = new Members()) {
        var member = members.join(topic, group, protocol);
        members.settle(2, 2);
        eq(null, member.committed(Set.of(tp(topic, 0))).get(tp(topic, 0)), "before");
        member.commitSync(Map.of(tp(topic, 0), new OffsetAndMetadata(4, java.util.Optional.of(0), "naïve ✓")));
        OffsetAndMetadata got = member.committed(Set.of(tp(topic, 0), tp(topic, 1))).get(tp(topic, 0));
        eq("4/naïve ✓", got.offset() + "/" + got.metadata(), "after commitSync");
        boolean[] called = {false};
        member.commitAsync(Map.of(tp(topic, 1), new OffsetAndMetadata(0)), (offsets, error) -> called[0] = error == null);
        Suite.until("the callback", () -> {
          members.poll();
          return called[0];
        });
        eq(0L, member.committed(Set.of(tp(topic, 1))).get(tp(topic, 1)).offset(), "after commitAsync");
      }
    });
    suite.add(area, "auto commit on close, then the next goes on from there", () -> {
      String topic = topic(1), group = name("g");
      fill(topic, 10);
      try (var first = consumer("group.id", group, "group.protocol", protocol, "enable.auto.commit", "true")) {
        first.subscribe(List.of(topic));
        eq(10, ConsumerCases.take(first, 10).size(), "records");
      }
      try (var producer = producer()) {
        producer.send(new ProducerRecord<>(topic, 0, "k", "next")).get();
      }
      try (var second = consumer("group.id", group, "group.protocol", protocol)) {
        second.subscribe(List.of(topic));
        eq("next", ConsumerCases.first(second).value(), "first record of the second");
      }
    });
    suite.add(area, "static membership: a restart keeps its partitions and nobody else notices", () -> statics(protocol));
    suite.add(area, "static membership: two of one group.instance.id", () -> twins(protocol));
    suite.add(area, "a member that dies is replaced after its session", () -> dies(protocol));
    suite.add(area, "a member that does not poll is put out after max.poll.interval.ms and comes back", () -> slow(protocol));
    suite.add(area, "a group over two topics, one of them with more partitions later", () -> {
      String a = topic(2), b = topic(2), group = name("g");
      try (var one = consumer("group.id", group, "group.protocol", protocol, "metadata.max.age.ms", "1000")) {
        one.subscribe(List.of(a, b));
        Suite.until("4 partitions", () -> {
          one.poll(Duration.ofMillis(100));
          return one.assignment().size() == 4;
        });
        Cluster.admin.createPartitions(Map.of(b, org.apache.kafka.clients.admin.NewPartitions.increaseTo(5))).all().get();
        Suite.until("7 partitions", () -> {
          one.poll(Duration.ofMillis(100));
          return one.assignment().size() == 7;
        });
        one.subscribe(List.of(b));
        Suite.until("5 partitions after a new subscription", () -> {
          one.poll(Duration.ofMillis(100));
          return one.assignment().size() == 5;
        });
      }
    });
    suite.add(area, "members with different subscriptions", () -> {
      String a = topic(2), b = topic(2), group = name("g");
      try (Members members = new Members()) {
        var one = members.join(a, group, protocol);
        var two = members.join(b, group, protocol);
        members.settle(4, 2, 2);
        yes(one.assignment().stream().allMatch(p -> p.topic().equals(a)), "the first has only its own: " + one.assignment());
        yes(two.assignment().stream().allMatch(p -> p.topic().equals(b)), "the second has only its own: " + two.assignment());
      }
    });
    suite.add(area, "more members than partitions", () -> {
      String topic = topic(2), group = name("g");
      try (Members members = new Members()) {
        for (int i = 0; i < 4; i++) members.join(topic, group, protocol);
        members.settle(2, 0, 0, 1, 1);
      }
    });
    suite.add(area, "unsubscribe gives the partitions to the other", () -> {
      String topic = topic(4), group = name("g");
      try (Members members = new Members()) {
        var one = members.join(topic, group, protocol);
        members.join(topic, group, protocol);
        members.settle(4, 2, 2);
        one.unsubscribe();
        members.all.remove(one);
        members.settle(4, 4);
        one.close();
      }
    });
    suite.add(area, "a java.util.regex subscription finds a topic made later", () -> {
      String stem = name("rx"), group = name("g");
      Cluster.admin.createTopics(List.of(new org.apache.kafka.clients.admin.NewTopic(stem + "-a", 1, (short) 1))).all().get();
      try (var one = consumer("group.id", group, "group.protocol", protocol, "metadata.max.age.ms", "1000")) {
        one.subscribe(Pattern.compile(stem + "-[ab]"));
        finds(one, stem);
      }
    });
    if (!classic) {
      suite.add(area, "a server-side regex (RE2) finds a topic made later", () -> {
        String stem = name("re2"), group = name("g");
        Cluster.admin.createTopics(List.of(new org.apache.kafka.clients.admin.NewTopic(stem + "-a", 1, (short) 1))).all().get();
        try (var one = consumer("group.id", group, "group.protocol", protocol)) {
          one.subscribe(new SubscriptionPattern(stem + "-[ab]"));
          finds(one, stem);
        }
      });
      suite.add(area, "a server-side regex that is none is refused", () -> {
        try (var one = consumer("group.id", name("g"), "group.protocol", protocol)) {
          one.subscribe(new SubscriptionPattern("[oops"));
          fails(org.apache.kafka.common.errors.InvalidRegularExpression.class, () -> {
            for (int i = 0; i < 20; i++) one.poll(Duration.ofMillis(250));
          });
        }
      });
      suite.add(area, "an assignor the server does not have is UNSUPPORTED_ASSIGNOR", () -> {
        try (var one = consumer("group.id", name("g"), "group.protocol", protocol, "group.remote.assignor", "nonesuch")) {
          one.subscribe(List.of(topic(1)));
          fails(org.apache.kafka.common.errors.UnsupportedAssignorException.class, () -> {
            for (int i = 0; i < 20; i++) one.poll(Duration.ofMillis(250));
          });
        }
      });
      suite.add(area, "a classic group is taken over by consumer members, one by one, and back", GroupCases::migrate);
    } else {
      suite.add(area, "assignors with nothing in common are INCONSISTENT_GROUP_PROTOCOL", () -> {
        String topic = topic(2), group = name("g");
        try (Members members = new Members()) {
          members.join(topic, group, protocol, "partition.assignment.strategy", CLASSIC_ASSIGNORS.get("range"));
          members.settle(2, 2);
          try (var odd = consumer("group.id", group, "partition.assignment.strategy", CLASSIC_ASSIGNORS.get("roundrobin"))) {
            odd.subscribe(List.of(topic));
            fails(org.apache.kafka.common.errors.InconsistentGroupProtocolException.class, () -> {
              for (int i = 0; i < 20; i++) odd.poll(Duration.ofMillis(250));
            });
          }
        }
      });
      suite.add(area, "a session timeout outside the server's bounds is INVALID_SESSION_TIMEOUT", () -> {
        try (var one = consumer("group.id", name("g"), "session.timeout.ms", "100", "heartbeat.interval.ms", "30")) {
          one.subscribe(List.of(topic(1)));
          fails(org.apache.kafka.common.errors.InvalidSessionTimeoutException.class, () -> {
            for (int i = 0; i < 20; i++) one.poll(Duration.ofMillis(250));
          });
        }
      });
    }
    suite.add(area, "a group id that is empty is refused", () -> fails(KafkaException.class, () -> {
      try (var one = consumer("group.id", "", "group.protocol", protocol)) {
        one.subscribe(List.of(topic(1)));
        for (int i = 0; i < 20; i++) one.poll(Duration.ofMillis(250));
      }
    }));
  }

  private static void finds(KafkaConsumer<String, String> one, String stem) throws Exception {
    Suite.until("the first", () -> {
      one.poll(Duration.ofMillis(100));
      return one.assignment().equals(Set.of(tp(stem + "-a", 0)));
    });
    Cluster.admin.createTopics(List.of(
      new org.apache.kafka.clients.admin.NewTopic(stem + "-b", 1, (short) 1),
      new org.apache.kafka.clients.admin.NewTopic(stem + "-c", 1, (short) 1))).all().get();
    Suite.until("the one made later", () -> {
      one.poll(Duration.ofMillis(100));
      return one.assignment().equals(Set.of(tp(stem + "-a", 0), tp(stem + "-b", 0)));
    });
  }

  private static String[] assignor(String protocol, String assignor) {
    return protocol.equals("classic")
      ? new String[] {"partition.assignment.strategy", CLASSIC_ASSIGNORS.get(assignor)}
      : new String[] {"group.remote.assignor", assignor};
  }

  private static void rebalance(String protocol, String assignor) throws Exception {
    String topic = topic(6), group = name("g");
    String[] how = assignor(protocol, assignor);
    try (Members members = new Members()) {
      members.join(topic, group, protocol, how);
      members.settle(6, 6);
      members.join(topic, group, protocol, how);
      members.settle(6, 3, 3);
      if (assignor.equals("range")) {
        for (var member : members.all) {
          List<Integer> mine = member.assignment().stream().map(TopicPartition::partition).sorted().toList();
          yes(mine.equals(List.of(0, 1, 2)) || mine.equals(List.of(3, 4, 5)), "a range: " + mine);
        }
      }
      members.join(topic, group, protocol, how);
      members.settle(6, 2, 2, 2);
      members.all.remove(0).close();
      members.settle(6, 3, 3);
      members.all.remove(0).close();
      members.settle(6, 6);
    }
  }

  private static void handover(String protocol) throws Exception {
    String topic = topic(6), group = name("g");
    int n = 3000;
    try (Members members = new Members(); var producer = producer()) {
      int sent = 0;
      for (int round = 0; round < 6; round++) {
        for (int i = 0; i < n / 6; i++, sent++) producer.send(new ProducerRecord<>(topic, sent % 6, "k", "" + sent));
        producer.flush();
        if (round % 2 == 0 || members.all.size() < 2) {
          members.join(topic, group, protocol);
        } else {
          var leaving = members.all.remove(0);
          leaving.commitSync();
          leaving.close();
        }
        long end = System.nanoTime() + 700_000_000L;
        while (System.nanoTime() < end) {
          for (var member : members.all) {
            List<String> got = new ArrayList<>();
            for (ConsumerRecord<String, String> r : member.poll(Duration.ofMillis(30))) got.add(r.value());
            if (got.isEmpty()) continue;
            try {
              member.commitSync();
              members.values.addAll(got);
            } catch (CommitFailedException e) {
              // The partitions went to another member before the commit: it reads these again.
            } catch (org.apache.kafka.common.errors.RebalanceInProgressException e) {
              // Still the owner, but must rejoin first; the next commit covers these.
              members.values.addAll(got);
            }
          }
        }
      }
      Suite.until("all " + n + " records, have " + members.values.size(), () -> {
        members.poll();
        for (var member : members.all) {
          try {
            member.commitSync();
          } catch (KafkaException e) {
            // A rebalance: the next round.
          }
        }
        return new java.util.HashSet<>(members.values).size() == n;
      });
      // Twice only what a failed commit handed to another member.
      yes(members.values.size() <= n + n / 6, members.values.size() + " reads of " + n + " records");
      Map<TopicPartition, OffsetAndMetadata> offsets = Cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
      for (int p = 0; p < 6; p++) eq((long) n / 6, offsets.get(tp(topic, p)).offset(), "committed offset of " + p);
    }
  }

  private static void statics(String protocol) throws Exception {
    String topic = topic(4), group = name("g");
    int[] revoked = {0};
    var listener = new org.apache.kafka.clients.consumer.ConsumerRebalanceListener() {
      @Override
      public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        revoked[0] += partitions.size();
      }

      @Override
      public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}
    };
    try (Members members = new Members()) {
      var stays = members.join(topic, group, protocol, "group.instance.id", "stays");
      stays.subscribe(List.of(topic), listener);
      var goes = members.join(topic, group, protocol, "group.instance.id", "goes");
      members.settle(4, 2, 2);
      Set<TopicPartition> mine = new java.util.HashSet<>(goes.assignment());
      revoked[0] = 0;
      // A static member does not leave when it closes.
      members.all.remove(goes);
      goes.close();
      for (int i = 0; i < 20; i++) members.poll();
      var back = members.join(topic, group, protocol, "group.instance.id", "goes");
      members.settle(4, 2, 2);
      eq(mine, back.assignment(), "the same partitions");
      eq(0, revoked[0], "partitions the other had to give up");
    }
  }

  private static void twins(String protocol) throws Exception {
    String topic = topic(2), group = name("g");
    try (Members members = new Members()) {
      var first = members.join(topic, group, protocol, "group.instance.id", "twin");
      members.settle(2, 2);
      try (var second = consumer("group.id", group, "group.protocol", protocol, "group.instance.id", "twin")) {
        second.subscribe(List.of(topic));
        if (protocol.equals("classic")) {
          // The newer one takes the place; the older is fenced.
          fails(org.apache.kafka.common.errors.FencedInstanceIdException.class, () -> {
            for (int i = 0; i < 60; i++) {
              second.poll(Duration.ofMillis(100));
              first.poll(Duration.ofMillis(100));
            }
          });
          members.all.clear();
          first.close(CloseOptions.timeout(Duration.ofSeconds(1)));
        } else {
          // The place is taken until it is given up.
          fails(org.apache.kafka.common.errors.UnreleasedInstanceIdException.class, () -> {
            for (int i = 0; i < 60; i++) {
              second.poll(Duration.ofMillis(100));
              first.poll(Duration.ofMillis(100));
            }
          });
          eq(2, first.assignment().size(), "the first keeps its partitions");
        }
      }
    }
  }

  private static void dies(String protocol) throws Exception {
    String topic = topic(2), group = name("g");
    boolean classic = protocol.equals("classic");
    if (!classic) {
      // KIP-848: the session is the server's, per group.
      ConfigCases.alter(new org.apache.kafka.common.config.ConfigResource(org.apache.kafka.common.config.ConfigResource.Type.GROUP, group),
        "consumer.session.timeout.ms", "45000");
    }
    String[] session = classic ? new String[] {"session.timeout.ms", "6000", "heartbeat.interval.ms", "1000"} : new String[0];
    try (Members members = new Members()) {
      var dies = members.join(topic, group, protocol, session);
      members.join(topic, group, protocol, session);
      members.settle(2, 1, 1);
      members.all.remove(dies);
      long start = System.nanoTime();
      if (classic) {
        dies.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP));
        members.settle(2, 2);
        long took = (System.nanoTime() - start) / 1_000_000;
        yes(took > 3000 && took < 20_000, "taken over after " + took + " ms of a 6 s session");
      } else {
        // Its shortest session is 45 s: here it says that it leaves.
        dies.close();
        members.settle(2, 2);
      }
    }
  }

  private static void slow(String protocol) throws Exception {
    String topic = topic(2), group = name("g");
    fill(topic, 3);
    try (Members members = new Members()) {
      var slow = members.join(topic, group, protocol, "max.poll.interval.ms", "3000");
      members.settle(2, 2);
      members.join(topic, group, protocol);
      members.all.remove(slow);
      // Only the second polls: the first gives up its place.
      members.settle(2, 2);
      fails(CommitFailedException.class, () -> slow.commitSync(Map.of(tp(topic, 0), new OffsetAndMetadata(1))));
      members.all.add(slow);
      members.settle(2, 1, 1);
    }
  }

  private static void migrate() throws Exception {
    String topic = topic(4), group = name("g");
    fill(topic, 40);
    try (Members members = new Members()) {
      var a = members.join(topic, group, "classic");
      var b = members.join(topic, group, "classic");
      members.settle(4, 2, 2);
      Suite.until("all read", () -> {
        members.poll();
        return members.values.size() == 40;
      });
      a.commitSync();
      b.commitSync();
      members.join(topic, group, "consumer");
      members.settle(4, 1, 1, 2);
      members.all.remove(a);
      a.close();
      members.settle(4, 2, 2);
      members.all.remove(b);
      b.close();
      members.settle(4, 4);
      eq("Consumer", Cluster.admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get().type().toString(), "type");
      members.join(topic, group, "classic");
      members.settle(4, 2, 2);
      members.all.remove(0).close();
      members.settle(4, 4);
      eq(40, members.values.size(), "nothing was read twice");
      eq("Classic", Cluster.admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get().type().toString(), "type");
    }
  }

  private GroupCases() {}
}
