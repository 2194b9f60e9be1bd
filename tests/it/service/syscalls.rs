//! What the units take away from the daemon is nothing that it needs.

use std::collections::BTreeSet;

use super::stand_in::Manager;
use crate::support::{Kv, wait_until};

/// The system calls of a set of systemd, with those of the sets in it.
fn members(kv: &Kv, set: &str) -> BTreeSet<String> {
    let listed = kv.ok(&format!("systemd-analyze syscall-filter --no-pager {set}"));
    let names =
        listed.lines().skip(1).map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#'));
    names
        .flat_map(
            |name| if name.starts_with('@') { members(kv, name) } else { BTreeSet::from([name.to_owned()]) },
        )
        .collect()
}

/// By strace, while every kind of work is done.
#[test]
fn the_daemon_makes_no_system_call_that_its_unit_forbids() {
    let unit = include_str!("../../../systemd/kv.service");
    assert!(unit.contains("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n"));
    assert!(unit.contains("MemoryDenyWriteExecute=yes\n"));
    let kv = Kv::new();
    let allowed =
        &(&members(&kv, "@system-service") - &members(&kv, "@privileged")) - &members(&kv, "@resources");
    kv.ok("kv --daemon=never init");
    let service = Manager::listen(&kv).start(&kv, "true");
    // From its start on, it cannot be traced: the pid of strace would be that of the socket's owner.
    kv.ok("kv put a --value 1");
    service.end(&kv);
    let mut traced = kv.command("strace").args(["-f", "-o", "trace", "kv", "daemon", "run"]).spawn().unwrap();
    wait_until("a daemon", || kv.shell("kv --daemon=require get a").status.success());
    kv.ok("kv put a --value 2
        kv watch --after 0 >/dev/null & watch=$!
        for i in 1 2 3 4 5 6 7 8; do kv put k$i --value $i & puts=\"$puts $!\"; done; wait $puts
        kv lock run l -- true; kv delete prefix k >/dev/null; kv stream trim --all >/dev/null
        kv backup b.db; kv compact; kv restore b.db; kv put a --value 3; kv check; kv list >/dev/null
        kill $watch; kv daemon stop");
    assert!(traced.wait().unwrap().success());
    let trace = kv.ok("cat trace");
    let called = trace.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('));
    let called: BTreeSet<String> = called
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|byte| byte.is_ascii_alphanumeric() || byte == '_'))
        .collect();
    assert!(called.contains("accept4") && called.contains("fsync"), "{called:?}");
    // SQLite gives its files to the owner of the database only as root, which the service is not.
    let forbidden: Vec<&String> = called.difference(&allowed).filter(|name| *name != "fchown").collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
    let executable = trace.lines().filter(|line| {
        (line.contains("mmap(") && line.contains("PROT_WRITE|PROT_EXEC"))
            || (line.contains("mprotect(") && line.contains("PROT_EXEC"))
    });
    assert_eq!(executable.collect::<Vec<_>>(), [""; 0]);
}
