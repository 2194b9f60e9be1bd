//! The time of a change from its put to the subscribers of the stream.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use crate::Place;
use crate::client::Client;
use crate::daemon::Daemon;
use crate::options::Scale;
use crate::process;
use crate::report::{Cell, Report, Row};

/// An event that does not come for this long is lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Changes that come to all subscribers of one measure together, at most.
const EVENTS_MAX: usize = 50_000;

pub fn run(place: &Place, scale: &Scale, report: &mut Report) {
    let daemon = Daemon::start(place, "push", 0);
    let many = 1_000.min(process::descriptors() / 2);
    let rows = [1, many].map(|subscribers| {
        let puts = scale.pushes.min(EVENTS_MAX / subscribers);
        let [submitted_us, acknowledged_us] = measure(&daemon, subscribers, puts);
        let at = |times_us: &Histogram<u64>, quantile| {
            Cell::number(times_us.value_at_quantile(quantile) as f64, 0)
        };
        Row::new(format!("{subscribers} subscribers"))
            .cell("submit p50", at(&submitted_us, 0.5))
            .cell("submit p99", at(&submitted_us, 0.99))
            .cell("reply p50", at(&acknowledged_us, 0.5))
            .cell("reply p99", at(&acknowledged_us, 0.99))
    });
    report.table(
        "push",
        "From the submit and from the reply of a put to its event, us (0: the event came first)",
        &rows,
    );
}

/// The sockets: the one that puts comes first.
struct Sockets {
    poll: Poll,
    streams: Vec<UnixStream>,
}

impl Sockets {
    fn connect(daemon: &Daemon, subscribers: usize) -> Sockets {
        let poll = Poll::new().unwrap();
        let streams = (0..=subscribers).map(|index| {
            let mut client = Client::connect(&daemon.socket);
            if index > 0 {
                client.ask("{\"op\":\"subscribe\"}");
            }
            let stream = client.into_stream();
            stream.set_nonblocking(true).unwrap();
            let mut stream = UnixStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE).unwrap();
            stream
        });
        let streams = streams.collect();
        Sockets { poll, streams }
    }

    /// How many lines have come through this socket.
    fn lines(&mut self, index: usize) -> usize {
        let (mut piece, mut lines) = ([0; 16 * 1_024], 0);
        loop {
            match self.streams[index].read(&mut piece) {
                Ok(0) => panic!("the daemon closed the connection"),
                Ok(count) => lines += memchr::memchr_iter(b'\n', &piece[..count]).count(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return lines,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The times from the submit and from the reply of each put to each of its events, in microseconds.
fn measure(daemon: &Daemon, subscribers: usize, puts: usize) -> [Histogram<u64>; 2] {
    let mut sockets = Sockets::connect(daemon, subscribers);
    let mut events = Events::with_capacity(256);
    let mut times_us = [Histogram::new(3).unwrap(), Histogram::new(3).unwrap()];
    for _ in 0..puts {
        let submitted = Instant::now();
        sockets.streams[0].write_all(b"{\"op\":\"put\",\"key\":\"pushed\",\"value\":1}\n").unwrap();
        let (mut replied, mut arrived) = (None, Vec::new());
        while replied.is_none() || arrived.len() < subscribers {
            sockets.poll.poll(&mut events, Some(SILENCE_MAX)).unwrap();
            assert!(!events.is_empty(), "an event of a put does not come");
            for event in &events {
                let lines = sockets.lines(event.token().0);
                let now = Instant::now();
                if event.token().0 == 0 {
                    replied = Some(now);
                } else {
                    arrived.extend(std::iter::repeat_n(now, lines));
                }
            }
        }
        for arrived in arrived {
            for (times_us, begun) in times_us.iter_mut().zip([Some(submitted), replied]) {
                let time = arrived.saturating_duration_since(begun.unwrap());
                times_us.record(time.as_micros() as u64).unwrap();
            }
        }
    }
    times_us
}
