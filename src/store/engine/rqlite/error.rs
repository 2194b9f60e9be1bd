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
    let way = if place.proxy().is_some() { " with the proxy that is set" } else { "" };
    let message = format!("the rqlite nodes of {place} cannot be reached{way}{}", told(why));
    let error = Error::new(Code::Unavailable, message);
    match advice(why) {
        // It will not go away by itself.
        Some(hint) => Error { retry: false, ..error }.hint(hint),
        None => Error { retry: true, ..error }.hint("are they running? kv asks them again by itself"),
    }
}

const PROXY_LOGIN: &str = "write the user and the password of the proxy into http_proxy or https_proxy";

/// What helps against an error of the encryption, which is told by its words alone.
fn advice(words: &str) -> Option<&'static str> {
    if words.contains("fatal alert") {
        return Some(
            "the nodes ask who kv is: cert=FILE and key=FILE (--client-cert, --client-key) name what proves it",
        );
    }
    if words.contains("not valid for") || words.contains("NotValidForName") {
        return Some("name the nodes as their certificates do, in a subjectAltName");
    }
    if words.contains("peer certificate") {
        return Some(
            "ca=FILE (--ca) names the certificate that signed theirs; without it those of the system are trusted",
        );
    }
    if words.contains("proxy auth") {
        return Some(PROXY_LOGIN);
    }
    if words.contains("corrupt message") {
        return Some("do the nodes speak HTTPS? Without it, write http://");
    }
    None
}

/// The error for what a node has refused to do, with this permission of rqlite.
pub(super) fn refused(place: &RqlitePlace, status: u16, words: &str, permission: &str) -> Error {
    let told = told(words);
    let refusal = |code, message: String| Error { retry: false, ..Error::new(code, message) };
    match status {
        // Before each write the same user has read.
        401 if permission == "execute" => {
            refusal(Code::ReadOnly, format!("rqlite at {place} lets kv read, and not write{told}"))
                .hint("the user needs the permission execute")
        }
        401 => refusal(Code::Unavailable, format!("rqlite at {place} does not let kv in{told}")).hint(format!(
            "check the user, the password and the permission {permission}; a daemon keeps the password that it was \
             started with: kv daemon restart"
        )),
        407 => refusal(Code::Unavailable, format!("the proxy in front of {place} does not let kv through{told}"))
            .hint(PROXY_LOGIN),
        413 => refusal(Code::TooLarge, format!("a proxy in front of {place} takes no request of that size")),
        300..=399 => refusal(Code::Unsupported, format!("the server at {place} redirects to another one"))
            .hint("name the nodes themselves"),
        400 if words.contains("HTTP request to an HTTPS server") => {
            refusal(Code::Unavailable, format!("the rqlite nodes of {place} cannot be reached{told}"))
                .hint("write https://")
        }
        _ => foreign(place, &format!("status {status}{told}")),
    }
}

/// The error for a server that does not answer as rqlite does.
pub(super) fn foreign(place: &RqlitePlace, why: &str) -> Error {
    let message = format!("the server at {place} does not answer as rqlite does: {why}");
    Error { retry: false, ..Error::new(Code::Unavailable, message) }.hint("is it another server, or a proxy?")
}

/// The words of a server, fit for the end of a message.
fn told(words: &str) -> String {
    let words: String = words.trim().chars().take(limits::RQLITE_WORDS).collect();
    if words.is_empty() { String::new() } else { format!(": {}", visible(&words)) }
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
