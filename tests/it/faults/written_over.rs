//! A file that is written over while it is open: the restored content or a refusal, and never a mix.

use std::process::Stdio;

use crate::support::{Kv, wait_until};

/// Puts records, in as few commits as there are clients.
fn put(kv: &Kv, name: &str, count: usize) {
    kv.ok(&format!(
        "for i in $(seq {count}); do printf '{{\"op\":\"put\",\"key\":\"{name}/%05d\",\"value\":\"%0500d\"}}\\n' $i $i; done \
            | kv rpc | jq -e -s 'all(.ok)' >/dev/null"
    ));
}

/// Runs a command until it is not refused any more; each refusal must be one that passes.
fn in_the_end(kv: &Kv, command: &str) -> String {
    let mut printed = String::new();
    wait_until(command, || {
        let told = kv.shell(command);
        let stderr = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success() || stderr.contains("(busy)"), "{command}: {stderr}");
        printed = String::from_utf8(told.stdout).unwrap();
        told.status.success()
    });
    printed
}

fn assert_whole(kv: &Kv, keys: usize) {
    assert_eq!(in_the_end(kv, "kv count all"), format!("{keys}\n"));
    kv.ok("kv daemon stop");
    assert_eq!(kv.ok("sqlite3 data.db 'pragma integrity_check'"), "ok\n");
    assert_eq!(kv.ok("kv count all"), format!("{keys}\n"));
}

#[test]
fn a_backup_that_is_copied_over_the_file_of_a_daemon_is_what_is_served() {
    for copy in [
        "cp backup.db data.db",
        "cat backup.db > data.db",
        "dd if=backup.db of=data.db conv=notrunc status=none",
        "dd if=backup.db of=data.db bs=4k status=none",
    ] {
        let kv = Kv::new();
        kv.ok("kv init");
        put(&kv, "before", 1_000);
        kv.ok("sqlite3 data.db '.backup backup.db'");
        put(&kv, "after", 1_000);
        kv.ok(copy);
        assert_eq!(in_the_end(&kv, "kv count all"), "1000\n", "{copy}");
        put(&kv, "later", 500);
        assert_eq!(in_the_end(&kv, "kv stream seq"), "1500\n");
        assert_whole(&kv, 1_500);
    }
}

/// No checkpoint lies between the copy and its return, or one of each process.
#[test]
fn a_copy_of_the_file_alone_is_told_from_a_later_state() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop; cp data.db backup.db");
    kv.ok("kv put a --value 2; kv daemon stop; kv put b --value 1; kv get a");
    kv.ok("cp backup.db data.db");
    assert_eq!(in_the_end(&kv, "kv get a"), "1\n");
    in_the_end(&kv, "kv put c --value 1");
    assert_whole(&kv, 2);
}

#[test]
fn a_file_that_is_written_over_while_others_have_it_open_stays_whole() {
    let kv = Kv::new();
    kv.ok("kv init");
    put(&kv, "before", 300);
    kv.ok("sqlite3 data.db '.backup backup.db'");
    let mut follower = kv.command("bash");
    let mut follower = follower.args(["-c", "exec kv watch --after 0 > seen 2> said"]).spawn().unwrap();
    wait_until("the changes", || kv.shell("wc -l < seen").stdout == b"300\n");
    // Another writer beside the daemon, and one that writes the log back.
    put(&kv, "after", 300);
    kv.ok("kv --daemon=never put alone --value 1; sqlite3 data.db 'pragma wal_checkpoint' >/dev/null; kv put more --value 1");
    assert_eq!(kv.ok("kv count all"), "602\n", "a checkpoint of another program is not a copy");
    kv.ok("cp backup.db data.db");
    assert_eq!(in_the_end(&kv, "kv count all"), "300\n");
    in_the_end(&kv, "kv --daemon=never put alone --value 1");
    assert_eq!(in_the_end(&kv, "kv count all"), "301\n");
    let _ = follower.kill();
    follower.wait().unwrap();
    assert_whole(&kv, 301);
}

