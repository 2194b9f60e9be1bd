//! `kv rpc`: the equivalent of `nc -U` for machines without it, which also reports missing answers.

use std::cell::RefCell;
use std::collections::HashSet;

use futures_util::StreamExt as _;
use kv::limits;
use kv::protocol::{Call, Id, Line, LineCodec, decode_request, is_reply, subscription_of};
use kv::store::{Code, Error, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::codec::FramedRead;

use super::arguments::DaemonMode;
use super::settings::Settings;
use super::{connect, input, output};

/// Sends stdin to the daemon and prints its answers, until both have ended.
pub(super) async fn run(settings: &Settings) -> Result<()> {
    if settings.daemon.value == DaemonMode::Never {
        return Err(Error::new(Code::BadRequest, "kv rpc speaks to a daemon").hint("leave out --daemon"));
    }
    input::tell_of_a_terminal("requests, one JSON object on each line,");
    let stream = connect::client(settings).await?.open_stream().await?;
    let sent = RefCell::default();
    let Some(ReceivedLines { answered, following }) = converse(stream, &sent).await? else { return Ok(()) };
    let SentLines { lines, behind_bye, is_over, is_all, unsubscribed, .. } = sent.into_inner();
    let gone = |message: String| Error::new(Code::Unavailable, message).hint("see its log: kv daemon logs");
    if answered < lines {
        let message = format!(
            "the daemon answered {answered} of {} before it went away",
            output::counted(lines, "line", "lines")
        );
        return Err(gone(message).unknown());
    }
    if behind_bye > 0 {
        let all = lines + behind_bye;
        let message = format!("{behind_bye} of {all} lines came behind the bye and were not executed");
        return Err(Error::new(Code::BadRequest, message).hint("bye is the last line"));
    }
    if is_over || (is_all && following.is_subset(&unsubscribed)) {
        return Ok(());
    }
    Err(gone("the daemon went away".to_owned()))
}

/// The lines that were sent so far.
#[derive(Default)]
struct SentLines {
    /// The number of lines that must be answered.
    lines: u64,
    /// The number of lines that are not answered, because the connection closes before them.
    behind_bye: u64,
    /// Whether the connection is about to close, by a `bye` or with its daemon.
    is_over: bool,
    /// Whether there is nothing more to send.
    is_all: bool,
    unsubscribed: HashSet<Id>,
    said_bye: bool,
}

impl SentLines {
    /// Counts the lines that end in these bytes; `line` holds the beginning of the unfinished one, if it can be a small
    /// one.
    fn count(&mut self, bytes: &[u8], line: &mut Vec<u8>) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            if line.len() + part.len() <= limits::SMALL_MESSAGE_BYTES {
                line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.add(line.trim_ascii_end());
                line.clear();
            }
        }
    }

    fn add(&mut self, line: &[u8]) {
        if self.said_bye {
            self.behind_bye += 1;
            return;
        }
        self.lines += 1;
        match decode_request(line).map(|asked| (asked.call, asked.id)) {
            Ok((Call::Bye, _)) => (self.said_bye, self.is_over) = (true, true),
            Ok((Call::Shutdown, _)) => self.is_over = true,
            Ok((Call::Unsubscribe(id), _)) => drop(self.unsubscribed.insert(id)),
            Ok((Call::Subscribe(_), Some(id))) => drop(self.unsubscribed.remove(&id)),
            _ => {}
        }
    }
}

/// The answers that were received.
#[derive(Default)]
struct ReceivedLines {
    answered: u64,
    /// The active subscriptions, which do not end by themselves.
    following: HashSet<Id>,
}

/// Sends stdin and prints the answers, which it counts; none when stdout has no reader any more.
async fn converse(stream: UnixStream, sent: &RefCell<SentLines>) -> Result<Option<ReceivedLines>> {
    let (reader, mut writer) = stream.into_split();
    let sending = async {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; limits::REPLY_BUFFER_BYTES];
        let (mut last, mut line) = (b'\n', Vec::new());
        loop {
            let count = stdin
                .read(&mut buffer)
                .await
                .map_err(|error| Error::new(Code::BadRequest, format!("stdin cannot be read: {error}")))?;
            let Some(&end) = buffer[..count].last() else { break };
            last = end;
            sent.borrow_mut().count(&buffer[..count], &mut line);
            // A daemon that ends still answers the lines that it took; the rest will be missing.
            if writer.write_all(&buffer[..count]).await.is_err() {
                return Ok(());
            }
        }
        // A line that was cut off is answered too.
        if last != b'\n' {
            sent.borrow_mut().add(&[]);
        }
        sent.borrow_mut().is_all = true;
        // The answers show whether the daemon is gone.
        let _ = writer.shutdown().await;
        Ok::<(), Error>(())
    };
    let receiving = async {
        let mut received = ReceivedLines::default();
        let mut lines = FramedRead::new(reader, LineCodec::default());
        while let Some(Ok(Line::Whole(line))) = lines.next().await {
            received.answered += u64::from(is_reply(&line));
            match subscription_of(&line) {
                Some((id, false)) => drop(received.following.insert(id)),
                Some((id, true)) => drop(received.following.remove(&id)),
                None => {}
            }
            if output::print_bytes(&[&line, b"\n".as_slice()].concat())?.is_break() {
                return Ok(None);
            }
        }
        Ok(Some(received))
    };
    tokio::pin!(sending, receiving);
    tokio::select! {
        sent = &mut sending => sent?,
        // It must not wait for input from a terminal.
        received = &mut receiving => return received,
    }
    receiving.await
}
