//! Stores that are only read, where nothing can be written: not the database, and no file beside it.

use super::refused::Unprivileged;
use crate::support::Kv;

const READ: &str = "export KV_CONNECTION='file:place/data.db?mode=ro'";

/// A way to leave the files of a store in the directory `place`; the store is in `from`.
struct Left {
    what: &'static str,
    by: &'static str,
}

const LEFT: &[Left] = &[
    Left { what: "closed", by: "kv daemon stop; cp from/data.db place" },
    Left { what: "with a log", by: "cp from/data.db from/data.db-wal place" },
    Left { what: "with a log and its index", by: "cp from/data.db from/data.db-wal from/data.db-shm place" },
    Left { what: "with an empty log", by: "kv daemon stop; cp from/data.db place; : > place/data.db-wal" },
    Left {
        what: "with an old index",
        by: "cp from/data.db-shm place; kv daemon stop; cp from/data.db place",
    },
    Left { what: "as a copy without a log", by: "sqlite3 from/data.db \"vacuum into 'place/data.db'\"" },
    Left { what: "as a backup", by: "sqlite3 from/data.db '.backup place/data.db'" },
];

/// A read of a record and of the stream, and a write.
const A_READ: &str = r#"
    set -eE; trap 'echo "failed: $BASH_COMMAND" >&2' ERR
    test "$(kv get a; kv stream seq)" = $'1\n2'
    code=0; kv put a --value 2 2> told || code=$?
    test $code = 6; grep -q '(read_only)' told; grep -q '^hint: leave out mode=ro' told
    echo done
"#;

/// Every read, and every kind of write.
const EVERY_READ: &str = r#"
    set -eE; trap 'echo "failed: $BASH_COMMAND" >&2' ERR
    test "$(kv get a)" = 1
    test "$(kv get batch a b --output ndjson | wc -l)" = 2
    test "$(kv get prefix b | jq length)" = 1
    test "$(kv get range a b | jq length)" = 1
    test "$(kv list --keys-only --output ndjson | wc -l)" = 2
    test "$(kv count all)" = 2
    test "$(kv stream seq)" = 2
    test "$(kv stream get --output ndjson | wc -l)" = 2
    test "$(kv watch --after 0 | head -2 | wc -l)" = 2
    test "$(kv lock status l | jq .held)" = false
    kv lock list > /dev/null
    test "$(kv consumer list | jq length)" = 0
    for write in 'put a --value 2' 'delete a' 'lock acquire l me' 'stream trim 1' 'init'; do
        code=0; kv $write 2> told || code=$?
        case $write in
            init) test $code = 0;;
            *) test $code = 6; grep -q '(read_only)' told; grep -q '^hint: leave out mode=ro' told;;
        esac
    done
    test "$(kv get a)" = 1
    echo done
"#;

fn left(left: &Left) -> Unprivileged {
    let user = Unprivileged::new();
    let made = user.run(&format!(
        "set -e; rm -f place/*; mkdir from; export KV_CONNECTION=from/data.db
        kv init; kv put a --value 1; kv put b --value 2; {}; kv daemon stop; chmod 444 place/data.db*; chmod 555 place",
        left.by
    ));
    assert!(made.status.success(), "{}: {made:?}", left.what);
    user
}

fn listing(user: &Unprivileged) -> String {
    user.kv.ok("ls -lA --time-style=full-iso place; cd place; sha256sum *")
}

#[test]
fn a_store_that_cannot_be_written_is_read() {
    for left in LEFT {
        let user = self::left(left);
        let before = listing(&user);
        for mode in ["never", "auto"] {
            let reads = if left.what == "with a log" { EVERY_READ } else { A_READ };
            let told = user.told(&format!("{READ} KV_DAEMON={mode}; {reads}"));
            assert_eq!(told, (Some(0), "done\n".to_owned()), "{} {mode}", left.what);
        }
        assert_eq!(listing(&user), before, "{}", left.what);
        assert!(user.run(&format!("{READ}; kv daemon stop")).status.success());
    }
}

#[test]
fn without_mode_ro_the_hint_names_it() {
    let user = left(&LEFT[0]);
    for mode in ["never", "auto"] {
        let (code, words) = user.told(&format!("kv --daemon={mode} get a"));
        assert!(code == Some(6) && words.contains("mode=ro reads without writing"), "{code:?} {words}");
    }
}

#[test]
fn a_file_that_may_not_even_be_read_is_named() {
    for (file, left) in [("data.db", &LEFT[0]), ("data.db-wal", &LEFT[1]), ("data.db-shm", &LEFT[2])] {
        let user = self::left(left);
        assert!(user.run(&format!("chmod 000 place/{file}")).status.success());
        for mode in ["never", "auto"] {
            let (code, words) = user.told(&format!("{READ}; kv --daemon={mode} get a"));
            let named = format!("place/{file}: it belongs to user ");
            assert!(
                code == Some(6) && words.contains(&named) && words.contains("with mode 0000"),
                "{code:?} {words}"
            );
        }
    }
}

