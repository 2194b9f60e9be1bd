//! What cannot be done is told at once, by a fitting code and with a hint that helps.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::rqlite::Database;
use crate::support::scripted_http::{Answer, ScriptedHttp, Step};
use crate::support::users::assert_refused;
use crate::support::{Kv, skipped};

fn kv(url: &str) -> Kv {
    Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION", url)])
}

/// Asserts that each of some commands fails with this code and these words, and soon.
#[track_caller]
fn assert_told(url: &str, code: i32, words: &[&str], within: Duration) {
    let kv = kv(url);
    for text in ["kv get x", "kv --daemon=never put x --value 1", "kv --daemon=never init", "kv check"] {
        let begun = Instant::now();
        let (found, stderr) = kv.fails(text);
        assert!(begun.elapsed() < within, "{url}: {text} took {:?}", begun.elapsed());
        assert_eq!(found, code, "{url}: {text}: {stderr}");
        for word in words.iter().chain(&["hint: "]) {
            assert!(stderr.contains(word), "{url}: {text}: {word}: {stderr}");
        }
    }
}

/// A server that answers the first bytes of each connection by these, and closes it.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 4_096]);
            let _ = client.write_all(answer);
        }
    });
    url
}

#[test]
fn what_is_not_rqlite_is_told_at_once() {
    let at_once = Duration::from_secs(4);
    let other = "does not answer as rqlite does";
    assert_told("http://127.0.0.1:1", 6, &["127.0.0.1:1", "refused", "are they running?"], at_once);
    assert_told("http://127.0.0.1:1,127.0.0.1:2", 6, &["127.0.0.1:1,127.0.0.1:2"], at_once);
    assert_told("http://no-such-host.invalid", 6, &["no-such-host.invalid:4001"], at_once);
    assert_told(&server(b"-ERR unknown command\r\n"), 6, &[other, "another server"], at_once);
    assert_told(&server(b"SSH-2.0-OpenSSH_9.2\r\n"), 6, &[other], at_once);
    let answers = |status, body: &'static str| {
        ScriptedHttp::alone(move |_| {
            let headers = Default::default();
            Step::Answer(Answer { status, headers, body: body.as_bytes().to_vec() })
        })
    };
    for (status, body, code, words) in [
        (404, "404 page not found", 6, [other, "404 page not found"]),
        (405, "", 6, [other, "status 405"]),
        (200, "<html>\u{1b}[31m</html>", 6, [other, "another server"]),
        (403, "go\naway\u{1b}[31m", 6, [other, r"go\naway\u{1b}[31m"]),
        (301, "", 1, ["redirects", "name the nodes themselves"]),
    ] {
        let server = answers(status, body);
        assert_told(&format!("http://{}", server.address()), code, &words, at_once);
    }
}

/// They may be nodes that start, or that wait for each other: they are given some time.
#[test]
fn a_server_that_answers_nothing_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let threads = [(silent, "does not answer"), (server(b""), "cannot be reached")].map(|(url, words)| {
        let command = |text: &'static str| {
            let url = url.clone();
            std::thread::spawn(move || {
                let begun = Instant::now();
                let (code, stderr) = kv(&url).fails(text);
                let took = begun.elapsed();
                assert!(code == 6 && stderr.contains(words), "{text}: {code} {stderr}");
                assert!(took < Duration::from_secs(20), "{url}: {text} took {took:?}");
            })
        };
        ["kv get x", "kv --daemon=never put x --value 1", "kv --daemon=never init"].map(command)
    });
    threads.into_iter().flatten().for_each(|thread| thread.join().unwrap());
}

#[test]
fn what_rqlite_does_itself_is_refused_with_the_way_to_do_it() {
    let Some(database) = Database::lease() else {
        return skipped("what_rqlite_does_itself_is_refused_with_the_way_to_do_it");
    };
    let kv = kv(database.url());
    kv.ok("kv init; kv put x --value 1");
    for (text, hint) in [
        ("kv backup b.db", "curl --output FILE http://HOST:PORT/db/backup"),
        ("kv backup - | cat; exit ${PIPESTATUS[0]}", "/db/backup"),
        ("echo | kv restore -", "rqlite"),
        ("kv compact", "rqlited -auto-vacuum-int"),
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(
            code == 1 && stderr.contains("unsupported") && stderr.contains(hint),
            "{text}: {code} {stderr}"
        );
    }
    assert_refused(&kv, r#"{"op":"compact"}"#, "unsupported", false, &["-auto-vacuum-int"]);
    assert_refused(&kv, r#"{"op":"restore","epoch":"x"}"#, "unsupported", false, &["rqlite.io"]);
    let copy = format!("curl --silent --output FILE {}/db/backup", database.url());
    assert_eq!(kv.ok(&format!("{copy}; kv --type sqlite --connection FILE get x")), "1\n");
}

#[test]
fn where_there_is_no_store_the_place_is_told() {
    let Some(database) = Database::lease() else {
        return skipped("where_there_is_no_store_the_place_is_told");
    };
    let kv = kv(database.url());
    for text in
        ["kv get x", "kv put x --value 1", "kv list", "kv watch", "kv check", "kv --daemon=never check"]
    {
        let (code, stderr) = kv.fails(text);
        assert!(code == 6 && stderr.contains("kv init"), "{text}: {code} {stderr}");
        assert!(stderr.contains(database.url()), "{text}: {stderr}");
    }
}

#[test]
fn a_damaged_row_is_found() {
    let Some(database) = Database::lease() else { return skipped("a_damaged_row_is_found") };
    let kv = kv(database.url());
    kv.ok("kv init; kv put a --value 1; kv put b --value 2; kv lock acquire l me --duration 1h; kv consumer commit c 1");
    let sound = kv.shell("kv check");
    assert!(sound.status.success() && sound.stdout.is_empty(), "{sound:?}");
    for (damage, repair, found) in [
        (
            "update kv_record set version = 7 where \"key\" = 'a'",
            "update kv_record set version = 1 where \"key\" = 'a'",
            "kv_record \"a\"",
        ),
        (
            "update kv_record set value = '{' where \"key\" = 'b'",
            "update kv_record set value = '2' where \"key\" = 'b'",
            "kv_record \"b\"",
        ),
        (
            "update kv_stream set seq = 9 where seq = 2",
            "update kv_stream set seq = 2 where seq = 9",
            "kv_stream",
        ),
        ("update kv_meta set head = 7", "update kv_meta set head = 2", "kv_stream"),
    ] {
        database.sql(damage);
        let check = kv.shell("kv check");
        let told = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.code() == Some(1) && told.contains(found), "{damage}: {check:?}");
        database.sql(repair);
    }
    kv.ok("kv check; kv --daemon=never check");
    // A copy does not stay.
    assert_eq!(kv.ok("mkdir tmp; TMPDIR=$PWD/tmp kv check; ls tmp"), "");
    let (code, stderr) = kv.fails("TMPDIR=/nowhere kv check");
    assert!(code == 6 && stderr.contains("TMPDIR"), "{code} {stderr}");
}
