//! A connection to the server, set up as kv needs it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_postgres::config::{ChannelBinding, SslMode as Encryption};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

use super::error::{Trouble, pooled, unreachable_server, words};
use super::statement::{Prepared, Ready, Result};
use super::tls::connector;
use crate::limits;
use crate::store::engine::sql;
use crate::store::error::{Code, Error};
use crate::store::open::postgres::{PostgresPlace, SCHEMA, Server, SslMode};

/// A connection.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) prepared: Prepared,
    /// The process of the server behind it, which a notification names as its sender.
    pub(super) process: i32,
    /// The schema of the tables; none when there is none by the name.
    pub(super) schema: Option<String>,
    /// The channel on which commits to these tables are notified; without a schema that of none.
    pub(super) channel: String,
    /// What `kv.session` is set to on it.
    mark: String,
    /// The process of the server behind it, told from one with the same number on another server or of another time.
    pub(super) backend: Arc<str>,
    /// See [`Position::opened`](crate::store::position::Position::opened).
    pub(super) opened: u64,
}

/// The column that tells which session this is.
macro_rules! mark {
    () => {
        "current_setting('kv.session', true)"
    };
}

pub(super) use mark;

/// Notifications of the server, each by the process that sent it. They wait here while nobody wants to know; those that do
/// not fit are lost, as any may be.
pub(super) type Notifications = mpsc::Receiver<i32>;

impl Session {
    /// Whether the connection is known to be lost.
    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether the session began before there was a schema, so that its channel is nobody's: a session that begins when there
    /// is one replaces it.
    pub(super) fn is_too_early(&self) -> bool {
        self.schema.is_none()
    }

    /// Checks what `mark!` gave: whether this is still the session that was set up. Behind a pooler that hands sessions out
    /// for a transaction each it may be another one, with other settings.
    pub(super) fn check_mark(&self, found: Option<&str>) -> Result<()> {
        if found == Some(&self.mark) { Ok(()) } else { Err(Trouble::Told(pooled())) }
    }

    /// As [`check_mark`](Session::check_mark), for a transaction that has begun.
    pub(super) async fn check_session(&self) -> Result<()> {
        let row = self.client.query_one(concat!("select ", mark!()), &[]).await?;
        self.check_mark(row.try_get(0)?)
    }

    /// A statement that can be sent.
    pub(super) async fn ready<'a>(&self, statement: sql::Statement<'a>) -> Result<Ready<'a>> {
        Ready::of_statement(&self.client, &self.prepared, statement).await
    }

    /// Sends a text without arguments, and does not wait for what becomes of it. What is sent behind it comes behind it.
    pub(super) fn send(&self, text: &str) {
        use futures_util::FutureExt as _;
        // It is sent at the first poll. An error shows in the next statement.
        let _ = self.client.batch_execute(text).now_or_never();
    }
}

/// Gives up on a server that does not answer.
pub(super) async fn in_time<T, E: From<Trouble>>(
    work: impl Future<Output = std::result::Result<T, E>>,
) -> std::result::Result<T, E> {
    tokio::time::timeout(limits::POSTGRES_ANSWER_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Err(Trouble::TimedOut.into()))
}

/// Connects to the first server that lets us in, and gives what it notifies of.
pub(super) async fn connect(place: &PostgresPlace) -> std::result::Result<(Session, Notifications), Error> {
    let mut refusals = Vec::new();
    for server in place.servers()? {
        for &encryption in encryptions(place) {
            let outcome = match tokio::time::timeout(patience(place), open(place, &server, encryption)).await
            {
                Ok(outcome) => outcome,
                Err(_) => Err(Trouble::TimedOut),
            };
            match outcome {
                Ok(opened) => return Ok(opened),
                Err(trouble) => {
                    let goes_on = is_about_encryption(&trouble);
                    refusals.push((server.clone(), trouble));
                    if !goes_on {
                        break;
                    }
                }
            }
        }
    }
    let Some((_, first)) = refusals.first() else {
        return Err(Error::new(Code::Internal, "no server is named"));
    };
    if refusals.iter().all(|(server, _)| *server == refusals[0].0) {
        return Err(first.describe(place));
    }
    let told: Vec<String> =
        refusals.iter().map(|(server, trouble)| format!("{server}: {}", trouble.why())).collect();
    Err(unreachable_server(place, &told.join("; ")))
}

