//! The way out of a connection. A group of plain requests is answered where its outcome is known: the replies go into the
//! socket at once, in one piece, and the task of the connection need not be woken for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// The socket of a connection, with the replies that it has not taken yet.
pub(super) struct Outlet {
    pub(super) socket: OwnedWriteHalf,
    state: Mutex<State>,
    /// The task of the connection has something to do: see [`Outlet::changed`].
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Whole lines, or the rest of one and whole lines.
    unsent: Vec<u8>,
    /// The memory of the group that is answered in them, or will be.
    memory: Option<OwnedSemaphorePermit>,
    /// A group of requests is under way.
    has_group: bool,
    /// The task of the connection is writing, so nobody else may.
    is_taken: bool,
    /// The task of the connection waits for the end of the group.
    is_awaited: bool,
}

impl Outlet {
    pub(super) fn new(socket: OwnedWriteHalf) -> Outlet {
        Outlet { socket, state: Mutex::default(), changed: Notify::new() }
    }

    /// Begins a group of requests. No other one is under way.
    pub(super) fn begin_group(&self, memory: OwnedSemaphorePermit) {
        let mut state = self.state();
        state.has_group = true;
        state.memory = Some(memory);
    }

    /// Whether a group is under way. `awaits_end`: whether the task of the connection is to be woken at its end.
    pub(super) fn has_group(&self, awaits_end: bool) -> bool {
        let mut state = self.state();
        state.is_awaited = state.has_group && awaits_end;
        state.has_group
    }

    /// Answers some requests of the group; `is_last`: the last ones.
    pub(super) fn answer(&self, is_last: bool, append: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let State { unsent, is_taken, .. } = &mut *state;
        append(unsent);
        if !*is_taken {
            // What the socket does not take now, the task of the connection sends; it also comes upon an error.
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

    /// Waits until a group has ended whose end is awaited, or has left lines that are to be sent.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Wakes the task of the connection.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Whether lines are left that are to be sent by the task of the connection.
    pub(super) fn has_unsent(&self) -> bool {
        !self.state().unsent.is_empty()
    }

    /// Makes the task of the connection the only one that writes. It sends what is answered first.
    pub(super) fn begin_writing(&self) -> Vec<u8> {
        let mut state = self.state();
        state.is_taken = true;
        std::mem::take(&mut state.unsent)
    }

    /// What was added meanwhile, and is to be sent; when it is nothing, others may write again.
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
        // Nobody panics while holding this mutex; a poisoned one would still hold whole lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
