//! The stream, as one would explain it.

use kv::store::{Change, Changes, Code, Filter, Reply, Stream};

use super::plain::{Model, Told, cut, failure_with};

impl Model {
    pub(super) fn stream(&self, stream: &Stream) -> Told<Reply> {
        let first = self.trimmed + 1;
        if stream.seq > 0 && stream.seq < first {
            return failure_with(Code::Trimmed, |details| details.first = Some(first));
        }
        let Filter { key, prefix, record_type } = &stream.filter;
        let is_wanted = |change: &&Change| {
            key.as_ref().is_none_or(|key| change.record.key == *key)
                && prefix.as_ref().is_none_or(|prefix| change.record.key.starts_with(prefix))
                && (record_type.is_none() || change.record.record_type == *record_type)
        };
        let (start, is_in_reach): (u64, Box<dyn Fn(u64) -> bool>) = match stream.reverse {
            true if stream.seq == 0 => (self.head(), Box::new(|_| true)),
            true => (stream.seq.min(self.head()), Box::new(|seq| seq <= stream.seq)),
            false => (stream.seq.max(first), Box::new(|seq| seq >= stream.seq)),
        };
        let mut matching: Vec<Change> = self
            .changes
            .iter()
            .filter(|change| change.seq >= first && is_in_reach(change.seq))
            .filter(is_wanted)
            .cloned()
            .collect();
        if stream.reverse {
            matching.reverse();
        }
        let all = matching.len();
        let changes = cut(matching, 0, stream.limit);
        let next = match (changes.last(), stream.reverse) {
            (Some(last), true) if changes.len() < all => last.seq - 1,
            (Some(last), false) if changes.len() < all => last.seq + 1,
            (None, _) if all > 0 => start,
            (_, true) => 0,
            (_, false) => start.max(self.head() + 1),
        };
        let next = if stream.reverse && next < first { 0 } else { next };
        Ok(Reply::Changes(Changes { seq: self.head(), changes, next }))
    }
}
