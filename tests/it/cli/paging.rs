//! Listings are printed page by page: however long they are, one page is held, and the first line appears at once.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use kv::store::{Clock, LocalStore, Mutation, Put, Store as _};
use serde_json::Value;

use crate::support::{Kv, address, json, peak_bytes, runtime, wait_until};

const MEBIBYTE: usize = 1_024 * 1_024;

/// Puts records of one size, and creates a consumer at the beginning.
fn fill(kv: &Kv, records: usize, bytes: usize) {
    runtime().block_on(async {
        let store = LocalStore::open(&address(kv.directory.path()), Clock::System);
        store.init().await.unwrap();
        let value = json(&format!("\"{}\"", "x".repeat(bytes)));
        let keys: Vec<String> = (0..records).map(|number| format!("key/{number:06}")).collect();
        for keys in keys.chunks((5 * MEBIBYTE / bytes).min(1_000)) {
            let puts = keys.iter().map(|key| Mutation::Put(Put::new(key, value.clone()).of_type("T")));
            store.mutate_all(puts.collect()).await.unwrap();
        }
        store.close().await;
    });
}

#[test]
fn a_long_listing_takes_the_memory_of_a_page_and_is_one_array() {
    let kv = Kv::new();
    fill(&kv, 320, 100_000);
    let expected: Vec<String> = (0..320).map(|number| format!("key/{number:06}")).collect();
    for words in
        ["list 0 -1", "get prefix key/ 0 -1", "get range a z 0 -1", "get type T 0 -1", "stream get 0 -1"]
    {
        for daemon in ["--daemon=auto", "--daemon=never"] {
            let mut command = kv.command("kv");
            let mut child =
                command.arg(daemon).args(words.split(' ')).stdout(Stdio::piped()).spawn().unwrap();
            let mut stdout = child.stdout.take().unwrap();
            let mut text = vec![0; 30 * MEBIBYTE];
            let (first, rest) = text.split_at_mut(2 * MEBIBYTE);
            stdout.read_exact(first).unwrap();
            let before = peak_bytes(child.id());
            // So much is left that the command cannot have ended yet.
            stdout.read_exact(rest).unwrap();
            let grown = peak_bytes(child.id()).saturating_sub(before);
            stdout.read_to_end(&mut text).unwrap();
            assert!(child.wait().unwrap().success(), "{words}");
            assert!(grown < 5 * MEBIBYTE, "{daemon} {words}: {grown} bytes more for {}", text.len());
            let items: Vec<Value> = serde_json::from_slice(&text).unwrap();
            let keys = items.iter().map(|item| item.get("record").unwrap_or(item)["key"].as_str().unwrap());
            assert!(keys.eq(expected.iter()), "{words}");
        }
    }
}

#[test]
fn a_listing_of_many_records_takes_the_memory_of_a_page_in_every_form() {
    let kv = Kv::new();
    fill(&kv, 100_000, 10);
    for words in [
        "list",
        "list --reverse --output table",
        "get prefix key/ --output ndjson",
        "list --keys-only --output text",
        "stream get --output table",
        "stream get --keys-only --null",
    ] {
        let length = kv.ok(&format!("kv {words}")).len();
        let mut command = kv.command("kv");
        let mut child = command.args(words.split(' ')).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // What a pipe holds is left, so that the command cannot have ended yet.
        let mut text = vec![0; length - 100_000];
        let (first, rest) = text.split_at_mut(100_000);
        stdout.read_exact(first).unwrap();
        let before = peak_bytes(child.id());
        stdout.read_exact(rest).unwrap();
        let grown = peak_bytes(child.id()).saturating_sub(before);
        stdout.read_to_end(&mut text).unwrap();
        assert!(child.wait().unwrap().success() && text.len() == length, "{words}");
        assert!(grown < 5 * MEBIBYTE, "{words}: {grown} bytes more for {length}");
        let lines = text.iter().filter(|byte| [b'\n', b'\0'].contains(byte)).count();
        assert!((100_000..100_003).contains(&lines), "{words}: {lines} lines");
    }
}

#[test]
fn pages_change_nothing_of_what_is_printed() {
    let kv = Kv::new();
    fill(&kv, 2_500, 10);
    kv.ok("for i in 1 2 3; do kv lock acquire l$i me; kv consumer commit c$i $i; done");
    let forms = ["list", "get prefix key/", "get range a z", "get type T", "stream get"];
    let commands = forms.map(|form| format!("kv {form} 0 -1")).into_iter().chain([
        "kv list 100 2000".to_owned(),
        "kv list 0 -1 --keys-only".to_owned(),
        "kv get prefix nothing".to_owned(),
        "kv get batch $(seq -f key/%06g 0 999)".to_owned(),
        "kv lock list".to_owned(),
        "kv lock list --prefix nothing".to_owned(),
        "kv consumer list".to_owned(),
    ]);
    for command in commands {
        let lines = kv.ok(&format!("{command} --output ndjson"));
        let lines: Vec<&str> = lines.lines().collect();
        let array =
            if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n  {}\n]\n", lines.join(",\n  ")) };
        assert_eq!(kv.ok(&command), array, "{command}");
        let lines: usize = kv.ok(&format!("{command} | jq length")).trim().parse().unwrap();
        let expected = match command.as_str() {
            "kv list 100 2000" => 2_000,
            text if text.contains("nothing") => 0,
            text if text.contains("batch") => 1_000,
            text if text.starts_with("kv lock") || text.starts_with("kv consumer") => 3,
            _ => 2_500,
        };
        assert_eq!(lines, expected, "{command}");
    }
}

/// A daemon of the test, which answers each page when the test says so.
struct Pages {
    kv: Kv,
    /// What the next request is answered with, besides its id.
    answers: Sender<String>,
    requests: Receiver<String>,
}

