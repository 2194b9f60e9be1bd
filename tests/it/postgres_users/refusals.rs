//! What a server refuses is told by a fitting code, with a hint that helps.

use super::support::Parts;
use crate::support::postgres::{Cluster, sql_at};
use crate::support::users::assert_refused;
use crate::support::{Kv, skipped, wait_until};

const GET: &str = r#"{"op":"get","key":"x"}"#;
const PUT: &str = r#"{"op":"put","key":"x","value":2}"#;

fn kv(url: &str) -> Kv {
    Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION", url)])
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let Some(cluster) = Cluster::shared() else { return skipped("who_is_not_let_in_is_told_why") };
    let database = cluster.database();
    let url = database.url();
    let Parts { user, password, host, port, dbname } = Parts::of(&url);
    let none = ["kv init"];
    assert_refused(&kv(&url), GET, "not_initialized", false, &none);
    assert_refused(&kv(&url), PUT, "not_initialized", false, &none);
    assert_refused(&kv(&url), r#"{"op":"list"}"#, "not_initialized", false, &none);
    let server = format!("{host}:{port}");
    for (url, words) in [
        (
            format!("postgres://{user}:wrong@{server}/{dbname}?sslmode=disable"),
            ["password", "kv daemon restart"],
        ),
        (
            format!("postgres://nobody:{password}@{server}/{dbname}?sslmode=disable"),
            ["nobody", "pg_hba.conf"],
        ),
        (format!("postgres://{user}@{server}/{dbname}?sslmode=disable"), ["password", "PGPASSFILE"]),
        (
            format!("postgres://{user}:{password}@{server}/not_there?sslmode=disable"),
            ["not_there", "createdb"],
        ),
        (format!("postgres://{user}:{password}@{server}/{dbname}?sslmode=require"), ["sslmode", "ssl = on"]),
    ] {
        assert_refused(&kv(&url), GET, "unavailable", false, &words);
        let (code, stderr) = kv(&url).fails("kv --daemon=never init");
        assert!(code == 6 && stderr.contains(words[0]), "{url}: {code} {stderr}");
        assert!(!stderr.contains(&password), "{stderr}");
    }
    let dead = format!("postgres://{user}:{password}@{host}:1/{dbname}?sslmode=disable");
    assert_refused(&kv(&dead), GET, "unavailable", true, &["is it running?"]);
}

#[test]
fn a_database_that_cannot_hold_a_store_is_told_apart() {
    let Some(cluster) = Cluster::start() else {
        return skipped("a_database_that_cannot_hold_a_store_is_told_apart");
    };
    let database = cluster.database();
    let administrator = cluster.administrator_url(&database);
    sql_at(
        &administrator,
        "create database latin template template0 encoding 'LATIN1' locale_provider libc locale 'C' owner kv",
    );
    let Parts { user, password, host, port, dbname } = Parts::of(&database.url());
    let latin = format!("postgres://{user}:{password}@{host}:{port}/latin?sslmode=disable");
    assert_refused(&kv(&latin), GET, "unsupported", false, &["LATIN1", "--encoding UTF8"]);

    // A schema that others have made, and that this role may not enter, or may not create tables in.
    sql_at(&administrator, "create schema kv");
    assert_refused(
        &kv(&database.url()),
        GET,
        "unavailable",
        false,
        &["schema kv", "grant usage on schema kv to kv"],
    );
    assert_refused(&kv(&database.url()), r#"{"op":"init"}"#, "unavailable", false, &["grant usage"]);
    sql_at(&administrator, "grant usage on schema kv to kv");
    assert_refused(&kv(&database.url()), GET, "not_initialized", false, &["kv init"]);
    assert_refused(
        &kv(&database.url()),
        r#"{"op":"init"}"#,
        "read_only",
        false,
        &["schema kv", "docs/postgresql.md"],
    );
    let denied = format!("postgres://{user}:{password}@{host}:{port}/postgres?sslmode=disable");
    assert_refused(
        &kv(&denied),
        r#"{"op":"init"}"#,
        "read_only",
        false,
        &["database postgres", "docs/postgresql.md"],
    );
    sql_at(&administrator, "grant create on schema kv to kv");
    kv(&database.url()).ok("kv init; kv put x --value 1");

    // A role that may see nothing.
    sql_at(
        &administrator,
        &format!("create role stranger login password '{password}'; grant usage on schema kv to stranger"),
    );
    let stranger = format!("postgres://stranger:{password}@{host}:{port}/{dbname}?sslmode=disable");
    assert_refused(&kv(&stranger), GET, "unavailable", false, &["permission denied", "docs/postgresql.md"]);
    assert_refused(&kv(&stranger), r#"{"op":"list"}"#, "unavailable", false, &["permission denied"]);
    assert_refused(&kv(&stranger), PUT, "read_only", false, &["permission denied", "docs/postgresql.md"]);

    // A role whose transactions only read.
    sql_at(&administrator, "alter role kv set default_transaction_read_only = on");
    let kv_ = kv(&database.url());
    assert_eq!(
        kv_.ok("kv get x; kv list --keys-only --output ndjson; kv --daemon=never stream seq"),
        "1\n\"x\"\n1\n"
    );
    assert_refused(&kv_, PUT, "read_only", false, &["default_transaction_read_only"]);
    let (code, stderr) = kv_.fails("kv put x --value 2");
    assert!(code == 6 && stderr.contains("read_only"), "{code} {stderr}");
    sql_at(&administrator, "alter role kv reset default_transaction_read_only");

    // A standby: what it tells may be old.
    let kv_ = kv(&database.url());
    kv_.ok("kv put x --value 3");
    cluster.kill();
    std::fs::write(cluster.directory().join("data/standby.signal"), "").unwrap();
    cluster.restart();
    assert_refused(&kv_, GET, "unavailable", true, &["standby", "primary"]);
    assert_refused(&kv_, PUT, "unavailable", true, &["standby", "primary"]);
    sql_at(&administrator, "select pg_promote()");
    wait_until("the end of the recovery", || sql_at(&administrator, "select pg_is_in_recovery()") == "f");
    assert_eq!(kv_.ok("kv get x; kv put x --value 4; kv get x"), "3\n4\n");
}

#[test]
fn a_changed_password_needs_a_daemon_that_knows_it() {
    let Some(cluster) = Cluster::start() else {
        return skipped("a_changed_password_needs_a_daemon_that_knows_it");
    };
    let database = cluster.database();
    let kv = kv(&database.url());
    kv.ok("kv init; kv put x --value 1");
    let url = database.url().replace(&Parts::of(&database.url()).password, "another");
    sql_at(&cluster.administrator_url(&database), "alter role kv password 'another'");
    // Its connections are as good as before.
    assert_eq!(kv.ok(&format!("KV_CONNECTION='{url}' kv get x")), "1\n");
    let end = "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity where usename = 'kv'";
    sql_at(&cluster.administrator_url(&database), end);
    let (code, stderr) = kv.fails(&format!("KV_CONNECTION='{url}' kv get x"));
    assert!(code == 6 && stderr.contains("kv daemon restart"), "{code} {stderr}");
    kv.ok(&format!("KV_CONNECTION='{url}' kv daemon restart"));
    assert_eq!(kv.ok(&format!("KV_CONNECTION='{url}' kv get x")), "1\n");
}

/// A server that accepts and says nothing is given the time that was asked for.
#[test]
fn a_silent_server_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/d?connect_timeout=1", silent.local_addr().unwrap());
    for text in ["kv get x", "kv --daemon=never get x", "kv put x --value 1"] {
        let begun = std::time::Instant::now();
        let (code, stderr) = kv(&url).fails(text);
        let took = begun.elapsed().as_secs();
        assert!(code == 6 && stderr.contains("it does not answer"), "{text}: {code} {stderr}");
        assert!((1..5).contains(&took), "{text} took {took} s");
    }
}
