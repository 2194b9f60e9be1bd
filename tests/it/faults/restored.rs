//! Backups that are put in the place of a store by cp, mv and dd: whatever daemon runs, ends or is killed meanwhile, what was
//! put there is served, and no log of another file is played into it.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Kv, Random, number_from_environment, wait_until};

/// A store with a record `kept`, a backup of it, and more records behind that.
fn store(after: &str) -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put kept --value 1; sqlite3 data.db '.backup bak.db'");
    kv.ok(after);
    kv
}

const FEW: &str = "kv put lost --value 1";
/// More than one checkpoint of them.
const MANY: &str =
    r#"jq -nc 'range(4000) | {op: "put", key: "lost/\(.)", value: ("x" * 1000)}' | kv rpc > /dev/null"#;

fn keys(kv: &Kv) -> String {
    kv.ok("kv list --keys-only --output ndjson | jq -r . | paste -sd ' '").trim_end().to_owned()
}

/// Waits for the copy to be served, and checks that it is what was copied and goes on from there.
#[track_caller]
fn is_restored(kv: &Kv, what: &str) {
    wait_until("the restored content", || {
        let told = kv.shell("kv list --keys-only --output ndjson");
        let stderr = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.status.success() || stderr.contains("(busy)"), "{what}: {stderr}");
        told.status.success()
    });
    assert_eq!(keys(kv), "kept", "{what}");
    kv.ok("kv put new --value 1");
    assert_eq!(keys(kv), "kept new", "{what}");
    kv.ok("kv daemon stop");
    assert_eq!(kv.ok("sqlite3 data.db 'pragma integrity_check'"), "ok\n", "{what}");
    assert_eq!(keys(kv), "kept new", "{what}");
    assert_eq!(kv.ok("kv stream seq"), "2\n", "{what}");
}

const COPIES: [&str; 4] = [
    "cp bak.db data.db",
    "cat bak.db > data.db",
    "dd if=bak.db of=data.db conv=notrunc bs=512 status=none; truncate -s $(stat -c %s bak.db) data.db",
    "dd if=bak.db of=data.db conv=notrunc status=none",
];

#[test]
fn a_backup_that_is_copied_over_the_file_of_a_daemon_is_served() {
    std::thread::scope(|scope| {
        for copy in COPIES {
            scope.spawn(move || {
                for after in [FEW, MANY] {
                    let kv = store(after);
                    kv.ok(copy);
                    is_restored(&kv, copy);
                }
            });
        }
    });
}

/// The database has the very bytes of the copy until the first commit is written back.
#[test]
fn a_copy_that_was_made_while_nobody_had_the_file_open_is_served() {
    for end in ["", "kv daemon stop", "kill -9 $(kv daemon status | jq .pid); sleep 0.1"] {
        let kv = Kv::new();
        kv.ok("kv init; kv put kept --value 1; kv daemon stop; cp data.db bak.db; kv put lost --value 1");
        kv.ok(&format!("{end}\ncp bak.db data.db"));
        is_restored(&kv, end);
    }
}

#[test]
fn a_backup_that_is_copied_over_the_file_of_a_daemon_that_ends_is_served() {
    let round = |after: &str, copy: &str, end: &str, ends_first: bool| {
        let kv = store(after);
        let end = end.replace("PID", &kv.daemon_pid().to_string());
        let told = format!("{copy}, {end}, {ends_first}");
        if !ends_first {
            kv.ok(copy);
        }
        kv.ok(&end);
        wait_until("the end of the daemon", || kv.daemons().is_empty());
        if ends_first {
            kv.ok(copy);
        }
        is_restored(&kv, &told);
    };
    for ends_first in [false, true] {
        std::thread::scope(|scope| {
            for copy in ["cp bak.db data.db", "cp bak.db b; mv b data.db"] {
                for end in ["kv daemon stop", "kill -9 PID"] {
                    scope.spawn(move || round(FEW, copy, end, ends_first));
                }
            }
            scope.spawn(move || round(MANY, "cp bak.db data.db", "kill -9 PID", ends_first));
        });
    }
}

