//! How a user names a store: connection strings and variables, by the real binary.

use crate::support::Kv;

/// Names with a special meaning for a shell, a URI, SQLite or a terminal.
const NAMES: &[&str] = &[
    "100%",
    "a%20b",
    "a?mode=ro",
    "#1",
    "a b  c ",
    "-x",
    "--help",
    ":memory:",
    "file:x",
    "file::memory:?mode=memory",
    "it's \"quoted\" \\ $HOME `id` *",
    "line\nhint: two",
    "\u{1b}[31mred",
    "ünïcödé 日本 🎉",
    "e\u{301}",
    "&=;",
];

/// A name as a word for a shell.
fn word(name: &str) -> String {
    format!("'{}'", name.replace('\'', r"'\''"))
}

/// A name in which each byte is encoded.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn the_default_store_works_in_a_directory_of_any_name() {
    let kv = Kv::new();
    for name in NAMES {
        let there = format!("cd -- {}", word(name));
        kv.ok(&format!("mkdir -- {}; {there}; kv init; kv put a --value 1; test -f data.db", word(name)));
        // Another path to it, another process, and the connection string of the daemon lead to the same store.
        let told = kv.ok(&format!("{there}; kv daemon status | jq -r .store"));
        kv.ok(&format!("cd /; kv --connection {} put b --value 2", word(told.trim_end_matches('\n'))));
        let found = kv.ok(&format!("kv --daemon=never --connection ./{}/data.db count all", word(name)));
        assert_eq!(found, "2\n", "{name:?}");
        assert_eq!(kv.ok(&format!("{there}; kv daemon stop; ls")), "data.db\ndata.db.kv-lock\n", "{name:?}");
    }
}

#[test]
fn a_file_of_any_name_is_one_store_however_it_is_written() {
    let kv = Kv::new();
    for name in NAMES {
        let plain = format!("--connection ./{}", word(name));
        // Without a directory it is a memory store, as SQLite decodes it.
        let uri = format!("--connection file:./{}", encoded(name));
        let absolute =
            format!("--connection \"file://localhost$(pwd -P | sed s/%/%25/g)/{}?mode=rwc\"", encoded(name));
        let read_only = format!("--connection file:./{}?mode=ro --daemon=never", encoded(name));
        // A name that is neither a URI nor memory is taken literally without a directory too.
        let bare = if name.starts_with("file:") || *name == ":memory:" {
            &plain
        } else {
            &format!("--connection {}", word(name))
        };
        kv.ok(&format!(
            "mkdir -p files; cd files; kv {plain} init; kv {uri} put a --value 1; test -f ./{}",
            word(name)
        ));
        for connection in [&plain, &uri, &absolute, &read_only, bare] {
            assert_eq!(kv.ok(&format!("cd files; kv {connection} get a")), "1\n", "{connection}");
        }
        kv.ok(&format!("cd files; kv {bare} daemon stop"));
        let files = kv.ok("cd files; find . -type f -print0 | tr '\\n\\0' '?\\n' | wc -l; rm -r ../files");
        assert_eq!(
            files, "2\n",
            "{name:?}: the store and its lock, and nothing that was named in another way"
        );
    }
}

#[test]
fn what_a_uri_does_not_mean_is_refused_with_what_to_write() {
    let kv = Kv::new();
    for (connection, words) in [
        ("file:a#b.db", "%23"),
        ("file:what?.db", "%3F"),
        ("file://data.db", "file:PATH"),
        ("file://example.com/data.db", "example.com"),
        ("file:%00.db", "NUL"),
        ("file:%ff.db", "not UTF-8"),
        ("file:", "names no file"),
        ("", "names no file"),
        ("file:data.db?mode=rx", "mode=ro"),
    ] {
        let (code, stderr) = kv.fails(&format!("kv --connection {} get a", word(connection)));
        assert!(
            code == 2 && stderr.contains(words) && stderr.contains("hint: "),
            "{connection}: {code} {stderr}"
        );
    }
    let (code, stderr) = kv.fails("kv --connection 'data.db?mode=ro' get a");
    assert!(code == 6 && stderr.contains("hint: ?mode= is a part of the name here"), "{stderr}");
}

