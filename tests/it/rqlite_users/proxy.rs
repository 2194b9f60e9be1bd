//! Proxies of the environment, as curl and Go use them. Behind them the nodes have names that nobody else can resolve.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::rqlite::{Cluster, Database};
use crate::support::scripted_http::{Answer, ScriptedHttp, Step};
use crate::support::users::{both, processes};
use crate::support::{Kv, skipped};

/// A user and a password of the proxy, and the header that they make.
const LOGIN: &str = "me:warbles%21";
const HEADER: &str = "Basic bWU6d2FyYmxlcyE=";

#[track_caller]
fn assert_hidden(what: &str, text: &str) {
    crate::support::users::assert_hidden(&["warbles", "bWU6d2FyYmxlcyE"], what, text);
}

#[test]
fn the_proxy_of_who_starts_the_daemon_is_used() {
    let Some(database) = Database::lease() else {
        return skipped("the_proxy_of_who_starts_the_daemon_is_used");
    };
    let proxy = ScriptedHttp::in_front_of(database.node().address(), |_| Step::Forward);
    let url = "http://node.invalid:4001";
    let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION", url), ("RUST_LOG", "trace")]);
    let by_proxy = format!("export http_proxy=http://{LOGIN}@{}", proxy.address());
    kv.ok(&format!("{by_proxy}; kv init; kv put x --value 1"));
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert!(request.target.starts_with("http://node.invalid:4001/db/"), "{}", request.target);
        assert_eq!(request.headers.get("proxy-authorization"), Some(HEADER));
    }
    // The daemon has it, and whoever comes later needs none.
    assert_eq!(kv.ok("kv get x"), "1\n");
    let (code, stderr) = kv.fails("kv --daemon=never get x");
    assert!(code == 6 && stderr.contains("node.invalid"), "{code} {stderr}");
    assert_eq!(kv.ok(&format!("{by_proxy}; kv --daemon=never get x; kv check")), "1\n");
    // A program that the command runs has it too.
    assert_eq!(
        kv.ok(&format!("{by_proxy}; kv watch --after 0 -- sh -c 'unset http_proxy; kv --daemon=never get x; exit 9' || echo $?")),
        "1\n9\n"
    );
    assert_hidden("a process", &processes(&kv));
    for text in ["kv daemon status", "kv daemon list", "kv daemon logs", "kv socket", "cat run/kv/*"] {
        assert_hidden(text, &both(&kv, text));
    }
    kv.ok("kv daemon stop");
    let before = proxy.connections();
    for variables in [
        format!("{by_proxy} no_proxy=other,node.invalid"),
        format!("{by_proxy} NO_PROXY=.invalid"),
        format!("{by_proxy} no_proxy='*'"),
        format!("export https_proxy=http://{}", proxy.address()),
        String::new(),
    ] {
        let (code, stderr) = kv.fails(&format!("{variables}\nkv --daemon=never get x"));
        assert!(code == 6 && stderr.contains("node.invalid"), "{variables}: {code} {stderr}");
        assert_hidden("an error", &stderr);
    }
    // Nor is this machine reached by it.
    assert_eq!(
        kv.ok(&format!("{by_proxy}; kv --daemon=never --connection '{}' get x", database.url())),
        "1\n"
    );
    assert_eq!(proxy.connections(), before);
}

#[test]
fn a_proxy_that_lets_nobody_through_is_told_apart() {
    let refuses = |status| {
        ScriptedHttp::alone(move |_| {
            Step::Answer(Answer { status, headers: Default::default(), body: b"who are you".to_vec() })
        })
    };
    let proxy = refuses(407);
    let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_DAEMON", "never")]);
    for (variables, url, words) in [
        (format!("http_proxy=http://{LOGIN}@{}", proxy.address()), "http://h", "password of the proxy"),
        (format!("https_proxy=http://{LOGIN}@{}", proxy.address()), "https://h", "password of the proxy"),
        (format!("http_proxy=http://{LOGIN}@127.0.0.1:1"), "http://h", "the proxy that is set"),
        (format!("all_proxy=http://{LOGIN}@127.0.0.1:1"), "https://h", "the proxy that is set"),
    ] {
        let (code, stderr) = kv.fails(&format!("{variables} kv --connection '{url}' get x"));
        assert!(
            code == 6 && stderr.contains(words) && stderr.contains("hint: "),
            "{variables}: {code} {stderr}"
        );
        assert_hidden("an error", &stderr);
    }
    let (code, stderr) = kv.fails(&format!("all_proxy=socks5://{LOGIN}@p kv --connection http://h get x"));
    assert!(code == 2 && stderr.contains("other kinds are not known"), "{code} {stderr}");
    assert_hidden("an error", &stderr);
}

/// A proxy that opens tunnels to one server, whatever it is asked for.
struct Tunnels {
    address: SocketAddr,
    /// The first line of each request, and the header of its user.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Tunnels {
    fn to(server: SocketAddr) -> Tunnels {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let tunnels = Tunnels { address: listener.local_addr().unwrap(), heads: Arc::clone(&heads) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let heads = Arc::clone(&heads);
                // A tunnel that breaks has ended.
                std::thread::spawn(move || tunnel(client, server, &heads));
            }
        });
        tunnels
    }
}

fn tunnel(mut client: TcpStream, server: SocketAddr, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    heads.lock().unwrap().push(head);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let mut server = TcpStream::connect(server)?;
    let mut back = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut back.0, &mut back.1);
        let _ = back.1.shutdown(std::net::Shutdown::Both);
    });
    // Nothing comes before the answer, so the reader holds nothing back.
    io::copy(&mut reader, &mut server)?;
    server.shutdown(std::net::Shutdown::Both)
}

#[test]
fn what_is_encrypted_goes_through_a_tunnel() {
    let Some(cluster) = Cluster::start_with(1, &["tls"]) else {
        return skipped("what_is_encrypted_goes_through_a_tunnel");
    };
    let proxy = Tunnels::to(cluster.node(0).address());
    let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION", "https://node.invalid")]);
    let ca = cluster.directory().join("tls/ca.crt");
    let by_proxy = format!("export https_proxy=http://{LOGIN}@{} KV_CA={}", proxy.address, ca.display());
    assert_eq!(kv.ok(&format!("{by_proxy}; kv init; kv put x --value 1; kv --daemon=never get x")), "1\n");
    for head in proxy.heads.lock().unwrap().iter() {
        assert!(head.starts_with("CONNECT node.invalid:4001 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(HEADER), "{head}");
    }
    // The certificate is still that of the node, and looked at.
    let (code, stderr) = kv.fails(&format!("{by_proxy} KV_CONNECTION=https://other.invalid; kv get x"));
    assert!(code == 6 && stderr.contains("not valid for"), "{code} {stderr}");
}
