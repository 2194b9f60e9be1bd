//! The daemon: holds one store and serves it on a Unix socket.
//!
//! - [`launch`], [`instance`], [`store_lock`]: how it starts, and that it is the only one
//! - [`activation`], [`supervisor`]: the service manager that may run it
//! - `connection`, `dispatch`: the requests of one client in order; from a request to the actor that answers it

#![deny(clippy::missing_errors_doc)]

pub mod activation;
mod clients;
mod connection;
mod dispatch;
pub mod instance;
pub mod launch;
pub mod log;
mod memory;
mod metrics;
mod outlet;
mod resources;
mod session_locks;
pub mod store_lock;
mod subscriptions;
pub mod supervisor;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor as _, WeakAddr};
use futures_util::FutureExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use self::clients::Clients;
use self::dispatch::Dispatch;
use self::instance::Instance;
use self::log::Repeats;
use self::memory::Memory;
use self::metrics::Metrics;
use self::store_lock::StoreLock;
use self::supervisor::{ShownStatus, Supervisor};
use crate::actors::backend::{Backend, Probe};
use crate::actors::lock_expiry::LockExpiry;
use crate::actors::stream_notifier::StreamNotifier;
use crate::limits;
use crate::meeting::place::{Admission, Place};
use crate::protocol::encode_reply;
use crate::quote::shown;
use crate::store::{
    Address, Clock, Code, EngineKind, Error, LocalStore, Read, Request, Store as _, Timestamp,
};

/// The store that a daemon serves, and how long it does.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store.
    pub address: Address,
    /// The clock that decides about times and expiries.
    pub clock: Clock,
    /// Whether a command has started this daemon, so that a newer kv may replace it.
    pub spawned: bool,
    /// How long the daemon goes on without any connection before it ends; none = for ever.
    pub idle_timeout: Option<Duration>,
    /// The service manager that has started this daemon.
    pub supervisor: Option<Supervisor>,
}

