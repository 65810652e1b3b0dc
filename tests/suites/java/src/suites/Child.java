package suites;

import java.io.File;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A process the suite starts, kills with SIGKILL and starts again: the server, an application, a worker. */
final class Child implements AutoCloseable {
  private final List<String> command;
  private final File log;
  private Process process;
  int starts;
  int kills;

  Child(List<String> command, File log) {
    this.command = command;
    this.log = log;
  }

  /** A class of this project in a JVM of its own. */
  static Child java(String main, File log, String... args) {
    List<String> command = new ArrayList<>(List.of(
      System.getProperty("java.home") + "/bin/java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
      "-Dorg.slf4j.simpleLogger.defaultLogLevel=" + System.getProperty("child.log", "warn"), "-Dorg.slf4j.simpleLogger.showDateTime=true",
      "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
      "-cp", System.getProperty("java.class.path"), main));
    command.addAll(List.of(args));
    return new Child(command, log);
  }

  synchronized void start() throws Exception {
    process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log)).start();
    starts++;
  }

  /** SIGKILL, and waits until it is gone. False when it had ended by itself before. */
  synchronized boolean kill() throws Exception {
    boolean alive = process.isAlive();
    process.destroyForcibly().waitFor();
    if (alive) kills++;
    return alive;
  }

  /** SIGTERM, and SIGKILL if that does not help for 30 s. True when SIGTERM did. */
  synchronized boolean stop() throws Exception {
    process.destroy();
    boolean ended = process.waitFor(30, TimeUnit.SECONDS);
    process.destroyForcibly().waitFor();
    return ended;
  }

  synchronized boolean alive() {
    return process != null && process.isAlive();
  }

  /** Starts it and waits until `hostPort` takes connections. */
  void startListening(String hostPort) throws Exception {
    start();
    int colon = hostPort.lastIndexOf(':');
    Suite.until(hostPort + " answers (see " + log + ")", 60, () -> {
      if (!alive()) throw new IllegalStateException("it has ended");
      try (Socket socket = new Socket()) {
        socket.connect(new InetSocketAddress(hostPort.substring(0, colon), Integer.parseInt(hostPort.substring(colon + 1))), 500);
        return true;
      }
    });
  }

  @Override
  public synchronized void close() throws Exception {
    if (process != null) process.destroyForcibly().waitFor();
  }
}
