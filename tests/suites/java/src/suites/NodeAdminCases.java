package suites;

import static suites.Cluster.admin;
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
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.errors.BrokerIdNotRegisteredException;
import org.apache.kafka.common.errors.UnsupportedByAuthenticationException;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.LogDirNotFoundException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.ResourceNotFoundException;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

/** The node itself, and what one node cannot do: a proper error each. */
final class NodeAdminCases {
  static void add(Suite suite) {
    String area = "node admin";
    suite.add(area, "describeCluster: id, one node, controller, operations, fenced brokers", () -> {
      var cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
      yes(cluster.clusterId().get().length() == 22, "cluster id " + cluster.clusterId().get());
      eq(1, cluster.nodes().get().size(), "nodes");
      Node node = cluster.nodes().get().iterator().next();
      eq(Cluster.at, node.host() + ":" + node.port(), "where it is");
      eq(node.id(), cluster.controller().get().id(), "controller");
      eq(Set.of(AclOperation.CREATE, AclOperation.ALTER, AclOperation.DESCRIBE, AclOperation.CLUSTER_ACTION, AclOperation.DESCRIBE_CONFIGS,
          AclOperation.ALTER_CONFIGS, AclOperation.IDEMPOTENT_WRITE),
        cluster.authorizedOperations().get(), "operations");
      eq(1, admin.describeCluster(new DescribeClusterOptions().includeFencedBrokers(true)).nodes().get().size(), "with fenced ones");
      eq(cluster.clusterId().get(), admin.describeCluster().clusterId().get(), "the id again");
    });
    suite.add(area, "describeMetadataQuorum: this node leads alone", () -> {
      QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
      eq(node(), quorum.leaderId(), "leader");
      eq(1, quorum.voters().size(), "voters");
      eq(node(), quorum.voters().get(0).replicaId(), "the voter");
      yes(quorum.leaderEpoch() >= 0 && quorum.highWatermark() >= 0, "epoch and high watermark");
    });
    suite.add(area, "describeLogDirs: sizes, totals, the same directory for all", () -> {
      String topic = topic(2);
      fill(topic, 100);
      Map<String, LogDirDescription> dirs = admin.describeLogDirs(List.of(node())).allDescriptions().get().get(node());
      eq(1, dirs.size(), "directories");
      LogDirDescription dir = dirs.values().iterator().next();
      eq(null, dir.error(), "error");
      yes(dir.totalBytes().getAsLong() > dir.usableBytes().getAsLong() && dir.usableBytes().getAsLong() > 0, "volume sizes");
      yes(dir.replicaInfos().get(tp(topic, 0)).size() > 300, "size");
      eq(0L, dir.replicaInfos().get(tp(topic, 1)).size(), "size of the empty one");
      eq(0L, dir.replicaInfos().get(tp(topic, 0)).offsetLag(), "lag");
      eq(false, dir.replicaInfos().get(tp(topic, 0)).isFuture(), "future");
      TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, node());
      var info = admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
      eq(dirs.keySet().iterator().next(), info.getCurrentReplicaLogDir(), "the replica's directory");
    });
    suite.add(area, "alterReplicaLogDirs to a directory that is not there", () -> fails(LogDirNotFoundException.class,
      () -> admin.alterReplicaLogDirs(Map.of(new TopicPartitionReplica(topic(1), 0, node()), "/no/such/dir")).all().get()));
    suite.add(area, "electLeaders: not needed, and of an unknown partition", () -> {
      String topic = topic(1), none = name("none");
      var got = admin.electLeaders(ElectionType.PREFERRED, Set.of(tp(topic, 0), tp(none, 0))).partitions().get();
      yes(got.get(tp(topic, 0)).get() instanceof ElectionNotNeededException, "preferred: " + got);
      yes(got.get(tp(none, 0)).get() instanceof UnknownTopicOrPartitionException, "unknown: " + got);
      yes(admin.electLeaders(ElectionType.UNCLEAN, Set.of(tp(topic, 0))).partitions().get().get(tp(topic, 0)).get()
        instanceof ElectionNotNeededException, "unclean");
    });
    suite.add(area, "reassignments: none listed, to itself is done, elsewhere and cancel are refused", () -> {
      String topic = topic(1);
      eq(Map.of(), admin.listPartitionReassignments().reassignments().get(), "listed");
      eq(Map.of(), admin.listPartitionReassignments(Set.of(tp(topic, 0))).reassignments().get(), "listed for one");
      admin.alterPartitionReassignments(Map.of(tp(topic, 0), Optional.of(new NewPartitionReassignment(List.of(node()))))).all().get();
      fails(InvalidReplicaAssignmentException.class, () -> admin.alterPartitionReassignments(
        Map.of(tp(topic, 0), Optional.of(new NewPartitionReassignment(List.of(777))))).all().get());
      fails(NoReassignmentInProgressException.class, () -> admin.alterPartitionReassignments(Map.of(tp(topic, 0), Optional.empty())).all().get());
      fails(UnknownTopicOrPartitionException.class, () -> admin.alterPartitionReassignments(
        Map.of(tp(name("none"), 0), Optional.of(new NewPartitionReassignment(List.of(node()))))).all().get());
    });
    suite.add(area, "quotas: set, described by exact and default entity, removed", () -> {
      String user = name("user");
      ClientQuotaEntity entity = new ClientQuotaEntity(Map.of("user", user));
      admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(
        new ClientQuotaAlteration.Op("producer_byte_rate", 1_000_000.0), new ClientQuotaAlteration.Op("consumer_byte_rate", 2_000_000.0))))).all().get();
      ClientQuotaFilter mine = ClientQuotaFilter.containsOnly(List.of(ClientQuotaFilterComponent.ofEntity("user", user)));
      Suite.until("set", () -> Map.of("producer_byte_rate", 1_000_000.0, "consumer_byte_rate", 2_000_000.0)
        .equals(admin.describeClientQuotas(mine).entities().get().get(entity)));
      yes(admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().containsKey(entity), "among all");
      eq(Map.of(), admin.describeClientQuotas(ClientQuotaFilter.containsOnly(List.of(ClientQuotaFilterComponent.ofDefaultEntity("user"))))
        .entities().get(), "the default user");
      admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(
        new ClientQuotaAlteration.Op("producer_byte_rate", null), new ClientQuotaAlteration.Op("consumer_byte_rate", null))))).all().get();
      Suite.until("removed", () -> admin.describeClientQuotas(mine).entities().get().isEmpty());
      fails(Exception.class, () -> admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(
        new ClientQuotaAlteration.Op("no_such_rate", 1.0))))).all().get());
    });
    suite.add(area, "SCRAM credentials: set, described, deleted, unknown user", () -> {
      String user = name("user");
      eq(false, admin.describeUserScramCredentials().all().get().containsKey(user), "not there yet");
      admin.alterUserScramCredentials(List.of(
        new UserScramCredentialUpsertion(user, new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), "secret"))).all().get();
      Suite.until("described", () -> admin.describeUserScramCredentials(List.of(user)).description(user).get().credentialInfos()
        .equals(List.of(new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096))));
      admin.alterUserScramCredentials(List.of(new UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512))).all().get();
      Suite.until("deleted", () -> !admin.describeUserScramCredentials().all().get().containsKey(user));
      fails(ResourceNotFoundException.class, () -> admin.describeUserScramCredentials(List.of(user)).description(user).get());
      fails(ResourceNotFoundException.class, () -> admin.alterUserScramCredentials(
        List.of(new UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512))).all().get());
    });
    suite.add(area, "ACLs without an authorizer are SECURITY_DISABLED", () -> fails(SecurityDisabledException.class,
      () -> admin.describeAcls(AclBindingFilter.ANY).values().get()));
    suite.add(area, "delegation tokens are refused on a plain listener", () -> fails(UnsupportedByAuthenticationException.class,
      () -> admin.describeDelegationToken().delegationTokens().get()));
    suite.add(area, "unregisterBroker of a broker that is not registered", () -> fails(BrokerIdNotRegisteredException.class,
      () -> admin.unregisterBroker(777).all().get()));
    suite.add(area, "telemetry: the client is told that there is none, or gets an id", () -> {
      try {
        yes(!admin.clientInstanceId(Duration.ofSeconds(10)).equals(org.apache.kafka.common.Uuid.ZERO_UUID), "an id");
      } catch (UnsupportedVersionException | IllegalStateException e) {
        // Kafka without a telemetry reporter does not announce the API.
      } catch (org.apache.kafka.common.KafkaException e) {
        yes(e.getCause() instanceof UnsupportedVersionException, "refused politely, not " + e);
      }
    });
  }

  private static int node() throws Exception {
    return admin.describeCluster().nodes().get().iterator().next().id();
  }

  private NodeAdminCases() {}
}
