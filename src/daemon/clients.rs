//! Who is connected to the daemon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits;

/// The connections that are served now, and the processes at their other ends.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    connections: usize,
    /// How many connections each process has. One in another container shows no number.
    processes: BTreeMap<i32, usize>,
}

impl Clients {
    /// Counts a connection until what is answered is dropped.
    pub(super) fn enter(self: &Arc<Self>, pid: Option<i32>) -> Present {
        let pid = pid.filter(|pid| *pid > 0);
        let mut state = self.state();
        state.connections += 1;
        if let Some(pid) = pid {
            *state.processes.entry(pid).or_default() += 1;
        }
        Present { clients: Arc::clone(self), pid }
    }

    pub(super) fn connections(&self) -> usize {
        self.state().connections
    }

    /// Some of the processes, in the order of their numbers.
    pub(super) fn processes(&self) -> Vec<i32> {
        self.state().processes.keys().take(limits::PROCESSES_TOLD).copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding this mutex; a poisoned one would still hold a good value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Present {
    clients: Arc<Clients>,
    pid: Option<i32>,
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut state = self.clients.state();
        state.connections -= 1;
        let Some(pid) = self.pid else { return };
        if let Some(connections) = state.processes.get_mut(&pid) {
            *connections -= 1;
            if *connections == 0 {
                state.processes.remove(&pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_there_while_it_has_a_connection() {
        let clients = Arc::new(Clients::default());
        let first = clients.enter(Some(7));
        let (second, unseen) = (clients.enter(Some(7)), clients.enter(Some(0)));
        assert_eq!((clients.connections(), clients.processes()), (3, vec![7]));
        drop(first);
        assert_eq!((clients.connections(), clients.processes()), (2, vec![7]));
        drop((second, unseen));
        assert_eq!((clients.connections(), clients.processes()), (0, vec![]));
    }
}
