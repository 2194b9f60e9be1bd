//! The service manager that runs this daemon: what it is told (sd_notify(3)), and what it tells.

use std::path::Path;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::timeout;

use crate::environment::variable;
use crate::limits;
use crate::quote::shown;
use crate::store::Address;

/// The service manager that has started this process, to end and restart it as its unit says.
#[derive(Debug, Clone)]
pub struct Supervisor {
    /// The unit whose main process this is, as far as that can be seen.
    unit: Option<String>,
    /// The time after which the manager ends a daemon that has not said that it works; none = it does not watch.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The service manager of this process; none when it was started by something else.
    #[must_use]
    pub fn of_this_process() -> Option<Supervisor> {
        // Only systemd sets it, in the main process of a unit; a process that inherits it has another pid.
        let is_main =
            variable("SYSTEMD_EXEC_PID").is_some_and(|pid| pid == std::process::id().to_string().as_str());
        let unit = std::fs::read_to_string("/proc/self/cgroup").ok().filter(|_| is_main);
        let unit = unit.and_then(|table| unit_in(&table));
        (is_main || variable("NOTIFY_SOCKET").is_some())
            .then(|| Supervisor { unit, watchdog: sd_notify::watchdog_enabled() })
    }

    /// The unit whose main process this is; none when that cannot be seen.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// Says that clients can connect.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// Says that the daemon ends.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("answers the last requests")]);
    }

    /// Says again and again that the daemon works, as long as it answers in time; for ever, when the manager watches.
    pub(super) async fn feed_watchdog<A: Future>(&self, ask: impl Fn() -> A) {
        if let Some(patience) = self.watchdog.filter(|patience| !patience.is_zero()) {
            feed(patience, ask, || tell(&[NotifyState::Watchdog])).await;
        }
    }
}

/// Asks, and tells that there was an answer, so often that a manager with this patience is told in time.
async fn feed<A: Future>(patience: Duration, ask: impl Fn() -> A, told: impl Fn()) {
    // Of three that follow each other one may be late.
    let interval = patience / limits::WATCHDOG_TIMES;
    loop {
        if timeout(limits::WATCHDOG_ANSWER, ask()).await.is_ok() {
            told();
        } else {
            tracing::warn!("the store does not answer: the service manager is not told that it works");
        }
        tokio::time::sleep(interval).await;
    }
}

/// What the manager shows of a daemon: which store it serves, and how many clients.
#[derive(Debug)]
pub(super) struct ShownStatus {
    store: String,
    clients: Option<usize>,
    told: Instant,
}

impl ShownStatus {
    /// The status of a daemon of this store, which the manager is not told yet.
    pub(super) fn of(address: &Address) -> ShownStatus {
        // A line of its own would be another message to the manager.
        let store = match address.file() {
            Some(file) => format!("{}:{}", address.kind().as_str(), shown(file)),
            None => shown(Path::new(&address.to_string())),
        };
        ShownStatus { store, clients: None, told: Instant::now() }
    }

    /// Tells the manager when the number has changed, but not more often than each [`limits::STATUS_INTERVAL`].
    pub(super) fn tell(&mut self, clients: usize) {
        if self.clients == Some(clients)
            || (self.clients.is_some() && self.told.elapsed() < limits::STATUS_INTERVAL)
        {
            return;
        }
        (self.clients, self.told) = (Some(clients), Instant::now());
        tell(&[NotifyState::Status(&self.text(clients))]);
    }

    fn text(&self, clients: usize) -> String {
        let clients = match clients {
            0 => "no client".to_owned(),
            1 => "1 client".to_owned(),
            count => format!("{count} clients"),
        };
        format!("serves {} to {clients}", self.store)
    }
}

/// Sends a message to the manager, where it wants any. One that is lost costs nothing but itself.
fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// The unit in the table of a process's control groups (cgroups(7)): the last part of the path, when it is a service.
fn unit_in(table: &str) -> Option<String> {
    let paths = table.lines().filter_map(|line| {
        let (hierarchy, path) = line.split_once("::").or_else(|| line.split_once(":name=systemd:"))?;
        hierarchy.parse::<u32>().is_ok().then_some(path)
    });
    let mut units =
        paths.filter_map(|path| path.rsplit('/').next()).filter(|name| name.ends_with(".service"));
    units.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::store::EngineKind;

    #[test]
    fn the_unit_is_the_last_part_of_the_control_group() {
        let told = |table| unit_in(table);
        assert_eq!(told("0::/system.slice/kv.service\n").as_deref(), Some("kv.service"));
        assert_eq!(
            told("0::/user.slice/user-1.slice/user@1.service/app.slice/kv.service\n").as_deref(),
            Some("kv.service")
        );
        assert_eq!(
            told("3:cpu:/x.service\n1:name=systemd:/system.slice/a.service\n").as_deref(),
            Some("a.service")
        );
        assert_eq!(told("0::/user.slice/user-1.slice/session-2.scope\n"), None);
        assert_eq!(told(""), None);
    }

    #[test]
    fn the_status_names_the_store_on_one_line() {
        let text = |path: &str, clients| {
            let address = Address::parse(EngineKind::Sqlite, path).unwrap();
            ShownStatus::of(&address).text(clients)
        };
        assert_eq!(text("/data.db", 0), "serves sqlite:/data.db to no client");
        assert_eq!(text("/data.db", 1), "serves sqlite:/data.db to 1 client");
        assert_eq!(text("/a\nREADY=1", 3).lines().count(), 1);
    }

    /// A manager that waits for 30 s is told about every 10 s; while nothing answers it is not told, and afterwards again.
    #[tokio::test(start_paused = true)]
    async fn the_manager_is_told_only_while_the_store_answers() {
        let (patience, answers, told) = (Duration::from_secs(30), Cell::new(true), Cell::new(0));
        let ask = || async {
            if !answers.get() {
                std::future::pending::<()>().await;
            }
        };
        let feeding = feed(patience, ask, || told.set(told.get() + 1));
        let watching = async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            assert_eq!(told.get(), 3, "at 0, 10 and 20 seconds");
            answers.set(false);
            tokio::time::sleep(Duration::from_secs(100)).await;
            assert_eq!(told.get(), 3);
            answers.set(true);
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert!(told.get() >= 4);
        };
        tokio::select! {
            () = feeding => {}
            () = watching => {}
        }
    }
}
