//! One request to one node.

use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, NoProxy, Proxy, RequestBuilder, StatusCode, redirect, retry};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio_util::bytes::Bytes;

use super::error::{Trouble, foreign, refused};
use crate::limits;
use crate::store::engine::tls;
use crate::store::error::{Code, Error, Result};
use crate::store::open::rqlite::RqlitePlace;

/// Which requests there are: the path, and what stands behind it. `noparse` keeps a node from rewriting a statement, which
/// fails in part on some of kv's. A flag is true because it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A read that sees every write that was answered before it began.
    Read,
    /// A read of what the leader has: it may have lost its place without having noticed yet.
    Look,
    /// A write.
    Write,
}

impl Kind {
    fn target(self) -> String {
        let s = limits::RQLITE_NODE_TIMEOUT_S;
        match self {
            Kind::Read => format!(
                "/db/query?transaction&noparse&level=linearizable&timeout={s}s&linearizable_timeout={s}s"
            ),
            Kind::Look => format!("/db/query?noparse&level=weak&timeout={s}s"),
            Kind::Write => format!("/db/execute?transaction&noparse&timeout={s}s"),
        }
    }

    /// The permission of rqlite that it needs.
    fn permission(self) -> &'static str {
        match self {
            Kind::Read | Kind::Look => "query",
            Kind::Write => "execute",
        }
    }
}

/// What a node answered.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// The node that has carried it out, as it calls itself.
    pub(super) served_by: Option<String>,
}

/// The connections to all nodes.
///
/// # Errors
/// What is wrong with a certificate.
pub(super) fn client(place: &RqlitePlace) -> Result<Client> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        // What may have been carried out is sent again by the engine, which knows when it may.
        .retry(retry::never())
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(limits::RQLITE_CONNECT_TIMEOUT)
        .pool_idle_timeout(limits::RQLITE_IDLE_TIMEOUT)
        .user_agent(concat!("kv/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls_config(place)?);
    if let Some((proxy, except)) = place.proxy() {
        // It was read when the place was made.
        let proxy = Proxy::all(proxy).map_err(|error| internal(&error))?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&except)));
    }
    builder.build().map_err(|error| internal(&error))
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("no HTTP client: {error}"))
}

fn tls_config(place: &RqlitePlace) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &place.ca {
        Some(file) => tls::add_roots(&mut roots, file)?,
        None if place.is_https() => tls::add_system_roots(&mut roots),
        None => {}
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| internal(&error))?
        .with_root_certificates(roots);
    match (&place.certificate, &place.key) {
        (Some(certificate), Some(key)) => {
            let (chain, secret) = tls::own_certificate(certificate, key)?;
            config.with_client_auth_cert(chain, secret).map_err(|error| tls::unusable(key, &error))
        }
        _ => Ok(config.with_no_client_auth()),
    }
}

/// Adds the user and the password to a request.
pub(super) fn with_login(request: RequestBuilder, place: &RqlitePlace) -> RequestBuilder {
    match place.credentials() {
        Some((user, password)) => request.basic_auth(user, Some(password)),
        None => request,
    }
}