/// Serves the store on the listener of `instance`, until `stop` is cancelled, a client sends `shutdown`, or there was no
/// connection for the idle time; then answers the requests in flight, for up to [`limits::DRAIN_TIMEOUT`], and closes the
/// store. Without an `instance`, other code owns the socket.
///
/// Must run within [`block_on`].
pub async fn run(
    config: Config,
    mut listener: UnixListener,
    mut instance: Option<Instance>,
    store_lock: StoreLock,
    stop: CancellationToken,
) {
    let metrics = Arc::new(Metrics::default());
    let observed = Arc::clone(&metrics);
    let observer = Box::new(move |writes, took| observed.committed(writes, took));
    let store = Arc::new(LocalStore::observed(&config.address, config.clock.clone(), observer));
    let backend = Backend::new(Arc::clone(&store)).start();
    let lock_expiry = LockExpiry::new(Arc::clone(store.waiters()), Arc::clone(store.expirer())).start();
    let stream_notifier = StreamNotifier::new(Arc::clone(store.feed()), Arc::clone(store.waiters())).start();
    let clients = Arc::new(Clients::default());
    let connections_max = resources::connections();
    let dispatch = Arc::new(Dispatch {
        backend,
        lock_expiry,
        stream_notifier,
        started: Timestamp::from_unix_ms(config.clock.now_ms()),
        began: Instant::now(),
        metrics,
        address: config.address.clone(),
        spawned: config.spawned,
        unit: config.supervisor.as_ref().and_then(|supervisor| supervisor.unit().map(str::to_owned)),
        store_lock,
        clients: Arc::clone(&clients),
        connections_max,
        memory: Memory::new(),
        stop: stop.clone(),
    });
    if let Some(instance) = &instance {
        dispatch.store_lock.listens_at(instance.socket());
    }
    let admission = instance.as_ref().map_or_else(Admission::of_this_process, Instance::admission);
    log_begin(&config, instance.as_ref(), connections_max);
    let mut shown_status = None;
    if let Some(supervisor) = &config.supervisor {
        supervisor.ready();
        shown_status.insert(ShownStatus::of(&config.address)).tell(0);
        tokio::task::spawn_local(feed_watchdog(
            supervisor.clone(),
            dispatch.backend.downgrade(),
            &config.address,
        ));
    }
    let refusals = Repeats::new();
    let mut idle_since = Instant::now();
    // Whether there is a store is checked once in each time without connections.
    let (mut is_store_checked, is_storeless) = (false, Arc::new(AtomicBool::new(false)));
    let mut watch = tokio::time::interval(limits::WATCH_INTERVAL);
    watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut maintenance = tokio::task::spawn_local(async {});
    let serve = |stream: UnixStream| {
        if let Err(error) = admission.check(&stream) {
            if let Some(left_out) = refusals.to_log(&error.message) {
                tracing::warn!(%error, left_out, "a connection was refused");
            }
        } else if clients.connections() >= connections_max {
            refuse(&stream, connections_max);
        } else {
            let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
            tracing::debug!(pid, "a client has connected");
            let counted = clients.enter(pid);
            let dispatch = Arc::clone(&dispatch);
            tokio::task::spawn_local(async move {
                connection::serve(stream, dispatch).await;
                drop(counted);
            });
        }
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    idle_since = Instant::now();
                    serve(stream);
                }
                Err(error) => {
                    // Out of descriptors: the connections that there are go on, and free some.
                    if let Some(left_out) = refusals.to_log("accept") {
                        tracing::warn!(%error, left_out, "a connection could not be accepted");
                    }
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            },
            _ = watch.tick() => {
                if idle_since.elapsed() >= limits::QUIET_AFTER {
                    watch.reset_after(limits::QUIET_WATCH_INTERVAL);
                }
                if let Some(status) = &mut shown_status {
                    status.tell(clients.connections());
                }
                let is_alone = clients.connections() == 0;
                if !is_alone {
                    idle_since = Instant::now();
                    is_store_checked = false;
                    is_storeless.store(false, Ordering::SeqCst);
                } else if config.spawned
                    && !is_store_checked
                    && idle_since.elapsed() >= limits::STORELESS_IDLE_TIMEOUT
                {
                    is_store_checked = true;
                    tokio::task::spawn_local(check_store(Arc::clone(&store), Arc::clone(&is_storeless)));
                }
                let storeless = is_alone && is_storeless.load(Ordering::SeqCst);
                dispatch.store_lock.keep(false);
                // This may wait for the disk, and no connection is to wait for it.
                if maintenance.is_finished() {
                    let store = Arc::clone(&store);
                    maintenance = tokio::task::spawn_local(async move { store.tend().await });
                }
                let idle = config.idle_timeout.is_some_and(|timeout| idle_since.elapsed() >= timeout);
                let unreachable = instance.as_ref().is_some_and(|instance| !instance.is_reachable());
                let redundant = dispatch.store_lock.is_redundant();
                // Only the log of a daemon that a command started is beside its socket.
                if let Some(instance) = instance.as_ref().filter(|_| config.spawned) {
                    log::keep(&instance.log());
                }
                if store.has_failed() {
                    log::ends("a commit failed, and the next daemon recovers the store");
                    stop.cancel();
                } else if idle || storeless || (is_alone && (unreachable || redundant)) {
                    log::ends(match (idle, storeless, redundant) {
                        (true, ..) => "no client was connected for long",
                        (_, true, _) => "there is no store that it can serve",
                        (.., true) => "another daemon serves the store",
                        _ => "its socket was lost",
                    });
                    break;
                } else if unreachable && let Some(instance) = &mut instance {
                    // The clients that are connected stay, and other ones must find this daemon.
                    if let Some(bound) = bind_again(instance, &config.address) {
                        dispatch.store_lock.listens_at(instance.socket());
                        listener = bound;
                    }
                }
            }
            () = stop.cancelled() => break,
        }
    }
    if let Some(supervisor) = &config.supervisor {
        supervisor.stopping();
    }
    if let Some(instance) = &instance {
        instance.unlink();
    }
    if !stop.is_cancelled() {
        // A client that connected before the socket was removed is still served: the idle exit never cuts a request.
        while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            serve(stream);
        }
        tokio::select! {
            () = clients.all_gone() => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep(limits::CALL_TIMEOUT) => {}
        }
        stop.cancel();
    }
    // No client can connect any more; the next one starts the next daemon, as soon as the lock is free.
    drop(listener);
    drain(&clients, dispatch, store).await;
    tracing::info!(pid = std::process::id(), "the daemon has ended");
    drop(instance);
}

