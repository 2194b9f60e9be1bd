//! A password is visible nowhere.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use kv::store::{Address, EngineKind};

use crate::support::rqlite::Cluster;
use crate::support::users::{both, processes};
use crate::support::{Kv, skipped, wait_until};

/// As the nodes know it, and as it stands in a URL: by none of the parts between what has to be encoded.
const PASSWORD: &str = "canary/warbles@nightjar:finch";
const ENCODED: &str = "canary%2Fwarbles%40nightjar%3Afinch";

/// Nor what a header of HTTP makes of it, which begins with the name of its user.
/// A program that kv runs, which uses the store through the daemon and by itself, in another directory.
const PROGRAM: [&str; 3] =
    ["sh", "-c", "cd run; kv get x > got; kv --daemon=never put y --value 2; kv get y >> got; exec sleep 60"];

#[track_caller]
fn assert_hidden(what: &str, text: &str) {
    crate::support::users::assert_hidden(&["warbles", "nightjar", "finch", "Y2FuYXJ5"], what, text);
}

#[test]
fn a_password_is_visible_nowhere() {
    let Some(cluster) = Cluster::start_with(1, &["auth"]) else {
        return skipped("a_password_is_visible_nowhere");
    };
    let (_, host) = cluster.url().split_once('@').unwrap();
    let by_parameters = format!("http://{host}?user=canary&password={ENCODED}");
    let url = format!("http://canary:{ENCODED}@{host}");
    let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION_FILE", "connection"), ("RUST_LOG", "trace")]);
    std::fs::write(kv.directory.path().join("connection"), format!("{by_parameters}\n")).unwrap();
    kv.ok(&format!("kv init; kv put x --value 1; kv --connection '{url}' get x"));

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
    let address = Address::parse(EngineKind::Rqlite, &by_parameters).unwrap();
    assert_hidden("an address", &format!("{address} {address:?} {}", address.identity()));

    let wrong = url.replace(ENCODED, &format!("{ENCODED}x"));
    let dead = format!("http://canary:{ENCODED}@127.0.0.1:1");
    for text in [
        format!("kv --connection '{wrong}' get x"),
        format!("kv --connection '{wrong}' --daemon=never get x"),
        format!("kv --connection '{wrong}' check"),
        format!("kv --connection '{dead}' get x"),
        format!("kv --connection '{dead}' check"),
        format!("kv --connection '{dead}' --daemon=never init"),
        format!("kv --connection '{}' get x", url.replace("http", "https")),
        format!("kv --connection '{url}?frob={ENCODED}' get x"),
        format!("kv --connection '{url}?ca=/nowhere' get x"),
        format!("kv --connection '{url}?proxy=http://u:{ENCODED}@127.0.0.1:1' get x"),
        format!("kv --connection '{url}?proxy=ftp://u:{ENCODED}@127.0.0.1:1' get x"),
        format!("kv --connection '{by_parameters}' --ca /nowhere get x"),
        format!("kv --connection '{}' get x", url.replace(ENCODED, PASSWORD)),
        format!("kv --connection '{}' get x", url.replace(ENCODED, "1?warbles@nightjar=finch")),
        format!("kv --connection '{}' get x", url.replace("http://", "http:/")),
        format!("kv --connection '{}' get x", url.replace("http://", "")),
        format!("kv --connection '{url}/db' get x"),
        format!("kv --connection '{url}' frobnicate"),
        format!("kv --connection '{url}' get x --frobnicate"),
        format!("kv --type sqlite --connection '{url}' get x"),
        format!("kv --type sqlite --connection '{url}' init"),
        format!("kv --type postgres --connection '{url}' get x"),
        format!("kv --type frob --connection '{url}' get x"),
        format!("kv --daemon=require --connection '{dead}' get x"),
        format!("kv --socket /nowhere/s --connection '{url}' get x"),
        format!("kv --socket $PWD/run/kv/*.sock --connection '{dead}' get x"),
        "kv backup x.db; kv compact; kv restore x.db; kv get nobody; kv put x --version 7 --value 1"
            .to_owned(),
        "kv put x --value '{'; kv daemon frob; kv stream get 99; kv consumer commit c 99".to_owned(),
        "kv config show; kv config show --output json; kv --profile x get x; kv doctor; kv doctor --report; kv daemon metrics".to_owned(),
        "KV_TYPE=sqlite kv get x; KV_TYPE=frob kv get x; kv --help; kv get --help; kv daemon restart"
            .to_owned(),
    ] {
        let shown = both(&kv, &text);
        assert!(!shown.is_empty(), "{text}");
        assert_hidden(&text, &shown);
    }

    // The nodes' own accidents.
    cluster.sql("drop table kv_meta");
    assert_hidden("a store that is gone", &both(&kv, "kv get x; kv put x --value 1; kv list; kv check"));
    cluster.kill(0);
    assert_hidden("a node that is gone", &both(&kv, "kv get x; kv put x --value 1; kv list; kv check"));
    assert_hidden("a process", &processes(&kv));
    let logs = both(&kv, "kv daemon logs; cat run/kv/*.log*");
    assert!(logs.contains("***") && logs.contains("TRACE"), "{logs}");
    assert_hidden("the log", &logs);
    for child in [&mut watch, &mut run] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The files beside the socket, by their names and by what is in them.
    assert_hidden("a file", &both(&kv, "ls run/kv; cat run/kv/* 2>/dev/null"));
}
