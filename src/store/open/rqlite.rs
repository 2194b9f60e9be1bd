//! Connection strings of rqlite: the nodes, who asks, and how they are reached.
//!
//! A place is complete when it is made: nothing of the environment is asked for later, so it means the same to the daemon.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Url;

use super::{EngineKind, Place, percent_decoded, percent_encoded, split_port};
use crate::store::engine::Engine;
use crate::store::engine::migrations::{self, Migration};
use crate::store::engine::rqlite::{self, Rqlite};
use crate::store::error::{Error, Result};
use crate::store::maintenance::{Checked, Finding, Watcher};
use crate::store::original::Row;
use crate::store::time::Clock;

/// The port of a node that names none.
const PORT: u16 = 4001;

/// What may stand behind the `?`.
const PARAMETERS: &[&str] = &["user", "password", "ca", "cert", "key", "proxy", "no_proxy"];

/// How a user or password is written that holds what ends one.
const ENCODED: &str = "in a user or password write / as %2F, ? as %3F, @ as %40, and a comma as %2C";

/// A node as the connection string names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    /// A name or an address, in lower case; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Node {
    /// Whether it is on this machine, as far as the name tells.
    fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|host: std::net::IpAddr| host.is_loopback())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that nobody is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

/// Where an rqlite store lives. `Display` and `Debug` leave out the password, and the proxy, which may have one.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct RqlitePlace {
    is_https: bool,
    nodes: Vec<Node>,
    user: Option<String>,
    password: Option<Secret>,
    /// The file of the certificates that are trusted; none = those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// The files of the certificate and the key by which this side proves who it is.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// The proxy by which nodes are reached, as a URL.
    proxy: Option<Secret>,
    /// The hosts that are reached without it, as `NO_PROXY` names them.
    no_proxy: Option<String>,
}

/// Reads a connection string.
pub(super) fn parse(connection: &str) -> Result<RqlitePlace> {
    parse_in(connection, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Reads a connection string that is complete, as a daemon tells it.
pub(super) fn parse_complete(connection: &str) -> Result<RqlitePlace> {
    parse_in(connection, &|_| None)
}

/// As [`parse`], with this environment.
fn parse_in(connection: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<RqlitePlace> {
    let mut place = read(connection).map_err(|error| {
        // A user or password was cut in the middle: what stands behind it is taken for a parameter, and named.
        let is_rest = |part: &str| {
            part.contains('@') && !PARAMETERS.iter().any(|name| part.starts_with(&format!("{name}=")))
        };
        let (_, query) = connection.split_once('?').unwrap_or_default();
        if query.split('&').any(is_rest) { refused("an @ stands behind a ?").hint(ENCODED) } else { error }
    })?;
    // Nobody is refused for a proxy that is not used.
    if place.nodes.iter().any(|node| !node.is_here()) {
        place.find_proxy(variable)?;
    }
    Ok(place)
}

/// Reads what stands in the string itself.
fn read(connection: &str) -> Result<RqlitePlace> {
    let (scheme, rest) = connection.split_once("://").ok_or_else(|| refused("it is not a URL"))?;
    let is_https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(refused("it begins neither with http:// nor with https://")),
    };
    let mut place = RqlitePlace { is_https, ..RqlitePlace::default() };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, hosts) = match rest.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, rest),
    };
    if let Some(user) = user {
        if user.contains(['/', ',']) {
            return Err(refused("an @ stands behind a / or a comma").hint(ENCODED));
        }
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        place.set("user", decoded(user)?)?;
        place.set("password", decoded(password)?)?;
    }
    for host in hosts.split(',') {
        // Each node may be written as a URL of its own.
        let host = match host.split_once("://") {
            Some((own, host)) if own.eq_ignore_ascii_case(scheme) => host,
            Some(_) => return Err(refused("a node has another scheme than the first one")),
            None => host,
        };
        place.nodes.push(node(host.strip_suffix('/').unwrap_or(host))?);
    }
    for part in query.split('&').filter(|part| !part.is_empty()) {
        // Neither the value nor, as it may be a misplaced password, more than the name is told.
        let (name, value) = part.split_once('=').ok_or_else(|| refused("a parameter has no value"))?;
        place.set(&decoded(name)?, decoded(value)?)?;
    }
    if place.certificate.is_some() != place.key.is_some() {
        return Err(refused("cert and key belong together"));
    }
    if place.user.is_none() && place.password.is_some() {
        return Err(refused("there is a password and no user"));
    }
    Ok(place)
}

