//! A network between a client and a server, in a few threads: it takes time, and stands still or breaks when told to.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, shutdown, socket_with, sockopt,
};

/// A port of 127.0.0.1 from which everything is forwarded to a server, and what the server answers is sent back: each
/// byte arrives a fixed time after it was sent, however many are on their way. To connect takes no time.
pub(crate) struct SlowLink {
    address: SocketAddr,
    /// It keeps the port while nobody listens on it; itself it never does.
    _port: OwnedFd,
    listener: Mutex<Option<Listener>>,
    shared: Arc<Shared>,
}

struct Listener {
    socket: Arc<TcpListener>,
    thread: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    delay: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_stalled: bool,
    /// Both sides of the connections.
    open: Vec<Weak<TcpStream>>,
}

impl SlowLink {
    /// A link to a server, over which each direction takes `delay`.
    pub(crate) fn to(server: SocketAddr, delay: Duration) -> SlowLink {
        // As the sockets of std, so that a listener may share the port with it.
        let port = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        sockopt::set_socket_reuseaddr(&port, true).unwrap();
        bind(&port, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = SocketAddr::try_from(getsockname(&port).unwrap()).unwrap();
        let shared = Shared { server, delay, state: Mutex::default(), changed: Condvar::new() };
        let link = SlowLink { address, _port: port, listener: Mutex::default(), shared: Arc::new(shared) };
        link.mend();
        link
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, loses what is on its way, and refuses new ones.
    pub(crate) fn cut(&self) {
        if let Some(Listener { socket, thread }) = self.listener.lock().unwrap().take() {
            // Wakes the thread, which may have accepted one more.
            shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
            thread.join().unwrap();
        }
        for stream in self.shared.lock().open.drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again, at the same address.
    pub(crate) fn mend(&self) {
        let mut listener = self.listener.lock().unwrap();
        if listener.is_none() {
            let socket = Arc::new(TcpListener::bind(self.address).unwrap());
            let (accepting, shared) = (Arc::clone(&socket), Arc::clone(&self.shared));
            let thread = std::thread::spawn(move || {
                while let Ok((client, _)) = accepting.accept() {
                    shared.join(client);
                }
            });
            *listener = Some(Listener { socket, thread });
        }
    }

    /// Holds everything back, as a server that is stopped: connections are accepted and stay open.
    pub(crate) fn stall(&self) {
        self.shared.lock().is_stalled = true;
    }

    /// Lets what was held back arrive, and what follows.
    pub(crate) fn go_on(&self) {
        self.shared.lock().is_stalled = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.cut();
        self.go_on();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Joins a client with the server, or closes it when the server cannot be reached.
    fn join(self: &Arc<Shared>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let [client, server] = [client, server].map(|stream| {
            stream.set_nodelay(true).unwrap();
            Arc::new(stream)
        });
        let mut state = self.lock();
        state.open.retain(|stream| stream.strong_count() > 0);
        state.open.extend([Arc::downgrade(&client), Arc::downgrade(&server)]);
        drop(state);
        self.carry(Arc::clone(&client), Arc::clone(&server));
        self.carry(server, client);
    }

    fn carry(self: &Arc<Shared>, from: Arc<TcpStream>, to: Arc<TcpStream>) {
        let (departures, arrivals) = mpsc::channel();
        let shared = Arc::clone(self);
        std::thread::spawn(move || depart(&from, &departures));
        std::thread::spawn(move || shared.arrive(&to, &arrivals));
    }

    fn arrive(&self, mut to: &TcpStream, arrivals: &Receiver<Parcel>) {
        for Parcel { departed, bytes } in arrivals {
            std::thread::sleep((departed + self.delay).saturating_duration_since(Instant::now()));
            drop(self.changed.wait_while(self.lock(), |state| state.is_stalled).unwrap());
            let written = if bytes.is_empty() { to.shutdown(Shutdown::Write) } else { to.write_all(&bytes) };
            if written.is_err() {
                // Nobody takes what the other side sends.
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// What was sent at once; nothing is the end.
struct Parcel {
    departed: Instant,
    bytes: Vec<u8>,
}

fn depart(mut from: &TcpStream, departures: &Sender<Parcel>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // A connection that was reset ends too.
        let length = from.read(&mut buffer).unwrap_or(0);
        let parcel = Parcel { departed: Instant::now(), bytes: buffer[..length].to_vec() };
        if departures.send(parcel).is_err() || length == 0 {
            return;
        }
    }
}

mod tests {
    use std::io::ErrorKind;

    use super::*;

    const DELAY: Duration = Duration::from_millis(100);

    /// A server that sends back what it gets, for ever.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    fn round_trip(mut stream: &TcpStream, text: &[u8]) -> Vec<u8> {
        stream.write_all(text).unwrap();
        let mut echoed = vec![0; text.len()];
        stream.read_exact(&mut echoed).unwrap();
        echoed
    }

    #[test]
    fn everything_is_late_and_nothing_waits_for_what_was_sent_before() {
        let link = SlowLink::to(echo(), DELAY);
        let stream = TcpStream::connect(link.address()).unwrap();
        let started = Instant::now();
        assert_eq!(round_trip(&stream, b"ping"), b"ping");
        assert!(started.elapsed() >= 2 * DELAY);

        let started = Instant::now();
        let all: Vec<u8> = (0..=255).cycle().take(1 << 24).collect();
        let writer = std::thread::spawn({
            let (mut stream, all) = (stream.try_clone().unwrap(), all.clone());
            move || {
                stream.write_all(&all).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            }
        });
        let mut echoed = Vec::new();
        (&stream).read_to_end(&mut echoed).unwrap();
        writer.join().unwrap();
        assert!(echoed == all, "the order has changed");
        // Hundreds of parcels, each of which would wait for two delays.
        assert!((2 * DELAY..100 * DELAY).contains(&started.elapsed()), "{:?}", started.elapsed());
    }

    #[test]
    fn a_cut_link_refuses_until_it_is_mended() {
        let link = SlowLink::to(echo(), Duration::ZERO);
        for _ in 0..3 {
            let stream = TcpStream::connect(link.address()).unwrap();
            assert_eq!(round_trip(&stream, b"ping"), b"ping");
            link.cut();
            assert_eq!((&stream).read(&mut [0]).unwrap_or(0), 0);
            let refused = TcpStream::connect(link.address()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            link.cut();
            link.mend();
            link.mend();
        }
    }

    #[test]
    fn a_stalled_link_holds_back_and_stays_open() {
        let link = SlowLink::to(echo(), Duration::ZERO);
        let early = TcpStream::connect(link.address()).unwrap();
        link.stall();
        let late = TcpStream::connect(link.address()).unwrap();
        for mut stream in [&early, &late] {
            stream.write_all(b"ping").unwrap();
            stream.set_read_timeout(Some(DELAY)).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        link.go_on();
        for mut stream in [&early, &late] {
            stream.set_read_timeout(None).unwrap();
            let mut echoed = [0; 4];
            stream.read_exact(&mut echoed).unwrap();
            assert_eq!(&echoed, b"ping");
        }
    }

    /// A server that is down: the link accepts, and closes.
    #[test]
    fn nobody_behind_the_link_is_an_end() {
        let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let link = SlowLink::to(gone, Duration::ZERO);
        let stream = TcpStream::connect(link.address()).unwrap();
        assert_eq!((&stream).read(&mut [0]).unwrap_or(0), 0);
    }
}
