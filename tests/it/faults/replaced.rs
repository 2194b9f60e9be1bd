//! Files that are taken away under the daemon.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Stdio};

use crate::support::{Kv, wait_until};

/// A store with a record in its database and one in its log.
fn store() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put early --value 1; kv daemon stop; kv put late --value 2");
    kv
}

/// Another program that has the database open until its input ends.
fn sqlite3(kv: &Kv, words: &str) -> (Child, ChildStdin) {
    let mut program = kv.command("sqlite3");
    let mut child = program.arg("data.db").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(words.as_bytes()).unwrap();
    (child, stdin)
}

fn keys(kv: &Kv) -> String {
    kv.ok("kv list --keys-only --output ndjson | jq -r . | paste -sd ' '").trim_end().to_owned()
}

#[test]
fn a_database_that_was_replaced_is_opened_instead() {
    let kv = store();
    kv.ok("kv --connection other.db init; kv --connection other.db put a --value 2");
    kv.ok("kv --connection other.db daemon stop; mv other.db data.db");
    assert_eq!(kv.ok("kv get a; kv put a --value 3; kv get a"), "2\n3\n");
    assert_eq!(keys(&kv), "a");
}

#[test]
fn a_database_that_was_deleted_is_not_initialized_and_its_log_is_not_played_into_a_backup() {
    let kv = store();
    kv.ok("kv --connection backup.db init; kv --connection backup.db put kept --value 1");
    kv.ok("kv --connection backup.db daemon stop; rm data.db");
    for text in ["kv put a --value 1", "kv get early"] {
        let (code, stderr) = kv.fails(text);
        assert!(code == 6 && stderr.contains("(not_initialized)"), "{code} {stderr}");
    }
    kv.ok("cp backup.db data.db; kv put new --value 1");
    assert_eq!(keys(&kv), "kept new");
    assert_eq!(kv.ok("sqlite3 data.db 'pragma integrity_check'"), "ok\n");
}

#[test]
fn a_directory_that_was_renamed_is_not_initialized_until_it_is_back() {
    let kv = Kv::new();
    let at_home = |text: &str| format!("KV_CONNECTION=home/data.db kv {text}");
    kv.ok(&format!("mkdir home; {}; {}", at_home("init"), at_home("put a --value 1")));
    let pid = kv.ok(&at_home("daemon status | jq .pid"));
    kv.ok("mv home away; mkdir home");
    let (code, stderr) = kv.fails(&at_home("put b --value 1"));
    assert!(code == 6 && stderr.contains("(not_initialized)"), "{code} {stderr}");
    kv.ok("rmdir home; mv away home");
    kv.ok(&at_home("put c --value 1"));
    assert_eq!(kv.ok(&at_home("list --keys-only --output ndjson")), "\"a\"\n\"c\"\n");
    assert_eq!(kv.ok(&at_home("daemon status | jq .pid")), pid);
    kv.ok(&at_home("daemon stop"));
}

#[test]
fn a_database_that_is_put_back_has_all_that_its_log_held() {
    let kv = store();
    let pid = kv.daemon_pid();
    kv.ok("mv data.db away.db");
    assert_eq!(kv.fails("kv get late").0, 6);
    kv.ok("mv away.db data.db; kv put new --value 1");
    assert_eq!((keys(&kv).as_str(), kv.daemon_pid()), ("early late new", pid));
}

#[test]
fn the_log_of_a_database_that_was_taken_away_is_kept_when_a_new_one_is_made() {
    let kv = store();
    kv.ok("mv data.db away.db; kv init; kv put new --value 1");
    assert_eq!(keys(&kv), "new");
    kv.ok("mv data.replaced-wal away.db-wal");
    let away = kv.ok("kv --daemon=never --connection away.db list --keys-only --output ndjson");
    assert_eq!(away, "\"early\"\n\"late\"\n");
}

#[test]
fn what_only_a_deleted_log_held_is_saved_and_nothing_after_it_is_lost() {
    for files in ["data.db-wal", "data.db-shm", "data.db-wal data.db-shm"] {
        let kv = store();
        let pid = kv.daemon_pid();
        kv.ok(&format!("rm {files}; kv put after --value 3"));
        assert_eq!(keys(&kv), "after early late", "{files}");
        assert_eq!(kv.daemon_pid(), pid);
        kv.kill_daemon(pid);
        assert_eq!(keys(&kv), "after early late", "{files}");
        assert_eq!(kv.ok("kv stream seq; sqlite3 data.db 'pragma integrity_check'"), "3\nok\n");
    }
}

/// Closing a database writes its log back only in the last process that has it open.
#[test]
fn what_only_a_deleted_log_held_is_saved_while_another_process_has_the_database_open_too() {
    for files in ["data.db-wal", "data.db-shm", "data.db-wal data.db-shm"] {
        let kv = store();
        let pid = kv.daemon_pid();
        let (mut other, mut words) = sqlite3(&kv, "select count(*) from kv_record;\n.shell touch opened\n");
        wait_until("the other process", || kv.directory.path().join("opened").exists());
        kv.ok(&format!("rm {files}; kv put after --value 3"));
        assert_eq!(keys(&kv), "after early late", "{files}");
        kv.kill_daemon(pid);
        assert_eq!(keys(&kv), "after early late", "{files}");
        words.write_all(b".quit\n").unwrap();
        other.wait().unwrap();
        assert_eq!(kv.ok("kv stream seq; sqlite3 data.db 'pragma integrity_check'"), "3\nok\n", "{files}");
    }
}

/// As long as another process reads an old snapshot, the log cannot be written back whole.
#[test]
fn a_deleted_log_that_cannot_be_saved_yet_is_kept_open_until_it_can() {
    let kv = store();
    let pid = kv.daemon_pid();
    let (mut other, mut words) =
        sqlite3(&kv, "begin;\nselect count(*) from kv_record;\n.shell touch opened\n");
    wait_until("the other process", || kv.directory.path().join("opened").exists());
    kv.ok("kv put later --value 3; rm data.db-wal");
    let (code, stderr) = kv.fails("kv put after --value 4");
    assert!(code == 6 && stderr.contains("(busy)"), "{code} {stderr}");
    words.write_all(b"end;\n.quit\n").unwrap();
    other.wait().unwrap();
    kv.ok("kv put after --value 4");
    kv.kill_daemon(pid);
    assert_eq!(keys(&kv), "after early late later");
}

/// The write passes the first look at the file and waits for the lock that another process holds; by the time it is
/// committed, the file is another one. A machine that is slow may replace the file before that first look; then the
/// write goes to the new file, and the next round tries again.
#[test]
fn a_write_under_way_while_the_file_is_replaced_is_unknown() {
    for round in 0..20 {
        let kv = store();
        kv.ok("kv --connection other.db init; kv --connection other.db daemon stop");
        let (mut holder, words) = sqlite3(&kv, "begin immediate;\n.shell touch locked\n");
        wait_until("the lock", || kv.directory.path().join("locked").exists());
        let writer =
            kv.command("kv").args(["put", "a", "--value", "1"]).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100 * (round + 1)));
        kv.ok("mv other.db data.db");
        drop(words);
        holder.wait().unwrap();
        let told = writer.wait_with_output().unwrap();
        let stderr = String::from_utf8(told.stderr).unwrap();
        if told.status.success() {
            assert_eq!(keys(&kv), "a", "an acknowledged write is in the file that is there");
            continue;
        }
        assert!(told.status.code() == Some(8) && stderr.contains("(unavailable)"), "{stderr}");
        assert_eq!(keys(&kv), "");
        return;
    }
    panic!("in 20 rounds no write was under way while the file was replaced");
}
