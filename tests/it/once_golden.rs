//! The rows of `kv_once`: the hash by which a repeat is recognized, and the outcome that it gets.
//!
//! `tests/golden/once.txt` is only ever added to. Each block is a request (`>`), the hash of its first form (`0`; `-` where the
//! versions that knew this form did not know the request) and of its canonical form (`1`), the outcome as it is kept (`=`), and the reply (`<`). A delete that is kept as half done goes on, and
//! finds nothing any more.

use kv::Client;
use kv::store::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::support::{Daemon, runtime};

const GOLDEN: &str = include_str!("../golden/once.txt");

struct Block<'a> {
    request: &'a str,
    first_form: &'a str,
    canonical_form: &'a str,
    outcome: &'a str,
    reply: &'a str,
}

fn blocks() -> Vec<Block<'static>> {
    let lines: Vec<&str> = GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let block = |lines: &[&'static str]| {
        let part = |index: usize, mark: &str| lines[index].strip_prefix(mark).unwrap();
        Block {
            request: part(0, "> "),
            first_form: part(1, "0 "),
            canonical_form: part(2, "1 "),
            outcome: part(3, "= "),
            reply: part(4, "< "),
        }
    };
    lines.chunks(5).map(block).collect()
}

/// The request of a block with an id of its own.
fn line(block: &Block<'_>, id: usize) -> String {
    format!("{},\"once\":\"{id:02}\"}}", block.request.strip_suffix('}').unwrap())
}

async fn replies(socket: &std::path::Path, blocks: &[Block<'_>]) -> Vec<String> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await.unwrap());
    let mut replies = Vec::new();
    for (id, block) in blocks.iter().enumerate() {
        stream.write_all(format!("{}\n", line(block, id)).as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_line(&mut reply).await.unwrap();
        replies.push(reply.trim_end().to_owned());
    }
    replies
}

fn sqlite3(directory: &std::path::Path, text: &str) -> String {
    let mut command = std::process::Command::new("sqlite3");
    let output = command.arg(directory.join("data.db")).arg(text).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs on a fresh store that is served by a daemon.
fn on_a_fresh_store(case: impl AsyncFnOnce(&std::path::Path, &std::path::Path)) {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), Clock::System);
    runtime().block_on(async {
        let client = Client::connect(&daemon.socket).await.unwrap();
        kv::store::Store::init(&client).await.unwrap();
        case(directory.path(), &daemon.socket).await;
    });
}

#[test]
fn each_request_is_kept_by_the_hash_of_its_canonical_form() {
    on_a_fresh_store(async |directory, socket| {
        let blocks = blocks();
        replies(socket, &blocks).await;
        let kept = sqlite3(directory, "select request, outcome from kv_once order by id");
        for (kept, block) in kept.lines().zip(&blocks) {
            let (request, _) = kept.split_once('|').unwrap();
            assert_eq!(request, block.canonical_form, "{}", block.request);
        }
        assert_eq!(kept.lines().count(), blocks.len());
    });
}

/// The store is empty, so that every request would have another outcome if it were applied.
#[test]
fn rows_of_every_version_are_read_as_they_were_meant() {
    let first_form = |block: &Block<'static>| match block.first_form {
        "-" => block.canonical_form,
        first_form => first_form,
    };
    for form in [first_form, |block: &Block<'static>| block.canonical_form] {
        on_a_fresh_store(async |directory, socket| {
            let blocks = blocks();
            let now_ms = Clock::System.now_ms();
            let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
            let insert = |(id, block): (usize, &Block<'static>)| {
                let (request, outcome) = (quoted(form(block)), quoted(block.outcome));
                format!("insert into kv_once values ('{id:02}', {request}, {outcome}, {now_ms});")
            };
            sqlite3(directory, &blocks.iter().enumerate().map(insert).collect::<String>());
            let expected: Vec<&str> = blocks.iter().map(|block| block.reply).collect();
            assert_eq!(replies(socket, &blocks).await, expected);
            assert_eq!(sqlite3(directory, "select head, first from kv_meta"), "0|1\n", "nothing was applied");
            // Under the id of another request each one is refused.
            let mut turned = blocks;
            turned.rotate_left(1);
            for reply in replies(socket, &turned).await {
                assert!(reply.contains("was used for another request"), "{reply}");
            }
        });
    }
}
