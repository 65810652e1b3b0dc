package suites;

import static suites.Suite.eq;
import static suites.Suite.yes;

import java.nio.ByteBuffer;
import java.util.EnumSet;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.FeatureMetadata;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.common.message.ApiVersionsResponseData.ApiVersion;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.requests.ApiVersionsRequest;
import org.apache.kafka.common.requests.ApiVersionsResponse;

/** What the server says it can do: version ranges and features. */
final class ProtocolCases {
  /** Kafka's own client-facing APIs that issue 3 leaves out: share groups, streams groups and the Raft voters' own. */
  private static final Set<ApiKeys> LEFT_OUT = EnumSet.of(
    ApiKeys.SHARE_GROUP_HEARTBEAT, ApiKeys.SHARE_GROUP_DESCRIBE, ApiKeys.SHARE_FETCH, ApiKeys.SHARE_ACKNOWLEDGE,
    ApiKeys.INITIALIZE_SHARE_GROUP_STATE, ApiKeys.READ_SHARE_GROUP_STATE, ApiKeys.WRITE_SHARE_GROUP_STATE,
    ApiKeys.DELETE_SHARE_GROUP_STATE, ApiKeys.READ_SHARE_GROUP_STATE_SUMMARY, ApiKeys.DESCRIBE_SHARE_GROUP_OFFSETS,
    ApiKeys.ALTER_SHARE_GROUP_OFFSETS, ApiKeys.DELETE_SHARE_GROUP_OFFSETS, ApiKeys.STREAMS_GROUP_HEARTBEAT,
    ApiKeys.STREAMS_GROUP_DESCRIBE, ApiKeys.ADD_RAFT_VOTER, ApiKeys.REMOVE_RAFT_VOTER,
    // Kafka itself leaves these two out when no reporter takes telemetry.
    ApiKeys.GET_TELEMETRY_SUBSCRIPTIONS, ApiKeys.PUSH_TELEMETRY);

  static void add(Suite suite) {
    suite.add("protocol", "every client API is served in this client's version range", () -> {
      TreeMap<String, String> want = new TreeMap<>();
      TreeMap<String, String> got = new TreeMap<>();
      ApiVersionsResponse answer = ask(4);
      for (ApiKeys key : ApiKeys.brokerApis()) {
        if (LEFT_OUT.contains(key) || key.toApiVersion(false).isEmpty()) continue;
        // Produce 0-2 are announced and refused (KAFKA-18659).
        int oldest = key == ApiKeys.PRODUCE ? 0 : key.oldestVersion();
        String range = oldest + "-" + key.latestVersion(false);
        ApiVersion served = answer.apiVersion(key.id);
        String is = served == null ? "none" : served.minVersion() + "-" + served.maxVersion();
        if (!range.equals(is)) {
          want.put(key.name, range);
          got.put(key.name, is);
        }
      }
      eq(want, got, "ranges that differ");
    });
    suite.add("protocol", "an unknown ApiVersions version is answered in version 0 with error 35 and the list", () -> {
      try (Wire wire = new Wire()) {
        // One byte: the header's empty tag section, as every flexible version has it.
        ByteBuffer answer = wire.raw(ApiKeys.API_VERSIONS, 99, new byte[1]);
        eq(1, answer.getInt(), "correlation id");
        eq((short) 35, answer.getShort(), "error code");
        int entries = answer.getInt();
        yes(entries >= 1 && answer.remaining() == entries * 6, "a version 0 list: " + entries + " entries in " + answer.remaining());
        boolean found = false;
        for (int i = 0; i < entries; i++) {
          short key = answer.getShort(), min = answer.getShort(), max = answer.getShort();
          if (key == ApiKeys.API_VERSIONS.id) {
            found = true;
            eq("0-4", min + "-" + max, "ApiVersions range");
          }
        }
        yes(found, "ApiVersions lists itself");
        // The connection lives on.
        eq((short) 0, wire.<ApiVersionsResponse>ask(new ApiVersionsRequest.Builder().build((short) 3)).data().errorCode(), "next");
      }
    });
    suite.add("protocol", "transaction.version 2 and group.version 1 are finalized", () -> {
      FeatureMetadata features = Cluster.admin.describeFeatures().featureMetadata().get();
      eq((short) 2, features.finalizedFeatures().get("transaction.version").maxVersionLevel(), "transaction.version");
      eq((short) 1, features.finalizedFeatures().get("group.version").maxVersionLevel(), "group.version");
      eq((short) 0, features.supportedFeatures().get("transaction.version").minVersion(), "supported from");
      eq((short) 2, features.supportedFeatures().get("transaction.version").maxVersion(), "supported to");
      yes(features.finalizedFeaturesEpoch().isPresent(), "an epoch of the features");
    });
    suite.add("protocol", "ApiVersions 3 masks features whose minimum is 0", () -> {
      Set<String> seen = ask(3).data().supportedFeatures().stream()
        .filter(f -> f.minVersion() == 0).map(f -> f.name()).collect(Collectors.toSet());
      eq(Set.of(), seen, "features with minimum 0 in version 3");
      Set<String> full = ask(4).data().supportedFeatures().stream().map(f -> f.name()).collect(Collectors.toSet());
      yes(full.containsAll(Set.of("transaction.version", "group.version")), "version 4 has them: " + full);
    });
    suite.add("protocol", "a bad client software name is refused with INVALID_REQUEST", () -> {
      try (Wire wire = new Wire()) {
        ApiVersionsRequest request = new ApiVersionsRequest.Builder().build((short) 3);
        request.data().setClientSoftwareName("bad name!").setClientSoftwareVersion("1");
        eq((short) 42, wire.<ApiVersionsResponse>ask(request).data().errorCode(), "error code");
      }
    });
    suite.add("protocol", "features cannot go past what is supported", () -> Suite.fails(
      org.apache.kafka.common.errors.InvalidUpdateVersionException.class,
      () -> Cluster.admin.updateFeatures(
        java.util.Map.of("transaction.version", new FeatureUpdate((short) 9, FeatureUpdate.UpgradeType.UPGRADE)),
        new UpdateFeaturesOptions().validateOnly(true)).all().get()));
  }

  private static ApiVersionsResponse ask(int version) throws Exception {
    try (Wire wire = new Wire()) {
      return wire.ask(new ApiVersionsRequest.Builder().build((short) version));
    }
  }

  private ProtocolCases() {}
}
