//! What a daemon does in a second.

#![allow(clippy::print_stderr, reason = "the tests report their figures")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::Client;
use kv::store::{Put, Store as _};

use super::own_daemon::OwnDaemon;
use super::{json, runtime};

const CLIENTS: usize = 64;

/// What an operation is done per second by these clients, each of which waits for its answer before it asks again.
async fn per_second(clients: &[Client], operation: impl AsyncFn(&Client, u64)) -> f64 {
    const MEASURED: Duration = Duration::from_secs(2);
    let (begun, done) = (Instant::now(), Cell::new(0));
    join_all(clients.iter().map(async |client| {
        while begun.elapsed() < MEASURED {
            operation(client, done.replace(done.get() + 1)).await;
        }
    }))
    .await;
    done.get() as f64 / begun.elapsed().as_secs_f64()
}

/// Asserts that 64 clients of a daemon, whose server is far away, do ten times as much as one.
pub(crate) fn assert_many_do_ten_times_as_much(daemon: &OwnDaemon) {
    runtime().block_on(async {
        let clients = join_all((0..CLIENTS).map(|_| daemon.client())).await;
        clients[0].init().await.unwrap();
        let put = async |client: &Client, number: u64| {
            client.put(Put::new((number % 1_000).to_string(), json("1"))).await.unwrap();
        };
        let get = async |client: &Client, number: u64| {
            client.get(&(number % 1_000).to_string()).await.unwrap();
        };
        // The connections are made, and the statements prepared.
        put(&clients[0], 0).await;
        get(&clients[0], 0).await;
        let puts = [per_second(&clients[..1], put).await, per_second(&clients, put).await];
        let gets = [per_second(&clients[..1], get).await, per_second(&clients, get).await];
        for (what, [one, many]) in [("puts", puts), ("gets", gets)] {
            eprintln!(
                "{what} per second: {one:.1} by one client, {many:.0} by {CLIENTS}, {:.1} x",
                many / one
            );
            assert!(many >= 10.0 * one, "{what}: {one} by one client, {many} by {CLIENTS}");
        }
    });
}
