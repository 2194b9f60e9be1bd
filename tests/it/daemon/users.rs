//! Other users of the machine: which users may connect, and which servers a client trusts. This needs root, or sudo
//! without a password, because only root can become another user.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::Kv;

/// Users, each with a home and a runtime directory in `home/NAME`, who all may use the binary.
pub(crate) struct Users {
    pub(crate) kv: Kv,
    pub(crate) alice: u32,
    pub(crate) bob: u32,
}

/// How many tests have users already.
static TESTS: AtomicU32 = AtomicU32::new(0);

/// The shell function `as NAME COMMAND`; in `$groups` are the groups of the user, by default none.
const PRELUDE: &str = r#"
    as() {
        local name=$1 uid=${!1}; shift
        (cd home/$name && env -i PATH=$PATH HOME=$PWD XDG_RUNTIME_DIR=$PWD/run \
            setpriv --reuid $uid --regid $uid --groups ${groups:-$uid} -- bash -c "$*")
    }
    set -e
"#;

impl Users {
    pub(crate) fn new() -> Users {
        let kv = Kv::new();
        std::fs::set_permissions(kv.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // Users that no other test has, so that what they left running can be ended by their number.
        let number = 1_000_000 + std::process::id() * 16 + TESTS.fetch_add(1, Ordering::SeqCst) * 2;
        let users = Users { kv, alice: number, bob: number + 1 };
        // Not everybody may look into the directory where it was built.
        let binary = env!("CARGO_BIN_EXE_kv");
        users.ok(&format!("mkdir bin home; cp {binary} bin/kv; chmod 755 bin home bin/kv"));
        for (name, uid) in [("alice", users.alice), ("bob", users.bob)] {
            users.ok(&format!("install -d -o {uid} -g {uid} -m 700 home/{name} home/{name}/run"));
        }
        users
    }

    fn path(&self, path: &str) -> PathBuf {
        self.kv.directory.path().join(path)
    }

    /// Runs a shell text as root, in which `as` is another user.
    pub(crate) fn shell(&self, text: &str) -> Output {
        let is_root = self.kv.ok("id -u").trim() == "0";
        let words: &[&str] = if is_root { &["bash"] } else { &["sudo", "-n", "bash"] };
        let path = format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        let mut command = self.kv.command(words[0]);
        command
            .args(&words[1..])
            .args(["-c", &format!("export {path} alice={} bob={}; {PRELUDE} {text}", self.alice, self.bob)]);
        command.output().unwrap()
    }

    #[track_caller]
    pub(crate) fn ok(&self, text: &str) -> String {
        let output = self.shell(text);
        assert!(output.status.success(), "{text}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn fails(&self, text: &str) -> (i32, String) {
        let output = self.shell(text);
        assert!(!output.status.success(), "{text}\n{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{text}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // A daemon that was left behind by a failed test, and files that are not ours.
        let _ = self.shell(
            "pkill -u $alice,$bob || true; while pgrep -u $alice,$bob; do sleep 0.05; done; rm -rf home bin /tmp/kv-$alice /tmp/kv-$bob",
        );
    }
}

#[test]
fn a_daemon_serves_no_other_user_however_open_its_socket_is() {
    let users = Users::new();
    users.ok("as alice 'kv init; kv put secret --value 1'");
    let socket = users.ok("as alice kv socket").trim().to_owned();
    let ask = format!("echo '{{\"op\":\"get\",\"key\":\"secret\"}}' | timeout 5 nc -NU {socket}");
    let (code, stderr) = users.fails(&format!("as bob kv --socket {socket} get secret"));
    assert!(code == 6 && stderr.contains("Permission denied"), "{code} {stderr}");
    // All permissions are opened.
    users
        .ok(&format!("chmod 755 home/alice; chmod 777 home/alice/run home/alice/run/kv; chmod 666 {socket}"));
    let (code, stderr) = users.fails(&format!("as bob kv --socket {socket} get secret"));
    assert!(
        code == 6 && stderr.contains(&format!("served by user {}, not by user {}", users.alice, users.bob)),
        "{code} {stderr}"
    );
    let output = users.shell(&format!("as bob \"{}\"", ask.replace('"', "\\\"")));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "another user was served");
    // Root could read the file anyway, and the owner still does.
    assert!(users.ok(&ask).contains("\"value\":1"));
    let logged = users.ok("cat home/alice/run/kv/*.log");
    assert!(logged.contains(&format!("user {} may not use this daemon", users.bob)), "{logged}");
}

#[test]
fn a_client_sends_nothing_to_a_server_of_another_user() {
    let users = Users::new();
    let planted = users.path("planted.sock");
    let listener = UnixListener::bind(&planted).unwrap();
    std::fs::set_permissions(&planted, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (code, stderr) =
        users.fails(&format!("as alice 'kv --socket {} put secret --value 1'", planted.display()));
    assert!(code == 6 && stderr.contains("nothing was sent"), "{code} {stderr}");
    let mut heard = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"");
}

#[test]
fn a_directory_of_another_user_is_not_used() {
    let users = Users::new();
    let (code, stderr) = users.fails("install -d -o $bob -m 700 home/alice/run/kv; as alice kv init");
    assert!(
        code == 6 && stderr.contains(&format!("belongs to user {}", users.bob)) && stderr.contains("chown"),
        "{stderr}"
    );
    // su keeps the variables of the user from before: their directory is passed over.
    let socket =
        users.ok("chmod 755 home/bob; as alice XDG_RUNTIME_DIR=$PWD/home/bob/run kv --daemon=never socket");
    assert!(socket.contains("home/alice/.local/state/kv/"), "{socket}");
    // A home that is not the user's own is not put anything into.
    let socket = users.ok(
        "rm -r home/alice/run; chown root home/alice; chmod 755 home/alice; as alice kv --daemon=never socket",
    );
    assert!(socket.starts_with(&format!("/tmp/kv-{}/", users.alice)), "{socket}");
    let socket = users
        .ok("chown $alice home/alice; as alice 'mkdir -p -m 700 .local/state/kv'; cd home/alice; \
         env -u XDG_RUNTIME_DIR HOME=$PWD kv --daemon=never socket");
    assert!(!socket.contains("alice/.local"), "{socket}");
}

/// Service accounts have no home, and some homes have long names.
#[test]
fn without_a_place_for_sockets_daemons_have_a_short_one_that_every_environment_finds() {
    let users = Users::new();
    let long = "x".repeat(100);
    users.ok(&format!("as alice 'kv init; kv put a --value 7; kv daemon stop; mkdir -m 700 {long}'"));
    for first in ["HOME=/nonexistent", "HOME=/", &format!("HOME=$PWD/{long}"), "XDG_STATE_HOME=/proc/kv"] {
        users.ok(&format!("as alice 'env -u XDG_RUNTIME_DIR {first} kv get a'"));
        let pid = users.ok("as alice 'kv daemon status | jq .pid'");
        assert_eq!(users.ok("stat -c %a:%u /tmp/kv-$alice"), format!("700:{}\n", users.alice), "{first}");
        for environment in [
            "",
            "-u XDG_RUNTIME_DIR",
            "-u XDG_RUNTIME_DIR HOME=/nonexistent",
            &format!("-u XDG_RUNTIME_DIR HOME=$PWD/{long}"),
        ] {
            let found = users.ok(&format!(
                "as alice 'env {environment} kv get a; env {environment} kv daemon status | jq .pid; \
                 env {environment} kv daemon list --output json | jq .[].pid; env {environment} kv socket'"
            ));
            let socket = format!("/tmp/kv-{}/", users.alice);
            assert!(found.starts_with(&format!("7\n{pid}{pid}{socket}")), "{first}: {environment}: {found}");
        }
        users.ok("as alice 'kv daemon stop'");
    }
}

#[test]
fn a_short_place_that_somebody_else_has_taken_is_not_used() {
    let users = Users::new();
    users.ok("as alice 'kv --daemon=never init; kv --daemon=never put a --value 7'");
    let no_place = "env -u XDG_RUNTIME_DIR HOME=/nonexistent";
    for planted in [
        "install -d -o $bob -m 700 /tmp/kv-$alice",
        "install -d -o $alice -m 777 /tmp/kv-$alice",
        "ln -s $PWD/home/alice /tmp/kv-$alice",
        "touch /tmp/kv-$alice",
    ] {
        let (code, stderr) =
            users.fails(&format!("rm -rf /tmp/kv-$alice; {planted}; as alice '{no_place} kv get a'"));
        assert_eq!(code, 6, "{planted}: {stderr}");
        for words in ["XDG_RUNTIME_DIR", "KV_SOCKET", "--daemon=never"] {
            assert!(stderr.contains(words), "{planted}: {stderr}");
        }
        assert_eq!(users.ok(&format!("as alice '{no_place} kv --daemon=never get a'")), "7\n");
        assert_eq!(
            users.ok(&format!(
                "as alice '{no_place} kv --socket my.sock get a; kv --socket my.sock daemon stop'"
            )),
            "7\n"
        );
    }
}

/// In a mount namespace of its own, because `/run/kv` is a place of the whole machine.
#[test]
fn a_group_shares_the_daemon_of_a_system_service() {
    let users = Users::new();
    let refused = |text: &str, exit_code: i32, words: &str| {
        let (code, stderr) = users.fails(text);
        assert!(code == exit_code && stderr.contains(words), "{text}: {code} {stderr}");
    };
    refused("as alice kv daemon run --socket-group nosuch", 2, "groupadd");
    refused(
        "groups=users as alice kv --socket /tmp/x.sock daemon run --socket-group users",
        2,
        "/run/kv only",
    );
    refused(
        "groups=users as alice kv daemon run --socket-group users",
        6,
        &format!("install -d -o {} -g users -m 750 /run/kv", users.alice),
    );

    let alone = |text: &str| {
        users.ok(&format!(
            "export -f as; unshare --mount bash -c '
                 set -e
                 mount -t tmpfs -o mode=755 tmpfs /run
                 install -d -o $alice -g users -m 750 /run/kv
                 groups=users as alice kv --daemon=never init
                 groups=users as alice kv daemon run --socket-group users 2>/dev/null &
                 database=$PWD/home/alice/data.db
                 until groups=users as alice kv --daemon=require stream seq >/dev/null 2>&1; do sleep 0.05; done
                 {text}
                 groups=users as alice kv daemon stop
                 wait'"
        ))
    };
    assert_eq!(alone("stat -c %a:%U:%G /run/kv/*.sock"), "660:UNKNOWN:users\n");
    // Bob is in the group; the directory of the database is closed to him.
    assert_eq!(
        alone(
            "groups=users as bob kv --connection $database put a --value 1; groups=users as bob kv --connection $database get a"
        ),
        "1\n"
    );
    assert_eq!(alone("as bob kv --connection $database get a 2>/dev/null || echo refused"), "refused\n");
    // He may not put another store in its place, nor read its file.
    users.ok("echo '{\"op\":\"restore\",\"epoch\":\"e\"}' > home/bob/line; chmod 644 home/bob/line");
    let told = alone("groups=users as bob \"kv --connection $database rpc < line\"");
    assert!(told.contains("only the owner of a store"), "{told}");
    let told = alone("groups=users as bob kv --connection $database backup b.db 2>&1 || true");
    assert!(told.contains("reads the file itself"), "{told}");
}