/// Writers come and go: no reader goes on with files that are no longer the ones that were opened.
#[test]
fn what_somebody_writes_meanwhile_is_seen() {
    for left in LEFT {
        let user = self::left(left);
        assert_eq!(user.told(&format!("{READ}; kv get a")).1, "1\n", "{}", left.what);
        let pid = user.told(&format!("{READ}; kv daemon status | jq .pid")).1;
        for (put, value) in [("a --value 10", "10\n"), ("a --value 11", "11\n")] {
            // It is the last to close the database, and takes its log away.
            let written = user.run(&format!(
                "chmod 755 place; chmod 644 place/*; kv --daemon=never put {put}; chmod 444 place/*; chmod 555 place"
            ));
            assert!(written.status.success(), "{written:?}");
            let read = user.told(&format!("{READ}; kv get a"));
            assert_eq!(read, (Some(0), value.to_owned()), "{}", left.what);
        }
        assert_eq!(
            user.told(&format!("{READ}; kv daemon status | jq .pid")).1,
            pid,
            "it was the same daemon"
        );
        assert!(user.run(&format!("{READ}; kv daemon stop")).status.success());
    }
}

/// To read it as it stands would show half of a transaction.
#[test]
fn a_transaction_that_was_cut_off_is_not_read_over() {
    let user = Unprivileged::new();
    let made = user.run(
        "set -e; rm -f place/*; mkdir from; kv --connection from/data.db init; kv --connection from/data.db put a --value 1
        kv --connection from/data.db daemon stop
        sqlite3 from/data.db 'pragma journal_mode = delete; pragma cache_size = 1; pragma cache_spill = 1; begin;' \
            \"insert into kv_record select 'k' || value, 1, 1, null, 0, 0, null, hex(randomblob(2000)) from generate_series(1, 50);\" \
            '.shell cp from/data.db from/data.db-journal place' rollback
        chmod 444 place/*; chmod 555 place",
    );
    assert!(made.status.success(), "{made:?}");
    for mode in ["never", "auto"] {
        let (code, words) = user.told(&format!("{READ}; kv --daemon={mode} count all"));
        assert!(
            code == Some(6) && words.contains("it was not closed") && words.contains("hint: "),
            "{code:?} {words}"
        );
    }
    let recovered =
        user.told("chmod 755 place; chmod 644 place/*; kv --daemon=never count all; chmod 555 place");
    assert_eq!(recovered, (Some(0), "1\n".to_owned()));
    assert_eq!(user.told(&format!("{READ}; kv --daemon=never count all")).1, "1\n");
}

/// In a mount namespace of its own. Root is bound by a read-only file system too.
#[test]
fn a_read_only_file_system_is_read() {
    for left in LEFT {
        let kv = Kv::new();
        let is_root = kv.ok("id -u") == "0\n";
        let unshare = if is_root { "unshare --mount" } else { "unshare --mount --map-root-user" };
        kv.ok(&format!(
            "mkdir from place; export KV_CONNECTION=from/data.db
            kv init; kv put a --value 1; kv put b --value 2; {}; kv daemon stop; rm -f place/*.kv-lock",
            left.by
        ));
        let text = format!(
            "{unshare} bash -c 'mount --bind place place && mount -o remount,bind,ro place && cd . && bash everything'"
        );
        for mode in ["never", "auto"] {
            let everything =
                format!("# {}\n{READ} KV_DAEMON={mode}; {A_READ} kv daemon stop 2> /dev/null", left.what);
            std::fs::write(kv.directory.path().join("everything"), everything).unwrap();
            let output = kv.shell(&text);
            assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{} {mode}: {output:?}", left.what);
        }
        let (code, stderr) =
            kv.fails(&text.replace("bash everything", "kv --daemon=never --connection place/new.db init"));
        assert!(code == 6 && stderr.contains("(read_only)"), "{code} {stderr}");
    }
}

#[test]
fn a_copy_without_a_log_is_a_store_that_can_be_written_too() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; sqlite3 data.db \"vacuum into 'copy.db'\"");
    for mode in ["never", "auto"] {
        assert_eq!(kv.ok(&format!("kv --daemon={mode} --connection copy.db get a")), "1\n");
    }
    kv.ok("kv --connection copy.db put b --value 2");
    assert_eq!(kv.ok("kv --connection copy.db count all; kv count all"), "2\n1\n");
}
