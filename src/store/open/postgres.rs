//! Connection strings of PostgreSQL: URIs, the environment, service and password files, as libpq reads them
//! (<https://www.postgresql.org/docs/current/libpq-connect.html>).
//!
//! A place is complete when it is made: nothing of the environment is asked for later, so it means the same to the daemon.

mod files;
mod parameters;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use self::files::{password_in, service};
use self::parameters::{PARAMETERS, check};
pub(crate) use self::parameters::{SslMode, SslRoot};
use super::{EngineKind, Place};
use crate::store::engine::Engine;
use crate::store::engine::migrations::{self, Migration};
use crate::store::engine::postgres::{self, Postgres};
use crate::store::error::{Code, Error, Result};
use crate::store::maintenance::{Checked, Finding, Watcher};
use crate::store::original::Row;
use crate::store::time::Clock;

/// The port of a server that names none.
const PORT: &str = "5432";

/// The parameters that tell which store it is, and what has to be proved to get at it, besides those in front of the `?`.
const TELLING: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "options",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
];

/// The schema of the tables, unless `options` sets a `search_path`.
pub(crate) const SCHEMA: &str = "kv";

/// Where a PostgreSQL store lives: what libpq would connect by, by the names of its parameters. `Display` and `Debug` leave the
/// password out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PostgresPlace {
    parameters: BTreeMap<&'static str, String>,
}

/// One of the servers of a place, which are tried in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// A host name, an address, or the directory of a Unix socket.
    pub host: String,
    /// The address of the host, where it is given and is not to be looked up.
    pub address: Option<String>,
    pub port: u16,
}

