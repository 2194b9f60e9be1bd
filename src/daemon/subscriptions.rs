//! The subscriptions of one connection: who waits for news, and the lines that are sent.

use std::collections::HashMap;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::protocol::{Id, append_change, encode_change, encode_progress};
use crate::store::follow::{Follower, Piece, Wake};
use crate::store::{Code, Error, Result};

/// A subscription.
pub(super) struct Active {
    pub(super) id: Id,
    pub(super) follower: Follower,
    ended: CancellationToken,
    _attached: OwnedSemaphorePermit,
}

impl Active {
    pub(super) fn new(id: Id, follower: Follower, attached: OwnedSemaphorePermit) -> Active {
        Active { id, follower, ended: CancellationToken::new(), _attached: attached }
    }
}

/// One that was ended, with the consumer that it followed as, and the session that held it.
pub(super) struct Ended {
    pub(super) consumer: Option<(String, String)>,
}

/// One that has something to do: news to read, its progress to tell, or an end.
pub(super) struct Woken {
    pub(super) active: Active,
    pub(super) wake: Result<Wake>,
}

#[derive(Default)]
pub(super) struct Subscriptions {
    known: HashMap<Id, Known>,
    waiting: FuturesUnordered<Pin<Box<dyn Future<Output = Woken>>>>,
    begun: u64,
}

struct Known {
    ended: CancellationToken,
    /// The consumer that it follows as, and the session that holds it.
    consumer: Option<(String, String)>,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The name of a new subscription: the id of its request, or a number.
    pub(super) fn name(&self, id: Option<&Id>) -> Result<Id> {
        if self.known.len() >= limits::SUBSCRIPTIONS {
            let message = format!("a connection has at most {} subscriptions", limits::SUBSCRIPTIONS);
            return Err(Error::new(Code::TooLarge, message).hint("open another connection"));
        }
        match id {
            Some(id) if self.known.contains_key(id) => {
                Err(Error::bad_field("id", format!("the subscription {} is there already", id.as_json())))
            }
            Some(id) => Ok(id.clone()),
            None => {
                let is_free = |id: &Id| !self.known.contains_key(id);
                Ok((self.begun + 1..).map(Id::number).find(is_free).unwrap_or_else(|| Id::number(0)))
            }
        }
    }

    pub(super) fn begin(&mut self, active: Active) {
        self.begun += 1;
        let consumer = active.follower.consumer().map(|(name, holder)| (name.to_owned(), holder.to_owned()));
        self.known.insert(active.id.clone(), Known { ended: active.ended.clone(), consumer });
        self.wait(active);
    }

    /// Has a subscription wait for what comes next.
    pub(super) fn wait(&mut self, mut active: Active) {
        self.waiting.push(Box::pin(async move {
            let wake = tokio::select! {
                wake = active.follower.wait() => wake,
                () = active.ended.cancelled() => Ok(Wake::Quiet),
            };
            Woken { active, wake }
        }));
    }

    /// The next one that has something to do; never comes when there is none.
    pub(super) async fn next(&mut self) -> Woken {
        loop {
            match self.waiting.next().await {
                Some(woken) if !woken.active.ended.is_cancelled() => return woken,
                Some(_ended) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends a subscription; none when there is none of this name.
    pub(super) fn end(&mut self, id: &Id) -> Option<Ended> {
        let Known { ended, consumer } = self.known.remove(id)?;
        ended.cancel();
        Some(Ended { consumer })
    }

    /// Ends all of them.
    pub(super) fn end_all(&mut self) -> Vec<Id> {
        self.waiting.clear();
        self.known.drain().map(|(id, _)| id).collect()
    }

    /// The session that follows as this consumer on this connection.
    pub(super) fn holder_of(&self, consumer: &str) -> Option<String> {
        let held = self.known.values().filter_map(|known| known.consumer.as_ref());
        held.filter(|(name, _)| name == consumer).map(|(_, holder)| holder.clone()).next()
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
