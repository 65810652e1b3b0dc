//! What the files of a data directory say, as text: for people, and to compare with Kafka's own
//! `kafka-dump-log`, whose line format is used for Kafka's files.
//!
//! Nothing is changed or locked, so it works on the directory of a running server; a file that is
//! being written may end in the middle of a record, which is then named as the first damage.
//!
//! | file | here |
//! |---|---|
//! | `.log` | [`log`](self), each batch, on demand each record |
//! | `.index`, `.timeindex`, `.txnindex`, `.snapshot` | `side.rs` |
//! | `journal/*.journal` | `journal.rs`, each record of the node journal |

mod journal;
mod log;
mod side;
#[cfg(test)]
mod tests;

use std::io;

/// What of a file is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Each record, with key and value.
    pub records: bool,
    /// Compressed batches, too, are opened and their records checked.
    pub deep: bool,
}

/// A file to be read in parts.
pub trait Source {
    fn len(&self) -> io::Result<u64>;
    /// Up to `len` bytes from `position`; fewer only at the end of the file.
    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>>;
    /// A file beside it with another suffix, for comparison: the `.log` of an `.index`.
    fn beside(&self, suffix: &str) -> Option<Box<dyn Source>>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The place where a file stops being good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstDamage {
    pub position: u64,
    pub reason: String,
}

impl FirstDamage {
    fn new(position: u64, reason: impl Into<String>) -> FirstDamage {
        FirstDamage { position, reason: reason.into() }
    }
}

/// Is it a file that [`dump`] can read?
pub fn is_known(name: &str) -> bool {
    kind(name).is_some()
}

#[derive(Debug, Clone, Copy)]
enum FileKind {
    Log,
    Index,
    TimeIndex,
    TxnIndex,
    Snapshot,
    Journal,
}

fn kind(name: &str) -> Option<FileKind> {
    // Kafka's passing names keep the kind: `.log.cleaned`, `.log.swap`, `.log.deleted`.
    let name =
        [".cleaned", ".swap", ".deleted"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
    Some(match name.rsplit_once('.')?.1 {
        "log" => FileKind::Log,
        "index" => FileKind::Index,
        "timeindex" => FileKind::TimeIndex,
        "txnindex" => FileKind::TxnIndex,
        "snapshot" if name != "metadata.snapshot" => FileKind::Snapshot,
        "journal" => FileKind::Journal,
        _ => return None,
    })
}

/// Writes a file's content to `line`, one call per line. Gives the first damage, if there is some.
///
/// # Errors
/// When the file cannot be read, or `line` fails.
pub fn dump(
    name: &str,
    file: &dyn Source,
    options: Options,
    line: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<Option<FirstDamage>> {
    // The offset in the name, which Kafka's relative offsets count from.
    let base = name.split('.').next().and_then(|base| base.parse::<i64>().ok()).unwrap_or(0);
    match kind(name) {
        Some(FileKind::Log) => log::dump(base, file, options, line),
        Some(FileKind::Index) => side::index(base, file, line),
        Some(FileKind::TimeIndex) => side::time_index(base, file, line),
        Some(FileKind::TxnIndex) => side::txn_index(file, line),
        Some(FileKind::Snapshot) => side::snapshot(file, line),
        Some(FileKind::Journal) => journal::dump(file, options, line),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name} is none of .log, .index, .timeindex, .txnindex, .snapshot, .journal"),
        )),
    }
}

/// Bytes as text, what is not readable replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}
