//! From the global flags to a store: in this process, or through its daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use clap::ValueEnum as _;
use kv::client::{Client, Launch, Program, Target};
use kv::daemon::launch::RUNNING_IMAGE;
use kv::meeting::handover::Handover;
use kv::meeting::place::{Place, SocketGroup, is_system};
use kv::store::{
    Address, Clock, Code, EngineKind, Error, Grant, LocalStore, LockAcquire, Reply, Request, Result, Store,
    Subscribe, Subscription,
};

use super::arguments::{DaemonMode, usage};
use super::settings::Settings;
use super::{output, signals};

/// The store of a command.
pub(super) enum OpenStore {
    Local(LocalStore),
    Remote(Box<Client>),
}

impl OpenStore {
    fn store(&self) -> &dyn Store {
        match self {
            OpenStore::Local(store) => store,
            OpenStore::Remote(client) => &**client,
        }
    }

    /// The kind of the store, as it stands on the command line.
    pub(super) fn engine(&self, settings: &Settings) -> Result<String> {
        match self {
            OpenStore::Local(_) => Ok(address(settings)?.kind().as_str().to_owned()),
            OpenStore::Remote(client) => Ok(client.hello().engine),
        }
    }

    /// Finishes the requests under way; a store in this process writes SQLite's log back into the file.
    pub(super) async fn close(self) {
        if let OpenStore::Local(store) = self {
            store.close().await;
        }
    }
}

#[async_trait]
impl Store for OpenStore {
    async fn call(&self, request: Request) -> Result<Reply> {
        self.store().call(request).await
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        self.store().subscribe(subscribe).await
    }

    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant> {
        self.store().lock_acquire_within(acquire, wait).await
    }
}

/// A runtime on the calling thread.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::Internal, format!("no runtime: {error}")))
}

/// Runs a command on a new runtime.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        signals::survive_file_size_limit()?;
        signals::see_children_end()?;
        command.await
    });
    // A thread that waits for input from a terminal must not keep the command from ending.
    runtime.shutdown_background();
    outcome
}

pub(super) fn address(settings: &Settings) -> Result<Address> {
    let kind = settings.engine.value.kind();
    let connection = &settings.connection.value.0;
    let connection = connection.to_str().ok_or_else(|| {
        usage(
            &format!("the connection string is not UTF-8: {connection:?}"),
            "rename the file, or name another one with --connection",
        )
    })?;
    Address::parse(kind, &settings.with_certificates(connection)?)
}

pub(super) fn place(settings: &Settings) -> Result<Place> {
    Place::for_store(&shared_address(settings)?.identity(), settings.chosen_socket())
}

/// The place of a daemon that also serves a group.
pub(super) fn group_place(settings: &Settings, group: &str) -> Result<Place> {
    let identity = shared_address(settings)?.identity();
    Place::for_group(&identity, settings.chosen_socket(), SocketGroup::find(group)?)
}

/// The address of a store that a daemon can serve.
pub(super) fn shared_address(settings: &Settings) -> Result<Address> {
    let address = address(settings)?;
    if address.is_memory() {
        return Err(Error::new(Code::BadRequest, "a memory store has no daemon: it lives in one process")
            .hint("name a file with --connection"));
    }
    Ok(address)
}

pub(super) fn handover(settings: &Settings) -> Result<Handover> {
    let address = address(settings)?;
    Ok(Handover {
        engine: address.kind().as_str().to_owned(),
        connection: address.connection(),
        socket: place(settings)?.socket().to_owned(),
        idle_timeout_s: settings.idle_timeout.value.as_secs(),
        log_level: settings.log_level.as_ref().map(|level| {
            level.value.to_possible_value().map(|level| level.get_name().to_owned()).unwrap_or_default()
        }),
        started_by: String::new(),
    })
}

/// Opens the store as the settings say.
pub(super) async fn open(settings: &Settings) -> Result<OpenStore> {
    match local(settings)? {
        Some(store) => Ok(OpenStore::Local(store)),
        None => Ok(OpenStore::Remote(Box::new(client(settings).await?))),
    }
}

/// Opens a store that may have to be created first: it is the one that the settings name, whatever a socket serves.
pub(super) async fn open_for_init(settings: &Settings) -> Result<OpenStore> {
    match local(settings)? {
        Some(store) => Ok(OpenStore::Local(store)),
        None => {
            let target = Target { address: Some(address(settings)?), ..daemon(settings)? };
            Ok(OpenStore::Remote(Box::new(connected(settings, target).await?)))
        }
    }
}