/// The ways to speak to a server, in the order in which libpq tries them.
fn encryptions(place: &PostgresPlace) -> &'static [Encryption] {
    match place.ssl_mode() {
        SslMode::Disable => &[Encryption::Disable],
        SslMode::Allow => &[Encryption::Disable, Encryption::Require],
        SslMode::Prefer => &[Encryption::Prefer, Encryption::Disable],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Require],
    }
}

/// Whether a server may let us in by another way.
fn is_about_encryption(trouble: &Trouble) -> bool {
    let Trouble::Postgres(error) = trouble else { return false };
    match error.code() {
        Some(code) => *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        None => words(error).contains("TLS"),
    }
}

/// How long a server may take to let us in.
fn patience(place: &PostgresPlace) -> Duration {
    let seconds =
        place.get("connect_timeout").and_then(|seconds| seconds.parse().ok()).filter(|&seconds| seconds > 0);
    seconds.map_or(limits::POSTGRES_CONNECT_TIMEOUT, Duration::from_secs)
}

async fn open(
    place: &PostgresPlace,
    server: &Server,
    encryption: Encryption,
) -> Result<(Session, Notifications)> {
    let config = config(place, server, encryption);
    let (tell, notifications) = mpsc::channel(limits::POSTGRES_NOTIFICATIONS);
    let client = if encryption == Encryption::Disable || server.is_socket() {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(drive(connection, tell));
        client
    } else {
        let (client, connection) = config.connect(connector(place).map_err(Trouble::Told)?).await?;
        tokio::spawn(drive(connection, tell));
        client
    };
    let session = set_up(place, client).await?;
    Ok((session, notifications))
}

fn config(place: &PostgresPlace, server: &Server, encryption: Encryption) -> Config {
    let mut config = Config::new();
    config.host(&server.host).port(server.port).user(place.user()).dbname(place.database());
    config.ssl_mode(if server.is_socket() { Encryption::Disable } else { encryption });
    if let Some(Ok(address)) = server.address.as_deref().map(str::parse) {
        config.hostaddr(address);
    }
    if let Some(password) = place.password(server) {
        config.password(password);
    }
    if let Some(options) = place.get("options") {
        config.options(options);
    }
    if let Some(name) = place.get("application_name") {
        config.application_name(name);
    }
    config.channel_binding(match place.get("channel_binding") {
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        _ => ChannelBinding::Prefer,
    });
    let number = |name| place.get(name).and_then(|number| number.parse::<u64>().ok());
    let seconds = |name| number(name).filter(|&seconds| seconds > 0).map(Duration::from_secs);
    config.keepalives(number("keepalives") != Some(0));
    config.keepalives_idle(seconds("keepalives_idle").unwrap_or(limits::POSTGRES_KEEPALIVE));
    config.keepalives_interval(seconds("keepalives_interval").unwrap_or(limits::POSTGRES_KEEPALIVE));
    config.keepalives_retries(
        number("keepalives_count").and_then(|count| u32::try_from(count).ok()).unwrap_or(3),
    );
    if let Some(ms) = number("tcp_user_timeout").filter(|&ms| ms > 0) {
        config.tcp_user_timeout(Duration::from_millis(ms));
    }
    config
}

/// Moves the bytes of a connection, until it ends.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, tell: mpsc::Sender<i32>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(notification)) => {
                // Only the session that listens has a reader for these.
                let _ = tell.try_send(notification.process_id());
            }
            Ok(AsyncMessage::Notice(notice)) => tracing::debug!("PostgreSQL: {}", notice.message()),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = words(&error), "a connection to PostgreSQL was lost");
                return;
            }
        }
    }
}

