//! This process: its limits, and the clock of this machine.

use kv::limits;
use rustix::process::{Resource, getrlimit};

use super::Finding;

/// The start of 2024: no version of kv is older.
const OLDEST_S: i64 = 1_704_067_200;

pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![descriptors()];
    if let Some(bytes) = getrlimit(Resource::Fsize).current {
        findings.push(Finding::warning(
            "limits",
            format!("a file may not grow beyond {bytes} bytes (ulimit -f)"),
            "ulimit -f unlimited; a daemon keeps the limit under which it was started",
        ));
    }
    if jiff::Timestamp::now().as_second() < OLDEST_S {
        findings.push(Finding::warning(
            "clock",
            format!("the clock of this machine says {}", jiff::Timestamp::now()),
            "set it: records, locks and leases carry its time",
        ));
    }
    findings
}

fn descriptors() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    let text = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let message = format!("{} open files, at most {}", text(limit.current), text(limit.maximum));
    match limit.maximum {
        Some(maximum) if maximum < limits::OPEN_FILES_LOW => {
            Finding::warning("limits", message, "ulimit -n: each connection of a daemon takes one")
        }
        _ => Finding::ok("limits", message),
    }
}
