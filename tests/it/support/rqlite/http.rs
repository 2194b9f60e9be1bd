//! What the tests ask a node for, over a connection of its own for each request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::support::wait_until;

/// Longer than a node takes under load, and shorter than it waits for a leader that is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a node listens, and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Node {
    /// With its port.
    pub(super) host: String,
    /// The user and the password with a colon between them, or nothing.
    pub(super) credentials: String,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Node {
    /// The nodes of a URL; the directory has the certificates for one with https.
    pub(super) fn all_of(url: &str, certificates: &Path) -> Vec<Node> {
        let (scheme, rest) = url.split_once("://").expect("the URL of an rqlite server");
        let (credentials, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
        let tls = (scheme == "https").then(|| Arc::new(client_config(certificates)));
        let node = |host: &str| {
            let host = host.trim_end_matches('/').to_owned();
            Node { host, credentials: credentials.to_owned(), tls: tls.clone() }
        };
        hosts.split(',').map(node).collect()
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let separator = if self.credentials.is_empty() { "" } else { "@" };
        format!("{scheme}://{}{separator}{}", self.credentials, self.host)
    }

    /// Where it listens, for a link in front of it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.host.to_socket_addrs().unwrap().next().unwrap()
    }

    /// Sends a request and answers what came back.
    pub(crate) fn request(&self, method: &str, target: &str, body: &str) -> io::Result<Answer> {
        let tcp = TcpStream::connect(&self.host)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        match &self.tls {
            None => self.exchange(tcp, method, target, body),
            Some(config) => {
                let (name, _) = self.host.rsplit_once(':').unwrap();
                let name = ServerName::try_from(name.to_owned()).unwrap();
                let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                self.exchange(StreamOwned::new(session, tcp), method, target, body)
            }
        }
    }

    fn exchange(
        &self,
        mut stream: impl Read + Write,
        method: &str,
        target: &str,
        body: &str,
    ) -> io::Result<Answer> {
        // To this version the answer comes in one piece, and the connection ends with it.
        let mut request = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n", self.host);
        if !self.credentials.is_empty() {
            request += &format!("Authorization: Basic {}\r\n", base64(self.credentials.as_bytes()));
        }
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer).map_err(io::Error::other)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Answer { status, body: body.to_owned() })
    }

    /// What a path answers as JSON, if it does.
    pub(super) fn json(&self, target: &str) -> Option<Value> {
        serde_json::from_str(&self.request("GET", target, "").ok()?.body).ok()
    }

    /// The rows that a statement of SQL gives, through the log of the cluster: fields are separated by `|`, and rows by
    /// new lines.
    #[track_caller]
    pub(crate) fn sql(&self, text: &str) -> String {
        self.transaction(&[text]).pop().unwrap()
    }

    /// The rows that each of some statements gives; all have an effect or none has.
    #[track_caller]
    pub(crate) fn transaction(&self, statements: &[&str]) -> Vec<String> {
        let body = Value::from(statements).to_string();
        let mut answer = None;
        wait_until("the answer of a leader", || {
            let last = self.request("POST", "/db/request?transaction&level=strong", &body).unwrap();
            // There is none at the moment, so nothing was done.
            let is_done = last.status != 503 || last.body.trim_end() != "leader not found";
            answer = Some(last);
            is_done
        });
        let Answer { status, body } = answer.unwrap();
        assert_eq!(status, 200, "{statements:?}\n{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let results = answer["results"].as_array().filter(|results| results.len() == statements.len());
        let (Some(results), true) = (results, answer["error"].is_null()) else {
            panic!("{statements:?}\n{body}");
        };
        let rows_of = |result: &Value| {
            assert!(result["error"].is_null(), "{statements:?}\n{body}");
            let rows = result["values"].as_array().map_or(&[][..], Vec::as_slice);
            let row = |row: &Value| row.as_array().unwrap().iter().map(field).collect::<Vec<_>>().join("|");
            rows.iter().map(row).collect::<Vec<_>>().join("\n")
        };
        results.iter().map(rows_of).collect()
    }
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The authority of a cluster, and the certificate of a user for a node that asks for one.
fn client_config(certificates: &Path) -> ClientConfig {
    let certificate = |name: &str| CertificateDer::from_pem_file(certificates.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates.join("user.key")).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate("user.crt")], key)
        .unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | usize::from(*group.get(index).unwrap_or(&0)));
        for index in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * index) & 63];
            text.push(if index <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn credentials_are_encoded() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}
