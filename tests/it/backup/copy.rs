//! `kv backup`: a whole file or none.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use crate::support::{Kv, Load, wait_until};

/// A store with records, a delete, a lock, a consumer and an outcome, most of it in the log only.
fn store() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put early --value 1; kv daemon stop; kv put late --value 1.0 --of-type T --once o1");
    kv.ok("kv put gone --value 1; kv delete gone; kv lock acquire deploy me; kv consumer commit mail 2");
    kv
}

const ALL: &str =
    "list 0 -1 --output ndjson; kv $C stream get 0 -1 --output ndjson; kv $C consumer list; kv $C lock list";

fn all(kv: &Kv, connection: &str) -> String {
    kv.ok(&format!("C='--daemon=never --connection {connection}'; kv $C {ALL}"))
}

fn put_large(kv: &Kv, bytes: usize) {
    kv.ok(&format!("printf '\"%0{bytes}d\"' 0 | kv put large"));
}

/// What stands in the directory besides the files of the store and of the tests.
fn others(kv: &Kv) -> String {
    kv.ok("ls -A | grep -v -e '^data.db' -e '^run$' || true")
}

#[test]
fn a_backup_has_all_that_the_store_has_and_is_one_private_file_that_opens_anywhere() {
    let kv = store();
    let (printed, told) = {
        let output = kv.shell("umask 000; kv backup b.db");
        assert!(output.status.success(), "{output:?}");
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    assert!(printed.is_empty());
    assert!(told.starts_with("backed up to b.db: ") && told.ends_with(" bytes, up to change 4\n"), "{told}");
    let metadata = kv.directory.path().join("b.db").metadata().unwrap();
    assert_eq!((metadata.mode() & 0o777, others(&kv).as_str()), (0o600, "b.db\n"));
    assert_eq!(kv.ok("sqlite3 b.db 'pragma journal_mode; pragma integrity_check'"), "delete\nok\n");
    kv.ok("kv --connection b.db check");
    assert_eq!(all(&kv, "'file:b.db?mode=ro'"), all(&kv, "data.db"));
    assert_eq!(others(&kv), "b.db\n", "reading makes no log beside it");
    // Served, it is a store like any other.
    assert_eq!(all(&kv, "b.db"), all(&kv, "data.db"));
    assert_eq!(kv.ok("kv --connection b.db put new --value 1 --print-version"), "1\n");
    kv.ok("kv --connection b.db daemon stop");
}

#[test]
fn a_backup_opens_where_nothing_can_be_written() {
    let kv = store();
    kv.ok("mkdir place; kv backup place/b.db; kv daemon stop; cp $(command -v kv) .");
    kv.ok("chmod 711 .; chmod 755 kv; chmod 444 place/b.db; chmod 555 place");
    let other = if kv.ok("id -u") == "0\n" { "setpriv --reuid=65534 --clear-groups" } else { "env" };
    let read =
        format!("{other} env HOME=/nonexistent ./kv --daemon=never --connection 'file:place/b.db?mode=ro'");
    assert_eq!(
        kv.ok(&format!("{read} get late --raw; {read} check 2>&1")),
        "1.0\n2 records and 4 changes were looked at: the store is sound\n"
    );
    kv.ok("chmod 755 place");
}

#[test]
fn a_backup_goes_to_stdout_and_only_data_does() {
    let kv = store();
    kv.ok("kv backup - > piped.db 2> told; kv backup named.db; cmp piped.db named.db");
    assert_eq!(kv.ok("cat told"), "", "no bar where nobody looks");
    kv.ok("kv --connection piped.db check; mkdir temporary");
    assert_eq!(
        kv.ok("TMPDIR=$PWD/temporary kv backup - | wc -c; ls temporary"),
        kv.ok("stat -c %s piped.db")
    );
    // More than a pipe holds, so that it cannot all be written before the reader has gone.
    put_large(&kv, 300_000);
    let (code, stderr) = kv.fails("set -o pipefail; kv backup - | true; exit ${PIPESTATUS[0]}");
    assert!(code == 6 && stderr.contains("not complete"), "{code} {stderr}");
    if std::path::Path::new("/dev/full").exists() {
        let (code, stderr) = kv.fails("kv backup - > /dev/full");
        assert!(code == 6 && stderr.contains("store_full"), "{code} {stderr}");
    }
    let typescript = kv.ok("script -qec 'kv backup -' /dev/null < /dev/null || true");
    assert!(typescript.contains("not for a terminal"), "{typescript}");
    let bar = kv.ok("TERM=xterm script -qec 'kv backup bar.db' /dev/null < /dev/null");
    assert!(bar.contains("backing up"), "{bar:?}");
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_force_and_the_store_never() {
    let kv = store();
    kv.ok("echo precious > b.db; ln -s b.db link; ln -s data.db store; ln data.db hard; mkdir folder; ln -s nowhere dangling");
    let refused = |words: &str, told: &str| {
        let (code, stderr) = kv.fails(&format!("kv backup {words}"));
        assert!(code == 2 && stderr.contains(told), "{words}: {code} {stderr}");
    };
    for words in ["b.db", "link"] {
        refused(words, "exists already");
    }
    assert_eq!(kv.ok("cat b.db"), "precious\n");
    for file in [
        "data.db",
        "./data.db",
        "run/../data.db",
        "store",
        "hard",
        "data.db-wal",
        "data.db-shm",
        "data.db.kv-lock",
        "data.db-journal",
    ] {
        for force in ["", "--force"] {
            refused(&format!("{file} {force}"), "a file of the store");
        }
    }
    refused("folder", "a directory");
    refused("folder --force", "a directory");
    refused("dangling --force", "leads nowhere");
    refused("/dev/null --force", "not a regular file");
    refused("nowhere/b.db", "directory must exist");
    kv.ok("rm hard; kv backup --force link");
    kv.ok("test -L link; kv --connection b.db check");
    assert_eq!(kv.ok("kv get early"), "1\n");
}

/// SQLite would play a log that lies there into the backup.
#[test]
fn a_backup_is_not_put_beside_the_log_of_another_file() {
    let kv = store();
    for log in ["b.db-wal", "b.db-journal"] {
        kv.ok(&format!("touch {log}"));
        for force in ["", "--force"] {
            let (code, stderr) = kv.fails(&format!("kv backup b.db {force}"));
            assert!(code == 6 && stderr.contains(log) && stderr.contains("(busy)"), "{code} {stderr}");
        }
        kv.ok(&format!("rm {log}"));
    }
    kv.ok("kv --connection live.db init");
    assert_eq!(kv.fails("kv backup --force live.db").0, 6, "a store that is served");
    kv.ok("kv --connection live.db daemon stop; kv backup --force live.db");
}

#[test]
fn a_backup_while_eight_clients_write_is_one_instant_of_the_store() {
    let kv = Kv::new();
    kv.ok("kv init");
    let load = Load::start(&kv);
    let mut before = 0;
    for round in 1..=5 {
        wait_until("more puts", || load.acknowledged() >= 100 * round);
        let acknowledged = load.acknowledged();
        kv.ok(&format!("kv backup {round}.db; kv --connection {round}.db check"));
        let seq: usize =
            kv.ok(&format!("kv --daemon=never --connection {round}.db stream seq")).trim().parse().unwrap();
        assert!(seq >= acknowledged && seq >= before, "{before} {acknowledged} {seq}");
        before = seq;
    }
    let pid = kv.daemon_pid();
    kv.kill_daemon(pid);
    load.check(&kv);
}

/// So that it is interrupted in its middle, the disk is made slow.
fn slow_backup(kv: &Kv) -> std::process::Child {
    put_large(kv, 6_000_000);
    let slow = "exec strace -f -qq -o trace -e trace=pwrite64 -e inject=pwrite64:delay_enter=5000:when=2+ kv backup b.db";
    let backup = kv.command("bash").args(["-c", slow]).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the middle of the backup", || {
        std::fs::read_dir(kv.directory.path()).unwrap().any(|entry| {
            let entry = entry.unwrap();
            entry.file_name().to_str().unwrap().starts_with("b.db.partial-")
                && entry.metadata().unwrap().len() > 100_000
        })
    });
    backup
}

