package suites;

import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.Stores;

/**
 * `StreamsApp HOST:PORT TOPOLOGY APPLICATION_ID STATE_DIR PREFIX`: a Kafka Streams application with RocksDB and
 * exactly_once_v2, until it is killed. Its topics are `PREFIX-…`.
 */
public final class StreamsApp {
  public static void main(String[] args) {
    Properties props = new Properties();
    props.put("bootstrap.servers", args[0]);
    props.put("application.id", args[2]);
    props.put("state.dir", args[3]);
    props.put("processing.guarantee", "exactly_once_v2");
    props.put("replication.factor", "1");
    props.put("num.stream.threads", "2");
    props.put("commit.interval.ms", "200");
    // Every change of a count goes out, so that its versions are 1, 2, 3, …
    props.put("statestore.cache.max.bytes", "0");
    props.put("default.key.serde", Serdes.StringSerde.class);
    props.put("default.value.serde", Serdes.StringSerde.class);
    // Purges the repartition topic by DeleteRecords this often.
    props.put("repartition.purge.interval.ms", "2000");
    // A killed instance is given up soon.
    props.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "6000");
    props.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), "1000");
    props.put(StreamsConfig.mainConsumerPrefix("auto.offset.reset"), "earliest");
    // A changed subscription of metadata is seen soon (topics made by the driver).
    props.put("metadata.max.age.ms", "3000");
    KafkaStreams streams = new KafkaStreams(topology(args[1], args[4]), props);
    streams.setUncaughtExceptionHandler(error -> {
      System.out.println("a stream thread is replaced: " + error);
      return StreamThreadExceptionResponse.REPLACE_THREAD;
    });
    streams.setStateListener((now, before) -> System.out.println(before + " -> " + now));
    streams.start();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
  }

  private static Topology topology(String kind, String prefix) {
    StreamsBuilder builder = new StreamsBuilder();
    switch (kind) {
      case "words" -> builder.<String, String>stream(prefix + "-lines")
        .flatMapValues(line -> Arrays.asList(line.split(" ")))
        .selectKey((none, word) -> word)
        .groupByKey(Grouped.as("by-word"))
        .count(Named.as("counter"), Materialized.as(Stores.persistentKeyValueStore("counts")))
        .toStream().mapValues(String::valueOf).to(prefix + "-counts");
      case "windows" -> {
        // Sums per key and 10 s of event time, told once, when the window is closed.
        builder.<String, String>stream(prefix + "-numbers")
          .groupByKey()
          .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10)))
          .aggregate(() -> "0", (key, value, sum) -> "" + (Long.parseLong(sum) + Long.parseLong(value)),
            Materialized.<String, String>as(Stores.persistentWindowStore("sums", Duration.ofMinutes(10), Duration.ofSeconds(10), false))
              .withKeySerde(Serdes.String()).withValueSerde(Serdes.String()))
          .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
          .toStream((window, sum) -> window.key() + "@" + window.window().start())
          .to(prefix + "-sums");
        // Left and right within 5 s of each other.
        KStream<String, String> left = builder.stream(prefix + "-left");
        KStream<String, String> right = builder.stream(prefix + "-right");
        left.join(right, (l, r) -> l + "+" + r, JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5)), StreamJoined.as("pairs"))
          .to(prefix + "-pairs");
        // A table keyed by order, each with its customer: joined by foreign key (two more internal topics).
        KTable<String, String> orders = builder.table(prefix + "-orders", Consumed.as("orders"));
        KTable<String, String> customers = builder.table(prefix + "-customers", Consumed.as("customers"));
        orders.join(customers, order -> order.split(":")[0], (order, customer) -> order.split(":")[1] + " for " + customer)
          .toStream().to(prefix + "-named", Produced.as("named"));
      }
      default -> throw new IllegalArgumentException(kind);
    }
    return builder.build();
  }

  private StreamsApp() {}
}
