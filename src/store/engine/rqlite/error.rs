//! From what nodes answer to the codes of kv.

use crate::limits;
use crate::quote::visible;
use crate::store::damage::Damage;
use crate::store::engine::migrations::not_initialized;
use crate::store::error::{Code, Error};
use crate::store::open::rqlite::RqlitePlace;

/// Why a request did not give what was asked for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No node got the request.
    Unsent(String),
    /// The node that got it knows no leader that could carry it out.
    NoLeader,
    /// It may have been carried out.
    Lost(String),
    /// A statement failed, so none had an effect: SQLite's words.
    Sql(String),
    /// It gave rows that kv did not write.
    Damage(Damage),
    /// It was refused, which has been told already.
    Told(Error),
}

impl From<Damage> for Trouble {
    fn from(damage: Damage) -> Trouble {
        Trouble::Damage(damage)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Told(error)
    }
}

impl Trouble {
    /// Whether another node, or the same one later, may carry the request out.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Trouble::Unsent(_) | Trouble::NoLeader | Trouble::Lost(_))
    }

    /// Whether a table is missing, and so the store.
    pub(super) fn is_no_table(&self) -> bool {
        matches!(self, Trouble::Sql(words) if words.contains("no such table"))
    }

    /// Whether fewer writes may succeed where a batch failed like this.
    pub(super) fn may_help_alone(&self) -> bool {
        matches!(self, Trouble::Sql(_)) && !self.is_no_table()
    }

    /// The error that a caller sees. Only the place and the words of the node are told, never data.
    pub(super) fn describe(&self, place: &RqlitePlace) -> Error {
        match self {
            Trouble::Unsent(why) | Trouble::Lost(why) => unreachable(place, why),
            Trouble::NoLeader => {
                unreachable(place, "the nodes have no leader").hint("more than half of the nodes must run")
            }
            Trouble::Sql(words) => failed(place, words),
            Trouble::Damage(Damage(what)) => damaged(place, what),
            Trouble::Told(error) => error.clone(),
        }
    }
}

fn unreachable(place: &RqlitePlace, why: &str) -> Error {
    let message = format!("the rqlite nodes of {place} cannot be reached: {why}");
    Error { retry: true, ..Error::new(Code::Unavailable, message) }
        .hint("are they running? kv asks them again by itself")
}

/// The error for what a node has refused to do.
pub(super) fn refused(place: &RqlitePlace, status: u16, words: &str) -> Error {
    let words = told(words);
    let refusal = |code, message: String| Error { retry: false, ..Error::new(code, message) };
    match status {
        401 => refusal(Code::Unavailable, format!("rqlite at {place} does not let kv do that: {words}")).hint(
            "check the user, the password and the permissions execute and query; a daemon keeps the password that it \
             was started with: kv daemon restart",
        ),
        407 => refusal(Code::Unavailable, format!("the proxy in front of {place} does not let kv through: {words}"))
            .hint("write its user and password into http_proxy or https_proxy"),
        413 => refusal(Code::TooLarge, format!("a proxy in front of {place} takes no request of that size")),
        300..=399 => refusal(Code::Unsupported, format!("the server at {place} redirects to another one"))
            .hint("name the nodes themselves"),
        _ => foreign(place, &format!("status {status}, {words}")),
    }
}

/// The error for a server that does not answer as rqlite does.
pub(super) fn foreign(place: &RqlitePlace, why: &str) -> Error {
    let message = format!("the server at {place} does not answer as rqlite does: {}", told(why));
    Error { retry: false, ..Error::new(Code::Unsupported, message) }.hint("is it another server, or a proxy?")
}

/// The words of a server, fit for a message.
fn told(words: &str) -> String {
    let words: String = words.trim().chars().take(limits::RQLITE_WORDS).collect();
    if words.is_empty() { "without a word".to_owned() } else { visible(&words) }
}

fn damaged(place: &RqlitePlace, what: &str) -> Error {
    let error = Error::new(Code::Unavailable, format!("the store at {place} is damaged: {what}"))
        .hint("kv check tells more; restore a backup of the nodes");
    Error { retry: false, ..error }
}

/// From the words of SQLite (<https://www.sqlite.org/rescode.html>): rqlite tells no code.
fn failed(place: &RqlitePlace, words: &str) -> Error {
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if has(&["no such table"]) {
        return not_initialized(format!("there is no store at {place}"));
    }
    if has(&["no such column", "has no column"]) {
        return Error::new(Code::NotInitialized, format!("the store at {place} has an older schema"))
            .hint("bring it up to date with: kv init");
    }
    if has(&["database or disk is full"]) {
        return Error::new(Code::StoreFull, format!("the leader of {place} has no space left"))
            .hint("free space on the nodes");
    }
    if has(&["string or blob too big"]) {
        return Error::new(Code::TooLarge, format!("{place} cannot hold that: {words}"));
    }
    if has(&["database is locked", "database table is locked", "interrupted"]) {
        return Error { retry: true, ..Error::new(Code::Busy, format!("{place} is busy: {words}")) };
    }
    if has(&["no such function", "syntax error"]) {
        return Error::new(Code::Unsupported, format!("rqlite at {place} is too old: {words}"));
    }
    // The statements of kv are always the same: one that does not fit its tables finds other tables or rows than kv made.
    damaged(place, words)
}
