//! From PostgreSQL's SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) to the codes of kv.

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::damage::Damage;
use crate::store::engine::migrations::not_initialized;
use crate::store::error::{Code, Error};
use crate::store::open::postgres::PostgresPlace;

/// Why a statement did not give what was asked for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server refused it, or cannot be reached.
    Postgres(tokio_postgres::Error),
    /// No answer within the time that it may take.
    TimedOut,
    /// It gave rows that kv did not write.
    Damage(Damage),
    /// Something that was told already.
    Told(Error),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Trouble {
        Trouble::Postgres(error)
    }
}

impl From<Damage> for Trouble {
    fn from(damage: Damage) -> Trouble {
        Trouble::Damage(damage)
    }
}

impl Trouble {
    /// Whether the connection is of no more use.
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Trouble::TimedOut => true,
            Trouble::Postgres(error) => match error.as_db_error() {
                Some(error) => ends_connection(error),
                None => error.is_closed() || is_io(error),
            },
            Trouble::Damage(_) | Trouble::Told(_) => false,
        }
    }

    /// Whether it may be over at once: another transaction was in the way.
    pub(super) fn is_stale(&self) -> bool {
        let Trouble::Postgres(error) = self else { return false };
        [Some(&SqlState::T_R_SERIALIZATION_FAILURE), Some(&SqlState::T_R_DEADLOCK_DETECTED)]
            .contains(&error.code())
    }

    /// Whether a write that failed like this will fail alone too.
    pub(super) fn is_pointless_alone(&self) -> bool {
        let Trouble::Postgres(error) = self else { return true };
        let code = error.code().map_or("", SqlState::code);
        // What is wrong with the data, or too large, may be wrong with one write of many.
        !["22", "23", "53", "54"].iter().any(|class| code.starts_with(class)) || self.is_loss()
    }

    /// What went wrong, in the fewest words.
    pub(super) fn why(&self) -> String {
        match self {
            Trouble::TimedOut => "it does not answer".to_owned(),
            Trouble::Damage(Damage(what)) => what.to_string(),
            Trouble::Told(error) => error.message.clone(),
            Trouble::Postgres(error) => {
                error.as_db_error().map_or_else(|| words(error), |refusal| refusal.message().to_owned())
            }
        }
    }

    /// The error that a caller sees. Only the place and the server's own words are told, never data.
    pub(super) fn describe(&self, place: &PostgresPlace) -> Error {
        match self {
            Trouble::TimedOut => unreachable_server(place, "it does not answer"),
            Trouble::Damage(Damage(what)) => damaged(place, what),
            Trouble::Told(error) => error.clone(),
            Trouble::Postgres(error) => match error.as_db_error() {
                Some(refusal) => refused(refusal, place),
                None if let Some(hint) = advice(error) => {
                    let error = unreachable_server(place, &words(error)).hint(hint);
                    Error { retry: false, ..error }
                }
                None if self.is_loss() || is_about_connecting(error) => {
                    unreachable_server(place, &words(error))
                }
                None => Error::new(Code::Internal, format!("{place}: {}", words(error))),
            },
        }
    }
}

/// Whether the server ends the connection behind this.
fn ends_connection(error: &DbError) -> bool {
    matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        || error.code().code().starts_with("08")
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// Whether it is an error of the encryption or of the login, which the driver keeps apart by its words alone.
fn is_about_connecting(error: &tokio_postgres::Error) -> bool {
    let words = error.to_string();
    ["connecting", "TLS", "authentication", "configuration"].iter().any(|part| words.contains(part))
}

/// What helps against an error of the encryption or of the login that will not go away by itself.
fn advice(error: &tokio_postgres::Error) -> Option<&'static str> {
    let words = words(error);
    if words.contains("does not support TLS") {
        return Some("the server needs ssl = on; sslmode=prefer goes without where it must");
    }
    if words.contains("UnsupportedCertVersion") || words.contains("not valid for any names") {
        return Some(
            "the certificate of the server needs a subjectAltName, and so version 3: \
             openssl x509 -req -extfile <(echo subjectAltName=DNS:HOST) …",
        );
    }
    if words.contains("NotValidForName") || words.contains("not valid for name") {
        return Some("name the server as its certificate does; sslmode=verify-ca does not look at the name");
    }
    if words.contains("peer certificate") {
        return Some("sslrootcert names the file of the certificate that signed that of the server");
    }
    if words.contains("password missing") {
        return Some(
            "give one in the connection string, by PGPASSWORD, or in the file that PGPASSFILE names",
        );
    }
    if words.starts_with("authentication error") || words.starts_with("invalid configuration") {
        return Some(
            "check pg_hba.conf of the server: kv can log in by scram-sha-256, md5, password, cert, peer and trust",
        );
    }
    None
}

