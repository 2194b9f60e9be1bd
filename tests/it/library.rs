//! The library as a program uses it: how it opens a store, in its own process and through the daemon.

use kv::Client;
use kv::store::{Address, Code, EngineKind, Store as _, StoreExt as _};

use crate::support::{Kv, runtime};

#[test]
fn a_store_is_opened_by_a_path_or_a_connection_string() {
    for (connection, kind) in [
        ("postgres://host/db", EngineKind::Postgres),
        ("postgresql://host/db", EngineKind::Postgres),
        ("http://host:4001", EngineKind::Rqlite),
        ("https://host:4001", EngineKind::Rqlite),
        ("file:x.db", EngineKind::Sqlite),
        ("data.db", EngineKind::Sqlite),
        (":memory:", EngineKind::Sqlite),
    ] {
        assert_eq!(Address::of(connection).unwrap().kind(), kind, "{connection}");
    }
    assert_eq!(kv::open("postgres://[").err().map(|error| error.code), Some(Code::BadRequest));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.db").display().to_string();
    runtime().block_on(async {
        let store = kv::open(&path).unwrap();
        let error = store.get_as::<u32>("a").await.unwrap_err();
        assert_eq!(error.code, Code::NotInitialized, "only init creates a store");
        store.init().await.unwrap();
        store.put_json("a", "text").await.unwrap();
        store.close().await;
    });
}

/// A program that opens the same store as `kv` meets the same daemon.
#[test]
fn a_client_finds_the_daemon_of_the_command_line_and_starts_it_from_the_path() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    // The variables of the process decide where daemons are, so the program is a process of its own.
    let program = std::env::current_exe().unwrap();
    let run = |count: u32| {
        let output = kv
            .command(program.to_str().unwrap())
            .env("KV_TEST_CLIENT_OF_STORE", kv.directory.path().join("data.db"))
            .args(["--exact", "library::the_program_of_the_test_of_clients", "--nocapture"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(kv.ok("kv get a"), format!("{count}\n"));
    };
    run(2);
    assert_eq!(kv.daemon_pid(), pid, "the daemon of the command line");
    kv.ok("kv daemon stop");
    run(3);
}

/// Counts, as the program of the test above; by itself it does nothing.
#[test]
fn the_program_of_the_test_of_clients() {
    let Ok(path) = std::env::var("KV_TEST_CLIENT_OF_STORE") else { return };
    runtime().block_on(async {
        let store = Client::open(&path).await.unwrap();
        let count = store.get_as::<u32>("a").await.unwrap().unwrap().value;
        store.put_json("a", &(count + 1)).await.unwrap();
    });
}

#[test]
fn a_store_in_memory_has_no_daemon() {
    let error = runtime().block_on(Client::open(":memory:")).err().unwrap();
    assert_eq!(error.code, Code::BadRequest);
}
