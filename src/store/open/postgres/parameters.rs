//! The parameters of libpq (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>).

use std::path::PathBuf;

use super::{refused, unsupported};
use crate::store::error::Result;

/// A parameter that kv follows.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// The variable of the environment that stands for it.
    pub(super) variable: Option<&'static str>,
}

const fn parameter(name: &'static str, variable: &'static str) -> Parameter {
    Parameter { name, variable: Some(variable) }
}

const fn without_variable(name: &'static str) -> Parameter {
    Parameter { name, variable: None }
}

/// All that kv follows.
pub(super) const PARAMETERS: &[Parameter] = &[
    parameter("host", "PGHOST"),
    parameter("hostaddr", "PGHOSTADDR"),
    parameter("port", "PGPORT"),
    parameter("dbname", "PGDATABASE"),
    parameter("user", "PGUSER"),
    parameter("password", "PGPASSWORD"),
    parameter("passfile", "PGPASSFILE"),
    parameter("application_name", "PGAPPNAME"),
    parameter("options", "PGOPTIONS"),
    parameter("connect_timeout", "PGCONNECT_TIMEOUT"),
    parameter("sslmode", "PGSSLMODE"),
    parameter("sslrootcert", "PGSSLROOTCERT"),
    parameter("sslcert", "PGSSLCERT"),
    parameter("sslkey", "PGSSLKEY"),
    parameter("target_session_attrs", "PGTARGETSESSIONATTRS"),
    parameter("client_encoding", "PGCLIENTENCODING"),
    // Taken from the environment before any other one, because a service sets some of them.
    without_variable("service"),
    without_variable("fallback_application_name"),
    without_variable("keepalives"),
    without_variable("keepalives_idle"),
    without_variable("keepalives_interval"),
    without_variable("keepalives_count"),
    without_variable("tcp_user_timeout"),
];

/// Parameters of libpq that ask for something that kv cannot do.
const UNSUPPORTED: &[&str] = &[
    "channel_binding",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
];

/// The parameter of this name, as it stands in the table.
pub(super) fn known(name: &str) -> Result<&'static str> {
    if let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == name) {
        return Ok(parameter.name);
    }
    if UNSUPPORTED.contains(&name) {
        return Err(unsupported(name, "kv does not have that"));
    }
    Err(refused(&format!("it has no parameter {name:?}")).hint(format!(
        "the parameters are {}",
        PARAMETERS.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ")
    )))
}

/// Checks a value by itself. It is not shown: it may be a password at a wrong place.
pub(super) fn check(name: &str, value: &str) -> Result<()> {
    let one_of = |allowed: &[&str]| {
        let message = || refused(&format!("{name} is none of {}", allowed.join(", ")));
        if allowed.contains(&value) { Ok(()) } else { Err(message()) }
    };
    match name {
        "sslmode" => one_of(&SslMode::ALL.map(SslMode::as_str)),
        "target_session_attrs" if ["read-only", "standby", "prefer-standby"].contains(&value) => {
            Err(unsupported(name, "a store is read and written on the primary server"))
        }
        "target_session_attrs" => one_of(&["any", "read-write", "primary"]),
        "client_encoding" => one_of(&["UTF8", "utf8", "UTF-8", "utf-8", "auto"]),
        "connect_timeout"
        | "keepalives"
        | "keepalives_idle"
        | "keepalives_interval"
        | "keepalives_count"
        | "tcp_user_timeout"
            if value.parse::<i32>().is_err() =>
        {
            Err(refused(&format!("{name} is not a number")))
        }
        _ => Ok(()),
    }
}

/// How the connection is encrypted (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// Never.
    Disable,
    /// Where the server asks for it.
    Allow,
    /// Where the server can.
    Prefer,
    /// Always; the certificate is checked as by [`VerifyCa`](SslMode::VerifyCa) when there is a root certificate.
    Require,
    /// By a certificate that somebody trusted has signed.
    VerifyCa,
    /// By such a certificate for the name of the host.
    VerifyFull,
}

impl SslMode {
    const ALL: [SslMode; 6] = [
        SslMode::Disable,
        SslMode::Allow,
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<SslMode> {
        SslMode::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// Whose signatures are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SslRoot {
    /// Those of the authorities that this system trusts.
    System,
    /// Those of the certificates in this file.
    File(PathBuf),
}