/// Waits for the connections to end and for the actors to drop the store, together for up to [`limits::DRAIN_TIMEOUT`],
/// and then closes the store if it is free, for up to [`limits::CLOSE_TIMEOUT`].
async fn drain(clients: &Clients, dispatch: Arc<Dispatch>, mut store: Arc<LocalStore>) {
    let deadline = Instant::now() + limits::DRAIN_TIMEOUT;
    // It would take longer than there is time, and tells its client how far it has come.
    store.break_off();
    // A connection that is not done by then is cut.
    let _ = tokio::time::timeout_at(deadline.into(), clients.all_gone()).await;
    drop(dispatch);
    // The actors drop the store a moment later, with the messages that they answer.
    loop {
        match Arc::try_unwrap(store) {
            Ok(store) => {
                // A server that does not answer must not keep the process. What is cut off is as if it was killed.
                let _ = tokio::time::timeout(limits::CLOSE_TIMEOUT, store.close()).await;
                return;
            }
            Err(_) if Instant::now() >= deadline => return,
            Err(shared) => store = shared,
        }
        tokio::time::sleep(limits::DRAIN_PAUSE).await;
    }
}

/// Tells the service manager that this daemon works, for as long as the store answers.
fn feed_watchdog(
    supervisor: Supervisor,
    backend: WeakAddr<Backend>,
    address: &Address,
) -> impl Future<Output = ()> + use<> {
    let servers_patience = (address.kind() != EngineKind::Sqlite).then_some(limits::WATCHDOG_SERVER_ANSWER);
    async move {
        let ask = || async {
            match backend.upgrade().map(|backend| backend.send(Probe { servers_patience })) {
                Some(asked) => drop(asked.await),
                // The daemon ends.
                None => std::future::pending().await,
            }
        };
        supervisor.feed_watchdog(ask).await;
    }
}

/// Logs what this daemon is, and where it listens.
fn log_begin(config: &Config, instance: Option<&Instance>, connections_max: usize) {
    let socket = instance.map_or_else(|| "none".to_owned(), |instance| shown(instance.socket()));
    tracing::info!(
        pid = std::process::id(),
        version = env!("CARGO_PKG_VERSION"),
        schema = config.address.schema(),
        store = %config.address,
        %socket,
        spawned = config.spawned,
        connections_max,
        "the daemon listens"
    );
}

/// Runs a future to its end on the actix `System` that [`run`] needs. Blocks the thread.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(work)
}

/// Binds the socket anew after it was removed; none while that cannot be done.
fn bind_again(instance: &mut Instance, address: &Address) -> Option<UnixListener> {
    let other = Place::for_store(&address.identity(), None).ok();
    match instance.bind_again(other.as_ref()) {
        Ok(Some(listener)) => {
            tracing::warn!(socket = %instance.socket().display(), "the socket was lost, and was bound again");
            Some(listener)
        }
        Ok(None) => None,
        Err(error) => {
            tracing::debug!(%error, "the socket was lost, and cannot be bound again yet");
            None
        }
    }
}

/// Sets `is_storeless` to whether there is no store, or none that can be opened.
async fn check_store(store: Arc<LocalStore>, is_storeless: Arc<AtomicBool>) {
    let failure = store.call(Request::Read(Read::Identity)).await.err();
    // A store that other processes keep busy, or whose disk is full, is there.
    let is_missing =
        failure.is_some_and(|error| !matches!(error.code, Code::Busy | Code::Timeout | Code::StoreFull));
    is_storeless.store(is_missing, Ordering::SeqCst);
}

/// Makes a panic end the process, in every build.
///
/// A panic means that a rule is broken. In a daemon, tokio would catch it and actix would let the actor die while the
/// process lives on and answers no request; so the process ends, and the next command starts a fresh daemon.
pub fn end_process_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        tracing::error!("the process ends: a panic means that a rule is broken");
        std::process::abort();
    }));
}

/// Answers a client that there are too many connections; it may try again later.
fn refuse(stream: &UnixStream, connections_max: usize) {
    let error = Error::new(
        Code::TooManyConnections,
        format!("the daemon serves {connections_max} connections already"),
    )
    .hint(match resources::advice(Code::TooManyConnections) {
        Some(advice) if connections_max < limits::CONNECTIONS => format!("close some; {advice}"),
        _ => "close some".to_owned(),
    });
    // A fresh socket takes a short line at once; if this one does not, it is closed all the same.
    let _ = stream.try_write(&encode_reply(None, Err(error)));
}