impl Pages {
    fn new() -> Pages {
        let kv = Kv::new();
        let hello = kv.ok("kv init; echo '{\"op\":\"hello\"}' | kv rpc; kv daemon stop");
        let listener = UnixListener::bind(kv.directory.path().join("pages.sock")).unwrap();
        let ((answers, to_answer), (asked, requests)) = (channel(), channel());
        std::thread::spawn(move || serve(&listener.accept().unwrap().0, &hello, &to_answer, &asked));
        Pages { kv, answers, requests }
    }

    fn answer(&self, answer: &str) {
        self.answers.send(format!("{answer}\n")).unwrap();
    }

    /// A page of one key, with more behind it.
    fn answer_key(&self, key: &str) {
        self.answer(&format!(r#""ok":true,"seq":9,"keys":["{key}"],"more":true,"next":"{key}"}}"#));
    }

    fn asked(&self) -> String {
        self.requests.recv().unwrap()
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.kv.command("kv");
        command.args(["--socket", "pages.sock", "--daemon=require"]).args(words.split(' '));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, words: &str) -> (Child, BufReader<ChildStdout>) {
        let mut child = self.command(words).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        (child, stdout)
    }
}

fn serve(mut stream: &UnixStream, hello: &str, answers: &Receiver<String>, asked: &Sender<String>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let request: Value = serde_json::from_str(&line).unwrap();
        let answer = if request["op"] == "hello" {
            hello.strip_prefix('{').unwrap().to_owned()
        } else {
            asked.send(line).unwrap();
            let Ok(answer) = answers.recv() else { return };
            answer
        };
        stream.write_all(format!("{{\"id\":{},{answer}", request["id"]).as_bytes()).unwrap();
    }
}

fn stderr_and_code(child: Child) -> (String, i32) {
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

#[test]
fn the_first_page_is_printed_before_the_second_is_there() {
    let pages = Pages::new();
    let (child, mut stdout) = pages.start("list 0 -1 --keys-only");
    pages.answer_key("a");
    let mut printed = String::new();
    stdout.read_line(&mut printed).unwrap();
    assert_eq!(printed, "[\n");
    assert!(!pages.asked().contains("after"));
    assert!(pages.asked().contains("\"after\":\"a\""));
    pages.answer(r#""ok":true,"seq":9,"keys":["b"]}"#);
    stdout.read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "[\n  \"a\",\n  \"b\"\n]\n");
    assert_eq!(stderr_and_code(child), (String::new(), 0));
}

#[test]
fn a_reader_that_is_gone_ends_a_listing_quietly_whatever_is_still_to_come() {
    for output in ["json", "ndjson"] {
        let pages = Pages::new();
        let (mut child, mut stdout) = pages.start(&format!("list 0 -1 --keys-only --output {output}"));
        pages.answer_key("a");
        stdout.read_line(&mut String::new()).unwrap();
        pages.asked();
        pages.asked();
        drop(stdout);
        // The second page does not come.
        wait_until("the end of the command", || child.try_wait().unwrap().is_some());
        assert_eq!(stderr_and_code(child), (String::new(), 0), "{output}");
        assert!(pages.requests.try_recv().is_err(), "a third page was asked for");
    }
}

#[test]
fn an_error_in_the_middle_is_told_behind_what_was_printed() {
    for (output, expected) in [("json", "[\n  \"a\"\n"), ("ndjson", "\"a\"\n")] {
        let pages = Pages::new();
        let (child, mut stdout) = pages.start(&format!("list 0 -1 --keys-only --output {output}"));
        pages.answer_key("a");
        pages.answer(r#""ok":false,"error":{"code":"busy","message":"the store is busy"}}"#);
        let mut printed = String::new();
        stdout.read_to_string(&mut printed).unwrap();
        assert_eq!(printed, expected);
        assert_eq!(stderr_and_code(child), ("kv: the store is busy (busy)\n".to_owned(), 6));
    }
}

/// Also what a consumer has to do is printed as a whole, and by the filter that is kept with it.
#[test]
fn a_consumer_gets_everything_page_by_page() {
    let kv = Kv::new();
    kv.ok(r#"kv init; for part in k/ x/; do
            seq 1250 | jq -c --arg part $part '{key: ($part + tostring), value: .}' | kv import - 2>/dev/null
        done; kv consumer commit some 1 --prefix k/ >position"#);
    for (options, count) in [
        ("all", 2_500),
        ("all --limit -1", 2_500),
        ("all 1100", 1_100),
        ("all --limit 1100", 1_100),
        ("all --limit 0", 0),
        ("all --prefix x/", 1_250),
        ("new --from 2000", 500),
        ("some", 1_249),
        ("some --limit 1200", 1_200),
    ] {
        let printed = kv.ok(&format!("kv consumer get {options} 2>/dev/null | jq length"));
        assert_eq!(printed, format!("{count}\n"), "{options}");
    }
    assert_eq!(
        kv.ok("kv consumer get some --output ndjson 2>/dev/null | jq -r '.record.key[:2]' | uniq"),
        "k/\n"
    );
    // Who commits what is told goes on behind what was printed.
    let told = "kv consumer get all --limit 1100 2>&1 >/dev/null | sed 's/.*: //'";
    assert_eq!(
        kv.ok(&format!("eval \"$({told})\"; kv consumer get all 2>/dev/null | jq '.[0].seq'")),
        "1100\n1101\n"
    );
    assert_eq!(
        kv.ok("kv consumer get some 2>&1 >/dev/null"),
        "when they are dealt with: kv consumer commit some 2500\n"
    );
    assert_eq!(kv.fails("kv consumer get all 5 --limit 5").0, 2);
}
