//! What tests of PostgreSQL's users share.

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
