//! A memory limit that the kernel enforces: a control group of its own for the server.
//!
//! Both kinds of groups are known, `/sys/fs/cgroup/memory` (version 1) and `/sys/fs/cgroup` with the
//! memory controller (version 2). Where neither may be written, as without root, there is none, and
//! the server's peak of resident memory is compared with the limit alone. What is over the limit and
//! cannot be reclaimed (the page cache can) makes the kernel kill the server.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group; it is removed with this value, which must outlive the process in it.
pub(super) struct MemoryLimit {
    folder: PathBuf,
}

impl MemoryLimit {
    /// Puts the process into a new group with this limit. `None` where this machine does not let us.
    pub(super) fn put(pid: u32, bytes: u64) -> Option<MemoryLimit> {
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .iter()
            .find_map(|(root, limit)| make(Path::new(root), limit, pid, bytes).ok())
    }

    /// How often the kernel found no memory to give, and killed for it.
    pub(super) fn kills(&self) -> u64 {
        let counted = ["memory.oom_control", "memory.events"]
            .iter()
            .find_map(|name| fs::read_to_string(self.folder.join(name)).ok());
        let text = counted.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

fn make(root: &Path, limit: &str, pid: u32, bytes: u64) -> std::io::Result<MemoryLimit> {
    let folder = root.join(format!("millstream-hostile-{pid}"));
    fs::create_dir(&folder)?;
    // From here on it is removed again whatever happens.
    let group = MemoryLimit { folder };
    // On a file system that is not one of groups, this file is not there.
    let set = fs::OpenOptions::new().write(true).open(group.folder.join(limit))?;
    std::io::Write::write_all(&mut &set, bytes.to_string().as_bytes())?;
    fs::write(group.folder.join("cgroup.procs"), pid.to_string())?;
    Ok(group)
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // A process that was just killed may still be counted in it.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
