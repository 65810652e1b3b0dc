//! `millstream dump-log`: what the files of a data directory say.
//!
//! Reads only, takes no lock: the server may run. A directory stands for the files in it, and below it.
//! Ends with exit code 1 when a file is damaged, after all were shown.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use millstream_storage::dump::{self, Options, Source};

use crate::cli::DumpLogArgs;

/// # Errors
/// When a file cannot be read or is not one that is known.
pub fn run(args: &DumpLogArgs) -> io::Result<i32> {
    let options = Options { records: args.records, deep: args.deep };
    let mut files = Vec::new();
    for path in &args.files {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        return Err(io::Error::other(
            "there is nothing to show: name .log, .index, .timeindex, .txnindex, .snapshot or .journal files, \
             or a directory that holds some",
        ));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = show_all(&files, options, &mut out).and_then(|damaged| {
        out.flush()?;
        Ok(i32::from(damaged > 0))
    });
    match shown {
        // `| head` has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        shown => shown,
    }
}

fn show_all(files: &[PathBuf], options: Options, out: &mut impl Write) -> io::Result<usize> {
    let mut damaged = 0;
    for path in files {
        writeln!(out, "Dumping {}", path.display())?;
        let file = OnDisk { file: File::open(path).map_err(|e| about(path, &e))?, path: path.clone() };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let damage = dump::dump(&name, &file, options, &mut |line| writeln!(out, "{line}"));
        if let Some(damage) = damage.map_err(|e| about(path, &e))? {
            damaged += 1;
            writeln!(out, "DAMAGED from byte {}: {}", damage.position, damage.reason)?;
        }
    }
    Ok(damaged)
}

/// Files as named; of a directory those that are known, in order.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|e| about(path, &e))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            collect(&path, files)?;
        } else if dump::is_known(&name) {
            files.push(path);
        }
    }
    Ok(())
}

fn about(path: &Path, e: &io::Error) -> io::Error {
    // The pipe's end is no trouble with the file.
    match e.kind() {
        io::ErrorKind::BrokenPipe => io::Error::from(io::ErrorKind::BrokenPipe),
        kind => io::Error::new(kind, format!("{}: {e}", path.display())),
    }
}

struct OnDisk {
    file: File,
    path: PathBuf,
}

impl Source for OnDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.file.read_at(&mut bytes[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn beside(&self, suffix: &str) -> Option<Box<dyn Source>> {
        let path = self.path.with_extension(suffix);
        let file = File::open(&path).ok()?;
        Some(Box::new(OnDisk { file, path }))
    }
}
