//! The owners of the files of a store, and which users may use them.

use super::users::Users;
use crate::support::Kv;

/// Mode, owner and name of each file of a directory.
fn modes(directory: &str) -> String {
    format!("find {directory} -maxdepth 1 -type f -name 'data.*' -printf '%m %U %f\\n' | sort -k3")
}

#[test]
fn the_files_of_a_new_store_are_their_owners_alone_whatever_the_umask_is() {
    for umask in ["000", "022", "077", "0277", "0777"] {
        for mode in ["auto", "never"] {
            let kv = Kv::new();
            // The umask of a daemon is its own affair; its directories are there already.
            kv.ok(&format!("mkdir -m 755 place run/kv; chmod 700 run/kv; cd place; umask {umask}; kv --daemon={mode} init"));
            kv.ok(&format!("cd place; umask {umask}; kv put a --value 1; kv --daemon=never put b --value 2"));
            let own = kv.ok("id -u");
            let own = own.trim();
            let files = kv.ok(&modes("place"));
            let all = ["data.db", "data.db-shm", "data.db-wal", "data.db.kv-lock"];
            let expected: String = all.iter().map(|file| format!("600 {own} {file}\n")).collect();
            assert_eq!(files, expected, "{umask} {mode}");
            kv.ok("cd place; kv get batch a b > /dev/null; kv daemon stop");
        }
    }
}

#[test]
fn an_existing_file_says_otherwise() {
    let kv = Kv::new();
    kv.ok("umask 077; : > data.db; chmod 644 data.db; kv init; kv put a --value 1");
    assert_eq!(kv.ok("stat -c %a data.db data.db-wal data.db-shm data.db.kv-lock"), "644\n644\n644\n600\n");
}

#[test]
fn a_directory_that_its_group_shares_says_otherwise() {
    let users = Users::new();
    // Without the bit that makes its files the group's, a directory is only as wide as the umask was.
    users.ok("install -d -m 2770 -g users shared; install -d -m 770 -g users wide; chmod 755 .");
    let run = |name: &str, text: &str| {
        users.ok(&format!("groups=users as {name} 'umask 077; cd ../../shared; {text}'"))
    };
    run("alice", "kv init; kv put a --value 1");
    run("bob", "kv put b --value 2; kv --daemon=never put c --value 3");
    assert_eq!(run("alice", "kv count all; kv get b"), "3\n2\n");
    run("bob", "kv daemon stop");
    run("alice", "kv daemon stop");
    run("bob", "kv put d --value 4");
    assert_eq!(
        users.ok("stat -c '%a %G' shared/data.db shared/data.db-wal shared/data.db-shm"),
        "660 users\n".repeat(3)
    );
    assert_eq!(run("alice", "kv get d"), "4\n");
    users.ok("groups=users as alice 'cd ../../wide; umask 0; kv --daemon=never init'");
    assert_eq!(users.ok("stat -c %a wide/data.db"), "600\n");
    let (code, stderr) = users.fails("groups=users as bob 'cd ../../wide; kv get a'");
    assert!(
        code == 6 && stderr.contains(&format!("it belongs to user {} with mode 0600", users.alice)),
        "{code} {stderr}"
    );
}

/// Root may do everything, so what it leaves behind must not keep the owner out.
#[test]
fn root_says_that_a_store_is_another_users_and_leaves_it_to_its_owner() {
    let root = "export HOME=$PWD XDG_RUNTIME_DIR=$PWD/run; database=$PWD/home/alice/data.db";
    for first in ["root", "alice"] {
        let users = Users::new();
        let note = format!("note: the store belongs to user {}, and", users.alice);
        users.ok("chmod 700 run; as alice 'kv init; kv put a --value 1; kv daemon stop; rm data.db.kv-lock'");
        if first == "alice" {
            users.ok("as alice 'kv get a'");
        }
        for (command, server) in [
            ("kv --connection $database put b --value 2", "a daemon of root"),
            ("kv --connection $database daemon start", "a daemon of root"),
            ("kv --daemon=never --connection $database put c --value 3", "this process"),
            ("kv --connection \"file:$database?mode=ro\" get a >&2", "a daemon of root"),
            ("echo '{\"op\":\"get\",\"key\":\"a\"}' | kv --connection $database rpc >&2", "a daemon of root"),
        ] {
            let output = users.shell(&format!("{root}; {command}"));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(
                output.status.success() && stderr.contains(&format!("{note} {server} serves it")),
                "{command}: {stderr}"
            );
        }
        // While root's daemon runs, and after it was killed.
        assert_eq!(users.ok("as alice 'kv put d --value 4; kv --daemon=never count all'"), "4\n", "{first}");
        assert_eq!(users.ok(&format!("{root}; kv --connection $database get d 2> /dev/null")), "4\n");
        users.ok(&format!(
            "{root}; kill -9 $(kv --connection $database daemon status 2> /dev/null | jq .pid)
            kv --connection \"file:$database?mode=ro\" daemon stop"
        ));
        assert_eq!(users.ok("as alice 'kv put e --value 5; kv daemon stop; kv count all'"), "5\n", "{first}");
        let files = users.ok(&modes("home/alice"));
        assert!(files.lines().all(|file| file.starts_with(&format!("600 {} ", users.alice))), "{files}");
        assert!(files.contains("data.db.kv-lock"), "the owner's daemon has its lock: {files}");
        // The owner gets no warning.
        let output = users.shell("as alice 'kv get a'");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn a_store_that_root_made_names_its_owner() {
    let users = Users::new();
    users.ok(
        "chmod 700 run; export HOME=$PWD XDG_RUNTIME_DIR=$PWD/run; cd home/alice; kv --daemon=never init",
    );
    for mode in ["auto", "never"] {
        for command in ["get a", "put a --value 1", "init"] {
            let (code, stderr) = users.fails(&format!("as alice 'kv --daemon={mode} {command}'"));
            assert!(
                code == 6 && stderr.contains("it belongs to user 0 with mode 0600"),
                "{mode} {command}: {code} {stderr}"
            );
        }
    }
}
