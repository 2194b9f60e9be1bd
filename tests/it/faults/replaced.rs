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

/// Whether the daemon looks before the next command or behind it.
#[test]
fn a_database_that_was_taken_away_takes_all_that_its_log_held_along() {
    let kv = store();
    kv.ok("mv data.db away.db; kv init; kv put new --value 1");
    assert_eq!(keys(&kv), "new");
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

/// The write passes the first look at the file and waits for the lock that another process holds; by the time it has
/// the lock, the file is another one. A machine that is slow may replace the file before that first look; then the
/// write goes to the new file, and the next round tries again.
#[test]
fn a_write_under_way_while_the_file_is_replaced_is_refused() {
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
        assert!(told.status.code() == Some(6) && stderr.contains("(busy)"), "{stderr}");
        assert_eq!(keys(&kv), "");
        return;
    }
    panic!("in 20 rounds no write was under way while the file was replaced");
}

/// A request that is under way for long with the old file must not make its log be played into the new one.
#[test]
fn a_backup_that_takes_the_place_of_the_file_under_a_slow_request_stays_whole() {
    for slow in ["kv put slow --value 1", "kv delete prefix user/", "kv init; kv put slow --value 1"] {
        let kv = Kv::new();
        kv.ok("kv init; kv put kept --value 1; kv daemon stop; cp data.db backup.db");
        let store_id = kv.ok("sqlite3 backup.db 'select store_id from kv_meta'");
        kv.ok("for i in 1 2 3; do kv put user/$i --value 1; done; kv daemon stop");
        let mut daemon = kv
            .command("strace")
            .args(["-f", "-qq", "-o", "trace", "-e", "trace=fsync,fdatasync", "-e"])
            .args(["inject=fsync,fdatasync:delay_enter=3s:when=2+", "kv", "daemon", "run"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the daemon", || kv.shell("kv --daemon=require stream seq").status.success());
        let mut writer = kv
            .command("bash")
            .args(["-c", slow])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the commit", || kv.ok("cat trace; stat -c %s data.db-wal 2>/dev/null || true").len() > 2);
        kv.ok("mv backup.db data.db");
        for _ in 0..10 {
            // Refused at once, or served from the backup.
            let told = kv.shell("kv get kept");
            let stderr = String::from_utf8_lossy(&told.stderr);
            assert!(told.status.success() || stderr.contains("(busy)"), "{slow}: {stderr}");
        }
        writer.wait().unwrap();
        assert_eq!(kv.ok("until kv get kept 2>/dev/null; do sleep 0.05; done"), "1\n", "{slow}");
        kv.ok("kv daemon stop");
        daemon.wait().unwrap();
        assert_eq!(kv.ok("sqlite3 data.db 'select store_id from kv_meta'"), store_id, "{slow}");
        assert_eq!(kv.ok("sqlite3 data.db 'pragma integrity_check'"), "ok\n");
        assert!(keys(&kv).contains("kept") && !keys(&kv).contains("user/"), "{slow}: {}", keys(&kv));
    }
}

/// A file that is moved alone leaves its log behind.
#[test]
fn a_file_that_was_renamed_takes_all_that_was_committed_along() {
    let kv = store();
    kv.ok("mv data.db other.db");
    let other = "kv --connection other.db list --keys-only --output ndjson | paste -sd ' '";
    wait_until("the daemon to let go", || kv.ok(other) == "\"early\" \"late\"\n");
    let (code, error) = kv.fails("kv get early");
    assert!(code == 6 && error.contains("(not_initialized)"), "{error}");
    assert_eq!(kv.ok("sqlite3 other.db 'pragma integrity_check'"), "ok\n");
    kv.ok("kv --connection other.db daemon stop");
}

#[test]
fn a_file_with_a_second_name_is_refused_until_it_has_one_again() {
    let kv = store();
    for open in ["", "kv get early; ", "kv daemon stop; "] {
        kv.ok(&format!("{open} ln data.db hard.db"));
        for command in [
            "kv get early",
            "kv put a --value 1",
            "kv init",
            "kv --connection hard.db get early",
            "kv --daemon=never get early",
            "kv --daemon=never --connection hard.db put a --value 1",
            "kv --connection 'file:hard.db?mode=ro' get early",
        ] {
            let (code, stderr) = kv.fails(command);
            assert!(code != 0 && stderr.contains("2 names (hard links)"), "{command}: {stderr}");
        }
        kv.ok("rm hard.db");
        assert_eq!(keys(&kv), "early late");
    }
    kv.ok("ln -s data.db soft.db");
    assert_eq!(kv.ok("kv --connection soft.db get early"), "1\n");
}

/// As `docker run -v data.db:/data.db` does it: the log of the one and that of the other would be two files.
#[test]
fn a_file_that_is_mounted_alone_is_refused() {
    let kv = store();
    kv.ok("kv daemon stop; mkdir m; touch m/data.db");
    let (_, stderr) =
        kv.fails("unshare -m bash -c 'mount --bind data.db m/data.db; cd m; kv --daemon=never get early'");
    assert!(stderr.contains("mounted as a file of its own"), "{stderr}");
    assert_eq!(kv.ok("unshare -m bash -c 'mount --bind . m; cd m; kv --daemon=never get early'"), "1\n");
}
