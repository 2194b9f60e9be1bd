//! One connection to a daemon, which concurrent calls share; the answers come in the order of the calls.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::bytes::{Buf as _, Bytes, BytesMut};
use tokio_util::codec::FramedRead;

use crate::limits;
use crate::protocol::{Line, LineCodec};

/// The ways in which a call can stay without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The daemon did not take the whole line, so it certainly did not execute it.
    NotTaken,
    /// The line was sent, and whether the daemon executed it is unknown.
    Unanswered,
}

/// A connection to a daemon. Its task ends when the value is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    calls: mpsc::Sender<QueuedCall>,
}

/// A call that its caller has handed to the task of the connection.
#[derive(Debug)]
struct QueuedCall {
    /// The request, with its newline.
    line: Vec<u8>,
    answer: oneshot::Sender<Result<Bytes, Failure>>,
}

/// A call whose line was taken over by the task, and whose answer is to come.
struct OpenCall {
    /// How many bytes the connection has sent when it has sent the last byte of this line.
    end_bytes: u64,
    answer: oneshot::Sender<Result<Bytes, Failure>>,
}

impl Connection {
    /// Starts the task that sends and receives on this stream. Must be called within a tokio runtime.
    pub(super) fn new(stream: UnixStream) -> Connection {
        let (calls, queue) = mpsc::channel(limits::CONNECTION_REQUESTS);
        tokio::spawn(run(stream, queue));
        Connection { calls }
    }

    /// Whether the connection is closed, so that it answers no further call.
    pub(super) fn has_ended(&self) -> bool {
        self.calls.is_closed()
    }

    /// Sends a request, with its newline, and waits for the line that answers it.
    ///
    /// # Errors
    /// Whether the daemon may have executed it, when the connection ended before the answer.
    pub(super) async fn ask(&self, line: Vec<u8>) -> Result<Bytes, Failure> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(QueuedCall { line, answer }).await.map_err(|_| Failure::NotTaken)?;
        // A line that was still in the queue when the task ended was not sent.
        answered.await.unwrap_or(Err(Failure::NotTaken))
    }
}

/// Sends lines and hands out the replies, which come in the same order. When the connection ends, each caller that waits
/// is told whether the daemon took its line: a daemon that ends reads what was sent before, and refuses the rest.
async fn run(stream: UnixStream, mut calls: mpsc::Receiver<QueuedCall>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = FramedRead::new(reader, LineCodec::default());
    let mut open: VecDeque<OpenCall> = VecDeque::new();
    let mut unsent = BytesMut::new();
    let mut sent_bytes = 0;
    let mut writing = true;
    // A daemon that has no place for the connection says so before it is asked anything, and closes.
    let mut refusal = None;
    loop {
        tokio::select! {
            call = calls.recv(), if writing && unsent.len() < limits::REPLY_BUFFER_BYTES => match call {
                Some(QueuedCall { line, answer }) => {
                    unsent.extend_from_slice(&line);
                    let end_bytes = sent_bytes + unsent.len() as u64;
                    open.push_back(OpenCall { end_bytes, answer });
                }
                // The client was dropped, and no caller waits for an answer.
                None => break,
            },
            written = writer.write(&unsent), if writing && !unsent.is_empty() => match written {
                Ok(count) if count > 0 => {
                    sent_bytes += count as u64;
                    unsent.advance(count);
                }
                // The daemon reads no more. What it has answered before can still be read.
                _ => writing = false,
            },
            line = lines.next() => match line {
                Some(Ok(Line::Whole(line))) => match open.pop_front() {
                    // Where the caller has timed out, its reply is dropped.
                    Some(OpenCall { answer, .. }) => drop(answer.send(Ok(line))),
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
        && let Some(QueuedCall { answer, .. }) = calls.recv().await
    {
        // The caller may have timed out.
        let _ = answer.send(Ok(line));
    }
    for OpenCall { end_bytes, answer } in open {
        let failure = if end_bytes > sent_bytes { Failure::NotTaken } else { Failure::Unanswered };
        // As above, the caller may have timed out.
        let _ = answer.send(Err(failure));
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
        assert_eq!(connection.ask(b"{}\n".to_vec()).await, Err(Failure::NotTaken));
    }
}
