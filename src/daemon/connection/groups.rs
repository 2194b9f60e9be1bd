//! Groups: consecutive plain requests of one kind, which are sent on together and answered together.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Connection;
use crate::daemon::metrics::Metrics;
use crate::daemon::outlet::Outlet;
use crate::daemon::trouble;
use crate::limits;
use crate::protocol::{Id, Line, append_reply, append_shared, decode_plain};
use crate::store::batcher::Writes;
use crate::store::engine::Point;
use crate::store::{Code, Read, Reply, Request, Result, Write};

/// Consecutive plain requests of one kind.
enum Requests {
    Gets(Vec<String>),
    Writes(Vec<Write>),
}

impl Requests {
    /// A group that begins with this request; none when there are no groups of its kind.
    fn of(request: Request) -> Option<Requests> {
        match request {
            Request::Read(Read::Get { key }) => Some(Requests::Gets(vec![key])),
            Request::Write(write) => Some(Requests::Writes(vec![write])),
            _ => None,
        }
    }

    /// Adds a request, or returns it when it is of another kind.
    fn push(&mut self, request: Request) -> Option<Request> {
        match (self, request) {
            (Requests::Gets(keys), Request::Read(Read::Get { key })) => keys.push(key),
            (Requests::Writes(writes), Request::Write(write)) => writes.push(write),
            (_, other) => return Some(other),
        }
        None
    }
}

/// A plain request with the bytes that it and its reply may take in memory; none when the line is not plain, or is long
/// and so has memory of its own.
fn plain(line: &Line) -> Option<(Option<Id>, Request, usize)> {
    let Line::Whole(text) = line else { return None };
    let (id, request) = decode_plain(text).filter(|_| text.len() <= limits::SMALL_MESSAGE_BYTES)?;
    let reply_bytes = if matches!(request, Request::Read(_)) { limits::INLINE_VALUE_BYTES } else { 0 };
    Some((id, request, text.len() + reply_bytes))
}

/// Gets whose values are to be read one by one, in order.
pub(super) type LargeGets = Mutex<VecDeque<(Option<Id>, String)>>;

pub(super) fn lock(large: &LargeGets) -> MutexGuard<'_, VecDeque<(Option<Id>, String)>> {
    // No code panics while it holds this mutex; a poisoned one would still hold good requests.
    large.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// Sends on the plain requests that begin with this line, up to the last complete line. Returns the line when it is
    /// not plain.
    pub(super) async fn start_group(&mut self, line: Line) -> io::Result<Option<Line>> {
        let Some((id, request, mut bytes)) = plain(&line) else { return Ok(Some(line)) };
        let Some(mut requests) = Requests::of(request) else { return Ok(Some(line)) };
        let mut ids = VecDeque::from([id]);
        while ids.len() < limits::GROUP_REQUESTS && bytes < limits::GROUP_BYTES {
            let Some(line) = self.decode()? else { break };
            let Some((id, request, weight)) = plain(&line) else {
                self.next = Some(line);
                break;
            };
            if requests.push(request).is_some() {
                self.next = Some(line);
                break;
            }
            bytes += weight;
            ids.push_back(id);
        }
        let memory = self.small(bytes).await?;
        self.outlet.begin_group(memory);
        let is_write = matches!(requests, Requests::Writes(_));
        let metrics = Arc::clone(&self.dispatch.metrics);
        let mut replies =
            Replies { outlet: Arc::clone(&self.outlet), ids, is_write, metrics, begun: Instant::now() };
        match requests {
            Requests::Gets(keys) => {
                let large = Arc::clone(&self.large_gets);
                let told = move |keys, found| replies.tell_points(keys, found, &large);
                self.dispatch.points(keys, Box::new(told));
            }
            Requests::Writes(writes) => {
                let told = Box::new(move |outcomes| replies.tell(outcomes));
                self.dispatch.writes(Writes { writes, told });
            }
        }
        Ok(None)
    }
}

/// The replies of a group that are still to come.
struct Replies {
    outlet: Arc<Outlet>,
    ids: VecDeque<Option<Id>>,
    is_write: bool,
    metrics: Arc<Metrics>,
    /// When the group was sent on.
    begun: Instant,
}

impl Replies {
    /// Answers the next requests.
    fn tell(&mut self, outcomes: Vec<Result<Reply>>) {
        let Replies { outlet, ids, metrics, begun, .. } = self;
        metrics.answered(
            Some(begun.elapsed()),
            outcomes.iter().map(|outcome| Some(outcome.as_ref().err()?.code)),
        );
        let is_last = outcomes.len() >= ids.len();
        outlet.answer(is_last, |lines| {
            for (id, outcome) in ids.drain(..outcomes.len().min(ids.len())).zip(outcomes) {
                append_reply(lines, id.as_ref(), outcome.map_err(trouble::told));
            }
        });
    }

    /// Answers gets. From the first large value on, each get is left to be read by itself, so that a later reply never
    /// shows an earlier state.
    fn tell_points(mut self, keys: Vec<String>, found: Result<(u64, Vec<Point>)>, large: &LargeGets) {
        let (seq, points) = match found {
            Ok(found) => found,
            Err(error) => return self.tell(keys.iter().map(|_| Err(error.clone())).collect()),
        };
        let ids = std::mem::take(&mut self.ids);
        let mut gets = ids.into_iter().zip(keys).zip(points).peekable();
        let (metrics, took) = (Arc::clone(&self.metrics), self.begun.elapsed());
        self.outlet.answer(true, |lines| {
            let (mut found, mut missing) = (0, 0);
            while let Some(((id, _), point)) = gets.next_if(|(_, point)| !matches!(point, Point::Large)) {
                match point {
                    Point::Record(shared) => {
                        found += 1;
                        append_shared(lines, id.as_ref(), seq, &shared);
                    }
                    _ => {
                        missing += 1;
                        append_reply(lines, id.as_ref(), Ok(Reply::Get { seq, record: None }));
                    }
                }
            }
            let missing = std::iter::repeat_n(Some(Code::NotFound), missing);
            metrics.answered(Some(took), std::iter::repeat_n(None, found).chain(missing));
            let left = gets.map(|((id, key), _)| (id, key));
            lock(large).extend(left);
        });
        if !lock(large).is_empty() {
            self.outlet.wake();
        }
    }
}

impl Drop for Replies {
    /// Answers the remaining requests when their outcome will not be known any more, as while the daemon ends.
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let error = if self.is_write { trouble::ending().unknown() } else { trouble::ending() };
        let rest = self.ids.iter().map(|_| Err(error.clone())).collect();
        self.tell(rest);
    }
}
