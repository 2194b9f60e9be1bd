//! A server of HTTP/1.1 that does what a test says, request by request: alone, or in front of a real one whose answers it
//! passes on, replaces, cuts or keeps back.

mod message;

use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

pub(crate) use self::message::{Answer, Request};

/// What is done with a request.
pub(crate) enum Step {
    /// The real server is asked, and its answer passed on.
    Forward,
    /// The real server is asked twice, and its second answer passed on.
    ForwardTwice,
    /// The real server is not asked.
    Answer(Answer),
    /// The real server is asked, and this is answered in place of what it says.
    ForwardThenAnswer(Answer),
    /// The real server is asked, and the connection ends after so many bytes of the body of its answer.
    Truncate(usize),
    /// The real server is asked, and the connection ends without an answer.
    Cut,
    /// The connection ends before the real server is asked.
    Refuse,
    /// The real server is asked, and its answer passed on once the test says [`ScriptedHttp::release`].
    ForwardThenHold,
    /// The step is done so much later.
    Delay(Duration, Box<Step>),
    /// The step is done once the test says [`ScriptedHttp::release`].
    Hold(Box<Step>),
}

/// The server; its connections end with it.
pub(crate) struct ScriptedHttp {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
}

type Script = dyn FnMut(&Request) -> Step + Send;

struct Shared {
    /// Where the real server listens.
    server: Option<SocketAddr>,
    script: Mutex<Box<Script>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// How many connections were accepted.
    connections: usize,
    open: Vec<Weak<TcpStream>>,
    /// How many requests the real server has answered.
    forwarded: usize,
    held: usize,
    /// How often the test released what was held.
    releases: usize,
    is_closed: bool,
}

impl ScriptedHttp {
    /// A server without a real one behind it, which nothing may be forwarded to.
    pub(crate) fn alone(script: impl FnMut(&Request) -> Step + Send + 'static) -> ScriptedHttp {
        ScriptedHttp::start(None, Box::new(script))
    }

    /// A server in front of a real one.
    pub(crate) fn in_front_of(
        server: SocketAddr,
        script: impl FnMut(&Request) -> Step + Send + 'static,
    ) -> ScriptedHttp {
        ScriptedHttp::start(Some(server), Box::new(script))
    }

    fn start(server: Option<SocketAddr>, script: Box<Script>) -> ScriptedHttp {
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let address = listener.local_addr().unwrap();
        let shared =
            Shared { server, script: Mutex::new(script), state: Mutex::default(), changed: Condvar::new() };
        let shared = Arc::new(shared);
        std::thread::spawn({
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            move || {
                while let Ok((client, _)) = listener.accept() {
                    shared.serve(client);
                }
            }
        });
        ScriptedHttp { address, listener, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order in which they were complete.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many requests the real server has answered.
    pub(crate) fn forwarded(&self) -> usize {
        self.shared.lock().forwarded
    }

    /// How many requests are held.
    pub(crate) fn held(&self) -> usize {
        self.shared.lock().held
    }

    /// Lets the requests go on that are held now.
    pub(crate) fn release(&self) {
        self.shared.lock().releases += 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for ScriptedHttp {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        let open = std::mem::take(&mut state.open);
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts, and those that read.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        for stream in open.iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Serves a connection in a thread of its own.
    fn serve(self: &Arc<Shared>, client: TcpStream) {
        client.set_nodelay(true).unwrap();
        let client = Arc::new(client);
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.connections += 1;
        state.open.retain(|stream| stream.strong_count() > 0);
        state.open.push(Arc::downgrade(&client));
        drop(state);
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(&*client);
            // A connection that breaks has ended, too.
            while let Ok(Some(request)) = Request::read(&mut reader) {
                shared.lock().requests.push(request.clone());
                let step = (shared.script.lock().unwrap())(&request);
                let is_kept = shared.run(step, &request, &client).unwrap_or(false);
                if !is_kept || request.is_last() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
        });
    }

    /// Does a step, and answers whether the connection stays open.
    fn run(&self, step: Step, request: &Request, mut client: &TcpStream) -> io::Result<bool> {
        match step {
            Step::Forward => client.write_all(&self.forward(request)?.bytes())?,
            Step::ForwardTwice => {
                self.forward(request)?;
                client.write_all(&self.forward(request)?.bytes())?;
            }
            Step::Answer(answer) => client.write_all(&answer.bytes())?,
            Step::ForwardThenAnswer(answer) => {
                self.forward(request)?;
                client.write_all(&answer.bytes())?;
            }
            Step::Truncate(length) => {
                let answer = self.forward(request)?;
                let missing = answer.body.len().saturating_sub(length);
                let bytes = answer.bytes();
                client.write_all(&bytes[..bytes.len() - missing])?;
                return Ok(false);
            }
            Step::Cut => {
                self.forward(request)?;
                return Ok(false);
            }
            Step::Refuse => return Ok(false),
            Step::ForwardThenHold => {
                let answer = self.forward(request)?;
                return self.run(Step::Hold(Box::new(Step::Answer(answer))), request, client);
            }
            Step::Delay(time, step) => {
                let goes_on = |state: &mut State| !state.is_closed;
                let (state, _) = self.changed.wait_timeout_while(self.lock(), time, goes_on).unwrap();
                return self.run_if_open(state, *step, request, client);
            }
            Step::Hold(step) => {
                let mut state = self.lock();
                let releases = state.releases;
                state.held += 1;
                let is_held = |state: &mut State| state.releases == releases && !state.is_closed;
                let mut state = self.changed.wait_while(state, is_held).unwrap();
                state.held -= 1;
                return self.run_if_open(state, *step, request, client);
            }
        }
        Ok(true)
    }

    /// Does a step that was put off, unless the server has ended meanwhile.
    fn run_if_open(
        &self,
        state: MutexGuard<'_, State>,
        step: Step,
        request: &Request,
        client: &TcpStream,
    ) -> io::Result<bool> {
        let is_open = !state.is_closed;
        drop(state);
        Ok(is_open && self.run(step, request, client)?)
    }

    /// What the real server answers, over a connection for this request alone.
    fn forward(&self, request: &Request) -> io::Result<Answer> {
        let server = self.server.expect("there is no server to forward to");
        if self.lock().is_closed {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut stream = TcpStream::connect(server)?;
        stream.write_all(&request.bytes_of_one())?;
        let answer = Answer::read(&mut BufReader::new(stream))?;
        self.lock().forwarded += 1;
        Ok(answer)
    }
}

mod tests;
