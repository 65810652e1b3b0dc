//! Stand-in for `bindgen`, patched in so that librocksdb-sys needs no libclang.
//!
//! It hands out one file, `rocksdb.rs.txt`, that the real bindgen made from the `rocksdb/c.h`
//! of the librocksdb-sys version in Cargo.lock; `regenerate.sh` makes it anew when that moves.
//! It knows nothing else and fails for every other header.

use std::io;
use std::path::Path;

const ROCKSDB: &str = include_str!("rocksdb.rs.txt");

/// The part of `bindgen::Builder` that librocksdb-sys calls. The settings are those the
/// checked-in file was made with, so only the header is looked at.
#[derive(Default)]
pub struct Builder {
    header: String,
}

/// The pre-made bindings.
pub struct Bindings(&'static str);

impl Builder {
    pub fn header(mut self, header: impl Into<String>) -> Self {
        self.header = header.into();
        self
    }

    pub fn derive_debug(self, _: bool) -> Self {
        self
    }

    pub fn blocklist_type(self, _: impl AsRef<str>) -> Self {
        self
    }

    pub fn ctypes_prefix(self, _: impl Into<String>) -> Self {
        self
    }

    pub fn size_t_is_usize(self, _: bool) -> Self {
        self
    }

    /// # Errors
    /// When the header is not RocksDB's C interface.
    pub fn generate(self) -> Result<Bindings, String> {
        if self.header.ends_with("rocksdb/c.h") {
            Ok(Bindings(ROCKSDB))
        } else {
            Err(format!("no pre-made bindings for {}", self.header))
        }
    }
}

impl Bindings {
    /// # Errors
    /// When the file cannot be written.
    pub fn write_to_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.0)
    }
}
