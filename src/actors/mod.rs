//! The actors: thin shells, the only files besides `daemon/` that name actix.
//!
//! | message | from | answered by | runs |
//! |---|---|---|---|
//! | `Ask` | a connection | `Backend` | overlapping: the store orders writes itself |
//! | `Points` | a connection | `Backend` | gathered: all that are ready are read in one snapshot |
//! | `WriteGroup` | a connection | `Backend` | told by the store, in parts |
//! | `Acquire` | a connection | `LockExpiry` | overlapping; ended by its token |
//! | `Follow` | a connection | `StreamNotifier` | overlapping |
//!
//! A panic ends the process (`daemon::end_process_on_panic`): actix would let the actor die and the process live on,
//! answering "mailbox closed" for ever. Permits bound the number of messages in flight before they reach the actors.

pub(crate) mod backend;
pub(crate) mod lock_expiry;
pub(crate) mod stream_notifier;

use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::store::{Result, cancelled};

/// More than the number of permits, so the mailbox is never full: an overfull mailbox would reorder requests.
const MAILBOX: usize =
    limits::IN_FLIGHT_BYTES / limits::REQUEST_WEIGHT_BYTES + limits::CONNECTIONS_RAISED + limits::ATTACHED;

/// Runs work until it ends or is given up: dropping a request to an actor does not cancel the future that answers it.
async fn unless_given_up<T>(given_up: CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        outcome = work => outcome,
        () = given_up.cancelled() => Err(cancelled()),
    }
}