/// Another process that takes part in the same history: it checkpoints, and begins the log anew.
#[test]
fn what_other_processes_write_back_is_not_taken_for_a_copy() {
    let kv = Kv::new();
    kv.ok("kv init; kv put daemon/0 --value 0");
    let pid = kv.daemon_pid();
    for round in 1..=6 {
        kv.ok(&format!("kv --daemon=never put never/{round} --value {round}"));
        let mode = ["passive", "full", "restart", "truncate"][round % 4];
        kv.ok(&format!("sqlite3 data.db 'create table if not exists other (x); insert into other values (zeroblob(9000));
            pragma wal_checkpoint({mode}); insert into other values (zeroblob(9000)); pragma wal_checkpoint({mode})'"));
        if round % 2 == 0 {
            kv.ok(&format!("kv --daemon=never put again/{round} --value {round}"));
        }
        kv.ok(&format!("kv put daemon/{round} --value {round}"));
    }
    assert_eq!(
        kv.ok("kv count all; kv stream seq; sqlite3 data.db 'pragma integrity_check'"),
        "16\n16\nok\n"
    );
    assert_eq!(kv.daemon_pid(), pid);
    assert_eq!(kv.ok("ls | grep -c replaced-wal || true"), "0\n");
}

#[test]
fn a_backup_that_is_restored_by_sqlite_itself_is_served() {
    for kill in [false, true] {
        let kv = store(FEW);
        let pid = kv.daemon_pid();
        kv.ok("sqlite3 data.db '.restore bak.db'");
        if kill {
            kv.kill_daemon(pid);
        }
        is_restored(&kv, &format!(".restore, kill {kill}"));
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused_and_its_log_is_kept() {
    for bytes in [0, 50, 4_096, 8_192] {
        let kv = store(FEW);
        kv.ok(&format!("truncate -s {bytes} data.db"));
        wait_until("a refusal", || {
            let (code, stderr) = kv.fails("kv put a --value 1");
            assert_eq!(code, if stderr.contains("unsupported") { 1 } else { 6 }, "{bytes}: {stderr}");
            !stderr.contains("under way")
        });
        kv.ok("cp bak.db data.db");
        is_restored(&kv, &format!("{bytes} bytes"));
    }
}

/// The copy happens anywhere between commits and checkpoints of a writer, while a client follows.
///
/// `RESTORED_ROUNDS=200 cargo test --locked --release --test it restored` runs for long.
#[test]
fn a_backup_that_is_copied_over_a_file_that_is_being_written_to_is_served_with_what_was_acknowledged_since() {
    let mut random = Random(13);
    for round in 0..number_from_environment("RESTORED_ROUNDS", 4) {
        let kv = store("kv put before --value 1");
        let mut watch =
            kv.command("kv").args(["watch"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let writer = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut acknowledged = Vec::new();
                let end = kv.directory.path().join("end");
                for number in 0.. {
                    if end.exists() {
                        break;
                    }
                    // After the copy is complete what is acknowledged stays.
                    let is_behind = kv.directory.path().join("copied").exists();
                    let put = format!("kv put w/{number} --text $(head -c 60000 /dev/zero | tr '\\0' x)");
                    if kv.shell(&put).status.success() && is_behind {
                        acknowledged.push(format!("w/{number}"));
                    }
                }
                acknowledged
            });
            std::thread::sleep(Duration::from_millis(random.below(400) as u64));
            let copy = ["cp bak.db data.db", "dd if=bak.db of=data.db conv=notrunc bs=4096 status=none"]
                [random.below(2)];
            kv.ok(&format!("{copy}; touch copied"));
            wait_until("a write behind the copy", || kv.shell("kv put behind --value 1").status.success());
            std::thread::sleep(Duration::from_millis(100));
            kv.ok("touch end");
            writer.join().unwrap()
        });
        watch.kill().unwrap();
        watch.wait().unwrap();
        let there = keys(&kv);
        let there: Vec<&str> = there.split(' ').collect();
        assert!(there.contains(&"kept") && there.contains(&"behind"), "round {round}: {there:?}");
        assert!(!there.contains(&"before"), "round {round}: {there:?}");
        for key in &writer {
            assert!(there.contains(&key.as_str()), "round {round}: {key} was acknowledged");
        }
        kv.ok("kv daemon stop");
        assert_eq!(kv.ok("sqlite3 data.db 'pragma integrity_check'"), "ok\n", "round {round}");
    }
}

/// A store with records in its database and one in its log: a first commit is written back at once.
fn store_with_log() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put early --value 1; kv daemon stop; kv put late --value 2; kv put later --value 3");
    kv
}

/// Makes each sync of the daemon take this long, from now on until the end of the test.
fn slow_syncs(kv: &Kv, seconds: u32) -> Child {
    let pid = kv.daemon_pid();
    let delay = format!("inject=fsync,fdatasync:delay_enter={}", seconds * 1_000_000);
    let child = kv
        .command("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "trace",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            &delay,
            "-p",
            &pid.to_string(),
        ])
        .spawn()
        .unwrap();
    wait_until("strace", || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut statuses =
            tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap());
        statuses.all(|status| !status.contains("TracerPid:\t0"))
    });
    child
}

