//! Ends by a signal, and memory that does not grow with the store.

use super::records;
use crate::support::{Kv, wait_until};

#[test]
fn an_export_that_is_interrupted_leaves_no_file() {
    let kv = Kv::new();
    records(&kv, "many.ndjson", "k", 20_000, 200);
    kv.ok("kv init; kv import many.ndjson; rm many.ndjson");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // It is stopped while it writes, so it is certainly not done when the signal comes.
        let mut export = kv.command("kv").args(["export", "out.ndjson"]).spawn().unwrap();
        let pid = export.id();
        wait_until("the file", || kv.shell("ls out.ndjson.partial-*").status.success());
        kv.ok(&format!("kill -STOP {pid}; [ ! -e out.ndjson ]; kill -{signal} {pid}; kill -CONT {pid}"));
        assert_eq!(export.wait().unwrap().code(), Some(code));
        assert_eq!(kv.ok("ls | grep -c out.ndjson || true"), "0\n");
    }
    kv.ok("kv export out.ndjson");
    let (code, told) = kv.fails("kv export out.ndjson");
    assert_eq!((code, told.contains("--force")), (2, true), "{told}");
    kv.ok("kv export --force out.ndjson");
    let (code, _) = kv.fails("kv export --force data.db");
    assert_eq!((code, kv.ok("kv count all")), (2, "20000\n".to_owned()));
}

/// A terminal or a program that writes nothing keeps nobody waiting.
#[test]
fn an_import_that_waits_for_its_input_ends_by_a_signal() {
    let kv = Kv::new();
    kv.ok("kv init; mkfifo pipe");
    let mut import = kv.command("bash").args(["-c", "exec kv import pipe 2>told"]).spawn().unwrap();
    let lines: String = (0..1_001).map(|number| format!("{{\"key\":\"{number}\",\"value\":1}}\n")).collect();
    std::fs::write(kv.directory.path().join("lines"), lines).unwrap();
    let mut writer = kv
        .command("bash")
        .args(["-c", "exec 3>pipe; cat lines >&3; until [ -e end ]; do sleep 0.02; done"])
        .spawn()
        .unwrap();
    wait_until("the first batch", || kv.ok("kv count all") == "1000\n");
    kv.ok(&format!("kill -INT {}", import.id()));
    assert_eq!(import.wait().unwrap().code(), Some(130));
    let told = kv.ok("touch end; cat told");
    assert!(told.contains("interrupted") && told.contains("1000 created"), "{told}");
    writer.wait().unwrap();
}

/// The daemon is killed after it was sent a batch, and before it answers.
#[test]
fn an_outcome_that_is_unknown_is_told_as_such() {
    let kv = Kv::new();
    kv.ok("kv init; mkfifo pipe");
    let daemon = kv.daemon_pid();
    let mut import = kv
        .command("bash")
        .args(["-c", "exec strace -f -o trace -e trace=write,writev,sendto,sendmsg kv import pipe 2>told"])
        .spawn()
        .unwrap();
    let lines: String = (0..1_001).map(|number| format!("{{\"key\":\"{number}\",\"value\":1}}\n")).collect();
    std::fs::write(kv.directory.path().join("lines"), lines).unwrap();
    let write = "exec 3>pipe; cat lines >&3; until [ -e more ]; do sleep 0.02; done; cat lines >&3; until [ -e end ]; do sleep 0.02; done";
    let mut writer = kv.command("bash").args(["-c", write]).spawn().unwrap();
    wait_until("the first batch", || kv.ok("kv count all") == "1000\n");
    let sent = || kv.ok("grep -c mutate trace || true").trim().parse::<u32>().unwrap();
    wait_until("the trace of the first batch", || sent() == 1);
    kv.ok(&format!("kill -STOP {daemon}; touch more"));
    wait_until("the second batch", || sent() == 2);
    kv.ok(&format!("kill -KILL {daemon}"));
    assert_eq!(import.wait().unwrap().code(), Some(8));
    let told = kv.ok("touch end; cat told");
    assert!(told.contains("the outcome is unknown") && told.contains("1000 created"), "{told}");
    writer.wait().unwrap();
    let told = kv.ok("kv import lines 2>&1");
    assert!(told.contains(" 0 updated, 1000 unchanged, 0 skipped, 0 expired"), "{told}");
    assert_eq!(kv.ok("kv count all"), "1001\n");
}

/// Four times as many records need no more memory: these are 32 MB, and the others 8 MB.
#[test]
fn memory_does_not_grow_with_the_store() {
    let peaks = |count: usize| {
        let kv = Kv::new();
        records(&kv, "many.ndjson", "k", count, 4_000);
        kv.ok("kv init; kv --connection new.db init");
        // In kilobytes.
        let peak = |command: &str| -> u64 {
            kv.ok(&format!("/usr/bin/time -f %M -o peak {command} 2>told; cat peak")).trim().parse().unwrap()
        };
        COMMANDS.map(peak)
    };
    for (command, (few, many)) in COMMANDS.into_iter().zip(peaks(2_000).into_iter().zip(peaks(8_000))) {
        assert!(many < few + 12_000, "{command}: {few} KB, then {many} KB");
    }
}

const COMMANDS: [&str; 5] = [
    "kv import many.ndjson",
    "kv export out.ndjson",
    "kv export --stream stream.ndjson",
    "kv copy --from data.db --to new.db",
    "kv diff data.db new.db",
];