fn node(text: &str) -> Result<Node> {
    let (host, port) = split_port(text).ok_or_else(|| refused("an IPv6 address has no closing bracket"))?;
    if host.contains('/') || port.contains('/') {
        return Err(
            refused("there is a path behind a host").hint("kv reaches rqlite at the root of its address")
        );
    }
    let port = match port {
        "" => PORT,
        port => port
            .parse()
            .ok()
            .filter(|&port| port > 0)
            .ok_or_else(|| refused("a port is not a number from 1 to 65535"))?,
    };
    let wrong = || refused("a host is not the name or the address of one");
    let text = if text.starts_with('[') {
        format!("http://[{host}]:{port}/")
    } else {
        format!("http://{host}:{port}/")
    };
    let url = Url::parse(&text).map_err(|_| wrong())?;
    let is_host_alone = url.path() == "/"
        && url.fragment().is_none()
        && url.username().is_empty()
        && !host.is_empty()
        && !host.contains(char::is_whitespace);
    // As it is asked for: in lower case, an address in its shortest form.
    let host = url.host_str().filter(|_| is_host_alone).ok_or_else(wrong)?;
    Ok(Node { host: host.trim_matches(['[', ']']).to_owned(), port })
}

/// The URL of a proxy; as curl and Go do, without a scheme it is one of HTTP.
fn proxy_url(text: &str) -> Result<String> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url =
        Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if url.is_none() || reqwest::Proxy::all(text.as_str()).is_err() {
        return Err(refused("the proxy is not the URL of one").hint(
            "proxy=, http_proxy or https_proxy is written as http://HOST:PORT; other kinds are not known",
        ));
    }
    Ok(text)
}

/// Replaces each `%HH` by its byte.
fn decoded(text: &str) -> Result<String> {
    let text = String::from_utf8(percent_decoded(text.as_bytes()));
    let text = text.map_err(|_| refused("a part of it is not UTF-8"))?;
    if text.contains('\0') { Err(refused("it holds a NUL character")) } else { Ok(text) }
}

/// The error for a connection string. It never shows the string, which may hold a password.
fn refused(why: &str) -> Error {
    Error::bad_field("connection", format!("the connection string of rqlite cannot be used: {why}"))
        .hint("write it as http://USER:PASSWORD@HOST:PORT,HOST:PORT or as https://HOST:PORT?ca=FILE")
}

impl RqlitePlace {
    /// Sets a parameter. One that is empty is as if it was not there.
    fn set(&mut self, name: &str, value: String) -> Result<()> {
        let value = Some(value).filter(|value| !value.is_empty());
        // A relative path would mean another file to a daemon in another directory.
        let file = |value: Option<String>| {
            value
                .map(|path| std::path::absolute(&path).map_err(|error| refused(&format!("{name}: {error}"))))
                .transpose()
        };
        match name {
            "user" => self.user = value,
            "password" => self.password = value.map(Secret),
            "ca" => self.ca = file(value)?,
            "cert" => self.certificate = file(value)?,
            "key" => self.key = file(value)?,
            "proxy" => self.proxy = value.map(|value| proxy_url(&value)).transpose()?.map(Secret),
            "no_proxy" => self.no_proxy = value,
            "level" => {
                return Err(refused("kv reads at the level that each request needs")
                    .hint("leave out level; docs/rqlite.md says which one is used when"));
            }
            _ => {
                let name = crate::quote::shown(Path::new(name)).to_string();
                return Err(refused(&format!("there is no parameter {name}"))
                    .hint(format!("the parameters are {}", PARAMETERS.join(", "))));
            }
        }
        Ok(())
    }

