//! Benchmarks: Nexmark queries over the real log, and the log itself over the Kafka port.
//!
//! Everything runs against a real `millstream server` in a child process, with the durability asked
//! for; CPU time and peak memory are the server's own, as the operating system counts them.

pub mod log;
pub mod nexmark;
pub mod oracle;
pub mod queries;

/// Right-aligned columns; the first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        for (text, width) in row.iter().zip(&widths) {
            out.push_str(&format!("{text:>width$}  "));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}
