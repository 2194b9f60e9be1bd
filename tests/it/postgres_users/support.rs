//! What tests of PostgreSQL's users share.

use serde_json::Value;

use crate::support::Kv;

/// The parts of the URL of a store, as libpq names them.
pub(super) struct Parts {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) dbname: String,
}

impl Parts {
    pub(super) fn of(url: &str) -> Parts {
        let (_, rest) = url.split_once("://").unwrap();
        let (credentials, rest) = rest.split_once('@').unwrap();
        let (user, password) = credentials.split_once(':').unwrap();
        let (server, rest) = rest.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap_or((server, "5432"));
        let dbname = rest.split('?').next().unwrap();
        let [user, password, host, port, dbname] = [user, password, host, port, dbname].map(str::to_owned);
        Parts { user, password, host, port, dbname }
    }
}

/// The error that a request is answered with over the socket of the daemon.
#[track_caller]
pub(super) fn refusal(kv: &Kv, request: &str) -> Value {
    let answer = kv.ok(&format!("echo '{request}' | kv rpc"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["ok"], false, "{request}: {answer}");
    answer["error"].clone()
}

/// The same, of a command with the wrong words for a server; and how it fails on the command line.
#[track_caller]
pub(super) fn assert_refused(kv: &Kv, request: &str, code: &str, retry: bool, words: &[&str]) {
    let error = refusal(kv, request);
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(error["retry"] == true, retry, "{error}");
    let told = format!("{} {}", error["message"], error["hint"]);
    assert!(error["hint"].is_string(), "there is no hint: {error}");
    for word in words {
        assert!(told.contains(word), "{word}: {error}");
    }
}
