//! From the global flags to a store: in this process, or through its daemon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use clap::ValueEnum as _;
use kv::client::{Client, Launch, Program, Target};
use kv::daemon::launch::RUNNING_IMAGE;
use kv::limits;
use kv::meeting::handover::Handover;
use kv::meeting::place::{Place, SocketGroup, is_system};
use kv::store::{
    Address, Clock, Code, EngineKind, Error, Grant, LocalStore, LockAcquire, Reply, Request, Result, Store,
    Subscribe, Subscription,
};

use super::arguments::{CertificateArguments, DaemonMode, Engine, StoreArguments, usage};
use super::child::Environment;
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

pub(super) fn address(arguments: &StoreArguments) -> Result<Address> {
    let kind = match arguments.engine {
        Engine::Sqlite => EngineKind::Sqlite,
        Engine::Rqlite => EngineKind::Rqlite,
        Engine::Postgres => EngineKind::Postgres,
    };
    let connection = arguments.connection();
    let connection = connection.to_str().ok_or_else(|| {
        usage(
            &format!("the connection string is not UTF-8: {connection:?}"),
            "rename the file, or name another one with --connection",
        )
    })?;
    Address::parse(kind, &arguments.certificates.add_to(arguments.engine, connection)?)
}

/// The variables that make a program of kv use the same store in any directory.
pub(super) fn environment(arguments: &StoreArguments) -> Result<Environment> {
    let address = address(arguments)?;
    let mode = arguments.daemon.to_possible_value();
    let mut environment = vec![
        ("KV_TYPE", address.kind().as_str().into()),
        ("KV_CONNECTION", address.connection().into()),
        ("KV_DAEMON", mode.map(|mode| mode.get_name().into()).unwrap_or_default()),
    ];
    // What they name stands in the connection string; an empty one is as if it was not there.
    let is_set = |name: &&str| kv::environment::variable(name).is_some();
    let certificates = CertificateArguments::VARIABLES.into_iter().filter(is_set);
    environment.extend(certificates.map(|name| (name, OsString::new())));
    if let Some(socket) = &arguments.socket {
        let absolute = std::path::absolute(socket)
            .map_err(|error| Error::new(Code::BadRequest, format!("{}: {error}", socket.display())))?;
        environment.push(("KV_SOCKET", absolute.into()));
    }
    Ok(environment)
}

pub(super) fn place(arguments: &StoreArguments) -> Result<Place> {
    Place::for_store(&shared_address(arguments)?.identity(), arguments.socket.as_deref())
}

/// The place of a daemon that also serves a group.
pub(super) fn group_place(arguments: &StoreArguments, group: &str) -> Result<Place> {
    let identity = shared_address(arguments)?.identity();
    Place::for_group(&identity, arguments.socket.as_deref(), SocketGroup::find(group)?)
}

/// The address of a store that a daemon can serve.
pub(super) fn shared_address(arguments: &StoreArguments) -> Result<Address> {
    let address = address(arguments)?;
    if address.is_memory() {
        return Err(Error::new(Code::BadRequest, "a memory store has no daemon: it lives in one process")
            .hint("name a file with --connection"));
    }
    Ok(address)
}

pub(super) fn handover(arguments: &StoreArguments) -> Result<Handover> {
    let address = address(arguments)?;
    Ok(Handover {
        engine: address.kind().as_str().to_owned(),
        connection: address.connection(),
        socket: place(arguments)?.socket().to_owned(),
        idle_timeout_s: arguments.idle_timeout_s.unwrap_or(limits::IDLE_TIMEOUT.as_secs()),
        started_by: String::new(),
    })
}

/// Opens the store as the arguments say.
pub(super) async fn open(arguments: &StoreArguments) -> Result<OpenStore> {
    match local(arguments)? {
        Some(store) => Ok(OpenStore::Local(store)),
        None => Ok(OpenStore::Remote(Box::new(client(arguments).await?))),
    }
}