/// Every acknowledged write is in the file or in the log that was moved aside, and both are complete.
#[test]
fn a_file_that_is_written_over_under_load_is_whole_afterwards() {
    for round in 0..5 {
        let kv = Kv::new();
        kv.ok("kv init");
        put(&kv, "before", 200);
        kv.ok("sqlite3 data.db '.backup backup.db'");
        let writer = "for i in $(seq 2000); do printf '{\"op\":\"put\",\"key\":\"w/%d\",\"value\":\"%0900d\"}\\n' $i $i; done \
            | kv rpc > answers 2>/dev/null";
        let mut writer = kv.command("bash").args(["-c", writer]).stdout(Stdio::null()).spawn().unwrap();
        wait_until("some answers", || {
            let lines = String::from_utf8(kv.shell("wc -l < answers").stdout).unwrap();
            lines.trim().parse::<usize>().is_ok_and(|lines| lines > 100 * round + 10)
        });
        kv.ok("cp backup.db data.db");
        writer.wait().unwrap();
        in_the_end(&kv, "kv count all");
        // Behind the refusals come those that went to the restored file, without a gap.
        let there = in_the_end(&kv, "kv count prefix before/");
        assert_eq!(there, "200\n", "{round}");
        kv.ok("kv daemon stop");
        assert_eq!(kv.ok("sqlite3 data.db 'pragma integrity_check'"), "ok\n", "{round}");
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused_and_not_written_to() {
    let kv = Kv::new();
    kv.ok("kv init");
    put(&kv, "k", 1_000);
    kv.ok("sqlite3 data.db '.backup backup.db'; : > data.db");
    for command in ["kv get k/00001", "kv put a --value 1"] {
        let (code, stderr) = kv.fails(command);
        assert!(code == 6, "{command}: {stderr}");
    }
    assert_eq!(kv.ok("stat -c %s data.db"), "0\n");
    kv.ok("head -c 40960 backup.db > data.db");
    assert_eq!(kv.fails("kv get k/00001").0, 6);
    kv.ok("cp backup.db data.db");
    assert_eq!(in_the_end(&kv, "kv count all"), "1000\n");
    assert_whole(&kv, 1_000);
}

/// A reader that holds an old snapshot keeps the log long; behind it the log becomes short again, without a write as well.
#[test]
fn the_log_becomes_short_again_when_a_reader_is_gone() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let mut reader = kv.command("sqlite3");
    let mut reader = reader.arg("data.db").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    use std::io::Write as _;
    let mut words = reader.stdin.take().unwrap();
    words.write_all(b"begin;\nselect count(*) from kv_record;\n.shell touch reading\n").unwrap();
    wait_until("the reader", || kv.directory.path().join("reading").exists());
    put(&kv, "k", 8_000);
    let log_bytes = || kv.ok("stat -c %s data.db-wal").trim().parse::<u64>().unwrap();
    assert!(log_bytes() > kv::limits::SQLITE_LOG_BYTES, "{}", log_bytes());
    drop(words);
    reader.wait().unwrap();
    wait_until("a short log", || log_bytes() <= kv::limits::SQLITE_LOG_BYTES);
}

/// The first thing that a checkpoint writes is the header with the new size. A process that is killed then leaves a file that
/// is shorter than it says, and the log that makes it whole.
#[test]
fn a_checkpoint_that_was_cut_short_is_finished_by_the_next_process() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop; kv put b --value 1");
    put(&kv, "k", 300);
    kv.kill_daemon(kv.daemon_pid());
    kv.ok("python3 -c '
import struct
log = open(\"data.db-wal\", \"rb\").read()
page = struct.unpack(\">I\", log[8:12])[0]
frames = range(32, len(log) - page, page + 24)
first = [log[at + 24:at + 24 + page] for at in frames if log[at:at + 4] == bytes([0, 0, 0, 1]) and log[at + 8:at + 16] == log[16:24]][-1]
open(\"data.db\", \"r+b\").write(first)
assert struct.unpack(\">I\", first[28:32])[0] * page > len(open(\"data.db\", \"rb\").read())
'");
    assert_eq!(kv.ok("kv count all"), "302\n");
    assert_whole(&kv, 302);
}
