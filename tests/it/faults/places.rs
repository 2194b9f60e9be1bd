//! Paths where there is no store and none can be: each error names the reason, in the same words for every command,
//! in its own process and through a daemon, and nothing is changed.

use std::os::unix::fs::PermissionsExt as _;

use super::refused::Unprivileged;
use crate::support::Kv;

/// The ways to run a command: each must report the reason, also where a daemon would have to be started.
const COMMANDS: &[&str] = &[
    "--daemon=never init",
    "--daemon=never get a",
    "--daemon=never put a --value 1",
    "init",
    "get a",
    "put a --value 1",
    "daemon start",
    "--daemon=require get a",
];

/// Asserts that every command ends so, and says so.
#[track_caller]
fn told(kv: &Kv, connection: &str, exit_code: i32, message: &str, hint: &str) {
    for command in COMMANDS {
        let text = format!("timeout 8 kv --connection {connection} {command}");
        let (code, stderr) = kv.fails(&text);
        assert!(code == exit_code && stderr.contains(message), "{text}: {code} {stderr}");
        assert!(
            stderr.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)),
            "{text}: {stderr}"
        );
        assert!(!stderr.trim_end().contains(|c: char| c.is_control() && c != '\n'), "{text}: {stderr:?}");
    }
}

fn listing(kv: &Kv) -> String {
    kv.ok("find . -path ./run -prune -o -ls -type f -exec sha256sum {} + | sort")
}

#[test]
fn a_directory_that_is_missing_is_named_with_what_makes_it() {
    let kv = Kv::new();
    let here = kv.ok("pwd -P").trim().to_owned();
    told(
        &kv,
        "nodir/x.db",
        6,
        &format!("there is no directory {here}/nodir,"),
        &format!("mkdir -p {here}/nodir"),
    );
    told(&kv, "file:no/dir/x.db?mode=rw", 6, &format!("{here}/no/dir,"), "mkdir -p");
    told(&kv, "$'no dir\\n/x.db'", 6, "no dir\\n\"", "mkdir -p $'");
    kv.ok("mkdir -p nodir; kv --connection nodir/x.db init");
}

#[test]
fn a_home_that_the_shell_did_not_expand_is_named() {
    let kv = Kv::new();
    for connection in ["'~/x.db'", "file:~/x.db", "'~nobody/x.db'"] {
        told(&kv, connection, 6, "/~", "\"$HOME\"");
    }
    // It is a name like any other once it exists.
    kv.ok("mkdir '~'; kv --connection '~/x.db' init; test -f '~/x.db'");
}

#[test]
fn a_directory_is_not_a_store() {
    let kv = Kv::new();
    kv.ok("mkdir place; ln -s place link");
    let before = listing(&kv);
    for connection in [".", "..", "/", "place", "link", "place/", "nodir/", "file:place?mode=ro"] {
        told(&kv, connection, 2, "is a directory", "--connection ");
    }
    assert_eq!(listing(&kv), before);
}

#[test]
fn what_is_not_a_file_is_named_and_a_pipe_is_not_waited_for() {
    let kv = Kv::new();
    kv.ok("mkfifo pipe; ln -s pipe link; echo text > text");
    let _socket = std::os::unix::net::UnixListener::bind(kv.directory.path().join("socket")).unwrap();
    let before = listing(&kv);
    for (connection, what) in [
        ("pipe", "is a pipe"),
        ("link", "is a pipe"),
        ("socket", "is a socket"),
        ("/dev/null", "is a device"),
        ("file:pipe?mode=ro", "is a pipe"),
        ("text/x.db", "text is not a directory"),
    ] {
        told(&kv, connection, 6, what, "");
    }
    told(&kv, "text", 1, "text is not a SQLite database", "kv has not touched the file");
    assert_eq!(listing(&kv), before);
}

#[test]
fn links_that_lead_nowhere_are_named() {
    let kv = Kv::new();
    kv.ok("ln -s nowhere dangling; ln -s loop loop");
    let before = listing(&kv);
    told(&kv, "dangling", 6, "dangling is a symbolic link to", "");
    told(&kv, "dangling/x.db", 6, "/nowhere, and nothing is there", "");
    for connection in ["loop", "loop/x.db"] {
        told(&kv, connection, 6, "loop is a symbolic link that leads back to itself", "");
    }
    assert_eq!(listing(&kv), before);
    kv.ok("kv --connection nowhere init; kv --connection dangling put a --value 1");
}

#[test]
fn a_path_that_is_too_long_is_named() {
    let kv = Kv::new();
    told(&kv, "$(printf 'd/%.0s' $(seq 300))x.db", 2, "SQLite allows 504", "shorter");
    told(&kv, "$(printf 'n%.0s' $(seq 241))", 2, "has 241 bytes", "shorter");
    told(&kv, "$(printf 'd/%.0s' $(seq 4000))x.db", 2, "bytes", "shorter");
    // Up to the bound everything works.
    let room = 504 - kv.ok("pwd -P").trim().len() - 1;
    let directories = "d/".repeat((room - 240) / 2);
    let name = "n".repeat(room - directories.len());
    kv.ok(&format!(
        "mkdir -p {directories}; export KV_CONNECTION={directories}{name}; kv init; kv put a --value 1"
    ));
    assert_eq!(kv.ok(&format!("kv --connection {directories}{name} --daemon=never get a")), "1\n");
    kv.ok(&format!("cd {directories}; n=$(printf 'n%.0s' $(seq 239)); kv --connection ../$n init; kv --connection ../$n get batch a"));
}