fn backup_process(kv: &Kv, strace: u32) -> String {
    kv.ok(&format!("pgrep -P {strace}")).trim().to_owned()
}

#[test]
fn a_backup_that_is_interrupted_leaves_no_file() {
    for signal in ["INT", "TERM"] {
        let kv = store();
        let mut backup = slow_backup(&kv);
        let pid = backup_process(&kv, backup.id());
        kv.ok(&format!("kill -{signal} {pid}"));
        let code = backup.wait().unwrap().code();
        assert_eq!(code, Some(if signal == "INT" { 130 } else { 143 }));
        assert_eq!(others(&kv), "trace\n");
        assert_eq!(kv.ok("kv get early"), "1\n");
    }
}

#[test]
fn a_backup_that_is_killed_leaves_no_file_of_its_name() {
    let kv = store();
    let mut backup = slow_backup(&kv);
    let pid = backup_process(&kv, backup.id());
    kv.ok(&format!("kill -9 {pid}"));
    backup.wait().unwrap();
    assert!(!kv.directory.path().join("b.db").exists());
    kv.ok("kv backup b.db; kv --connection b.db check");
}

#[test]
fn without_space_or_rights_a_backup_is_refused_in_words_and_leaves_nothing() {
    let kv = store();
    put_large(&kv, 300_000);
    for words in ["b.db", "-"] {
        let (code, stderr) =
            kv.fails(&format!("ulimit -f 100; kv backup {words} | cat; exit ${{PIPESTATUS[0]}}"));
        assert!(
            code == 6 && stderr.contains("(store_full)") && stderr.contains("hint"),
            "{words}: {code} {stderr}"
        );
    }
    assert_eq!(others(&kv), "");
    let (code, stderr) = kv.fails("kv backup /proc/b.db");
    assert!(code != 0 && stderr.contains("/proc/b.db"), "{code} {stderr}");
    if kv.ok("id -u") == "0\n" {
        // A user who may use the daemon need not be able to read its file.
        kv.ok("cp $(command -v kv) .; chmod 755 kv; chmod 711 .; mkdir -m 777 open; chmod 600 data.db");
        let other = "setpriv --reuid=65534 --clear-groups env HOME=/nonexistent";
        let (code, stderr) = kv.fails(&format!("{other} ./kv backup open/b.db"));
        assert!(code == 6 && stderr.contains("reads the file itself"), "{code} {stderr}");
        kv.ok("chmod 644 data.db*; chmod 555 open");
        let (code, stderr) =
            kv.fails(&format!("{other} ./kv --connection 'file:data.db?mode=ro' backup open/b.db"));
        assert!(code == 6 && stderr.contains("(read_only)"), "{code} {stderr}");
    }
}