impl Server {
    pub(crate) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_socket() {
            write!(f, "{}/.s.PGSQL.{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads a connection string.
pub(super) fn parse(connection: &str) -> Result<PostgresPlace> {
    parse_in(connection, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Reads a connection string that is complete, as a daemon tells it.
pub(super) fn parse_complete(connection: &str) -> Result<PostgresPlace> {
    parse_in(connection, &|_| None)
}

/// As [`parse`], with this environment.
fn parse_in(connection: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<PostgresPlace> {
    let mut parameters = parse_uri(connection)?;
    parameters::check_environment(variable)?;
    let name = parameters.remove("service").or_else(|| variable("PGSERVICE"));
    if let Some(name) = name {
        for (name, value) in service(&name, variable)? {
            parameters.entry(name).or_insert(value);
        }
    }
    for parameter in PARAMETERS {
        if let Some(value) = parameter.variable.and_then(variable) {
            parameters.entry(parameter.name).or_insert(value);
        }
    }
    let mut place = complete(parameters, variable)?;
    let ports: Vec<String> = place.servers()?.iter().map(|server| server.port.to_string()).collect();
    place.parameters.insert("port", ports.join(","));
    place.parameters.iter().try_for_each(|(name, value)| check(name, value))?;
    Ok(place)
}

/// What libpq would take for what nobody has said.
fn complete(
    mut parameters: BTreeMap<&'static str, String>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<PostgresPlace> {
    if let Some(fallback) = parameters.remove("fallback_application_name") {
        parameters.entry("application_name").or_insert(fallback);
    }
    let user = match parameters.remove("user") {
        Some(user) => user,
        None => operating_system_user()?,
    };
    parameters.entry("dbname").or_insert_with(|| user.clone());
    parameters.insert("user", user);
    parameters.entry("port").or_insert_with(|| PORT.to_owned());
    // The authorities of a system sign for anybody, so a weaker check with them would be none; libpq refuses it too.
    let trusts_system = parameters.get("sslrootcert").is_some_and(|root| root == "system");
    let mode = if trusts_system { SslMode::VerifyFull } else { SslMode::Prefer };
    let mode = parameters.entry("sslmode").or_insert_with(|| mode.as_str().to_owned());
    if trusts_system && mode != SslMode::VerifyFull.as_str() {
        return Err(refused("sslrootcert=system asks for sslmode=verify-full")
            .hint("leave out sslmode, or name a root certificate of your own with sslrootcert=FILE"));
    }
    parameters.entry("application_name").or_insert_with(|| "kv".to_owned());
    if !parameters.contains_key("host") && !parameters.contains_key("hostaddr") {
        parameters.insert("host", socket_directory(&parameters["port"]));
    }
    let home = variable("HOME").map(PathBuf::from);
    if !parameters.contains_key("password")
        && !parameters.contains_key("passfile")
        && let Some(file) = home.as_ref().map(|home| home.join(".pgpass")).filter(|file| file.exists())
    {
        parameters.insert("passfile", file.to_string_lossy().into_owned());
    }
    for (name, file) in [
        ("sslrootcert", ".postgresql/root.crt"),
        ("sslcert", ".postgresql/postgresql.crt"),
        ("sslkey", ".postgresql/postgresql.key"),
    ] {
        if let Some(file) = home.as_ref().map(|home| home.join(file)).filter(|file| file.exists()) {
            parameters.entry(name).or_insert_with(|| file.to_string_lossy().into_owned());
        }
    }
    // A relative path would mean another file to a daemon in another directory.
    for name in ["passfile", "sslrootcert", "sslcert", "sslkey"] {
        if let Some(value) = parameters.get_mut(name).filter(|value| *value != "system")
            && let Ok(absolute) = std::path::absolute(&*value)
        {
            *value = absolute.to_string_lossy().into_owned();
        }
    }
    Ok(PostgresPlace { parameters })
}

fn operating_system_user() -> Result<String> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    user.map(|user| user.name).ok_or_else(|| {
        Error::bad_field("connection", "this process runs as a user without a name, and no user is given")
            .hint("name the user: postgres://USER@HOST/DATABASE")
    })
}

/// The first directory in which a server has its socket, of those that PostgreSQL is usually built with.
fn socket_directory(port: &str) -> String {
    let directories = ["/var/run/postgresql", "/tmp"];
    let has_socket = |directory: &&&str| PathBuf::from(format!("{directory}/.s.PGSQL.{port}")).exists();
    (*directories.iter().find(has_socket).unwrap_or(&directories[0])).to_owned()
}

/// The parameters that stand in a URI.
fn parse_uri(connection: &str) -> Result<BTreeMap<&'static str, String>> {
    let rest = connection.strip_prefix("postgresql://").or_else(|| connection.strip_prefix("postgres://"));
    let Some(rest) = rest else {
        return Err(refused("it is not a URI"));
    };
    let mut parameters = BTreeMap::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // A slash of a password is encoded; one of a socket's directory too.
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    if database.contains('@') {
        // What would be taken for the name of the database is told in messages.
        return Err(refused("an @ stands behind the first /")
            .hint("in a user, password or database write / as %2F and @ as %40"));
    }
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    if let Some(user) = user {
        let (user, password) = user.split_once(':').map_or((user, None), |(user, word)| (user, Some(word)));
        set(&mut parameters, "user", decoded("user", user)?);
        set(&mut parameters, "password", decoded("password", password.unwrap_or_default())?);
    }
    set(&mut parameters, "dbname", decoded("dbname", database)?);
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) =
            super::split_port(host).ok_or_else(|| refused("an IPv6 address has no closing bracket"))?;
        names.push(decoded("host", name)?);
        ports.push(port.to_owned());
    }
    set_list(&mut parameters, "host", &names);
    set_list(&mut parameters, "port", &ports);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        // Neither the value nor, as it may be a misplaced password, more than the name is told.
        let (name, value) = part.split_once('=').ok_or_else(|| refused("a parameter has no value"))?;
        let name = decoded("parameter", name)?;
        let value = decoded(&name, value)?;
        if let Some(name) = parameters::known(&name, &value)? {
            set(&mut parameters, name, value);
        }
    }
    Ok(parameters)
}

fn set(parameters: &mut BTreeMap<&'static str, String>, name: &'static str, value: String) {
    if !value.is_empty() {
        parameters.insert(name, value);
    }
}

fn set_list(parameters: &mut BTreeMap<&'static str, String>, name: &'static str, values: &[String]) {
    if values.iter().any(|value| !value.is_empty()) {
        parameters.insert(name, values.join(","));
    }
}

/// Replaces each `%HH` by its byte.
fn decoded(name: &str, text: &str) -> Result<String> {
    let bytes = super::percent_decoded(text.as_bytes());
    let text = String::from_utf8(bytes).map_err(|_| refused(&format!("{name} is not UTF-8")))?;
    if text.contains('\0') {
        return Err(refused(&format!("{name} holds a NUL character")));
    }
    Ok(text)
}

/// The error for a connection string. It never shows the string, which may hold a password.
fn refused(why: &str) -> Error {
    Error::bad_field("connection", format!("the connection string of PostgreSQL cannot be used: {why}"))
        .hint("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require")
}

impl PostgresPlace {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The servers, in the order in which they are tried.
    pub(crate) fn servers(&self) -> Result<Vec<Server>> {
        let list = |name| self.get(name).map(|list| list.split(',').collect::<Vec<_>>()).unwrap_or_default();
        let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
        if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
            return Err(refused("hostaddr has not as many entries as host"));
        }
        let count = hosts.len().max(addresses.len());
        if ports.len() != 1 && ports.len() != count {
            return Err(refused("port has neither one entry nor as many as host"));
        }
        let server = |index: usize| {
            let address = addresses.get(index).filter(|address| !address.is_empty());
            let host = hosts.get(index).filter(|host| !host.is_empty()).or(address);
            let port = ports.get(index).unwrap_or(&ports[0]);
            let port = if port.is_empty() { PORT } else { port };
            Ok(Server {
                host: host.map_or_else(|| socket_directory(port), |&host| host.to_owned()),
                address: address.map(|&address| address.to_owned()),
                port: port
                    .parse()
                    .ok()
                    .filter(|&port| port > 0)
                    .ok_or_else(|| refused("port is not a number from 1 to 65535"))?,
            })
        };
        (0..count).map(server).collect()
    }

