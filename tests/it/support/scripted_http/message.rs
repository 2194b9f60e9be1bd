//! Requests and answers of HTTP/1.1, as far as a client of kv and rqlite send them.

use std::io::{self, BufRead};

/// What a client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with the query.
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    version: String,
}

/// What is answered. Without a header that says how long the body is, it is as long as it is.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Names and values, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    /// The value of a name, however it is written.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(written, _)| written.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    }

    /// Without what concerns one connection, or how the body was sent.
    fn without_framing(&self) -> Headers {
        let is_framing = |name: &str| {
            ["connection", "content-length", "transfer-encoding"]
                .iter()
                .any(|framing| name.eq_ignore_ascii_case(framing))
        };
        Headers(self.0.iter().filter(|(name, _)| !is_framing(name)).cloned().collect())
    }
}

impl Request {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The next request of a connection; none at its end.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        if reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let first = line(reader)?;
        let [method, target, version] = &first.split(' ').collect::<Vec<_>>()[..] else {
            return Err(invalid(&first));
        };
        let headers = read_headers(reader)?;
        let body = read_body(reader, &headers, false)?;
        let [method, target, version] = [method, target, version].map(|word| (*word).to_owned());
        Ok(Some(Request { method, target, headers, body, version }))
    }

    /// Whether the client expects nothing after the answer.
    pub(super) fn is_last(&self) -> bool {
        self.version == "HTTP/1.0" || self.headers.has("connection", "close")
    }

    /// As the only one of its connection.
    pub(super) fn bytes_of_one(&self) -> Vec<u8> {
        let mut headers = self.headers.without_framing();
        headers.0.push(("Connection".to_owned(), "close".to_owned()));
        message(&format!("{} {} HTTP/1.1", self.method, self.target), headers, &self.body)
    }
}

impl Answer {
    /// One with a kind of body.
    pub(crate) fn new(status: u16, kind: &str, body: &str) -> Answer {
        let headers = Headers(vec![("Content-Type".to_owned(), kind.to_owned())]);
        Answer { status, headers, body: body.as_bytes().to_vec() }
    }

    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Answer> {
        let first = line(reader)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| invalid(&first))?;
        let headers = read_headers(reader)?;
        let body = read_body(reader, &headers, true)?;
        Ok(Answer { status, headers: headers.without_framing(), body })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        message(&format!("HTTP/1.1 {} Scripted", self.status), self.headers.clone(), &self.body)
    }
}

fn message(first: &str, mut headers: Headers, body: &[u8]) -> Vec<u8> {
    if headers.get("content-length").or(headers.get("transfer-encoding")).is_none() {
        headers.0.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    let headers: String = headers.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    [format!("{first}\r\n{headers}\r\n").as_bytes(), body].concat()
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let complete = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(complete.to_owned())
}

fn read_headers(reader: &mut impl BufRead) -> io::Result<Headers> {
    let mut headers = Headers::default();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
        headers.0.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// The body of a message, which may end with its connection if so said.
fn read_body(
    reader: &mut impl BufRead,
    headers: &Headers,
    ends_with_connection: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.has("transfer-encoding", "chunked") {
        loop {
            let size = line(reader)?;
            let length = usize::from_str_radix(&size, 16).map_err(|_| invalid(&size))?;
            let start = body.len();
            body.resize(start + length, 0);
            reader.read_exact(&mut body[start..])?;
            line(reader)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().map_err(|_| invalid(length))?, 0);
        reader.read_exact(&mut body)?;
    } else if ends_with_connection {
        reader.read_to_end(&mut body)?;
    }
    Ok(body)
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{text} is not HTTP"))
}
