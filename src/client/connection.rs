//! One connection to a daemon: many callers, answers in order.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::bytes::Bytes;
use tokio_util::codec::FramedRead;

use crate::limits;
use crate::protocol::{Line, LineCodec};

/// Why a line was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The daemon did not take the whole line, so it was certainly not executed.
    NotTaken,
    /// It was sent, and nobody knows what became of it.
    Unanswered,
}

#[derive(Debug)]
pub(super) struct Connection {
    calls: mpsc::Sender<Sent>,
}

#[derive(Debug)]
struct Sent {
    line: Vec<u8>,
    answer: oneshot::Sender<Result<Bytes, Lost>>,
}

struct Waiting {
    /// How many bytes are sent once the whole line is.
    sent_at_bytes: u64,
    answer: oneshot::Sender<Result<Bytes, Lost>>,
}

impl Connection {
    /// Must be called within a tokio runtime.
    pub(super) fn new(stream: UnixStream) -> Connection {
        let (calls, waiting) = mpsc::channel(limits::CONNECTION_REQUESTS);
        tokio::spawn(run(stream, waiting));
        Connection { calls }
    }

    /// Whether it will answer nothing any more.
    pub(super) fn has_ended(&self) -> bool {
        self.calls.is_closed()
    }

    /// Sends a line and waits for its answer.
    pub(super) async fn ask(&self, line: Vec<u8>) -> Result<Bytes, Lost> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Sent { line, answer }).await.map_err(|_| Lost::NotTaken)?;
        // A line that the task had not even looked at when it ended was not sent.
        answered.await.unwrap_or(Err(Lost::NotTaken))
    }
}

/// Sends lines and hands out the replies, which come in the same order. When the connection ends, whoever waits is
/// told whether the daemon took their line: a daemon that ends reads what was sent before, and refuses the rest.
async fn run(stream: UnixStream, mut calls: mpsc::Receiver<Sent>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = FramedRead::new(reader, LineCodec::default());
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut unsent: Vec<u8> = Vec::new();
    let mut sent_bytes = 0;
    let mut writing = true;
    // A daemon that has no place for the connection says so before it is asked anything, and closes.
    let mut refusal = None;
    loop {
        tokio::select! {
            call = calls.recv(), if writing && unsent.len() < limits::REPLY_BUFFER_BYTES => match call {
                Some(Sent { line, answer }) => {
                    unsent.extend_from_slice(&line);
                    let sent_at_bytes = sent_bytes + unsent.len() as u64;
                    waiting.push_back(Waiting { sent_at_bytes, answer });
                }
                // The client was dropped: nobody waits for what is still to come.
                None => break,
            },
            written = writer.write(&unsent), if writing && !unsent.is_empty() => match written {
                Ok(count) if count > 0 => {
                    sent_bytes += count as u64;
                    unsent.drain(..count);
                }
                // What the daemon has answered before can still be read.
                _ => writing = false,
            },
            line = lines.next() => match line {
                Some(Ok(Line::Whole(line))) => match waiting.pop_front() {
                    // A caller that timed out is not there any more; its reply is dropped.
                    Some(Waiting { answer, .. }) => drop(answer.send(Ok(line))),
                    None => {
                        refusal = Some(line);
                        break;
                    }
                },
                _ => break,
            },
        }
    }
    if let Some(line) = refusal
        && let Some(Sent { answer, .. }) = calls.recv().await
    {
        // The caller may be gone by now.
        let _ = answer.send(Ok(line));
    }
    for Waiting { sent_at_bytes, answer } in waiting {
        let lost = if sent_at_bytes > sent_bytes { Lost::NotTaken } else { Lost::Unanswered };
        // As above, the caller may be gone.
        let _ = answer.send(Err(lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_daemon_says_before_it_is_asked_answers_the_first_call() {
        let (client, mut daemon) = UnixStream::pair().unwrap();
        daemon.write_all(b"{\"ok\":false}\n").await.unwrap();
        drop(daemon);
        let connection = Connection::new(client);
        // The connection has read it by then.
        tokio::task::yield_now().await;
        assert_eq!(connection.ask(b"{}\n".to_vec()).await, Ok(Bytes::from_static(b"{\"ok\":false}")));
        assert_eq!(connection.ask(b"{}\n".to_vec()).await, Err(Lost::NotTaken));
    }
}
