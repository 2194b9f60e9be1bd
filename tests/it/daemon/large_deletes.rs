//! A delete of a large range holds up nobody, and is never half done without a word.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kv::limits::DELETE_SLICE_RECORDS;

use crate::support::{Kv, START_MS, address, assert_sound, is_alive, wait_until};

/// A store with so many records below `p/`, as puts would have left them, which would take longer.
fn filled(records: u64) -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv daemon stop");
    let text = format!(
        "pragma synchronous = off;
        create temporary table number as with recursive up(seq) as
            (select 1 union all select seq + 1 from up where seq < {records}) select seq from up;
        begin;
        insert into kv_record (\"key\", version, revision, created, updated, value)
            select printf('p/%06d', seq - 1), 1, seq, {START_MS}, {START_MS}, '0' from number;
        insert into kv_stream (\"key\", version, revision, created, updated, value, seq, tx, tx_end, action, time)
            select \"key\", 1, revision, created, updated, value, revision, revision, 1, 'create', created
            from kv_record;
        update kv_meta set head = {records}, last_ms = {START_MS};
        commit;"
    );
    let output = kv.command("sqlite3").arg("data.db").arg(text).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    kv
}

fn count(kv: &Kv) -> u64 {
    kv.ok("kv count all").trim().parse().unwrap()
}

/// Starts a delete, and waits until a part of it is done.
fn deleting(kv: &Kv, records: u64, text: &str) -> Child {
    let mut command = kv.command("bash");
    command.args(["-c", text]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until("the first slice", || count(kv) < records);
    child
}

#[test]
fn a_lock_is_kept_and_puts_are_answered_while_a_large_range_is_deleted() {
    let kv = filled(300_000);
    // Longer than a slice takes on a busy machine, and shorter than the whole delete.
    let printed = kv.ok("kv lock run l --duration 1500ms -- bash -c '
            kv delete prefix p/ --fence $KV_LOCK_NAME:$KV_LOCK_FENCE & deleting=$!
            while kill -0 $deleting 2> /dev/null; do kv put q --value 1 && echo put >> puts; done &
            while kill -0 $deleting 2> /dev/null; do kv lock status l | jq .held >> held; done
            wait $deleting'; kv count all; wc -l < puts; sort -u held");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..2], ["300000", "1"]);
    assert!(lines[2].trim().parse::<u64>().unwrap() >= 5, "{printed}");
    assert_eq!(lines[3..], ["true"], "it was refreshed in time");
    kv.ok("kv daemon stop");
    assert_sound(&address(kv.directory.path()));
}

/// What is sent on a connection behind a delete is written behind all of it.
#[test]
fn a_connection_keeps_its_order_around_a_delete_of_several_slices() {
    let records = 2 * DELETE_SLICE_RECORDS;
    let kv = filled(records);
    let mut stream = UnixStream::connect(kv.ok("kv socket").trim()).unwrap();
    let lines = [
        r#"{"op":"put","key":"p/x","value":1}"#,
        r#"{"op":"delete","prefix":"p/"}"#,
        r#"{"op":"put","key":"p/000000","value":1}"#,
        r#"{"op":"count"}"#,
        r#"{"op":"delete","key":"p/000000"}"#,
    ];
    stream.write_all(format!("{}\n", lines.join("\n")).as_bytes()).unwrap();
    let replies: Vec<String> =
        BufReader::new(stream).lines().take(lines.len()).map(|line| line.unwrap()).collect();
    let (put, end) = (records + 1, 2 * records + 2);
    let expected = [
        format!(r#"{{"ok":true,"version":1,"revision":{put}}}"#),
        format!(r#"{{"ok":true,"deleted":{put},"revision":{end}}}"#),
        format!(r#"{{"ok":true,"version":1,"revision":{}}}"#, end + 1),
        format!(r#"{{"ok":true,"seq":{},"count":1}}"#, end + 1),
        format!(r#"{{"ok":true,"deleted":1,"revision":{}}}"#, end + 2),
    ];
    assert_eq!(replies, expected);
}

#[test]
fn sigterm_ends_a_delete_behind_its_slice_and_a_repeat_does_the_rest() {
    let records = 200_000;
    let kv = filled(records);
    let delete = "kv delete prefix p/ --once 1";
    let child = deleting(&kv, records, delete);
    let pid = kv.daemon_pid();
    kv.ok(&format!("kill -TERM {pid}"));
    let begun = Instant::now();
    wait_until("the end", || !is_alive(pid));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let left = count(&kv);
    assert!(0 < left && left < records, "{left}");
    assert_eq!(output.status.code(), Some(8), "{stderr}");
    assert!(stderr.contains(&format!("{} records were deleted before", records - left)), "{stderr}");
    // What was put meanwhile is not a part of the rest.
    kv.ok("kv put p/000000 --value 1; kv put p/x --value 1");
    assert_eq!(kv.ok(delete), format!("{records}\n"));
    assert_eq!(kv.ok("kv get p/000000; kv get p/x; kv count all"), "1\n1\n2\n");
    kv.ok("kv daemon stop");
    assert_sound(&address(kv.directory.path()));
}

/// The client asks the next daemon, which goes on.
#[test]
fn a_delete_with_an_id_goes_on_when_its_daemon_is_killed() {
    let records = 200_000;
    let kv = filled(records);
    let child = deleting(&kv, records, "kv delete prefix p/ --once 1");
    kv.kill_daemon(kv.daemon_pid());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{records}\n"));
    assert_eq!(count(&kv), 0);
    kv.ok("kv daemon stop");
    assert_sound(&address(kv.directory.path()));
}

/// Who presses Ctrl-C learns what became of the delete.
#[test]
fn an_interrupted_delete_tells_how_far_it_is() {
    let records = 300_000;
    let kv = filled(records);
    let interrupted = |text: &str| {
        let before = count(&kv);
        let child = deleting(&kv, before, text);
        kv.ok(&format!("kill -INT {}", child.id()));
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(130), &b""[..]), "{stderr}");
        (before, stderr)
    };
    let (before, stderr) = interrupted("exec kv --daemon=never delete prefix p/");
    let left = count(&kv);
    assert!(0 < left && left < before, "{left}");
    assert!(stderr.starts_with("kv: interrupted: "), "{stderr}");
    assert!(stderr.contains(&format!("{} records were deleted before", before - left)), "{stderr}");
    assert!(stderr.contains("delete again to remove the rest"), "{stderr}");
    // A daemon does not end with the command that asked for it.
    let (_, stderr) = interrupted("exec kv delete --all");
    assert!(stderr.starts_with("interrupted: the daemon goes on with the delete; "), "{stderr}");
    assert!(stderr.contains(" left of what it covers"), "{stderr}");
    wait_until("the end of the delete", || count(&kv) == 0);
}
