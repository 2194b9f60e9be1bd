//! Subscriptions that come and go while a client writes: no wake-up is lost.
//!
//! `PUSH_ROUNDS=100000 cargo test --locked --release --test it push::rounds` is the long form.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kv::Client;
use kv::store::{Put, Store as _};

use super::{Wire, socket};
use crate::support::{Kv, Random, json, number_from_environment, runtime};

const SUBSCRIBERS: u64 = 16;

/// Each round subscribes somewhere near the head, and wants some changes more than there are: each must come within a
/// second, the next one after the one before. Then it unsubscribes, and nothing comes any more.
async fn subscriber(socket: String, number: u64, rounds: Rc<Cell<u32>>, head: Rc<Cell<u64>>) {
    let mut random = Random(number);
    let mut wire = Wire::connect(&socket).await;
    while rounds.get() > 0 {
        rounds.set(rounds.get().saturating_sub(1));
        let behind = random.below(4) as u64;
        let after = match random.below(3) {
            0 => "\"now\"".to_owned(),
            _ => head.get().saturating_sub(behind).to_string(),
        };
        let reply = wire.ask(&format!(r#"{{"id":1,"op":"subscribe","after":{after}}}"#)).await;
        let mut last = after.parse().unwrap_or_else(|_| reply["seq"].as_u64().unwrap());
        for _ in 0..=random.below(6) {
            let event = tokio::time::timeout(Duration::from_secs(1), wire.next());
            let event = event.await.expect("a wake-up was lost").unwrap();
            assert_eq!(event["seq"], last + 1, "{reply} {event}");
            last += 1;
        }
        wire.send(r#"{"id":2,"op":"unsubscribe","subscription":1}"#).await;
        while let Some(line) = wire.next().await {
            if line["ok"] == true {
                break;
            }
            assert_eq!(line["seq"], last + 1, "{line}");
            last += 1;
        }
    }
}

#[test]
fn no_wake_up_is_lost_while_subscriptions_come_and_go() {
    let rounds = number_from_environment("PUSH_ROUNDS", 2_000);
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    runtime().block_on(tokio::task::LocalSet::new().run_until(async {
        let (rounds, head) = (Rc::new(Cell::new(rounds)), Rc::new(Cell::new(0)));
        let subscribers: Vec<_> = (0..SUBSCRIBERS)
            .map(|number| {
                let (socket, rounds, head) = (socket.clone(), Rc::clone(&rounds), Rc::clone(&head));
                tokio::task::spawn_local(subscriber(socket, number, rounds, head))
            })
            .collect();
        let writer = tokio::task::spawn_local(async move {
            let store = Client::connect(socket.as_ref()).await.unwrap();
            let mut random = Random(99);
            loop {
                head.set(store.put(Put::new("a", json("1"))).await.unwrap().revision);
                // Pauses in which everybody has come to wait, and none at all.
                tokio::time::sleep(Duration::from_micros(200 * random.below(10) as u64)).await;
            }
        });
        for subscriber in subscribers {
            subscriber.await.unwrap();
        }
        writer.abort();
    }));
}
