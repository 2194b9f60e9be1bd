//! The socket of a connection: bytes in, lines out.

use std::io;
use std::time::Instant;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio_util::bytes::BytesMut;

use super::Connection;
use crate::daemon::memory::Memory;
use crate::limits;

impl Connection {
    /// Sends lines, behind what is to be sent already. `is_short`: whether others wait for the memory of these lines.
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

/// Reads what has come in; 0 bytes at the end.
pub(super) async fn read_more(socket: &UnixStream, buffer: &mut BytesMut) -> io::Result<usize> {
    loop {
        socket.readable().await?;
        buffer.reserve(limits::READ_BUFFER_BYTES);
        match socket.try_read_buf(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Waits until the other side is gone, where only its end of input was heard: `nc` with a subscription half-closes and
/// goes on listening.
pub(super) async fn is_gone(socket: &UnixStream) {
    loop {
        match socket.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(limits::GONE_INTERVAL).await,
            _ => return,
        }
    }
}