    pub(crate) fn user(&self) -> &str {
        self.get("user").unwrap_or_default()
    }

    pub(crate) fn database(&self) -> &str {
        self.get("dbname").unwrap_or_default()
    }

    /// The password for this server: that of the connection string, else the one that the password file has by now.
    pub(crate) fn password(&self, server: &Server) -> Option<String> {
        let file = || password_in(self.get("passfile")?.as_ref(), server, self.user(), self.database());
        self.get("password").map(str::to_owned).or_else(file)
    }

    pub(crate) fn ssl_mode(&self) -> SslMode {
        self.get("sslmode").and_then(SslMode::from_name).unwrap_or(SslMode::Prefer)
    }

    /// Which certificates are trusted; none = no certificate is checked.
    pub(crate) fn ssl_root(&self) -> Option<SslRoot> {
        self.get("sslrootcert").map(|path| match path {
            "system" => SslRoot::System,
            path => SslRoot::File(PathBuf::from(path)),
        })
    }

    /// Whether the tables stand where `options` says, and not in a schema of kv.
    pub(crate) fn has_search_path(&self) -> bool {
        self.get("options").is_some_and(|options| options.contains("search_path"))
    }

    fn uri(&self, with_password: bool) -> String {
        let encoded = super::percent_encoded;
        let mut uri = format!("postgres://{}", encoded(self.user()));
        if let Some(password) = self.get("password") {
            // That there is one is told, so that it is not taken for missing.
            uri += &if with_password { format!(":{}", encoded(password)) } else { ":***".to_owned() };
        }
        uri.push('@');
        // `servers` was asked when the place was made.
        let servers =
            if self.get("hostaddr").is_some() { Vec::new() } else { self.servers().unwrap_or_default() };
        let host = |server: &Server| {
            let name =
                if server.host.contains(':') { format!("[{}]", server.host) } else { encoded(&server.host) };
            format!("{name}:{}", server.port)
        };
        uri += &servers.iter().map(host).collect::<Vec<_>>().join(",");
        uri += &format!("/{}", encoded(self.database()));
        let in_front = ["user", "password", "dbname"];
        let of_servers = ["host", "port"];
        let rest = self.parameters.iter().filter(|(name, value)| {
            let is_missing = !in_front.contains(name) && (servers.is_empty() || !of_servers.contains(name));
            let is_default = **name == "sslmode" && *value == SslMode::Prefer.as_str();
            is_missing && (with_password || TELLING.contains(name) && !is_default)
        });
        for (index, (name, value)) in rest.enumerate() {
            uri += &format!("{}{name}={}", if index == 0 { '?' } else { '&' }, encoded(value));
        }
        uri
    }
}

impl fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri(false))
    }
}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresPlace({self})")
    }
}

#[async_trait]
impl Place for PostgresPlace {
    fn kind(&self) -> EngineKind {
        EngineKind::Postgres
    }

    fn migrations(&self) -> &'static [Migration] {
        migrations::POSTGRES
    }

    fn connection(&self) -> String {
        self.uri(true)
    }

    fn shown(&self) -> String {
        self.to_string()
    }

    /// The servers, who asks for what of them, and how they have to prove who they are. The password is left out: the name of
    /// a socket, which every user of the machine can see, is a hash of this, by which passwords could be tried.
    fn identity(&self) -> String {
        // `servers` was asked when the place was made.
        let servers = self.servers().unwrap_or_default();
        let server = |server: &Server| {
            let host = server.address.as_ref().unwrap_or(&server.host);
            let host =
                if server.is_socket() { host.trim_end_matches('/').to_owned() } else { host.to_lowercase() };
            format!("{host:?}:{}", server.port)
        };
        let mut identity: Vec<String> = servers.iter().map(server).collect();
        let named = |name: &&str| format!("{name}={:?}", self.get(name).unwrap_or_default());
        identity.extend(["user", "dbname", "options"].iter().map(named));
        if !servers.iter().all(Server::is_socket) {
            let demands = ["sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding"];
            identity.extend(demands.iter().map(named));
            if self.ssl_mode() == SslMode::VerifyFull {
                // Behind one address, the certificate has to be for this name.
                identity.extend(servers.iter().map(|server| server.host.to_lowercase()));
            }
        }
        identity.join(" ")
    }

    fn engine(&self, clock: Clock) -> Arc<dyn Engine> {
        Arc::new(Postgres::new(self.clone(), clock))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn original_page(&self, after: Option<&str>) -> Result<Vec<Row>> {
        postgres::original::page(self, after).await
    }

    fn check_store(&self, finding: &mut dyn FnMut(Finding), watcher: &mut Watcher<'_>) -> Result<Checked> {
        postgres::check::check(self, finding, watcher)
    }
}

/// The error for a parameter that libpq knows and kv cannot follow.
fn unsupported(name: &str, why: &str) -> Error {
    Error::new(Code::Unsupported, format!("the parameter {name} of PostgreSQL cannot be used: {why}"))
}

#[cfg(test)]
mod tests;
