package suites;

/** `ClientSuite HOST:PORT [part of a case's name]`: the Java 4.x client script. Exit code 0 when every case passed. */
public final class ClientSuite {
  public static void main(String[] args) throws Exception {
    Cluster.connect(args[0]);
    Suite suite = new Suite(args.length > 1 ? args[1] : "");
    ProtocolCases.add(suite);
    ProducerCases.add(suite);
    ConsumerCases.add(suite);
    TransactionCases.add(suite);
    OldTransactionCases.add(suite);
    TransactionAdminCases.add(suite);
    for (String protocol : new String[] {"classic", "consumer"}) {
      GroupCases.add(suite, protocol);
      GroupAdminCases.add(suite, protocol);
    }
    TopicAdminCases.add(suite);
    ConfigCases.add(suite);
    NodeAdminCases.add(suite);
    boolean green = suite.run();
    // Clients of cases that ran into their limit may still hold threads.
    System.out.flush();
    Runtime.getRuntime().halt(green ? 0 : 1);
  }
}
