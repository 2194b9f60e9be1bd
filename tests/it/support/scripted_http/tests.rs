//! The scripted server does to a client what a broken cluster would, and nothing else.

use std::io::Read as _;
use std::time::Instant;

use super::*;
use crate::support::rqlite::Cluster;
use crate::support::{skipped, wait_until};

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn to(server: &ScriptedHttp) -> Client {
        Client(BufReader::new(TcpStream::connect(server.address()).unwrap()))
    }

    fn send(&mut self, target: &str, body: &str) {
        let length = body.len();
        let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn ask(&mut self, target: &str, body: &str) -> Answer {
        self.send(target, body);
        Answer::read(&mut self.0).unwrap()
    }

    /// What arrives until the end of the connection.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

fn text(body: &str) -> Answer {
    Answer::new(200, "text/plain", body)
}

/// What stands for a real server: it answers what it was asked.
fn echo() -> ScriptedHttp {
    ScriptedHttp::alone(|request| {
        let mut answer = text(&format!("{} {} {}", request.method, request.target, request.text()));
        answer.headers.0.push(("X-Kept".to_owned(), "yes".to_owned()));
        Step::Answer(answer)
    })
}

#[test]
fn what_is_forwarded_arrives_and_the_connection_is_kept() {
    let real = echo();
    let front = ScriptedHttp::in_front_of(real.address(), |_| Step::Forward);
    let mut client = Client::to(&front);
    for round in 1..=3 {
        let answer = client.ask("/db/query?level=weak", &format!("[{round}]"));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers.get("x-kept"), Some("yes"));
        assert_eq!(answer.body, format!("POST /db/query?level=weak [{round}]").as_bytes());
    }
    assert_eq!((front.connections(), real.connections()), (1, 3));
    let requests = front.requests();
    assert_eq!(requests.iter().map(Request::text).collect::<Vec<_>>(), ["[1]", "[2]", "[3]"]);
    assert_eq!((requests[0].method.as_str(), requests[0].headers.get("host")), ("POST", Some("x")));
}

#[test]
fn an_answer_is_replaced_before_or_after_the_server_is_asked() {
    let real = echo();
    let mut steps = [
        Step::Answer(Answer::new(503, "text/plain", "leader not found")),
        Step::ForwardThenAnswer(Answer::new(500, "text/plain", "no answer from the leader")),
        Step::Forward,
    ]
    .into_iter();
    let front = ScriptedHttp::in_front_of(real.address(), move |_| steps.next().unwrap());
    let mut client = Client::to(&front);
    let refused = client.ask("/1", "");
    assert_eq!((refused.status, &refused.body[..]), (503, &b"leader not found"[..]));
    let lost = client.ask("/2", "");
    assert_eq!((lost.status, &lost.body[..]), (500, &b"no answer from the leader"[..]));
    assert_eq!(client.ask("/3", "").body, b"POST /3 ");
    let arrived: Vec<_> = real.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(arrived, ["/2", "/3"]);
}

#[test]
fn the_server_is_asked_twice() {
    let real = echo();
    let front = ScriptedHttp::in_front_of(real.address(), |_| Step::ForwardTwice);
    let answer = Client::to(&front).ask("/", "[]");
    assert_eq!(answer.body, b"POST / []");
    assert_eq!((real.requests().len(), front.requests().len(), front.forwarded()), (2, 1, 2));
}

#[test]
fn the_answer_of_the_server_waits_for_the_test() {
    let real = echo();
    let front = ScriptedHttp::in_front_of(real.address(), |_| Step::ForwardThenHold);
    let mut client = Client::to(&front);
    client.send("/", "[]");
    wait_until("the answer of the server", || front.held() == 1);
    assert_eq!((real.requests().len(), front.forwarded()), (1, 1));
    front.release();
    assert_eq!(Answer::read(&mut client.0).unwrap().body, b"POST / []");
}

#[test]
fn a_connection_ends_before_within_or_in_place_of_an_answer() {
    let real = echo();
    let front = ScriptedHttp::in_front_of(real.address(), |request| match request.target.as_str() {
        "/refused" => Step::Refuse,
        "/cut" => Step::Cut,
        _ => Step::Truncate(8),
    });
    let rest_of = |target: &str| {
        let mut client = Client::to(&front);
        client.send(target, "");
        client.rest()
    };
    assert_eq!(rest_of("/refused"), "");
    assert_eq!(rest_of("/cut"), "");
    let truncated = rest_of("/truncated");
    assert!(truncated.contains("Content-Length: 16\r\n"), "{truncated}");
    assert!(truncated.ends_with("\r\n\r\nPOST /tr"), "{truncated}");
    let arrived: Vec<_> = real.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(arrived, ["/cut", "/truncated"]);
    // A server that is gone.
    drop(real);
    assert_eq!(rest_of("/truncated"), "");
}

#[test]
fn an_answer_is_late_or_waits_for_the_test() {
    const DELAY: Duration = Duration::from_millis(50);
    let server = ScriptedHttp::alone(|request| {
        let answer = Box::new(Step::Answer(text("done")));
        if request.target == "/late" { Step::Delay(DELAY, answer) } else { Step::Hold(answer) }
    });
    let started = Instant::now();
    assert_eq!(Client::to(&server).ask("/late", "").body, b"done");
    assert!(started.elapsed() >= DELAY);
    for _ in 0..2 {
        let mut clients = [Client::to(&server), Client::to(&server)];
        for client in &mut clients {
            client.send("/held", "");
        }
        wait_until("the requests", || server.held() == 2);
        server.release();
        for client in &mut clients {
            assert_eq!(Answer::read(&mut client.0).unwrap().body, b"done");
        }
        wait_until("their end", || server.held() == 0);
    }
    // What is held does not outlive the server.
    let mut client = Client::to(&server);
    client.send("/held", "");
    wait_until("the request", || server.held() == 1);
    drop(server);
    assert_eq!(client.rest(), "");
}

/// Also answers that rqlite sends in chunks.
#[test]
fn a_real_node_is_behind_it() {
    let Some(cluster) = Cluster::start(1) else { return skipped("a_real_node_is_behind_it") };
    let front = ScriptedHttp::in_front_of(cluster.node(0).address(), |_| Step::Forward);
    let mut client = Client::to(&front);
    client.ask("/db/execute", r#"["create table kv_t (t text)"]"#);
    for length in [1, 10_000] {
        let asked = format!(r#"[["select ?", "{}"]]"#, "x".repeat(length));
        let answer = String::from_utf8(client.ask("/db/query", &asked).body).unwrap();
        assert!(answer.contains(&format!(r#""values":[["{}"]]"#, "x".repeat(length))), "{answer}");
    }
    assert_eq!(cluster.sql("select count(*) from kv_t"), "0");
}
