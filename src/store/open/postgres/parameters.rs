//! The parameters of libpq (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>).

use std::net::IpAddr;
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
    parameter("channel_binding", "PGCHANNELBINDING"),
    // Taken from the environment before any other one, because a service sets some of them.
    without_variable("service"),
    without_variable("fallback_application_name"),
    without_variable("keepalives"),
    without_variable("keepalives_idle"),
    without_variable("keepalives_interval"),
    without_variable("keepalives_count"),
    without_variable("tcp_user_timeout"),
];

/// A parameter of libpq that asks for something that kv does not have.
struct Unsupported {
    name: &'static str,
    /// The variable of the environment that stands for it.
    variable: Option<&'static str>,
    /// The values that ask for nothing but what is done anyway.
    harmless: &'static [&'static str],
}

const fn unsupported_parameter(
    name: &'static str,
    variable: &'static str,
    harmless: &'static [&'static str],
) -> Unsupported {
    Unsupported { name, variable: Some(variable), harmless }
}

const UNSUPPORTED: &[Unsupported] = &[
    unsupported_parameter("gssdelegation", "PGGSSDELEGATION", &["0"]),
    unsupported_parameter("gssencmode", "PGGSSENCMODE", &["disable", "prefer"]),
    unsupported_parameter("gsslib", "PGGSSLIB", &[]),
    unsupported_parameter("krbsrvname", "PGKRBSRVNAME", &[]),
    unsupported_parameter("load_balance_hosts", "PGLOADBALANCEHOSTS", &["disable"]),
    Unsupported { name: "replication", variable: None, harmless: &["false", "off", "no", "0"] },
    unsupported_parameter("require_auth", "PGREQUIREAUTH", &[]),
    unsupported_parameter("requirepeer", "PGREQUIREPEER", &[]),
    unsupported_parameter("requiressl", "PGREQUIRESSL", &["0"]),
    unsupported_parameter("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", &["TLSv1.3"]),
    unsupported_parameter(
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        &["TLSv1", "TLSv1.1", "TLSv1.2"],
    ),
    unsupported_parameter("sslcertmode", "PGSSLCERTMODE", &["allow"]),
    unsupported_parameter("sslcompression", "PGSSLCOMPRESSION", &["0"]),
    unsupported_parameter("sslcrl", "PGSSLCRL", &[]),
    unsupported_parameter("sslcrldir", "PGSSLCRLDIR", &[]),
    unsupported_parameter("sslnegotiation", "PGSSLNEGOTIATION", &["postgres"]),
    Unsupported { name: "sslpassword", variable: None, harmless: &[] },
    unsupported_parameter("sslsni", "PGSSLSNI", &["1"]),
];

/// The parameter of this name, as it stands in the table; none when its value asks for nothing that is not done anyway.
///
/// # Errors
/// `unsupported` for one that kv does not have, `bad_request` for one that libpq does not have.
pub(super) fn known(name: &str, value: &str) -> Result<Option<&'static str>> {
    if let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == name) {
        return Ok(Some(parameter.name));
    }
    if let Some(parameter) = UNSUPPORTED.iter().find(|parameter| parameter.name == name) {
        return if parameter.harmless.contains(&value) {
            Ok(None)
        } else {
            Err(unsupported(name, "kv does not have that").hint("leave it out"))
        };
    }
    Err(refused(&format!("it has no parameter {name:?}")).hint(format!(
        "the parameters are {}",
        PARAMETERS.iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ")
    )))
}

/// Checks that the environment asks for nothing that kv does not have: what is left out could be a demand for safety.
pub(super) fn check_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    for parameter in UNSUPPORTED {
        let Some(name) = parameter.variable else { continue };
        if variable(name).is_some_and(|value| !parameter.harmless.contains(&value.as_str())) {
            return Err(
                unsupported(name, "kv does not have that").hint(format!("leave it out: unset {name}"))
            );
        }
    }
    Ok(())
}

/// Checks a value by itself. It is not shown: it may be a password at a wrong place.
pub(super) fn check(name: &str, value: &str) -> Result<()> {
    let one_of = |allowed: &[&str]| {
        let message = || {
            refused(&format!("{name} has a value that it cannot have"))
                .hint(format!("it can be one of {}", allowed.join(", ")))
        };
        if allowed.contains(&value) { Ok(()) } else { Err(message()) }
    };
    match name {
        "sslmode" => one_of(&SslMode::ALL.map(SslMode::as_str)),
        "target_session_attrs" if ["read-only", "standby", "prefer-standby"].contains(&value) => {
            Err(unsupported(name, "a store is read and written on the primary server")
                .hint("leave it out, or say target_session_attrs=read-write"))
        }
        "target_session_attrs" => one_of(&["any", "read-write", "primary"]),
        "channel_binding" => one_of(&["disable", "prefer", "require"]),
        "client_encoding" => one_of(&["UTF8", "utf8", "UTF-8", "utf-8", "auto"]),
        "connect_timeout"
        | "keepalives"
        | "keepalives_idle"
        | "keepalives_interval"
        | "keepalives_count"
        | "tcp_user_timeout"
            if value.parse::<i32>().is_err() =>
        {
            Err(refused(&format!("{name} is not a number"))
                .hint("it is a number of seconds, or of what libpq says"))
        }
        "hostaddr"
            if value.split(',').any(|address| !address.is_empty() && address.parse::<IpAddr>().is_err()) =>
        {
            Err(refused("hostaddr is not an IP address").hint("a name stands in host"))
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
