//! The output of a connection. The replies to a group of plain requests are written where the outcomes become known:
//! into the socket at once, in one piece, without waking the task of the connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// The socket of a connection, with the replies that it has not taken yet.
pub(super) struct Outlet {
    pub(super) socket: OwnedWriteHalf,
    state: Mutex<State>,
    /// Notified when the task of the connection has something to do: see [`Outlet::changed`].
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Lines that are to be sent; the first may be the rest of one.
    unsent: Vec<u8>,
    /// The memory of the group whose replies these are, or will be.
    memory: Option<OwnedSemaphorePermit>,
    /// Whether a group of requests is under way.
    has_group: bool,
    /// Whether the task of the connection is writing, so that no other task may.
    is_taken: bool,
    /// Whether the task of the connection waits for the end of the group.
    is_awaited: bool,
}

impl Outlet {
    pub(super) fn new(socket: OwnedWriteHalf) -> Outlet {
        Outlet { socket, state: Mutex::default(), changed: Notify::new() }
    }

    /// Begins a group of requests. No other group may be under way.
    pub(super) fn begin_group(&self, memory: OwnedSemaphorePermit) {
        let mut state = self.state();
        state.has_group = true;
        state.memory = Some(memory);
    }

    /// Whether a group is under way. With `awaits_end`, its end will wake the task of the connection.
    pub(super) fn has_group(&self, awaits_end: bool) -> bool {
        let mut state = self.state();
        state.is_awaited = state.has_group && awaits_end;
        state.has_group
    }

    /// Adds replies to requests of the group; `is_last` says that they are the last ones.
    pub(super) fn answer(&self, is_last: bool, append: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let State { unsent, is_taken, .. } = &mut *state;
        append(unsent);
        if !*is_taken {
            // The task of the connection sends the rest. It also meets the error, if there was one.
            let sent = self.socket.try_write(unsent).unwrap_or(0);
            if sent == unsent.len() { *unsent = Vec::new() } else { drop(unsent.drain(..sent)) }
        }
        state.has_group &= !is_last;
        if !state.has_group && state.unsent.is_empty() {
            state.memory = None;
        }
        if (is_last && state.is_awaited) || !state.unsent.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Waits until a group has ended whose end is awaited, or lines are left for the task of the connection.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Wakes the task of the connection.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Whether lines are left for the task of the connection.
    pub(super) fn has_unsent(&self) -> bool {
        !self.state().unsent.is_empty()
    }

    /// Makes the task of the connection the only writer. It must first send the returned lines.
    pub(super) fn begin_writing(&self) -> Vec<u8> {
        let mut state = self.state();
        state.is_taken = true;
        std::mem::take(&mut state.unsent)
    }

    /// The lines that were added in the meantime, which must be sent; when there are none, other tasks may write again.
    pub(super) fn end_writing(&self) -> Vec<u8> {
        let mut state = self.state();
        let unsent = std::mem::take(&mut state.unsent);
        state.is_taken = !unsent.is_empty();
        if unsent.is_empty() && !state.has_group {
            state.memory = None;
        }
        unsent
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this mutex; a poisoned one would still hold whole lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
