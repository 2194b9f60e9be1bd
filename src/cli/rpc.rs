//! `kv rpc`: what `nc -U` does, on machines that have none, and on top it tells when an answer is missing.

use std::cell::Cell;

use futures_util::StreamExt as _;
use kv::client::Client;
use kv::limits;
use kv::protocol::{Line, LineCodec, is_reply};
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
    let asked = Cell::new(0);
    match converse(stream, &asked).await? {
        Some(answered) if answered < asked.get() => {
            let message =
                format!("the daemon answered {answered} of {} lines before it went away", asked.get());
            Err(Error::new(Code::Unavailable, message).unknown().hint("see its log: kv daemon logs"))
        }
        _ => Ok(()),
    }
}

/// Answers how many replies came; none when nobody reads them any more.
async fn converse(stream: UnixStream, asked: &Cell<u64>) -> Result<Option<u64>> {
    let (reader, mut writer) = stream.into_split();
    let sending = async {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; limits::REPLY_BUFFER_BYTES];
        let mut last = b'\n';
        loop {
            let count = stdin
                .read(&mut buffer)
                .await
                .map_err(|error| Error::new(Code::BadRequest, format!("stdin cannot be read: {error}")))?;
            let Some(&end) = buffer[..count].last() else { break };
            last = end;
            let newlines = buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
            asked.set(asked.get() + newlines as u64);
            // A daemon that ends still answers what it took; the rest is missing then.
            if writer.write_all(&buffer[..count]).await.is_err() {
                return Ok(());
            }
        }
        // A line that was cut off is answered too.
        asked.set(asked.get() + u64::from(last != b'\n'));
        // Whether it is gone by now shows in what it answers.
        let _ = writer.shutdown().await;
        Ok::<(), Error>(())
    };
    let receiving = async {
        let mut answered = 0;
        let mut lines = FramedRead::new(reader, LineCodec::default());
        while let Some(Ok(Line::Whole(line))) = lines.next().await {
            answered += u64::from(is_reply(&line));
            if output::print_bytes(&[&line, b"\n".as_slice()].concat())?.is_break() {
                return Ok(None);
            }
        }
        Ok(Some(answered))
    };
    tokio::pin!(sending, receiving);
    tokio::select! {
        sent = &mut sending => sent?,
        // It does not wait for a terminal where nobody types any more.
        received = &mut receiving => return received,
    }
    receiving.await
}