#[test]
fn a_present_directory_that_was_deleted_is_named_and_absolute_paths_work_there() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop");
    for mode in ["auto", "never", "require"] {
        for command in ["init", "get a", "put a --value 1", "daemon start"] {
            let (code, stderr) =
                kv.fails(&format!("mkdir gone; cd gone; rmdir ../gone; kv --daemon={mode} {command}"));
            assert!(code == 6 && stderr.contains("the present directory cannot be found"), "{code} {stderr}");
            assert!(stderr.contains("hint: was it deleted?"), "{stderr}");
        }
    }
    let there = "root=$PWD; mkdir gone; cd gone; rmdir ../gone";
    assert_eq!(kv.ok(&format!("{there}; kv --connection $root/data.db get a")), "1\n");
    assert_eq!(kv.ok(&format!("{there}; kv --daemon=never --connection $root/data.db get a")), "1\n");
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_named_with_its_owner() {
    let user = Unprivileged::new();
    assert!(user.run("mkdir -p place/in; chmod 600 place").status.success());
    for command in COMMANDS {
        let (code, words) = user.told(&format!("kv --connection place/in/x.db {command}"));
        assert!(
            code == Some(6) && words.contains("/place cannot be looked into"),
            "{command}: {code:?} {words}"
        );
        assert!(words.contains("with mode 0600") && words.contains("check the permissions"), "{words}");
    }
    assert!(user.run("chmod 700 place").status.success());
}

/// A daemon that runs already checks the path again.
#[test]
fn what_takes_the_place_of_a_store_is_named_by_its_daemon_too() {
    for (make, what) in [("mkfifo data.db", "is a pipe"), ("ln -s data.db data.db", "leads back to itself")] {
        let kv = Kv::new();
        kv.ok(&format!("kv init; kv put a --value 1; mv data.db away.db; {make}"));
        for command in ["get a", "put a --value 2", "init"] {
            let (code, stderr) = kv.fails(&format!("timeout 8 kv {command}"));
            assert!(code == 6 && stderr.contains(what), "{command}: {code} {stderr}");
        }
        kv.ok("rm data.db; mv away.db data.db");
        assert_eq!(kv.ok("kv get a"), "1\n");
    }
}

#[test]
fn the_database_of_another_application_is_named_and_stays_as_it_is() {
    let kv = Kv::new();
    kv.ok("sqlite3 delete.db 'create table users (x); create table \"or\nders\" (y); insert into users values (1)'");
    kv.ok("sqlite3 wal.db 'pragma journal_mode = wal; create view one as select 1'");
    // What a process that died left, and what is not closed yet.
    kv.ok("mkdir dead; sqlite3 live.db 'pragma journal_mode = wal; create table t (x);' '.shell cp live.db live.db-wal dead'");
    kv.ok("for t in a b c d e; do sqlite3 many.db \"create table $t (x)\"; done");
    let before = listing(&kv);
    for (connection, tables) in [
        ("delete.db", "\"or\\nders\", \"users\""),
        ("wal.db", "\"one\""),
        ("dead/live.db", "\"t\""),
        ("'file:dead/live.db?mode=ro'", "\"t\""),
        ("many.db", "\"a\", \"b\", \"c\", and 2 more"),
    ] {
        let message =
            format!("holds no store of kv, but tables of another application: {tables} (unsupported)");
        told(&kv, connection, 1, &message, "choose another file");
    }
    assert_eq!(listing(&kv), before);
    // Nor is one that another process is writing to.
    kv.ok("sqlite3 delete.db 'begin immediate; insert into users values (2);' '.shell ! kv --daemon=never --connection delete.db init 2>/dev/null || touch failed' 'commit'; test ! -e failed");
}

#[test]
fn a_file_without_tables_becomes_a_store() {
    let kv = Kv::new();
    kv.ok(": > empty.db; chmod 640 empty.db; sqlite3 dropped.db 'create table t (x); drop table t'");
    for file in ["empty.db", "dropped.db"] {
        for mode in ["never", "auto"] {
            let (code, stderr) = kv.fails(&format!("kv --daemon={mode} --connection {file} get a"));
            assert!(
                code == 6
                    && stderr.contains("holds no store")
                    && stderr.contains(&format!("kv --connection {file} init")),
                "{code} {stderr}"
            );
        }
        kv.ok(&format!("kv --connection {file} init; kv --connection {file} put a --value 1"));
    }
    let mode = kv.directory.path().join("empty.db").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "the file that was there says otherwise");
    // What an application adds later is its own affair.
    kv.ok("sqlite3 empty.db 'create table later (x)'; kv --connection empty.db init; kv --connection empty.db get a");
}
