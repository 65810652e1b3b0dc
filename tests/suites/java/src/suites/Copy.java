package suites;

import static suites.Cluster.tp;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/**
 * `Copy HOST:PORT FROM TO GROUP PROTOCOL`: read, process, write with the stock client, exactly once. Two workers of one
 * group, each with its own transactional id; some transactions are aborted on purpose. Runs until it is killed; the
 * driver (CopySuite) also kills the server under it.
 */
public final class Copy {
  public static void main(String[] args) throws Exception {
    Cluster.at = args[0];
    Thread[] workers = new Thread[2];
    for (int i = 0; i < workers.length; i++) {
      String id = args[3] + "-" + i;
      workers[i] = new Thread(() -> {
        while (true) {
          try {
            work(args[1], args[2], args[3], args[4], id);
          } catch (Exception e) {
            // A fatal client error (fenced, lost its place in the group): the worker starts over with new clients.
            System.out.println(id + " starts over: " + e);
          }
        }
      });
      workers[i].start();
    }
    for (Thread worker : workers) worker.join();
  }

  private static void work(String from, String to, String group, String protocol, String id) {
    // The KIP-848 session is the server's and at least 45 s long unless set for the group; the driver sets it.
    String[] session = protocol.equals("classic")
      ? new String[] {"session.timeout.ms", "6000", "heartbeat.interval.ms", "1000"} : new String[] {"client.id", id};
    Random random = new Random();
    try (KafkaConsumer<String, String> consumer = Cluster.consumer("group.id", group, "group.protocol", protocol,
            "isolation.level", "read_committed", "max.poll.records", "300", session[0], session[1]);
        KafkaProducer<String, String> producer = Cluster.producer("transactional.id", id, "transaction.timeout.ms", "20000",
            "max.block.ms", "60000", "delivery.timeout.ms", "60000")) {
      producer.initTransactions();
      consumer.subscribe(List.of(from));
      while (true) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(500));
        if (records.isEmpty()) continue;
        try {
          producer.beginTransaction();
          Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
          for (ConsumerRecord<String, String> r : records) {
            producer.send(new ProducerRecord<>(to, r.partition(), r.key(), r.value()));
            next.put(tp(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
          }
          producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
          if (random.nextInt(10) == 0) throw new KafkaException("an abort on purpose");
          producer.commitTransaction();
        } catch (org.apache.kafka.common.errors.ProducerFencedException
            | org.apache.kafka.common.errors.OutOfOrderSequenceException
            | org.apache.kafka.common.errors.AuthorizationException
            | org.apache.kafka.common.errors.InvalidProducerEpochException e) {
          throw e;
        } catch (KafkaException e) {
          producer.abortTransaction();
          for (TopicPartition p : consumer.assignment()) {
            OffsetAndMetadata at = consumer.committed(java.util.Set.of(p)).get(p);
            consumer.seek(p, at == null ? 0 : at.offset());
          }
        }
      }
    }
  }

  private Copy() {}
}