/// Sets what kv relies on, whatever the defaults of the server, the database and the role are.
async fn set_up(place: &PostgresPlace, client: Client) -> Result<Session> {
    let search_path =
        if place.has_search_path() { String::new() } else { format!("set search_path = {SCHEMA};") };
    let search_path_source = if place.has_search_path() {
        "(select source from pg_settings where name = 'search_path')"
    } else {
        "null"
    };
    let ms = |time: Duration| time.as_millis();
    let mark = uuid::Uuid::new_v4().simple().to_string();
    let text = format!(
        "set kv.session = '{mark}';
         set default_transaction_isolation = 'read committed';
         set client_encoding = 'UTF8';
         set client_min_messages = warning;
         set lock_timeout = {};
         set statement_timeout = {};
         set idle_in_transaction_session_timeout = {};
         {search_path}
         select set_config('synchronous_commit',
             case when current_setting('synchronous_commit') = 'remote_apply' then 'remote_apply' else 'on' end, false);
         select pg_backend_pid(), current_schema(), pg_is_in_recovery(), current_setting('server_encoding'),
             current_setting('server_version_num'), current_setting('fsync'), current_setting('full_page_writes'),
             to_regnamespace('{SCHEMA}'), quote_ident(current_user),
             pg_backend_pid() || ' of ' || pg_postmaster_start_time(), {search_path_source};",
        ms(limits::POSTGRES_LOCK_TIMEOUT),
        ms(limits::POSTGRES_STATEMENT_TIMEOUT),
        ms(limits::POSTGRES_IDLE_TRANSACTION_TIMEOUT),
    );
    let messages = client.simple_query(&text).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = rows.last() else {
        return Err(Trouble::Told(Error::new(Code::Internal, "PostgreSQL did not say what it is")));
    };
    check_server(place, row)?;
    let process = row.get(0).and_then(|process| process.parse().ok()).unwrap_or(0);
    let backend = row.get(9).unwrap_or_default().into();
    let schema = row.get(1).map(str::to_owned);
    let (prepared, channel) = (Prepared::default(), channel_of(schema.as_deref().unwrap_or_default()));
    Ok(Session { client, prepared, process, schema, channel, mark, backend, opened: 0 })
}

/// The channel of a schema. A name of PostgreSQL holds 63 bytes, and so may the schema.
fn channel_of(schema: &str) -> String {
    let hash = Sha256::digest(schema);
    hash.iter().take(8).fold("kv_".to_owned(), |channel, byte| format!("{channel}{byte:02x}"))
}

fn check_server(place: &PostgresPlace, row: &SimpleQueryRow) -> Result<()> {
    let refused = |code, message: String, hint: &str| {
        let error = Error::new(code, message).hint(hint);
        Err(Trouble::Told(Error { retry: false, ..error }))
    };
    if row.get(2) == Some("t") {
        let error = Error::new(
            Code::Unavailable,
            format!("{place} is a standby, which may be behind its primary server"),
        );
        // It may be promoted.
        return Err(Trouble::Told(Error { retry: true, ..error.hint("name the primary server") }));
    }
    if row.get(3) != Some("UTF8") {
        let encoding = row.get(3).unwrap_or_default();
        return refused(
            Code::Unsupported,
            format!(
                "the database {} has the encoding {encoding}, which cannot hold every key",
                place.database()
            ),
            "create one with: createdb --encoding UTF8 --template template0",
        );
    }
    let version = row.get(4).and_then(|version| version.parse::<u32>().ok()).unwrap_or(0);
    if version < limits::POSTGRES_VERSION_MIN {
        return refused(
            Code::Unsupported,
            format!("the server has version {}, which kv does not support", version / 10_000),
            "PostgreSQL 12 and newer are supported",
        );
    }
    if row.get(1).is_none() && row.get(7).is_some() && !place.has_search_path() {
        let role = row.get(8).unwrap_or_default();
        return refused(
            Code::Unavailable,
            format!("{} may not use the schema {SCHEMA} of {place}", place.user()),
            &format!("grant usage on schema {SCHEMA} to {role}; docs/postgresql.md names all grants"),
        );
    }
    // Otherwise the tables would be looked for, and made, in another schema.
    if place.has_search_path() && !["client", "session"].map(Some).contains(&row.get(10)) {
        return refused(
            Code::Unsupported,
            format!("the search_path in options does not reach the server of {place}"),
            "PgBouncer passes over options with ignore_startup_parameters: leave that out, or go past PgBouncer",
        );
    }
    for (index, name) in [(5, "fsync"), (6, "full_page_writes")] {
        if row.get(index) != Some("on") {
            tracing::warn!(
                "{name} is off on the server of {place}: a crash of its machine can lose or damage the store"
            );
        }
    }
    Ok(())
}
