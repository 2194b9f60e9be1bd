//! Nodes that let in only whom they know, each for what it may do.

use crate::support::rqlite::Cluster;
use crate::support::users::assert_refused;
use crate::support::{Kv, skipped};

const GET: &str = r#"{"op":"get","key":"x"}"#;
const PUT: &str = r#"{"op":"put","key":"x","value":2}"#;

fn kv(url: &str) -> Kv {
    Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION", url)])
}

#[test]
fn each_user_may_do_what_the_nodes_allow() {
    let Some(cluster) = Cluster::start_with(1, &["auth"]) else {
        return skipped("each_user_may_do_what_the_nodes_allow");
    };
    let (credentials, host) = cluster.url().strip_prefix("http://").unwrap().split_once('@').unwrap();
    let (admin, password) = credentials.split_once(':').unwrap();
    let as_user = |user: &str| kv(&format!("http://{user}:{password}@{host}"));
    // Who only reads is told so, and not that there is no store.
    assert_refused(&as_user("reader"), GET, "not_initialized", false, &["kv init"]);
    assert_refused(&as_user("reader"), r#"{"op":"init"}"#, "read_only", false, &["permission execute"]);
    // Both ways to name the user are the same store, and so the same daemon.
    let owner = kv(cluster.url());
    owner.ok("kv init; kv put x --value 1");
    let by_parameters = format!("http://{host}?user={admin}&password={password}");
    let pid = |connection: &str| {
        owner.ok(&format!("export KV_CONNECTION='{connection}'; kv get x; kv daemon status | jq .pid"))
    };
    assert_eq!(pid(&by_parameters), pid(cluster.url()));
    assert_eq!(owner.ok(&format!("kv --daemon=never --connection '{by_parameters}' get x")), "1\n");

    let writer = as_user("writer");
    let text = "kv init && kv put a --value '{\"n\":1}' --of-type T && echo '{\"n\":2}' | kv patch a && kv put b --value 2 --once i
        kv lock run l -- kv put c --value 3 --fence l:1 && kv consumer commit c 2 && kv delete b && kv delete prefix c
        kv stream trim 2 && kv put e --value 5 && kv lock acquire held me --duration 1h && kv daemon status >status && kv count all";
    assert!(writer.ok(text).ends_with("\n3\n"));
    assert_refused(&writer, r#"{"op":"compact"}"#, "unsupported", false, &["rqlited"]);
    let (code, stderr) = writer.fails("kv check");
    assert!(code == 6 && stderr.contains("permission backup"), "{code} {stderr}");

    let reader = as_user("reader");
    let text = "set -e; kv get key a; kv get batch a x; kv list 0 1; kv count type T; kv stream get 3; kv stream seq
        kv consumer status c; kv consumer list; kv consumer get c --prefix d; kv lock status held; kv lock list
        kv daemon status >status; kv rpc <<<'{\"op\":\"hello\"}'; timeout 5 kv watch --after 3 -- false || test $? = 1";
    reader.ok(text);
    assert_eq!(reader.ok("kv --daemon=never get x"), "1\n");
    for text in [
        "kv put a --value 1",
        "kv patch a --value 1",
        "kv delete a",
        "kv delete prefix a",
        "echo '{\"op\":\"put\",\"key\":\"d\",\"value\":4}' | kv mutate",
        "kv lock acquire l me",
        "kv stream trim 3",
        "kv consumer commit c 3",
        "kv consumer stream c",
        "kv put a --value 1 --once x",
        "kv --daemon=never put a --value 1",
    ] {
        let (code, stderr) = reader.fails(text);
        assert!(code == 6 && stderr.contains("read_only"), "{text}: {code} {stderr}");
        assert!(stderr.contains("permission execute"), "{text}: {stderr}");
    }
    // Nothing goes wrong in the background for want of a permission.
    for kv in [&reader, &writer] {
        let logs = kv.ok("kv daemon logs");
        let is_trouble = |line: &&str| {
            line.contains("WARN") && !line.contains("read_only") && !line.contains("unsupported")
        };
        let warnings: Vec<&str> = logs.lines().filter(is_trouble).collect();
        assert!(warnings.is_empty(), "{warnings:#?}");
    }
    assert_eq!(
        owner.ok("kv get a --raw; kv check 2>&1"),
        "{\"n\":2}\n3 records and 6 changes were looked at: the store is sound\n"
    );

    let known = format!("http://{host}");
    for (url, words) in [
        (format!("http://admin:wrong@{host}"), ["check the user, the password", "kv daemon restart"]),
        (format!("http://nobody:{password}@{host}"), ["check the user, the password", "query"]),
        (format!("http://stranger:{password}@{host}"), ["permission query", "kv daemon restart"]),
        (known, ["does not let kv in", "permission query"]),
    ] {
        let stranger = kv(&url);
        for request in [GET, PUT, r#"{"op":"init"}"#] {
            assert_refused(&stranger, request, "unavailable", false, &words);
        }
        let (code, stderr) = stranger.fails("kv --daemon=never get x");
        assert!(code == 6 && stderr.contains(words[0]), "{url}: {code} {stderr}");
        let (code, stderr) = stranger.fails("kv check");
        assert!(code == 6 && stderr.contains("permission backup"), "{url}: {code} {stderr}");
        assert!(!stderr.contains(password) && !stderr.contains("wrong"), "{stderr}");
    }
}
