//! Groups: plain requests of one kind that came together are sent on as one, and answered as one.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Connection;
use crate::daemon::outlet::Outlet;
use crate::daemon::trouble;
use crate::limits;
use crate::protocol::{Id, Line, append_reply, append_shared, decode_plain};
use crate::store::batcher::Writes;
use crate::store::engine::Point;
use crate::store::{Read, Reply, Request, Result, Write};

/// Plain requests that were gathered.
enum Group {
    Gets(Vec<String>),
    Writes(Vec<Write>),
}

impl Group {
    /// Adds a request of the same kind, or gives it back.
    fn push(&mut self, request: Request) -> Option<Request> {
        match (self, request) {
            (Group::Gets(keys), Request::Read(Read::Get { key })) => keys.push(key),
            (Group::Writes(writes), Request::Write(write)) => writes.push(write),
            (_, other) => return Some(other),
        }
        None
    }
}

/// Gets whose values are to be read by themselves, in order.
pub(super) type LargeGets = Mutex<VecDeque<(Option<Id>, String)>>;

pub(super) fn lock(large: &LargeGets) -> MutexGuard<'_, VecDeque<(Option<Id>, String)>> {
    // Nobody panics while holding this mutex; a poisoned one would still hold good requests.
    large.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// Sends on the plain requests that the line begins, as far as they have come in whole lines. Gives the line back when
    /// it is not plain.
    pub(super) async fn start_group(&mut self, line: Line) -> io::Result<Option<Line>> {
        let Line::Whole(text) = &line else { return Ok(Some(line)) };
        let Some((id, request)) = small(text).and_then(decode_plain) else { return Ok(Some(line)) };
        let mut bytes = weight_bytes(text, &request);
        let mut ids = VecDeque::from([id]);
        let mut group = match request {
            Request::Read(Read::Get { key }) => Group::Gets(vec![key]),
            Request::Write(write) => Group::Writes(vec![write]),
            _ => return Ok(Some(line)),
        };
        while ids.len() < limits::GROUP_REQUESTS && bytes < limits::GROUP_BYTES {
            let Some(line) = self.decode()? else { break };
            let plain = match &line {
                Line::Whole(text) => small(text).and_then(decode_plain).map(|plain| (text.len(), plain)),
                _ => None,
            };
            let Some((length, (id, request))) = plain else {
                self.next = Some(line);
                break;
            };
            let weight = length + reply_bytes(&request);
            if group.push(request).is_some() {
                self.next = Some(line);
                break;
            }
            bytes += weight;
            ids.push_back(id);
        }
        let memory = self.small(bytes).await?;
        self.outlet.begin_group(memory);
        let replies =
            Replies { outlet: Arc::clone(&self.outlet), ids, is_write: matches!(group, Group::Writes(_)) };
        match group {
            Group::Gets(keys) => {
                let large = Arc::clone(&self.large_gets);
                self.dispatch
                    .points(keys, Box::new(move |keys, found| replies.tell_points(keys, found, &large)));
            }
            Group::Writes(writes) => {
                let mut replies = replies;
                let told = Box::new(move |outcomes| replies.tell(outcomes));
                self.dispatch.writes(Writes { writes, told });
            }
        }
        Ok(None)
    }
}

/// A long line has a memory of its own.
fn small(line: &[u8]) -> Option<&[u8]> {
    (line.len() <= limits::SMALL_MESSAGE_BYTES).then_some(line)
}

/// What a request and its reply may take in memory.
fn weight_bytes(line: &[u8], request: &Request) -> usize {
    line.len() + reply_bytes(request)
}

fn reply_bytes(request: &Request) -> usize {
    if matches!(request, Request::Read(_)) { limits::INLINE_VALUE_BYTES } else { 0 }
}

/// The replies of a group that are still to be given.
struct Replies {
    outlet: Arc<Outlet>,
    ids: VecDeque<Option<Id>>,
    is_write: bool,
}

impl Replies {
    /// Answers the next requests.
    fn tell(&mut self, outcomes: Vec<Result<Reply>>) {
        let Replies { outlet, ids, .. } = self;
        let is_last = outcomes.len() >= ids.len();
        outlet.answer(is_last, |lines| {
            for (id, outcome) in ids.drain(..outcomes.len().min(ids.len())).zip(outcomes) {
                append_reply(lines, id.as_ref(), outcome.map_err(trouble::told));
            }
        });
    }

    /// Answers gets. From the first value on that is large, each is left to be read by itself: so a later reply never shows
    /// an earlier state.
    fn tell_points(mut self, keys: Vec<String>, found: Result<(u64, Vec<Point>)>, large: &LargeGets) {
        let (seq, points) = match found {
            Ok(found) => found,
            Err(error) => return self.tell(keys.iter().map(|_| Err(error.clone())).collect()),
        };
        let ids = std::mem::take(&mut self.ids);
        let mut gets = ids.into_iter().zip(keys).zip(points).peekable();
        self.outlet.answer(true, |lines| {
            while let Some(((id, _), point)) = gets.next_if(|(_, point)| !matches!(point, Point::Large)) {
                match point {
                    Point::Record(shared) => append_shared(lines, id.as_ref(), seq, &shared),
                    _ => append_reply(lines, id.as_ref(), Ok(Reply::Get { seq, record: None })),
                }
            }
            let left = gets.map(|((id, key), _)| (id, key));
            lock(large).extend(left);
        });
        if !lock(large).is_empty() {
            self.outlet.wake();
        }
    }
}

impl Drop for Replies {
    /// Nobody tells any more what became of the rest, as while the daemon ends.
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let error = if self.is_write { trouble::ending().unknown() } else { trouble::ending() };
        let rest = self.ids.iter().map(|_| Err(error.clone())).collect();
        self.tell(rest);
    }
}