/// A put whose commit has written the log and is in the middle of its sync.
fn slow_put(kv: &Kv, key: &str) -> Child {
    let log_bytes = || std::fs::metadata(kv.directory.path().join("data.db-wal")).unwrap().len();
    let before = log_bytes();
    let mut command = kv.command("kv");
    let child = command.args(["put", key, "--value", "1"]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the commit", || log_bytes() > before);
    child
}

fn backup(kv: &Kv) {
    kv.ok("kv --connection backup.db init; kv --connection backup.db put kept --value 1");
    kv.ok("kv --connection backup.db daemon stop");
}

fn store_id(kv: &Kv, file: &str) -> String {
    kv.ok(&format!("sqlite3 {file} 'select store_id from kv_meta; pragma integrity_check'"))
}

fn is_unknown(writer: Child) {
    let told = writer.wait_with_output().unwrap();
    let stderr = String::from_utf8(told.stderr).unwrap();
    assert!(told.status.code() == Some(8) && stderr.contains("(unavailable)"), "{stderr}");
}

/// Until the connections to the old file are closed, no store is opened, and no request waits for long.
#[test]
fn a_file_that_is_replaced_during_a_slow_commit_is_opened_after_it_and_stays_what_it_is() {
    let kv = store_with_log();
    backup(&kv);
    let id = store_id(&kv, "backup.db");
    let mut strace = slow_syncs(&kv, 4);
    let writer = slow_put(&kv, "slow");
    kv.ok("mv backup.db data.db");
    // A put waits behind the one that is under way.
    let mut behind = kv.command("kv").args(["put", "behind", "--value", "1"]).spawn().unwrap();
    std::thread::scope(|scope| {
        for command in ["get kept", "count all", "stream get", "list"] {
            let kv = &kv;
            scope.spawn(move || {
                let started = std::time::Instant::now();
                let (code, stderr) = kv.fails(&format!("kv {command}"));
                assert!(code == 6 && stderr.contains("(busy)"), "{command}: {code} {stderr}");
                assert!(started.elapsed().as_secs() < 3, "{command} waited for {:?}", started.elapsed());
            });
        }
    });
    is_unknown(writer);
    strace.kill().unwrap();
    strace.wait().unwrap();
    assert!(behind.wait().unwrap().success());
    kv.ok("kv put new --value 1");
    assert_eq!((keys(&kv).as_str(), store_id(&kv, "data.db")), ("behind kept new", id));
    let descriptors = kv.ok(&format!("ls -l /proc/{}/fd", kv.daemon_pid()));
    assert!(!descriptors.contains("(deleted)"), "the old files are closed: {descriptors}");
    assert_eq!(kv.ok("ls *.replaced-wal*"), "data.replaced-wal\n");
}

/// The daemon ends before the slow commit does: the log must not be left for the next one to play into the file.
#[test]
fn a_file_that_is_replaced_during_a_slow_commit_survives_the_end_of_the_daemon() {
    let round = |end: &str, is_noticed: bool| {
        let kv = store_with_log();
        backup(&kv);
        let id = store_id(&kv, "backup.db");
        let pid = kv.daemon_pid();
        let mut strace = slow_syncs(&kv, 3);
        let writer = slow_put(&kv, "slow");
        kv.ok("mv backup.db data.db");
        if is_noticed {
            let told = kv.shell("kv get kept");
            assert!(told.status.code() == Some(6) || told.stdout == b"1\n", "{told:?}");
        }
        kv.ok(&end.replace("PID", &pid.to_string()));
        is_unknown(writer);
        strace.wait().unwrap();
        assert_eq!(keys(&kv), "kept", "{end}, {is_noticed}");
        assert_eq!(store_id(&kv, "data.db"), id, "{end}, {is_noticed}");
    };
    std::thread::scope(|scope| {
        for end in ["kv daemon stop", "kill -9 PID"] {
            for is_noticed in [true, false] {
                scope.spawn(move || round(end, is_noticed));
            }
        }
    });
}

#[test]
fn the_logs_of_files_that_were_replaced_one_after_the_other_are_all_kept() {
    let kv = store_with_log();
    backup(&kv);
    kv.ok("cp backup.db first.db; mv first.db data.db; kv put one --value 1; kv put more --value 1; mv backup.db data.db; kv put two --value 1");
    assert_eq!(keys(&kv), "kept two");
    assert_eq!(kv.ok("ls *.replaced-wal*"), "data.replaced-wal\ndata.replaced-wal-2\n");
}
