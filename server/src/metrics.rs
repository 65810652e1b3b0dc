//! `GET /metrics`: the node's counters in OpenMetrics text, which Prometheus reads.
//!
//! Names are stable. Labels are bounded: one series per query, none per partition or client.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream_connectors::session::Node;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the server itself counts; the node counts the rest.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: AtomicU64,
    refused: AtomicU64,
    pushed: AtomicU64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueryLabel {
    query: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    query: String,
    state: String,
}

impl Metrics {
    /// A `/ksql` request: how many statements were answered, and whether one was refused.
    pub fn statements(&self, answered: usize, refused: bool) {
        self.answers.fetch_add(answered as u64, Ordering::Relaxed);
        self.refused.fetch_add(u64::from(refused), Ordering::Relaxed);
    }

    pub fn pushed_rows(&self, rows: usize) {
        self.pushed.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// The page, made anew from the counters at each call.
    pub fn encode(&self, node: &Node) -> String {
        let mut registry = Registry::default();
        for (name, help, value) in node.metrics().counters() {
            // The registry appends `_total` itself.
            count(&mut registry, name.trim_end_matches("_total"), help.trim_end_matches('.'), value);
        }
        let own = [
            ("millstream_http_statements", "Statements answered over HTTP", &self.answers),
            ("millstream_http_statement_errors", "Statements refused over HTTP", &self.refused),
            ("millstream_http_pushed_rows", "Rows sent to push queries", &self.pushed),
        ];
        for (name, help, counter) in own {
            count(&mut registry, name, help, counter.load(Ordering::Relaxed));
        }
        queries(&mut registry, node);
        storage(&mut registry, node);
        let mut page = String::new();
        if let Err(e) = encode(&mut page, &registry) {
            // Writing to a String fails only if a label refuses to be text; say so instead of a half page.
            page.clear();
            let _ = writeln!(page, "# metrics could not be written: {e}");
        }
        page
    }
}

fn count(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn storage(registry: &mut Registry, node: &Node) {
    let broker = node.broker();
    let damaged = i64::try_from(broker.damaged().len()).unwrap_or(i64::MAX);
    let values = [
        ("millstream_storage_full", "1 while the disk is full and producers are refused", i64::from(broker.full().is_some())),
        ("millstream_damaged_partitions", "Partitions with bad or missing records, which are read-only", damaged),
    ];
    for (name, help, value) in values {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    let help = "Segments synced ahead of the journal, for batches with durability os that lie there only";
    count(registry, "millstream_placed_syncs", help, broker.placed_syncs());
}

fn queries(registry: &mut Registry, node: &Node) {
    let rows_in = Family::<QueryLabel, Counter>::default();
    let rows_out = Family::<QueryLabel, Counter>::default();
    let states = Family::<StateLabel, Gauge>::default();
    for (query, state, taken, given) in node.query_metrics() {
        let label = QueryLabel { query: query.clone() };
        rows_in.get_or_create(&label).inc_by(taken);
        rows_out.get_or_create(&label).inc_by(given);
        states.get_or_create(&StateLabel { query, state }).set(1);
    }
    registry.register("millstream_query_rows_in", "Rows a query took in", rows_in);
    registry.register("millstream_query_rows_out", "Rows a query gave out", rows_out);
    registry.register("millstream_query_state", "1 for the state a query is in", states);
}