#[test]
fn what_is_not_there_is_not_backed_up() {
    let kv = Kv::new();
    let refused = |text: &str, code: i32, told: &str| {
        let (found, stderr) = kv.fails(text);
        assert!(found == code && stderr.contains(told), "{text}: {found} {stderr}");
    };
    refused("kv backup b.db", 6, "not_initialized");
    refused("kv check", 6, "not_initialized");
    refused("kv --connection :memory: backup b.db", 1, "memory store");
    refused("kv --connection :memory: check", 1, "memory store");
    refused("kv --type postgres backup b.db", 1, "unsupported");
    kv.ok("echo text > text; sqlite3 foreign.db 'create table t (x)'");
    refused("kv --connection text backup b.db", 1, "unsupported");
    refused("kv --connection foreign.db backup b.db", 6, "holds no store");
    assert_eq!(others(&kv), "foreign.db\ntext\n");
}

/// A reader that is slow holds the snapshot, and no write waits for it.
#[test]
fn a_reader_that_is_slow_to_take_a_backup_holds_up_nobody() {
    let kv = store();
    put_large(&kv, 1_000_000);
    let mut backup = kv.command("kv").args(["backup", "-"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut taken = backup.stdout.take().unwrap();
    let mut bytes = vec![0; 100];
    taken.read_exact(&mut bytes).unwrap();
    kv.ok("kv put after --value 1");
    taken.read_to_end(&mut bytes).unwrap();
    assert!(backup.wait().unwrap().success());
    let file = kv.directory.path().join("b.db");
    std::fs::write(&file, &bytes).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    kv.ok("kv --connection b.db check");
    assert_eq!(kv.fails("kv --daemon=never --connection b.db get after").0, 3);
}

/// A process that was killed has left the log, and then another store was copied over the file.
#[test]
fn the_log_of_another_store_is_not_played_into_the_one_that_is_read() {
    for command in ["kv check", "kv backup b.db", "kv --daemon=never restore other.db"] {
        let kv = store();
        kv.ok("kv --connection other.db init; kv --connection other.db put other --value 1");
        kv.ok("kv --connection other.db daemon stop");
        let pid = kv.daemon_pid();
        kv.kill_daemon(pid);
        kv.ok(&format!("cp other.db data.db; {command}"));
        for connection in ["data.db", "b.db", "data.db.before-restore-*"] {
            let list = format!(
                "test ! -e {connection} || kv --daemon=never --connection {connection} list --keys-only"
            );
            let keys = kv.ok(&format!("{list} --output ndjson; test ! -e {connection} || kv --daemon=never --connection {connection} check"));
            assert!(["", "\"other\"\n"].contains(&keys.as_str()), "{command}: {connection}: {keys}");
        }
        assert_eq!(kv.ok("ls data.replaced-wal"), "data.replaced-wal\n", "{command}");
    }
}
