package suites;

import static suites.Cluster.admin;
import static suites.Cluster.committed;
import static suites.Cluster.end;
import static suites.Cluster.name;
import static suites.Cluster.topic;
import static suites.Cluster.tp;
import static suites.Cluster.transactional;
import static suites.Suite.eq;
import static suites.Suite.fails;
import static suites.Suite.yes;

import java.util.Collection;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;

/** What an admin client sees of transactions and does to them. */
final class TransactionAdminCases {
  static void add(Suite suite) {
    String area = "transaction admin";
    suite.add(area, "describeTransactions through a transaction's life", () -> {
      String id = name("tx"), topic = topic(2);
      long before = System.currentTimeMillis();
      try (var producer = transactional(id, "transaction.timeout.ms", "54321")) {
        eq(TransactionState.EMPTY, describe(id).state(), "state at first");
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 1, "k", "v")).get();
        TransactionDescription open = describe(id);
        eq(TransactionState.ONGOING, open.state(), "state when open");
        eq(Set.of(tp(topic, 1)), open.topicPartitions(), "partitions");
        eq(54321L, open.transactionTimeoutMs(), "timeout");
        yes(open.transactionStartTimeMs().getAsLong() >= before - 1000, "start time");
        producer.commitTransaction();
        Suite.until("complete", () -> describe(id).state() == TransactionState.COMPLETE_COMMIT);
        eq(Set.of(), describe(id).topicPartitions(), "partitions after");
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
        producer.abortTransaction();
        Suite.until("aborted", () -> describe(id).state() == TransactionState.COMPLETE_ABORT);
      }
    });
    suite.add(area, "describeTransactions of an unknown id", () -> fails(TransactionalIdNotFoundException.class, () -> describe(name("none"))));
    suite.add(area, "listTransactions: by state, producer id, duration and pattern", () -> {
      String stem = name("list"), topic = topic(1);
      try (var open = transactional(stem + "-open"); var done = transactional(stem + "-done")) {
        open.beginTransaction();
        open.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
        TransactionCases.round(done, topic, true, "w");
        Suite.until("complete", () -> describe(stem + "-done").state() == TransactionState.COMPLETE_COMMIT);
        eq(Set.of("open", "done"), listed(stem, new ListTransactionsOptions()), "all");
        eq(Set.of("open"), listed(stem, new ListTransactionsOptions().filterStates(List.of(TransactionState.ONGOING))), "ongoing");
        eq(Set.of("done"), listed(stem, new ListTransactionsOptions().filterStates(List.of(TransactionState.COMPLETE_COMMIT))), "complete");
        long pid = describe(stem + "-open").producerId();
        eq(Set.of("open"), listed(stem, new ListTransactionsOptions().filterProducerIds(List.of(pid))), "by producer id");
        eq(Set.of(), listed(stem, new ListTransactionsOptions().filterOnDuration(3_600_000)), "longer than an hour");
        Suite.until("the open one is older than 300 ms",
          () -> listed(stem, new ListTransactionsOptions().filterOnDuration(300)).contains("open"));
        eq(Set.of("done"), listed(stem, new ListTransactionsOptions().filterOnTransactionalIdPattern(stem + "-d.*")), "by pattern");
        Collection<TransactionListing> all = admin.listTransactions().all().get();
        TransactionListing one = all.stream().filter(t -> t.transactionalId().equals(stem + "-open")).findFirst().get();
        eq(pid, one.producerId(), "producer id listed");
        eq(TransactionState.ONGOING, one.state(), "state listed");
        open.abortTransaction();
      }
    });
    suite.add(area, "a pattern that is no regular expression is refused", () -> fails(KafkaException.class,
      () -> admin.listTransactions(new ListTransactionsOptions().filterOnTransactionalIdPattern("(")).all().get()));
    suite.add(area, "describeProducers: idempotent and transactional, open and ended", () -> {
      String topic = topic(1), id = name("tx");
      try (var plain = Cluster.producer(); var producer = transactional(id)) {
        for (int i = 0; i < 3; i++) plain.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
        producer.send(new ProducerRecord<>(topic, 0, "k", "w")).get();
        long pid = describe(id).producerId();
        List<ProducerState> states = states(topic);
        eq(2, states.size(), "producers");
        ProducerState mine = states.stream().filter(s -> s.producerId() == pid).findFirst().get();
        eq(OptionalLong.of(3), mine.currentTransactionStartOffset(), "start offset");
        eq(1, mine.lastSequence(), "last sequence");
        eq(describe(id).producerEpoch(), mine.producerEpoch(), "epoch");
        yes(Math.abs(mine.lastTimestamp() - System.currentTimeMillis()) < 60_000, "last timestamp");
        ProducerState other = states.stream().filter(s -> s.producerId() != pid).findFirst().get();
        eq(2, other.lastSequence(), "the idempotent one's sequence");
        eq(OptionalLong.empty(), other.currentTransactionStartOffset(), "no transaction");
        producer.commitTransaction();
        Suite.until("the end", () -> {
          ProducerState after = states(topic).stream().filter(s -> s.producerId() == pid).findFirst().get();
          eq(OptionalLong.empty(), after.currentTransactionStartOffset(), "start offset after the end");
          return after.coordinatorEpoch().isPresent();
        });
      }
    });
    suite.add(area, "abortTransaction frees the last stable offset", () -> {
      String topic = topic(1), id = name("tx");
      var hanging = transactional(id);
      TransactionCases.round(hanging, topic, true, "first");
      hanging.beginTransaction();
      hanging.send(new ProducerRecord<>(topic, 0, "k", "hangs")).get();
      try (var other = transactional(name("tx"))) {
        TransactionCases.round(other, topic, true, "behind");
        eq(2L, end("read_committed", topic), "held back");
        ProducerState state = states(topic).stream().filter(s -> s.currentTransactionStartOffset().isPresent()).findFirst().get();
        fails(InvalidProducerEpochException.class, () -> admin.abortTransaction(
          new AbortTransactionSpec(tp(topic, 0), state.producerId(), (short) (state.producerEpoch() - 1), 0)).all().get());
        admin.abortTransaction(new AbortTransactionSpec(tp(topic, 0), state.producerId(), (short) state.producerEpoch(),
          state.coordinatorEpoch().orElse(0))).all().get();
        Suite.until("free", () -> end("read_committed", topic) == 6);
        eq(List.of("first", "behind"), committed(topic), "records");
      }
      hanging.close(java.time.Duration.ZERO);
    });
    suite.add(area, "forceTerminateTransaction ends it and fences the producer", () -> {
      String topic = topic(1), id = name("tx");
      try (var producer = transactional(id)) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
        admin.forceTerminateTransaction(id).result().get();
        Suite.until("aborted", () -> end("read_committed", topic) == 2);
        yes(TransactionCases.fenced(fails(KafkaException.class, producer::commitTransaction)), "fenced");
      }
    });
    suite.add(area, "fenceProducers: new epochs, open transaction aborted, producer fenced", () -> {
      String topic = topic(1), id = name("tx"), fresh = name("tx");
      try (var producer = transactional(id)) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
        int epoch = describe(id).producerEpoch();
        var result = admin.fenceProducers(List.of(id, fresh));
        result.all().get();
        eq(describe(id).producerId(), result.producerId(id).get(), "producer id");
        yes(result.epochId(id).get() > epoch, "epoch " + result.epochId(id).get() + " after " + epoch);
        yes(result.producerId(fresh).get() >= 0, "an id never used gets a producer id");
        Suite.until("aborted", () -> end("read_committed", topic) == 2);
        yes(TransactionCases.fenced(fails(KafkaException.class, producer::commitTransaction)), "fenced");
      }
    });
    suite.add(area, "findHanging: what the transactions tool asks, on a node with nothing hanging", () -> {
      String topic = topic(1), id = name("tx");
      try (var producer = transactional(id)) {
        TransactionCases.round(producer, topic, true, "v");
        for (ProducerState state : states(topic)) eq(OptionalLong.empty(), state.currentTransactionStartOffset(), "open transactions");
        Suite.until("state", () -> describe(id).state() == TransactionState.COMPLETE_COMMIT);
      }
    });
  }

  private static TransactionDescription describe(String id) throws Exception {
    return admin.describeTransactions(List.of(id)).description(id).get();
  }

  private static List<ProducerState> states(String topic) throws Exception {
    return admin.describeProducers(List.of(tp(topic, 0))).partitionResult(tp(topic, 0)).get().activeProducers();
  }

  /** What follows `stem-` in the ids listed. */
  private static Set<String> listed(String stem, ListTransactionsOptions options) throws Exception {
    return admin.listTransactions(options).all().get().stream().map(TransactionListing::transactionalId)
      .filter(t -> t.startsWith(stem + "-")).map(t -> t.substring(stem.length() + 1)).collect(java.util.stream.Collectors.toSet());
  }

  private TransactionAdminCases() {}
}
