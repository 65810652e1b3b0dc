//! What a fuzzer calls: each decoder of bytes that come from the network or from the disk, as a
//! function of bytes, with well-formed inputs to start from.
//!
//! A target must return, whatever the bytes: it asserts what must hold besides (no output beyond its
//! budget, what was read reads the same again). `fuzz/` runs them under libFuzzer with coverage; the
//! test here runs all seeds, cut and changed, in every `cargo test`.

mod log;
mod node;
mod text;

use std::path::Path;
use std::{fs, io};

/// A target: its name, the function, and what to start from.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target. `fuzz/fuzz_targets/<name>.rs` exists for each; a test checks it.
pub const TARGETS: [Target; 11] = [
    Target { name: "request", run: node::request, seeds: node::request_seeds },
    Target { name: "data_directory", run: node::data_directory, seeds: node::directory_seeds },
    Target { name: "record_batch", run: log::record_batch, seeds: log::batch_seeds },
    Target { name: "decompress", run: log::decompress, seeds: log::compressed_seeds },
    Target { name: "dump", run: log::dump, seeds: log::dump_seeds },
    Target { name: "group_protocol", run: log::group_protocol, seeds: log::protocol_seeds },
    Target { name: "scram", run: log::scram, seeds: log::scram_seeds },
    Target { name: "format_json", run: text::json, seeds: text::json_seeds },
    Target { name: "format_delimited", run: text::delimited, seeds: text::delimited_seeds },
    Target { name: "format_kafka", run: text::kafka, seeds: text::kafka_seeds },
    Target { name: "sql", run: text::sql, seeds: text::sql_seeds },
];

/// Writes each target's seeds into a folder of its name, a file each.
///
/// # Errors
/// When a folder or file cannot be written.
pub fn write_seeds(folder: &Path) -> io::Result<()> {
    for target in &TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (n, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:04}")), seed)?;
        }
    }
    Ok(())
}

/// Runs the target of this name: what the fuzzer's entry points call.
///
/// # Panics
/// When there is no such target, or it found something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(data);
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Of each target. The fuzzer does millions; this keeps the targets themselves alive.
    const CHANGED: usize = 600;

    #[test]
    fn every_target_takes_its_seeds_cut_and_changed() {
        for target in &TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            let mut rng = StdRng::seed_from_u64(7);
            for seed in &seeds {
                (target.run)(seed);
            }
            for _ in 0..CHANGED {
                let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
                for _ in 0..rng.random_range(1..4) {
                    if bytes.is_empty() {
                        break;
                    }
                    let at = rng.random_range(0..bytes.len());
                    match rng.random_range(0..4) {
                        0 => bytes.truncate(at),
                        1 => bytes[at] = 0xff,
                        2 => bytes[at] ^= 1 << rng.random_range(0..8),
                        _ => bytes.insert(at, rng.random()),
                    }
                }
                (target.run)(&bytes);
            }
        }
    }

    #[test]
    fn each_target_has_its_entry_point() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz_targets");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .expect("fuzz targets")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        found.sort();
        let mut wanted: Vec<String> = TARGETS.iter().map(|t| format!("{}.rs", t.name)).collect();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}
