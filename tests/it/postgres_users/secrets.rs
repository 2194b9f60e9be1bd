//! A password is visible nowhere.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use kv::store::{Address, EngineKind};

use super::support::Parts;
use crate::support::postgres::{Cluster, sql_at};
use crate::support::users::{both, processes};
use crate::support::{Kv, skipped, wait_until};

/// As it is, and as it stands in a URL: by none of the parts between what has to be encoded.
const PASSWORD: &str = "bunting/warbles@nightjar:finch";
const ENCODED: &str = "bunting%2Fwarbles%40nightjar%3Afinch";

/// A program that kv runs, which uses the store through the daemon and by itself, in another directory.
const PROGRAM: [&str; 3] =
    ["sh", "-c", "cd run; kv get x > got; kv --daemon=never put y --value 2; kv get y >> got; exec sleep 60"];

#[track_caller]
fn assert_hidden(what: &str, text: &str) {
    crate::support::users::assert_hidden(&["bunting", "warbles", "nightjar", "finch"], what, text);
}

#[test]
fn a_password_is_visible_nowhere() {
    let Some(cluster) = Cluster::start() else { return skipped("a_password_is_visible_nowhere") };
    let database = cluster.database();
    let administrator = cluster.administrator_url(&database);
    sql_at(&administrator, &format!("alter role kv password '{PASSWORD}'"));
    let Parts { user, host, port, dbname, .. } = Parts::of(&database.url());
    let url = format!("postgres://{user}:{ENCODED}@{host}:{port}/{dbname}?sslmode=disable");
    let kv =
        Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION_FILE", "connection"), ("RUST_LOG", "trace")]);
    std::fs::write(kv.directory.path().join("connection"), format!("{url}\n")).unwrap();
    kv.ok("kv init; kv put x --value 1; kv get x");

    let mut watch = kv.command("kv").arg("watch").stdout(Stdio::null()).spawn().unwrap();
    let mut run = kv.command("kv").args(["lock", "run", "l", "--"]).args(PROGRAM).spawn().unwrap();
    let got = || std::fs::read_to_string(kv.directory.path().join("run/got")).unwrap_or_default();
    wait_until("the program", || got() == "1\n2\n");
    let seen = processes(&kv);
    assert!(seen.contains("watch") && seen.contains("--launched") && seen.contains("sleep"), "{seen}");
    assert_hidden("a process", &seen);

    for text in
        ["kv daemon status", "kv daemon list", "kv daemon list --output json", "kv socket", "kv check"]
    {
        let shown = both(&kv, text);
        assert!(!shown.is_empty(), "{text}");
        assert_hidden(text, &shown);
    }
    let mut socket = UnixStream::connect(kv.ok("kv socket").trim_end()).unwrap();
    socket
        .write_all(b"{\"op\":\"hello\"}\n{\"op\":\"status\"}\n{\"op\":\"put\"}\nx\n{\"op\":\"compact\"}\n{\"op\":\"restore\",\"epoch\":\"x\"}\n")
        .unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    socket.read_to_string(&mut replies).unwrap();
    assert!(replies.contains("***") && replies.lines().count() == 6, "{replies}");
    assert_hidden("the socket", &replies);
    let address = Address::parse(EngineKind::Postgres, &url).unwrap();
    assert_hidden("an address", &format!("{address} {address:?} {}", address.identity()));

    let wrong = url.replace(ENCODED, &format!("{ENCODED}x"));
    let dead = url.replace(&port, "1");
    let other = url.replace(&dbname, "not_there");
    let tls = url.replace("disable", "require");
    for text in [
        format!("kv --connection '{wrong}' get x"),
        format!("kv --connection '{wrong}' --daemon=never get x"),
        format!("kv --connection '{dead}' get x"),
        format!("kv --connection '{dead}' check"),
        format!("kv --connection '{other}' init"),
        format!("kv --connection '{tls}' get x"),
        format!("kv --connection '{url}&frob=1' get x"),
        format!("kv --connection '{url}&sslmode={ENCODED}' get x"),
        format!("kv --connection '{url}&sslrootcert=/nowhere&sslmode=verify-full' get x"),
        format!("kv --connection '{}' get x", url.replace(ENCODED, PASSWORD)),
        format!("kv --connection '{}' get x", url.replace("postgres://", "postgres:/")),
        format!("kv --connection '{}' get x", url.replace("postgres://", "")),
        format!("kv --connection '{url}' frobnicate"),
        format!("kv --connection '{url}' get x --frobnicate"),
        format!("kv --type sqlite --connection '{url}' get x"),
        format!("kv --type sqlite --connection '{url}' init"),
        format!("kv --type rqlite --connection '{url}' get x"),
        format!("kv --type frob --connection '{url}' get x"),
        format!("kv --daemon=frob --connection '{url}' get x"),
        format!("kv --daemon=require --connection '{dead}' get x"),
        format!("kv --socket /nowhere/s --connection '{url}' get x"),
        format!("kv --socket $PWD/run/kv/*.sock --connection '{other}' get x"),
        "kv backup x.db; kv compact; kv restore x.db; kv get nobody; kv put x --version 7 --value 1"
            .to_owned(),
        "kv put x --value '{'; kv daemon frob; kv stream get 99; kv consumer commit c 99".to_owned(),
        "kv config show; kv config show --output json; kv --profile x get x; kv doctor; kv doctor --report; kv daemon metrics".to_owned(),
        "KV_TYPE=sqlite kv get x; KV_TYPE=frob kv get x; kv --help; kv get --help; kv daemon restart"
            .to_owned(),
        "kv --connection='' get x; kv benchmark get 1 1".to_owned(),
    ] {
        let shown = both(&kv, &text);
        assert!(!shown.is_empty(), "{text}");
        assert_hidden(&text, &shown);
    }

    // The server's own accident, with a statement under way.
    sql_at(&administrator, "drop schema kv cascade");
    assert_hidden("a store that is gone", &both(&kv, "kv get x; kv put x --value 1; kv list; kv check"));
    cluster.kill();
    assert_hidden("a server that is gone", &both(&kv, "kv get x; kv put x --value 1; kv list; kv check"));
    assert_hidden("a process", &processes(&kv));
    let logs = both(&kv, "kv daemon logs; cat run/kv/*.log*");
    assert!(logs.contains("***"), "{logs}");
    assert_hidden("the log", &logs);
    for child in [&mut watch, &mut run] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The files beside the socket, by their names and by what is in them.
    assert_hidden("a file", &both(&kv, "ls run/kv; cat run/kv/* 2>/dev/null"));
}