    /// The nodes, in the order in which they are asked.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    /// The user and the password.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        let password = self.password.as_ref().map_or("", |Secret(password)| password);
        self.user.as_deref().map(|user| (user, password))
    }

    /// The URL of a node.
    pub(crate) fn url(&self, node: &Node) -> String {
        format!("{}://{node}", self.scheme())
    }

    /// Takes the proxy that the environment names, unless the string names one.
    fn find_proxy(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        let names: &[&str] = match self.is_https {
            true => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
            // In a CGI program a request sets the name in upper case.
            false if variable("REQUEST_METHOD").is_some() => &["http_proxy", "all_proxy", "ALL_PROXY"],
            false => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        };
        if self.proxy.is_none() {
            self.set("proxy", names.iter().find_map(|name| variable(name)).unwrap_or_default())?;
        }
        if self.proxy.is_some() && self.no_proxy.is_none() {
            self.no_proxy = ["no_proxy", "NO_PROXY"].iter().find_map(|name| variable(name));
        }
        Ok(())
    }

    /// The proxy by which nodes are reached, and the hosts that are reached without it. As in Go, this machine itself is
    /// never reached by one.
    pub(crate) fn proxy(&self) -> Option<(&str, String)> {
        const HERE: &str = "localhost,127.0.0.0/8,::1";
        let Secret(proxy) = self.proxy.as_ref()?;
        let except = self.no_proxy.as_ref().map_or(HERE.to_owned(), |hosts| format!("{hosts},{HERE}"));
        Some((proxy, except))
    }

    fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    fn uri(&self, is_whole: bool) -> String {
        let mut uri = format!("{}://", self.scheme());
        if let Some(user) = &self.user {
            uri += &percent_encoded(user);
            if let Some(Secret(password)) = &self.password {
                // That there is one is told, so that it is not taken for missing.
                uri += &if is_whole { format!(":{}", percent_encoded(password)) } else { ":***".to_owned() };
            }
            uri.push('@');
        }
        uri += &self.nodes.iter().map(Node::to_string).collect::<Vec<_>>().join(",");
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let mut parameters =
            vec![("ca", file(&self.ca)), ("cert", file(&self.certificate)), ("key", file(&self.key))];
        if is_whole {
            parameters.push(("proxy", self.proxy.as_ref().map(|Secret(proxy)| proxy.clone())));
            parameters.push(("no_proxy", self.no_proxy.clone()));
        }
        let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (index, (name, value)) in given.enumerate() {
            uri += &format!("{}{name}={}", if index == 0 { '?' } else { '&' }, percent_encoded(&value));
        }
        uri
    }
}

impl fmt::Display for RqlitePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri(false))
    }
}

impl fmt::Debug for RqlitePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RqlitePlace({self})")
    }
}

#[async_trait]
impl Place for RqlitePlace {
    fn kind(&self) -> EngineKind {
        EngineKind::Rqlite
    }

    fn migrations(&self) -> &'static [Migration] {
        migrations::SQLITE
    }

    fn connection(&self) -> String {
        self.uri(true)
    }

    fn shown(&self) -> String {
        self.to_string()
    }

    /// The nodes, who asks, and how each side proves who it is. The password is left out: the name of a socket, which every
    /// user of the machine can see, is a hash of this, by which passwords could be tried.
    fn identity(&self) -> String {
        let mut nodes = self.nodes.clone();
        nodes.sort();
        nodes.dedup();
        let RqlitePlace { user, ca, certificate, key, .. } = self;
        format!("{} {nodes:?} user={user:?} ca={ca:?} cert={certificate:?} key={key:?}", self.scheme())
    }

    fn engine(&self, clock: Clock) -> Arc<dyn Engine> {
        Arc::new(Rqlite::new(self.clone(), clock))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn original_page(&self, after: Option<&str>) -> Result<Vec<Row>> {
        rqlite::original::page(self, after).await
    }

    fn check_store(&self, finding: &mut dyn FnMut(Finding), watcher: &mut Watcher<'_>) -> Result<Checked> {
        rqlite::check(self, finding, watcher)
    }
}

#[cfg(test)]
mod tests;