/// Opens a store that may have to be created first: it is the one that the arguments name, whatever a socket serves.
pub(super) async fn open_for_init(arguments: &StoreArguments) -> Result<OpenStore> {
    match local(arguments)? {
        Some(store) => Ok(OpenStore::Local(store)),
        None => {
            let target = Target { address: Some(address(arguments)?), ..daemon(arguments)? };
            Ok(OpenStore::Remote(Box::new(connected(arguments, target).await?)))
        }
    }
}

/// Opens the store through the daemon that serves it, or else in this process: no daemon is started for a store that
/// may be damaged.
pub(super) async fn open_running(arguments: &StoreArguments) -> Result<OpenStore> {
    if let Some(store) = local(arguments)? {
        return Ok(OpenStore::Local(store));
    }
    match Client::find(running(arguments)?).await? {
        None if arguments.daemon == DaemonMode::Auto => {
            Ok(OpenStore::Local(LocalStore::open(&address(arguments)?, Clock::System)))
        }
        _ => Ok(OpenStore::Remote(Box::new(client(arguments).await?))),
    }
}

/// The store in this process, when the arguments ask for that.
fn local(arguments: &StoreArguments) -> Result<Option<LocalStore>> {
    let address = address(arguments)?;
    let is_local = arguments.daemon == DaemonMode::Never || address.is_memory();
    Ok(is_local.then(|| {
        note_owner(&address, None);
        LocalStore::open(&address, Clock::System)
    }))
}

/// The store whose file a command opens itself. When only a socket is named, it is the store of its daemon.
pub(super) async fn address_of_file(arguments: &StoreArguments) -> Result<Address> {
    if arguments.socket.is_none() {
        return address(arguments);
    }
    let target = running(arguments)?;
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

/// The socket of the daemon of the store, which is started when the arguments allow it, so that a printed socket can be
/// connected to.
pub(super) async fn socket(arguments: &StoreArguments) -> Result<PathBuf> {
    match arguments.daemon {
        DaemonMode::Never => Ok(place(arguments)?.socket().to_owned()),
        _ => Ok(client(arguments).await?.socket()),
    }
}

/// A connection to the daemon of the store.
pub(super) async fn client(arguments: &StoreArguments) -> Result<Client> {
    connected(arguments, daemon(arguments)?).await
}

async fn connected(arguments: &StoreArguments, target: Target) -> Result<Client> {
    let asked = target.address.clone();
    let found = Client::connect_to(target).await;
    if found.is_err() && arguments.daemon == DaemonMode::Require {
        // When no daemon could serve the store, that is the reason, and not that none listens.
        address(arguments)?.check().await?;
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

/// The daemon of the store, which is started when it does not run, unless the arguments require that it runs.
pub(super) fn daemon(arguments: &StoreArguments) -> Result<Target> {
    match arguments.daemon {
        DaemonMode::Auto => starting(arguments),
        DaemonMode::Require | DaemonMode::Never => running(arguments),
    }
}

/// The running daemon. The location of its socket depends on the environment in which it was started.
pub(super) fn running(arguments: &StoreArguments) -> Result<Target> {
    let address = address(arguments)?;
    // When only a socket is named, the store of its daemon is meant, unless there is one in the present directory.
    let is_asked_for = arguments.socket.is_none()
        || arguments.connection.is_some()
        || address.file().is_some_and(Path::exists);
    Ok(Target { place: place(arguments)?, address: is_asked_for.then_some(address), launch: None })
}

/// The running daemon; starts one when none runs.
pub(super) fn starting(arguments: &StoreArguments) -> Result<Target> {
    let launch = Launch { program: this_program(), handover: handover(arguments)? };
    Ok(Target { launch: Some(launch), ..running(arguments)? })
}

/// The program that is started as the daemon: the binary at the path of this one or, when it is gone, the running
/// image.
fn this_program() -> Program {
    // After the file was removed, the path of the image leads nowhere.
    Program::at(std::env::current_exe().unwrap_or_default()).or(RUNNING_IMAGE)
}
