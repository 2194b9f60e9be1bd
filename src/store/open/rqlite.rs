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
use crate::store::time::Clock;

/// The port of a node that names none.
const PORT: u16 = 4001;

/// What may stand behind the `?`.
const PARAMETERS: &str = "user, password, ca, cert, key, proxy and no_proxy";

/// A node as the connection string names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    /// A name or an address, in lower case; an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
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
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut place = parse_complete(connection)?;
    // As curl and Go do: the name in upper case would be set by a request to a CGI program.
    let names: &[&str] = if place.is_https { &["https_proxy", "HTTPS_PROXY"] } else { &["http_proxy"] };
    if place.proxy.is_none() {
        let found = names.iter().chain(&["all_proxy", "ALL_PROXY"]).find_map(|name| variable(name));
        place.set("proxy", found.unwrap_or_default())?;
    }
    if place.proxy.is_some() && place.no_proxy.is_none() {
        place.no_proxy = ["no_proxy", "NO_PROXY"].iter().find_map(|name| variable(name));
    }
    Ok(place)
}

/// Reads a connection string that is complete, as a daemon tells it.
pub(super) fn parse_complete(connection: &str) -> Result<RqlitePlace> {
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
            return Err(refused("an @ stands behind a / or a comma")
                .hint("in a user or password write / as %2F, @ as %40, and a comma as %2C"));
        }
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        place.set("user", decoded(user)?)?;
        place.set("password", decoded(password)?)?;
    }
    for host in hosts.split(',') {
        // Each node may be written as a URL of its own.
        let host = host.strip_prefix(&format!("{scheme}://")).unwrap_or(host);
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

fn node(host: &str) -> Result<Node> {
    let (host, port) = split_port(host).ok_or_else(|| refused("an IPv6 address has no closing bracket"))?;
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
    let node = Node { host: host.to_lowercase(), port };
    match Url::parse(&format!("http://{node}/")) {
        Ok(url) if !host.is_empty() && url.username().is_empty() => Ok(node),
        _ => Err(refused("a host is not the name or the address of one")),
    }
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
            "proxy" => {
                if value.as_ref().is_some_and(|proxy| reqwest::Proxy::all(proxy.as_str()).is_err()) {
                    return Err(refused("the proxy is not the URL of one")
                        .hint("proxy=, http_proxy or https_proxy is written as http://HOST:PORT"));
                }
                self.proxy = value.map(Secret);
            }
            "no_proxy" => self.no_proxy = value,
            "level" => {
                return Err(refused("kv reads at the level that each request needs")
                    .hint("leave out level; docs/rqlite.md says which one is used when"));
            }
            _ => {
                let name = crate::quote::shown(Path::new(name)).to_string();
                return Err(refused(&format!("there is no parameter {name}"))
                    .hint(format!("the parameters are {PARAMETERS}")));
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

    /// The proxy by which this node is reached. As in Go, this machine itself is never reached by one.
    pub(crate) fn proxy(&self) -> Option<(&str, &str)> {
        let is_here = |node: &Node| {
            node.host == "localhost"
                || node.host.parse().is_ok_and(|host: std::net::IpAddr| host.is_loopback())
        };
        let Secret(proxy) = self.proxy.as_ref().filter(|_| !self.nodes.iter().all(is_here))?;
        Some((proxy, self.no_proxy.as_deref().unwrap_or_default()))
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

    fn check_store(&self, finding: &mut dyn FnMut(Finding), watcher: &mut Watcher<'_>) -> Result<Checked> {
        rqlite::check(self, finding, watcher)
    }
}

#[cfg(test)]
mod tests;
