//! From single measurements to the table: medians over the rounds, and how many times Kafka.

use super::super::table;
use super::Measured;

/// The measurements as a table.
pub fn report(measured: &[Measured]) -> String {
    let head = [
        "",
        "",
        "clients",
        "batch KiB",
        "broker",
        "seconds",
        "MB/s",
        "CPU s",
        "in kernel",
        "MB/CPU s",
        "p50 ms",
        "p99 ms",
        "e2e p50",
        "e2e p99",
        "peak MB",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for m in measured {
        rows.push(vec![
            m.pairing.clone(),
            m.what.clone(),
            m.clients.to_string(),
            m.batch_kib.to_string(),
            m.broker.to_owned(),
            format!("{:.2}", m.seconds),
            format!("{:.0}", m.mb_per_second),
            format!("{:.2}", m.cpu_seconds),
            format!("{:.2}", m.system_seconds),
            format!("{:.0}", m.mb_per_cpu_second),
            format!("{:.2}", m.p50_ms),
            format!("{:.2}", m.p99_ms),
            format!("{:.2}", m.end_to_end_p50_ms),
            format!("{:.2}", m.end_to_end_p99_ms),
            format!("{:.0}", m.peak_rss_mb),
        ]);
    }
    table(&rows)
}

/// One measurement of each kind of load and broker: the medians of its rounds.
pub fn summary(measured: &[Measured]) -> Vec<Measured> {
    let mut sums: Vec<Measured> = Vec::new();
    for m in measured {
        if sums.iter().any(|other| is_same(other, m)) {
            continue;
        }
        let rounds: Vec<&Measured> = measured.iter().filter(|other| is_same(other, m)).collect();
        let of = |field: fn(&Measured) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(|m| field(m)).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        sums.push(Measured {
            seconds: of(|m| m.seconds),
            mb_per_second: of(|m| m.mb_per_second),
            cpu_seconds: of(|m| m.cpu_seconds),
            system_seconds: of(|m| m.system_seconds),
            mb_per_cpu_second: of(|m| m.mb_per_cpu_second),
            p50_ms: of(|m| m.p50_ms),
            p99_ms: of(|m| m.p99_ms),
            end_to_end_p50_ms: of(|m| m.end_to_end_p50_ms),
            end_to_end_p99_ms: of(|m| m.end_to_end_p99_ms),
            peak_rss_mb: of(|m| m.peak_rss_mb),
            ..m.clone()
        });
    }
    sums
}

fn is_same(a: &Measured, b: &Measured) -> bool {
    is_same_load(a, b) && a.broker == b.broker
}

fn is_same_load(a: &Measured, b: &Measured) -> bool {
    a.pairing == b.pairing
        && a.what == b.what
        && a.clients == b.clients
        && a.batch_kib == b.batch_kib
}

/// Ours against Kafka's for each load both had, from medians: throughput, work per CPU second,
/// latencies, memory.
pub fn ratios(medians: &[Measured]) -> String {
    let head =
        ["", "", "clients", "batch KiB", "MB/s", "MB/CPU s", "p99", "e2e p99", "peak memory"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for ours in medians.iter().filter(|m| m.broker == "millstream") {
        let theirs = medians.iter().find(|m| m.broker == "kafka" && is_same_load(m, ours));
        let Some(theirs) = theirs else { continue };
        let times = |field: fn(&Measured) -> f64| match field(theirs) {
            0.0 => String::new(),
            kafka => format!("{:.3}×", field(ours) / kafka),
        };
        rows.push(vec![
            ours.pairing.clone(),
            ours.what.clone(),
            ours.clients.to_string(),
            ours.batch_kib.to_string(),
            times(|m| m.mb_per_second),
            times(|m| m.mb_per_cpu_second),
            times(|m| m.p99_ms),
            times(|m| m.end_to_end_p99_ms),
            times(|m| m.peak_rss_mb),
        ]);
    }
    match rows.len() {
        1 => String::new(),
        _ => format!("\nOurs as a multiple of Kafka's\n{}", table(&rows)),
    }
}
