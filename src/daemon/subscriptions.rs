//! The subscriptions of one connection: who waits for news, and the lines that are sent.

use std::collections::HashMap;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::limits;
use crate::protocol::{Id, append_change, encode_change, encode_progress};
use crate::store::follow::{Follower, Piece, Wake};
use crate::store::{Code, Error, Result};

/// A subscription.
pub(super) struct Active {
    pub(super) id: Id,
    pub(super) follower: Follower,
    /// Tells it from one that had the same id before.
    number: u64,
}

/// One that has something to do: news to read, its progress to tell, or an end.
pub(super) struct Woken {
    pub(super) active: Active,
    pub(super) wake: Result<Wake>,
}

#[derive(Default)]
pub(super) struct Subscriptions {
    numbers: HashMap<Id, u64>,
    waiting: FuturesUnordered<Pin<Box<dyn Future<Output = Woken>>>>,
    begun: u64,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The name of a new subscription: the id of its request, or a number.
    pub(super) fn name(&self, id: Option<&Id>) -> Result<Id> {
        if self.numbers.len() >= limits::SUBSCRIPTIONS {
            let message = format!("a connection has at most {} subscriptions", limits::SUBSCRIPTIONS);
            return Err(Error::new(Code::TooLarge, message).hint("open another connection"));
        }
        match id {
            Some(id) if self.numbers.contains_key(id) => {
                Err(Error::bad_field("id", format!("the subscription {} is there already", id.as_json())))
            }
            Some(id) => Ok(id.clone()),
            None => Ok((self.begun + 1..)
                .map(Id::number)
                .find(|id| !self.numbers.contains_key(id))
                .unwrap_or_else(|| Id::number(0))),
        }
    }

    pub(super) fn begin(&mut self, id: Id, follower: Follower) {
        self.begun += 1;
        self.numbers.insert(id.clone(), self.begun);
        self.wait(Active { id, follower, number: self.begun });
    }

    /// Has a subscription wait for what comes next.
    pub(super) fn wait(&mut self, mut active: Active) {
        self.waiting.push(Box::pin(async move {
            let wake = active.follower.wait().await;
            Woken { active, wake }
        }));
    }

    /// The next one that has something to do; never comes when there is none.
    pub(super) async fn next(&mut self) -> Woken {
        loop {
            match self.waiting.next().await {
                Some(woken) if self.numbers.get(&woken.active.id) == Some(&woken.active.number) => {
                    return woken;
                }
                // It was ended while it waited.
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends a subscription, and answers whether there was one of this name.
    pub(super) fn end(&mut self, id: &Id) -> bool {
        self.numbers.remove(id).is_some()
    }

    /// Ends all of them.
    pub(super) fn end_all(&mut self) -> Vec<Id> {
        self.waiting.clear();
        self.numbers.drain().map(|(id, _)| id).collect()
    }
}

/// The events of a piece. What is the same for all subscriptions is made once.
pub(super) fn change_lines(id: &Id, piece: &Piece) -> Vec<u8> {
    let (page, positions) = piece.in_page();
    let encoded = page.lines.get_or_init(|| page.changes.iter().cloned().map(encode_change).collect());
    let mut lines = Vec::new();
    for &position in positions {
        append_change(&mut lines, id, &encoded[position]);
    }
    lines
}

/// The event that tells how far a subscription is.
pub(super) fn progress_line(active: &Active) -> Vec<u8> {
    let (seq, lag) = active.follower.progress();
    encode_progress(&active.id, seq, lag)
}