/// Sends a request to the node with this URL.
pub(super) async fn ask(
    client: &Client,
    place: &RqlitePlace,
    url: &str,
    kind: Kind,
    body: Bytes,
) -> std::result::Result<Answer, Trouble> {
    let timeout = limits::RQLITE_ANSWER_TIMEOUT
        + limits::RQLITE_ANSWER_TIME_OF_BYTE * u32::try_from(body.len()).unwrap_or(u32::MAX);
    let request = client
        .post(format!("{url}{}", kind.target()))
        .header(CONTENT_TYPE, "application/json")
        .timeout(timeout)
        .body(body);
    let sent = with_login(request, place).send().await;
    let mut response = sent.map_err(|error| of_sending(&error, place, kind))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Trouble::Lost(words(&error)))? {
        if body.len() + chunk.len() > limits::RQLITE_ANSWER_BYTES {
            return Err(Trouble::Lost("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    // What is wrong with an old version are its reads; a write may have been carried out.
    if kind != Kind::Write {
        check_version(place, &headers)?;
    }
    if status != StatusCode::OK {
        return Err(of_status(place, status, &body, kind.permission()));
    }
    Ok(Answer { body, served_by: header(&headers, "x-rqlite-served-by").map(str::to_owned) })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Refuses what is not rqlite, or too old. A version that cannot be read is one that somebody has built.
fn check_version(place: &RqlitePlace, headers: &HeaderMap) -> std::result::Result<(), Trouble> {
    let Some(version) = header(headers, "x-rqlite-version") else { return Ok(()) };
    let numbers = version.trim_start_matches('v').split('.').map(str::parse::<u64>);
    let Ok(numbers) = numbers.collect::<std::result::Result<Vec<_>, _>>() else { return Ok(()) };
    if numbers.len() == limits::RQLITE_VERSION_MIN.len() && *numbers < limits::RQLITE_VERSION_MIN[..] {
        let [major, minor, patch] = limits::RQLITE_VERSION_MIN;
        let message = format!("rqlite at {place} has version {version}, which kv does not support");
        let error = Error::new(Code::Unsupported, message)
            .hint(format!("its reads may be stale: {major}.{minor}.{patch} and newer are supported"));
        return Err(Error { retry: false, ..error }.into());
    }
    Ok(())
}

/// Why there is no answer.
pub(super) fn of_sending(error: &reqwest::Error, place: &RqlitePlace, kind: Kind) -> Trouble {
    let words = words(error);
    // By TLS 1.3 a node refuses the certificate of its user only when it has been sent the request, which it does not read.
    let is_refused =
        words.contains("fatal alert") && ["Certificate", "UnknownCA"].iter().any(|part| words.contains(part));
    if error.is_connect() || is_refused {
        Trouble::Unsent(words)
    } else if kind != Kind::Write && words.starts_with("invalid HTTP") {
        // A node does not answer so; and to be sure of it, nothing must have been written.
        foreign(place, &words).into()
    } else {
        Trouble::Lost(words)
    }
}

pub(super) fn of_status(place: &RqlitePlace, status: StatusCode, body: &[u8], permission: &str) -> Trouble {
    let words = String::from_utf8_lossy(body);
    if status == StatusCode::SERVICE_UNAVAILABLE && words.trim() == "leader not found" {
        return Trouble::NoLeader;
    }
    if status.is_server_error() {
        // Among others for a write that was carried out, and whose answer could not be written.
        return Trouble::Lost(format!("status {}, {}", status.as_u16(), words.trim()));
    }
    Trouble::Told(refused(place, status.as_u16(), &words, permission))
}

/// The words of an error and of what is behind it, without the URL, which may hold a password.
pub(super) fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() && !error.is_connect() {
        return "it does not answer".to_owned();
    }
    let mut source = std::error::Error::source(error);
    let mut words = String::new();
    while let Some(error) = source {
        words = error.to_string();
        source = error.source();
    }
    if words.is_empty() { "no answer".to_owned() } else { words }
}

/// Whether a body is not one of rqlite at all.
pub(super) fn check_is_rqlite(place: &RqlitePlace, body: &[u8]) -> std::result::Result<(), Trouble> {
    if body.first() == Some(&b'{') {
        Ok(())
    } else {
        Err(foreign(place, "its answer is not an object").into())
    }
}

/// Asks for a copy of all that the nodes have, as a file of SQLite, and answers when it begins to come.
#[cfg(feature = "sqlite")]
pub(super) async fn backup_of(
    cluster: &super::cluster::Cluster,
) -> std::result::Result<reqwest::Response, Trouble> {
    let place = &cluster.place;
    let client = cluster.client()?;
    let mut told = None;
    for node in place.nodes() {
        let request = client.get(format!("{}/db/backup", place.url(node)));
        match with_login(request, place).send().await {
            Ok(response) if response.status() == StatusCode::OK => {
                check_version(place, response.headers())?;
                return Ok(response);
            }
            Ok(response) => {
                let status = response.status();
                let words = response.bytes().await.unwrap_or_default();
                told = Some(of_status(place, status, &words, "backup"));
            }
            Err(error) => told = Some(of_sending(&error, place, Kind::Read)),
        }
    }
    Err(told.unwrap_or(Trouble::NoLeader))
}