#[test]
fn a_path_that_is_not_utf_8_is_named() {
    let kv = Kv::new();
    for text in [
        "kv --connection $'\\xff.db' init",
        "KV_CONNECTION=$'\\xff.db' kv get a",
        "kv --connection $'file:\\xff.db' get a",
        "mkdir $'\\xfe'; cd $'\\xfe'; kv init",
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(
            code == 2 && stderr.contains("not UTF-8") && stderr.contains("\\xF"),
            "{text}: {code} {stderr}"
        );
        assert!(stderr.contains("hint: "), "{stderr}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    for variable in
        ["KV_CONNECTION", "KV_SOCKET", "KV_TYPE", "KV_DAEMON", "RUST_LOG", "XDG_STATE_HOME", "LANG"]
    {
        assert_eq!(kv.ok(&format!("{variable}= kv get a")), "1\n", "{variable}");
    }
    let all = "KV_CONNECTION= KV_SOCKET= KV_TYPE= KV_DAEMON= RUST_LOG= XDG_STATE_HOME=";
    assert_eq!(kv.ok(&format!("{all} kv get a; {all} kv daemon status | jq .pid")), format!("1\n{pid}\n"));
    // Without a runtime directory of its own it is the user's, or the state directory.
    assert_eq!(kv.ok("XDG_RUNTIME_DIR= kv socket"), kv.ok("unset XDG_RUNTIME_DIR; kv socket"));
    assert_eq!(
        kv.ok("XDG_RUNTIME_DIR= XDG_STATE_HOME= kv socket"),
        kv.ok("unset XDG_RUNTIME_DIR XDG_STATE_HOME; kv socket")
    );
    assert_eq!(kv.ok("XDG_RUNTIME_DIR= HOME= kv socket"), kv.ok("unset XDG_RUNTIME_DIR HOME; kv socket"));
}

#[test]
fn a_daemon_does_not_get_an_empty_variable() {
    let kv = Kv::new();
    kv.ok("RUST_LOG= XDG_STATE_HOME= LC_ALL= kv init");
    let pid = kv.daemon_pid();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.split('\0').all(|variable| !variable.ends_with('=')), "{environment:?}");
}

#[test]
fn an_empty_flag_is_an_error_that_says_so() {
    let kv = Kv::new();
    for (flag, words) in [
        ("--connection ''", "names no file"),
        ("--connection=", "names no file"),
        ("--socket ''", "--socket"),
        ("--socket=", "--socket"),
        ("--type ''", "--type"),
        ("--daemon ''", "--daemon"),
    ] {
        let (code, stderr) = kv.fails(&format!("KV_CONNECTION=x.db KV_SOCKET=$PWD/s kv {flag} get a"));
        assert!(code == 2 && stderr.contains(words), "{flag}: {code} {stderr}");
    }
}

#[test]
fn a_message_neither_steers_a_terminal_nor_pretends_to_be_another_line() {
    let kv = Kv::new();
    kv.ok("kv init");
    for text in [
        "kv put $'\\e[31mred\\nhint: x' --value 1 --version 7",
        "kv --socket $'/no/\\e[31mwhere\\nhint: x' --daemon=require get a",
        "kv --socket $'/no/\\e[31mwhere\\nhint: x' get a",
        "kv put a --file $'\\e[31mred\\nhint: x'",
        "kv --connection $'no/\\e[31mwhere\\nhint: x/x.db' init",
        "kv --connection $'\\e[31mwhere\\nhint: x.db' get a",
        "cd run; mkdir $'\\r\\e[31m\\nhint: x'; kv --connection $'\\r\\e[31m\\nhint: x' get a",
    ] {
        let (_, stderr) = kv.fails(text);
        assert!(!stderr.contains(|c: char| c.is_control() && c != '\n'), "{text}: {stderr:?}");
        assert!(stderr.starts_with("kv: ") && !stderr.contains("\nhint: x"), "{text}: {stderr:?}");
    }
}
