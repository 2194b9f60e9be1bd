//! The socket of a connection: bytes in, lines out.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use tokio::io::{AsyncRead as _, Interest, ReadBuf};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::bytes::BytesMut;

use super::Connection;
use crate::daemon::memory::Memory;
use crate::limits;

impl Connection {
    /// Sends lines, after those that are still unsent. `is_short` tells whether others wait for the memory of these
    /// lines.
    pub(super) async fn send(&mut self, lines: &[u8], is_short: fn(&Memory) -> bool) -> io::Result<()> {
        let before = self.outlet.begin_writing();
        let since = Instant::now();
        self.send_now(&before, since, is_short).await?;
        self.send_now(lines, since, is_short).await?;
        loop {
            let added = self.outlet.end_writing();
            if added.is_empty() {
                return Ok(());
            }
            self.send_now(&added, since, is_short).await?;
        }
    }

    async fn send_now(
        &self,
        mut rest: &[u8],
        since: Instant,
        is_short: fn(&Memory) -> bool,
    ) -> io::Result<()> {
        let socket = &self.outlet.socket;
        while !rest.is_empty() {
            let sent = match socket.try_write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let room = socket.writable();
                    self.dispatch.memory.patiently(since, room, is_short).await?;
                    continue;
                }
                sent => sent?,
            };
            rest = &rest[sent..];
        }
        Ok(())
    }
}

thread_local! {
    /// The buffer for a read of any connection, so that an idle connection needs no buffer of its own.
    static ARRIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; limits::READ_BUFFER_BYTES].into_boxed_slice());
}

/// Reads the bytes that have come in; answers 0 at the end of the input.
pub(super) async fn read_more(reader: &mut OwnedReadHalf, buffer: &mut BytesMut) -> io::Result<usize> {
    // Unlike `try_read`, `poll_read` knows that a read that does not fill the buffer has emptied the socket.
    std::future::poll_fn(|context| {
        ARRIVED.with_borrow_mut(|arrived| {
            let mut arrived = ReadBuf::new(arrived);
            std::task::ready!(Pin::new(&mut *reader).poll_read(context, &mut arrived))?;
            buffer.extend_from_slice(arrived.filled());
            Poll::Ready(Ok(arrived.filled().len()))
        })
    })
    .await
}

/// Waits until the client is gone. The end of its input does not tell: `nc` with a subscription half-closes the
/// connection and goes on listening.
pub(super) async fn is_gone(socket: &OwnedWriteHalf) {
    loop {
        match socket.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(limits::GONE_INTERVAL).await,
            _ => return,
        }
    }
}
