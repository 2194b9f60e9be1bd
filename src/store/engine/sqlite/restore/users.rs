//! Finds the other processes that have a file open.

use std::path::Path;

use crate::store::file_id::FileId;

/// The other processes that have the file open, as far as this user may see them: `1234 (sqlite3)`.
///
/// A connection that has not read yet holds no lock, and would go on with a file that is no longer at its path.
pub(super) fn of(file: &Path) -> Vec<String> {
    let Ok(id) = FileId::of(file) else { return Vec::new() };
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let others = pids.filter(|&pid| pid != std::process::id());
    others.filter(|&pid| has_open(pid, id)).map(|pid| format!("{pid} ({})", name(pid))).collect()
}

fn has_open(pid: u32, id: FileId) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| FileId::of(&descriptor.path()).is_ok_and(|found| found == id))
}

fn name(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}
