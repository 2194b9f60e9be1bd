//! `kv rpc`: what `nc -U` does, on machines that have none, and on top it tells when an answer is missing.

use std::cell::Cell;

use futures_util::StreamExt as _;
use kv::client::Client;
use kv::limits;
use kv::protocol::{Call, Line, LineCodec, decode_request, is_reply};
use kv::store::{Code, Error, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::codec::FramedRead;

use super::arguments::{DaemonMode, StoreArguments};
use super::{connect, output};

/// Sends stdin to the daemon and prints what it answers, until both are done.
pub(super) async fn run(arguments: &StoreArguments) -> Result<()> {
    let target = match arguments.daemon {
        DaemonMode::Auto => connect::starting(arguments)?,
        DaemonMode::Require => connect::running(arguments)?,
        DaemonMode::Never => {
            return Err(Error::new(Code::BadRequest, "kv rpc speaks to a daemon").hint("leave out --daemon"));
        }
    };
    let stream = Client::connect_to(target).await?.open_stream().await?;
    let sent = Sent::default();
    let Some(Received { answered, follows }) = converse(stream, &sent).await? else { return Ok(()) };
    let gone = |message: String| Error::new(Code::Unavailable, message).hint("see its log: kv daemon logs");
    let asked = sent.lines.get();
    if answered < asked {
        let message = format!("the daemon answered {answered} of {asked} lines before it went away");
        return Err(gone(message).unknown());
    }
    let is_done = sent.bye.get() || (sent.all.get() && !follows);
    if is_done { Ok(()) } else { Err(gone("the daemon went away".to_owned())) }
}

/// What was sent so far.
#[derive(Default)]
struct Sent {
    lines: Cell<u64>,
    /// Whether the daemon was asked to close.
    bye: Cell<bool>,
    /// Whether there is nothing more to send.
    all: Cell<bool>,
}

impl Sent {
    /// Counts the lines that end in these bytes; `line` is the one that does not, as far as it can be a `bye`.
    fn count(&self, bytes: &[u8], line: &mut Vec<u8>) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            if line.len() + part.len() <= limits::SMALL_MESSAGE_BYTES {
                line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.lines.set(self.lines.get() + 1);
                let is_bye = decode_request(line.trim_ascii_end()).is_ok_and(|asked| asked.call == Call::Bye);
                self.bye.set(self.bye.get() || is_bye);
                line.clear();
            }
        }
    }
}

/// What came.
#[derive(Default)]
struct Received {
    answered: u64,
    /// Whether a subscription brought something: it has no end of its own.
    follows: bool,
}

/// Answers what came; none when nobody reads it any more.
async fn converse(stream: UnixStream, sent: &Sent) -> Result<Option<Received>> {
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
            sent.count(&buffer[..count], &mut line);
            // A daemon that ends still answers what it took; the rest is missing then.
            if writer.write_all(&buffer[..count]).await.is_err() {
                return Ok(());
            }
        }
        // A line that was cut off is answered too.
        sent.lines.set(sent.lines.get() + u64::from(last != b'\n'));
        sent.all.set(true);
        // Whether it is gone by now shows in what it answers.
        let _ = writer.shutdown().await;
        Ok::<(), Error>(())
    };
    let receiving = async {
        let mut received = Received::default();
        let mut lines = FramedRead::new(reader, LineCodec::default());
        while let Some(Ok(Line::Whole(line))) = lines.next().await {
            let is_reply = is_reply(&line);
            received.answered += u64::from(is_reply);
            received.follows |= !is_reply;
            if output::print_bytes(&[&line, b"\n".as_slice()].concat())?.is_break() {
                return Ok(None);
            }
        }
        Ok(Some(received))
    };
    tokio::pin!(sending, receiving);
    tokio::select! {
        sent = &mut sending => sent?,
        // It does not wait for a terminal where nobody types any more.
        received = &mut receiving => return received,
    }
    receiving.await
}
