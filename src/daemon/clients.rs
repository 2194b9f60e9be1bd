//! The clients that are connected to the daemon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::limits;

/// The connections that are served now, and the processes at their other ends.
#[derive(Debug, Default)]
pub(super) struct Clients {
    connections: TaskTracker,
    /// How many connections each process has, by its pid. A process in another container shows none.
    processes: Mutex<BTreeMap<i32, usize>>,
}

impl Clients {
    /// Counts a connection of the process `pid` until the returned value is dropped.
    pub(super) fn enter(self: &Arc<Self>, pid: Option<i32>) -> CountedConnection {
        let pid = pid.filter(|pid| *pid > 0);
        if let Some(pid) = pid {
            *self.processes_locked().entry(pid).or_default() += 1;
        }
        CountedConnection { clients: Arc::clone(self), pid, _counted: self.connections.token() }
    }

    /// How many connections are served now.
    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Waits until no connection is served any more.
    pub(super) async fn all_gone(&self) {
        // Only a tracker that is closed is waited for; it goes on counting.
        self.connections.close();
        self.connections.wait().await;
    }

    /// The pids of up to [`limits::PROCESSES_TOLD`] processes that are connected, in ascending order.
    pub(super) fn processes(&self) -> Vec<i32> {
        self.processes_locked().keys().take(limits::PROCESSES_TOLD).copied().collect()
    }

    fn processes_locked(&self) -> MutexGuard<'_, BTreeMap<i32, usize>> {
        // No code panics while it holds this mutex; a poisoned one would still hold a good value.
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct CountedConnection {
    clients: Arc<Clients>,
    pid: Option<i32>,
    _counted: TaskTrackerToken,
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let Some(pid) = self.pid else { return };
        let mut processes = self.clients.processes_locked();
        if let Some(connections) = processes.get_mut(&pid) {
            *connections -= 1;
            if *connections == 0 {
                processes.remove(&pid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_process_is_there_while_it_has_a_connection() {
        let clients = Arc::new(Clients::default());
        let first = clients.enter(Some(7));
        let (second, unseen) = (clients.enter(Some(7)), clients.enter(Some(0)));
        assert_eq!((clients.connections(), clients.processes()), (3, vec![7]));
        drop(first);
        assert_eq!((clients.connections(), clients.processes()), (2, vec![7]));
        drop(second);
        assert!(clients.all_gone().now_or_never().is_none());
        drop(unseen);
        clients.all_gone().await;
        assert_eq!((clients.connections(), clients.processes()), (0, vec![]));
    }
}
