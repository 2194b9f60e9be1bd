//! Completion in real shells, on a terminal, without the packages that help completions elsewhere.

use std::os::unix::net::UnixListener;
use std::time::Instant;

use crate::support::Kv;

const DRIVER: &str = include_str!("shell.py");

/// A store with keys that shells read in ways of their own, and names of other kinds.
fn prepared() -> Kv {
    let kv = Kv::new();
    kv.ok(r#"
        kv --daemon=never init
        for key in user/1 user/2 'a b' 'q"x$y' "it's" 'x!y' 'zeit:1' 'zeit:2' 'mail@host' 'äpfel' '-dash' $'n\nl'; do
            kv --daemon=never put --key="$key" --text "value of $key"
        done
        kv --daemon=never put typed --value 1 --of-type User
        kv --daemon=never lock acquire deploy alice >acquired
        kv --daemon=never consumer commit mailer 1 >committed
        kv --connection other.db --daemon=never init
        kv --connection other.db --daemon=never put elsewhere --value 1
        mkdir -p .config/kv
        printf '[profiles.work]\nconnection = "%s/other.db"\n' "$PWD" >.config/kv/config.toml
        "#);
    std::fs::write(kv.directory.path().join("shell.py"), DRIVER).unwrap();
    kv
}

/// What a shell makes of each text.
fn typed(kv: &Kv, shell: &str, texts: &[&str]) -> Vec<String> {
    kv.ok(&format!("kv completions {shell} >kv.{shell}"));
    let file = kv.directory.path().join(format!("kv.{shell}"));
    let driver = kv.command("python3").args(["shell.py", shell]).arg(file).args(texts).output().unwrap();
    assert!(driver.status.success(), "{shell}: {driver:?}");
    serde_json::from_slice(&driver.stdout).unwrap()
}

/// What all shells make of the same text, before the cursor.
const EVERYWHERE: [(&str, &str); 27] = [
    ("kv ge\t", "kv get "),
    ("kv consumer com\t", "kv consumer commit "),
    ("kv get us\t", "kv get user/"),
    ("kv get ä\t", "kv get äpfel "),
    ("kv get q\t", "kv get q\\\"x\\$y "),
    ("kv get a\\ \t", "kv get a\\ b "),
    ("kv get \"a\t", "kv get \"a b\" "),
    ("kv get mail@\t", "kv get mail@host "),
    ("kv get zeit:\t", "kv get zeit:"),
    ("kv --daemon=never get --print-version us\t", "kv --daemon=never get --print-version user/"),
    ("kv get --connection other.db e\t", "kv get --connection other.db elsewhere "),
    ("kv --profile work get e\t", "kv --profile work get elsewhere "),
    ("kv --profile w\t", "kv --profile work "),
    ("kv put --print-v\t", "kv put --print-version "),
    ("kv lock status dep\t", "kv lock status deploy "),
    ("kv consumer status m\t", "kv consumer status mailer "),
    ("kv watch --prefix us\t", "kv watch --prefix user/"),
    ("kv --type=p\t", "kv --type=postgres "),
    ("kv cop\t", "kv copy"),
    ("kv de\t", "kv del"),
    ("kv set us\t", "kv set user/"),
    ("kv rm a\\ \t", "kv rm a\\ b "),
    ("kv rename us\t", "kv rename user/"),
    ("kv copy-key typed us\t", "kv copy-key typed user/"),
    ("kv get type U\t", "kv get type User "),
    ("kv put a --of-type U\t", "kv put a --of-type User "),
    ("kv lock release deploy al\t", "kv lock release deploy alice "),
];

#[track_caller]
fn completes(shell: &str, more: &[(&str, &str)]) {
    let kv = prepared();
    let cases: Vec<_> = EVERYWHERE.iter().chain(more).collect();
    let texts: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
    let files = || kv.ok("ls; stat -c '%n %y' *.db");
    let before = files();
    for ((text, expected), line) in cases.into_iter().zip(typed(&kv, shell, &texts)) {
        assert_eq!(line.trim_start(), *expected, "{shell}: {text:?}");
    }
    let after = files();
    let after = after.replace(&format!("kv.{shell}\n"), "");
    assert_eq!(after, before, "something was created");
    assert!(kv.daemons().is_empty() && !kv.directory.path().join("run/kv").exists(), "a daemon was started");

    // What is completed is read back as the key.
    let keys = ["a b", "q\"x$y", "it's", "x!y", "zeit:2"];
    let texts = ["kv get a\t\n", "kv get q\t\n", "kv get it\t\n", "kv get x\t\n", "kv get zeit:2\t\n"];
    for (key, shown) in keys.iter().zip(typed(&kv, shell, &texts)) {
        let value = serde_json::to_string(&format!("value of {key}")).unwrap();
        assert!(shown.contains(&value), "{shell}: {key} {shown}");
    }
}

#[test]
fn bash_completes() {
    completes(
        "bash",
        &[
            ("echo x | kv get us\t", "echo x | kv get user/"),
            ("KV_TYPE=sqlite kv get us\t", "KV_TYPE=sqlite kv get user/"),
            ("kv get --key=us\t", "kv get --key=user/"),
            ("kv --connection=oth\t", "kv --connection=other.db "),
            ("kv backup oth\t", "kv backup other.db "),
            ("kv get 'x\t", "kv get 'x!y' "),
            ("kv get zeit\\:1\t", "kv get zeit:1 "),
        ],
    );
}

#[test]
fn zsh_completes() {
    completes(
        "zsh",
        &[
            ("echo x | kv get us\t", "echo x | kv get user/"),
            ("kv get --key=us\t", "kv get --key=user/"),
            ("kv --connection=oth\t", "kv --connection=other.db "),
            ("kv backup oth\t", "kv backup other.db "),
        ],
    );
}

#[test]
fn fish_completes() {
    completes(
        "fish",
        &[("echo x | kv get us\t", "echo x | kv get user/"), ("kv backup oth\t", "kv backup other.db ")],
    );
}

/// Names come through a daemon that runs; one that says nothing delays the shell for a moment only.
#[test]
fn a_daemon_is_asked_and_not_waited_for() {
    let kv = prepared();
    kv.ok("kv daemon start");
    let pid = kv.daemon_pid();
    assert_eq!(kv.ok("kv complete bash 'kv get us' :"), "names\nuser/1\nuser/2\n");
    assert_eq!(kv.daemon_pid(), pid);
    kv.ok("kv daemon stop");

    let socket = kv.directory.path().join("silent.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let life_lock = std::fs::File::create(kv.directory.path().join("silent.sock.life-lock")).unwrap();
    let ask = "kv complete bash 'kv --socket silent.sock get us' : 2>&1";
    // Without its lock the socket may be that of a unit, which a connection would start.
    assert_eq!(kv.ok(ask), "names\n");
    life_lock.lock().unwrap();
    let asked = Instant::now();
    assert_eq!(kv.ok(ask), "names\n");
    // Far less than the 5 s for which other commands wait; how long exactly depends on the machine.
    assert!(asked.elapsed() < kv::limits::CONNECT_TIMEOUT, "{:?}", asked.elapsed());
    assert!(asked.elapsed() >= kv::limits::COMPLETION_TIMEOUT, "the socket was not asked");
}

#[test]
fn nothing_is_said_where_nothing_can_be_learnt() {
    let kv = Kv::new();
    for line in [
        "kv get ",
        "kv --connection nowhere/x.db get ",
        "kv --type postgres --connection postgres://127.0.0.1:1/x get ",
        "kv --type rqlite --connection http://127.0.0.1:1 get ",
        "kv --profile nobody lock status ",
        "kv --config nowhere --profile ",
        "kv --socket none.sock get ",
        "kv frobnicate ",
        "kv get $x",
        "kv --frobnicate=",
        "kv",
        "",
    ] {
        let output = kv.command("kv").args(["complete", "bash", line, ":="]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
    }
    assert_eq!(
        kv.ok("ls -A . run; kv complete bash 'kv frob' :"),
        ".:\nrun\n\nrun:\nwords\n".replace("words", "names")
    );
    // A directory in the place of the store, and a file that is none.
    kv.ok("mkdir d; echo x >f; kv complete bash 'kv --connection d get ' : && kv complete bash 'kv --connection f get ' :");
}

/// A page is offered, and not a whole store.
#[test]
fn many_keys_are_cut() {
    let kv = Kv::new();
    kv.ok(r#"kv init; for i in $(seq 1000 1999); do echo "{\"op\":\"put\",\"key\":\"k$i\",\"value\":1}"; done | kv mutate >done"#);
    assert_eq!(kv.ok("kv complete fish -- kv get k1 | wc -l").trim(), "201");
    assert_eq!(kv.ok("kv complete fish -- kv get k15 | tail -1"), "k1599\t\n");
}