/// The words of an error and of what is behind it.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}

pub(super) fn unreachable_server(place: &PostgresPlace, why: &str) -> Error {
    let message = format!("the PostgreSQL server of {place} cannot be reached: {why}");
    Error { retry: true, ..Error::new(Code::Unavailable, message) }
        .hint("is it running? kv connects again by itself")
}

fn damaged(place: &PostgresPlace, what: &str) -> Error {
    let error = Error::new(Code::Unavailable, format!("the store at {place} is damaged: {what}"))
        .hint("kv check tells more; restore a backup of the database");
    Error { retry: false, ..error }
}

fn refused(error: &DbError, place: &PostgresPlace) -> Error {
    let words = error.message();
    let code = error.code();
    let unavailable = |message: String, retry| Error { retry, ..Error::new(Code::Unavailable, message) };
    if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME {
        return not_initialized(format!("there is no store at {place}"));
    }
    if *code == SqlState::UNDEFINED_COLUMN {
        return Error::new(Code::NotInitialized, format!("the store at {place} has an older schema"))
            .hint("bring it up to date with: kv init");
    }
    if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        return unavailable(format!("{place} does not let {} in: {words}", place.user()), false)
            .hint(
                "check the user, the password and pg_hba.conf of the server; a daemon keeps the password that it was \
                 started with: kv daemon restart",
            );
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        return unavailable(format!("{place}: {words}"), false).hint(format!(
            "create it with: createdb {}",
            crate::quote::shell_word(place.database().as_ref())
        ));
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Error::new(Code::ReadOnly, format!("{} may not do that at {place}: {words}", place.user()))
            .hint("docs/postgresql.md names the grants that a role needs");
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Error::new(Code::ReadOnly, format!("{place} cannot be written to: {words}"))
            .hint("name the primary server, and a role without default_transaction_read_only");
    }
    if *code == SqlState::DISK_FULL {
        return Error::new(Code::StoreFull, format!("{place} has no space left: {words}"))
            .hint("free space on the server");
    }
    if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::QUERY_CANCELED {
        return Error { retry: true, ..Error::new(Code::Busy, format!("{place} is busy: {words}")) }
            .hint("another writer holds the store for long: see pg_stat_activity");
    }
    if code.code() == "26000" || code.code() == "42P05" {
        return unavailable(format!("{place} lost a prepared statement: {words}"), false)
            .hint("is PgBouncer in between? kv needs pool_mode = session");
    }
    if *code == SqlState::UNTRANSLATABLE_CHARACTER || *code == SqlState::PROGRAM_LIMIT_EXCEEDED {
        return Error::new(Code::TooLarge, format!("{place} cannot hold that: {words}"));
    }
    if code.code().starts_with("23") || code.code().starts_with("42") {
        // The statements of kv are always the same: one that does not fit its tables finds other tables or rows than kv
        // made.
        return damaged(place, words);
    }
    // The classes of a server that is too busy, is being stopped, or had an accident.
    let retry = ["08", "53", "57", "58", "XX"].iter().any(|class| code.code().starts_with(class));
    unavailable(format!("{place}: {words} (SQLSTATE {})", code.code()), retry)
}
