//! The subscriptions of one connection, and the lines that they send.

use std::collections::HashMap;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::metrics::ListedSubscription;
use crate::limits;
use crate::protocol::{Id, append_change, encode_change, encode_progress};
use crate::store::follow::{Follower, Piece, Wake};
use crate::store::{Code, Error, Result};

/// A subscription that goes on.
pub(super) struct ActiveSubscription {
    /// Its name in the protocol.
    pub(super) id: Id,
    pub(super) follower: Follower,
    /// Cancelled when the subscription is ended.
    ended: CancellationToken,
    listed: ListedSubscription,
    _attached: OwnedSemaphorePermit,
}

impl ActiveSubscription {
    pub(super) fn new(
        id: Id,
        follower: Follower,
        attached: OwnedSemaphorePermit,
        listed: ListedSubscription,
    ) -> ActiveSubscription {
        let active =
            ActiveSubscription { id, follower, ended: CancellationToken::new(), listed, _attached: attached };
        active.note_position();
        active
    }

    /// Notes how far it has come, for `status`.
    pub(super) fn note_position(&self) {
        self.listed.at(self.follower.progress().0);
    }
}

/// A subscription that was ended.
pub(super) struct EndedSubscription {
    /// The consumer as which it followed the stream, and the session that held the consumer; none without a consumer.
    pub(super) consumer: Option<(String, String)>,
}

/// A subscription that has something to do.
pub(super) struct DueSubscription {
    pub(super) active: ActiveSubscription,
    /// Whether there are changes to read or its progress is to be told; an error ends it.
    pub(super) wake: Result<Wake>,
}

/// The subscriptions of one connection.
#[derive(Default)]
pub(super) struct Subscriptions {
    entries: HashMap<Id, Entry>,
    /// Those that wait until they have something to do.
    waiting: FuturesUnordered<Pin<Box<dyn Future<Output = DueSubscription>>>>,
    /// How many were begun on this connection.
    begun: u64,
}

/// What is kept about a subscription while it waits or is served.
struct Entry {
    /// Cancelled when it is ended.
    ended: CancellationToken,
    /// The consumer as which it follows the stream, and the session that holds the consumer.
    consumer: Option<(String, String)>,
}

impl Subscriptions {
    /// Whether the connection has no subscription.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name for a new subscription: the id of its request, or the next free number.
    ///
    /// # Errors
    /// `too_large` when the connection has [`limits::SUBSCRIPTIONS`] already; `bad_request` when the name is in use.
    pub(super) fn name(&self, id: Option<&Id>) -> Result<Id> {
        if self.entries.len() >= limits::SUBSCRIPTIONS {
            let message = format!("a connection has at most {} subscriptions", limits::SUBSCRIPTIONS);
            return Err(Error::new(Code::TooLarge, message).hint("open another connection"));
        }
        match id {
            Some(id) if self.entries.contains_key(id) => {
                Err(Error::bad_field("id", format!("the subscription {} exists already", id.as_json())))
            }
            Some(id) => Ok(id.clone()),
            None => {
                let is_free = |id: &Id| !self.entries.contains_key(id);
                Ok((self.begun + 1..).map(Id::number).find(is_free).unwrap_or_else(|| Id::number(0)))
            }
        }
    }

    /// Adds a subscription, and lets it wait until it has something to do.
    pub(super) fn begin(&mut self, active: ActiveSubscription) {
        self.begun += 1;
        let consumer = active.follower.consumer().map(|(name, holder)| (name.to_owned(), holder.to_owned()));
        self.entries.insert(active.id.clone(), Entry { ended: active.ended.clone(), consumer });
        self.wait(active);
    }

    /// Lets a subscription wait until it has something to do.
    pub(super) fn wait(&mut self, mut active: ActiveSubscription) {
        self.waiting.push(Box::pin(async move {
            let wake = tokio::select! {
                wake = active.follower.wait() => wake,
                () = active.ended.cancelled() => Ok(Wake::Quiet),
            };
            DueSubscription { active, wake }
        }));
    }

    /// The next subscription that has something to do. Waits for ever when there is none.
    pub(super) async fn next(&mut self) -> DueSubscription {
        loop {
            match self.waiting.next().await {
                Some(due) if !due.active.ended.is_cancelled() => return due,
                Some(_ended) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends the subscription of this name; none when there is no such subscription.
    pub(super) fn end(&mut self, id: &Id) -> Option<EndedSubscription> {
        let Entry { ended, consumer } = self.entries.remove(id)?;
        ended.cancel();
        Some(EndedSubscription { consumer })
    }

    /// Ends all subscriptions, and returns their names.
    pub(super) fn end_all(&mut self) -> Vec<Id> {
        self.waiting.clear();
        self.entries.drain().map(|(id, _)| id).collect()
    }

    /// The session of this connection that holds the consumer of this name.
    pub(super) fn holder_of(&self, consumer: &str) -> Option<String> {
        let consumers = self.entries.values().filter_map(|entry| entry.consumer.as_ref());
        consumers.filter(|(name, _)| name == consumer).map(|(_, holder)| holder.clone()).next()
    }
}

/// The lines of the changes in a piece of the stream. The part that is the same for all subscriptions is encoded once.
pub(super) fn change_lines(id: &Id, piece: &Piece) -> Vec<u8> {
    let (page, positions) = piece.in_page();
    let encoded = page.lines.get_or_init(|| page.changes.iter().cloned().map(encode_change).collect());
    let mut lines = Vec::new();
    for &position in positions {
        append_change(&mut lines, id, &encoded[position]);
    }
    lines
}

/// The line that tells the progress of a subscription.
pub(super) fn progress_line(active: &ActiveSubscription) -> Vec<u8> {
    let (seq, lag) = active.follower.progress();
    encode_progress(&active.id, seq, lag)
}
