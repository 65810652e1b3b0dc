package suites;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * The runner of the client script: named cases, each a real check of values, each with a time limit.
 *
 * Prints `ok: name` or `FAIL: name: why`, and at the end `N passed, N failed`, the line the ratchet reads.
 * Cases of different areas run side by side (most of a group's case is waiting); a case shares nothing with another:
 * its topics, groups and transactional ids are its own (Cluster.name).
 */
final class Suite {
  interface Body {
    void run() throws Exception;
  }

  private static final int LIMIT_SECONDS = 120;
  private static final int AREAS_AT_ONCE = 6;

  private final Map<String, Map<String, Body>> areas = new LinkedHashMap<>();
  private final String only;
  private int passed;
  private final List<String> failed = new ArrayList<>();

  /** `only`: run just the cases whose `area: name` contains this; empty for all. */
  Suite(String only) {
    this.only = only;
  }

  void add(String area, String name, Body body) {
    String full = area + ": " + name;
    if (!full.contains(only)) return;
    if (areas.computeIfAbsent(area, a -> new LinkedHashMap<>()).put(full, body) != null) {
      throw new IllegalStateException("two cases are called " + full);
    }
  }

  /** Runs everything; true when nothing failed. */
  boolean run() throws Exception {
    ExecutorService pool = daemons(AREAS_AT_ONCE);
    List<Future<?>> running = new ArrayList<>();
    for (Map<String, Body> cases : areas.values()) {
      running.add(pool.submit(() -> cases.forEach(this::one)));
    }
    for (Future<?> area : running) area.get();
    for (String name : failed) System.out.println("failed: " + name);
    System.out.println(passed + " passed, " + failed.size() + " failed");
    return failed.isEmpty();
  }

  private void one(String name, Body body) {
    long start = System.nanoTime();
    ExecutorService alone = daemons(1);
    Future<?> future = alone.submit((Callable<Void>) () -> {
      body.run();
      return null;
    });
    String why = null;
    try {
      future.get(LIMIT_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      why = describe(e.getCause());
    } catch (TimeoutException e) {
      why = "no end after " + LIMIT_SECONDS + " s";
      future.cancel(true);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    } finally {
      alone.shutdown();
    }
    long millis = (System.nanoTime() - start) / 1_000_000;
    synchronized (this) {
      if (why == null) {
        passed++;
        System.out.println("ok: " + name + " (" + millis + " ms)");
      } else {
        failed.add(name);
        System.out.println("FAIL: " + name + " (" + millis + " ms): " + why);
      }
    }
  }

  private static ExecutorService daemons(int threads) {
    return Executors.newFixedThreadPool(threads, task -> {
      Thread thread = new Thread(task);
      thread.setDaemon(true);
      return thread;
    });
  }

  /** The exception with its causes and the line of ours it passed through last. */
  private static String describe(Throwable error) {
    StringBuilder out = new StringBuilder();
    for (Throwable e = error; e != null; e = e.getCause()) {
      if (out.length() > 0) out.append(" <- ");
      out.append(e.getClass().getSimpleName()).append(": ").append(e.getMessage());
    }
    for (StackTraceElement frame : error.getStackTrace()) {
      if (frame.getClassName().startsWith("suites.") && !frame.getClassName().startsWith("suites.Suite")) {
        out.append(" at ").append(frame.getFileName()).append(':').append(frame.getLineNumber());
        break;
      }
    }
    return out.toString().replace('\n', ' ');
  }

  // ---- what a case says

  static void eq(Object want, Object got, String what) {
    if (!Objects.equals(want, got)) throw new AssertionError(what + ": want " + cut(want) + ", got " + cut(got));
  }

  static void yes(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  /** The body must throw `kind`, directly or as a cause. Returns it. */
  static <E extends Throwable> E fails(Class<E> kind, Body body) {
    try {
      body.run();
    } catch (Throwable error) {
      for (Throwable e = error; e != null; e = e.getCause()) if (kind.isInstance(e)) return kind.cast(e);
      throw new AssertionError("want " + kind.getSimpleName() + ", got " + describe(error), error);
    }
    throw new AssertionError("want " + kind.getSimpleName() + ", got no error");
  }

  /** Waits until `holds`; a condition that throws counts as one that does not hold. */
  static void until(String what, Callable<Boolean> holds) throws Exception {
    until(what, 30, holds);
  }

  static void until(String what, int seconds, Callable<Boolean> holds) throws Exception {
    long end = System.nanoTime() + seconds * 1_000_000_000L;
    Throwable last = null;
    while (System.nanoTime() < end) {
      try {
        if (holds.call()) return;
        last = null;
      } catch (InterruptedException e) {
        throw e;
      } catch (Exception | AssertionError e) {
        last = e;
      }
      Thread.sleep(50);
    }
    throw new AssertionError("not within " + seconds + " s: " + what, last);
  }

  private static String cut(Object value) {
    String text = String.valueOf(value);
    return text.length() > 300 ? text.substring(0, 300) + "…" : text;
  }
}
