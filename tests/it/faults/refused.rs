//! Files that kv must not use, or not write to.

use std::process::Output;

use crate::support::Kv;

#[test]
fn a_file_that_is_no_store_is_refused_and_untouched() {
    let kv = Kv::new();
    kv.ok("echo precious > text; sqlite3 foreign.db 'create table t (x)'; : > empty.db");
    for (file, code, words) in [
        ("text", 1, "unsupported"),
        ("foreign.db", 1, "unsupported"),
        ("empty.db", 6, "kv --connection empty.db init"),
    ] {
        let before = std::fs::read(kv.directory.path().join(file)).unwrap();
        for mode in ["auto", "never"] {
            let (exit_code, stderr) = kv.fails(&format!("kv --daemon={mode} --connection {file} get a"));
            assert!(exit_code == code && stderr.contains(words), "{file}: {exit_code} {stderr}");
        }
        kv.ok(&format!("kv --connection {file} daemon stop"));
        assert_eq!(std::fs::read(kv.directory.path().join(file)).unwrap(), before, "{file}");
    }
    kv.ok("kv init; kv daemon stop; sqlite3 data.db \"insert into kv_migration values (99, 'x', 0)\"");
    let (code, stderr) = kv.fails("kv --daemon=never get a");
    assert!(code == 1 && stderr.contains("schema 99"), "{code} {stderr}");
}

#[test]
fn a_store_opened_read_only_is_never_written_to() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let read_only = "kv --connection 'file:data.db?mode=ro'";
    for mode in ["", "--daemon=never"] {
        assert_eq!(kv.ok(&format!("{read_only} {mode} get a")), "1\n");
        let (code, stderr) = kv.fails(&format!("{read_only} {mode} put a --value 2"));
        assert!(code == 6 && stderr.contains("read_only"), "{code} {stderr}");
    }
    kv.ok(&format!("{read_only} daemon stop"));
    assert_eq!(kv.ok("kv get a"), "1\n");
    let (code, stderr) = kv.fails("kv --daemon=never --connection 'file:other.db?mode=ro' init");
    assert!(code == 6 && stderr.contains("read_only"), "{code} {stderr}");
}

/// A store in the directory `place` of a user who is bound by permissions: root gives everything to another user and its
/// rights up, because a missing permission means nothing to it.
pub(super) struct Unprivileged {
    pub(super) kv: Kv,
    is_root: bool,
}

impl Unprivileged {
    pub(super) fn new() -> Unprivileged {
        let kv = Kv::new();
        kv.ok("mkdir place");
        // The directory that the program was built in may be closed to that user.
        std::fs::copy(env!("CARGO_BIN_EXE_kv"), kv.directory.path().join("kv")).unwrap();
        let is_root = kv.ok("id -u") == "0\n";
        if is_root {
            kv.ok("chown -R 65534:65534 .");
        }
        let user = Unprivileged { kv, is_root };
        assert!(user.run("kv init; kv put a --value 1; kv daemon stop").status.success());
        user
    }

    pub(super) fn run(&self, text: &str) -> Output {
        let drop_rights = ["--reuid=65534", "--regid=65534", "--clear-groups", "bash"];
        let mut command = if self.is_root { self.kv.command("setpriv") } else { self.kv.command("bash") };
        if self.is_root {
            command.args(drop_rights);
        }
        let setup = "export PATH=$PWD:$PATH KV_CONNECTION=place/data.db";
        command.arg("-c").arg(format!("{setup}; {text}")).output().unwrap()
    }

    /// The exit code of a text, and what it printed.
    pub(super) fn told(&self, text: &str) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.run(text);
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }
}

#[test]
fn a_missing_permission_is_an_error_that_names_it_and_changes_nothing() {
    let user = Unprivileged::new();
    let file = user.kv.directory.path().join("place/data.db");
    let before = std::fs::read(&file).unwrap();
    let (read_only, unavailable) = ((Some(6), "(read_only)"), (Some(6), "(unavailable)"));
    for (taken, read, written) in [
        ("chmod 000 place/data.db", unavailable, unavailable),
        ("chmod 000 place", unavailable, unavailable),
        // SQLite cannot make the log and its index, which even a reader needs.
        ("chmod 500 place", read_only, read_only),
        // Last, because it leaves an index behind that has the rights of the file.
        ("chmod 400 place/data.db", (Some(0), "1\n"), read_only),
    ] {
        assert!(user.run(taken).status.success());
        for mode in ["never", "auto"] {
            for (text, expected) in [("get a", read), ("put b --value 2", written)] {
                let (code, words) = user.told(&format!("kv --daemon={mode} {text}"));
                assert!(
                    code == expected.0 && words.contains(expected.1),
                    "{taken}, {text}: {code:?} {words}"
                );
                assert!(code == Some(0) || words.contains("check the permissions"), "{taken}: {words}");
            }
        }
        assert!(user.run("kv daemon stop; chmod 700 place; chmod 600 place/data.db").status.success());
        assert_eq!(std::fs::read(&file).unwrap(), before, "{taken}");
    }
    assert_eq!(
        user.told("chmod 600 place/*; kv put b --value 2 && kv list --keys-only --output ndjson").1,
        "\"a\"\n\"b\"\n"
    );
    assert!(user.run("kv daemon stop").status.success());
}