/// Opens the store through the daemon that serves it, or else in this process: no daemon is started for a store that
/// may be damaged.
pub(super) async fn open_running(settings: &Settings) -> Result<OpenStore> {
    if let Some(store) = local(settings)? {
        return Ok(OpenStore::Local(store));
    }
    match Client::find(running(settings)?).await? {
        None if settings.daemon.value == DaemonMode::Auto => {
            Ok(OpenStore::Local(LocalStore::open(&address(settings)?, Clock::System)))
        }
        _ => Ok(OpenStore::Remote(Box::new(client(settings).await?))),
    }
}

/// The store in this process, when the settings ask for that.
fn local(settings: &Settings) -> Result<Option<LocalStore>> {
    let address = address(settings)?;
    let is_local = settings.daemon.value == DaemonMode::Never || address.is_memory();
    Ok(is_local.then(|| {
        note_owner(&address, None);
        LocalStore::open(&address, Clock::System)
    }))
}

/// The store whose file a command opens itself. When only a socket is named, it is the store of its daemon.
pub(super) async fn address_of_file(settings: &Settings) -> Result<Address> {
    if settings.socket.is_none() {
        return address(settings);
    }
    let target = running(settings)?;
    if let Some(address) = target.address {
        return Ok(address);
    }
    let hello = Client::connect_to(target.clone()).await?.hello();
    let kind = EngineKind::from_name(&hello.engine)
        .ok_or_else(|| Error::new(Code::Unsupported, format!("there is no engine {:?}", hello.engine)))?;
    if kind != EngineKind::Sqlite {
        // It tells no password.
        return Err(usage(
            "a command that opens the store itself has to know it",
            "name it with --connection",
        ));
    }
    let address = Address::parse(kind, &hello.store)?;
    // At that path there may be another file here.
    Client::connect_to(Target { address: Some(address.clone()), ..target }).await?;
    Ok(address)
}

/// The socket of the daemon of the store, which is started when the settings allow it, so that a printed socket can be
/// connected to.
pub(super) async fn socket(settings: &Settings) -> Result<PathBuf> {
    match settings.daemon.value {
        DaemonMode::Never => Ok(place(settings)?.socket().to_owned()),
        _ => Ok(client(settings).await?.socket()),
    }
}

/// A connection to the daemon of the store.
pub(super) async fn client(settings: &Settings) -> Result<Client> {
    connected(settings, daemon(settings)?).await
}

async fn connected(settings: &Settings, target: Target) -> Result<Client> {
    let asked = target.address.clone();
    let found = Client::connect_to(target).await;
    if found.is_err() && settings.daemon.value == DaemonMode::Require {
        // When no daemon could serve the store, that is the reason, and not that none listens.
        address(settings)?.check().await?;
    }
    let client = found?;
    if let Some(address) = asked {
        note_owner(&address, Some(&client));
    }
    Ok(client)
}

/// Tells root that a store belongs to another user: its owner does not use root's daemon.
pub(super) fn note_owner(address: &Address, client: Option<&Client>) {
    let Some(owner) = address.foreign_owner() else { return };
    let server = match client {
        None => "this process",
        // A system service serves every user whom its directory admits, including root.
        Some(client) if is_system(&client.socket()) => return,
        Some(_) => "a daemon of root",
    };
    output::note(&format!(
        "note: the store belongs to user {owner}, and {server} serves it to root, not that user's daemon"
    ));
}

/// The daemon of the store, which is started when it does not run, unless the settings require that it runs.
pub(super) fn daemon(settings: &Settings) -> Result<Target> {
    match settings.daemon.value {
        DaemonMode::Auto => starting(settings),
        DaemonMode::Require | DaemonMode::Never => running(settings),
    }
}

/// The running daemon. The location of its socket depends on the environment in which it was started.
pub(super) fn running(settings: &Settings) -> Result<Target> {
    let address = address(settings)?;
    let is_asked_for = is_asked_for(settings, &address);
    Ok(Target { place: place(settings)?, address: is_asked_for.then_some(address), launch: None })
}

/// Whether the store at this address is meant, and not whichever a socket serves: that is so when only a socket is named,
/// unless there is a store in the present directory.
pub(super) fn is_asked_for(settings: &Settings, address: &Address) -> bool {
    settings.socket.is_none() || settings.is_store_named || address.file().is_some_and(Path::exists)
}

/// The running daemon; starts one when none runs.
pub(super) fn starting(settings: &Settings) -> Result<Target> {
    let launch = Launch { program: this_program(), handover: handover(settings)? };
    Ok(Target { launch: Some(launch), ..running(settings)? })
}

/// The program that is started as the daemon: the binary at the path of this one or, when it is gone, the running
/// image.
fn this_program() -> Program {
    // After the file was removed, the path of the image leads nowhere.
    Program::at(std::env::current_exe().unwrap_or_default()).or(RUNNING_IMAGE)
}
