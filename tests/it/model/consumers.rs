//! Consumers, as one would explain them.

use kv::store::{
    Code, Consumer, ConsumerGet, Details, Filter, NameList, Page, Reply, Start, Stream, Timestamp,
    WriteOperation,
};

use super::plain::{Model, Told, failure, failure_with};

fn busy<T>(consumer: &Consumer) -> Told<T> {
    failure_with(Code::ConsumerBusy, |details| {
        details.holder.clone_from(&consumer.holder);
        details.expires_ms = consumer.expires.map(Timestamp::unix_ms);
    })
}

impl Model {
    pub(super) fn write_consumer(&mut self, operation: &WriteOperation, now_ms: i64) -> Told<Reply> {
        let is_held =
            |consumer: &&Consumer| consumer.expires.is_some_and(|expires| expires.unix_ms() > now_ms);
        match operation {
            WriteOperation::ConsumerHold(hold) => {
                let present = self.consumers.get(&hold.name);
                let holder = present.filter(is_held);
                if let Some(other) = holder.filter(|one| one.holder.as_ref() != Some(&hold.holder)) {
                    return busy(other);
                }
                let is_mine = |one: &&Consumer| one.holder.as_ref() == Some(&hold.holder);
                if hold.renew && present.filter(is_mine).is_none() {
                    return failure(Code::ConsumerBusy, Details::default());
                }
                let filter = self.filter_of(&hold.name, &hold.filter)?;
                let position = match present {
                    Some(consumer) => consumer.position,
                    None => self.first_position(hold.start.as_ref())?,
                };
                let expires = Some(Timestamp::from_unix_ms(now_ms + hold.duration.as_millis() as i64));
                let (name, holder) = (hold.name.clone(), Some(hold.holder.clone()));
                let mut consumer = Consumer::new(&name, position);
                (consumer.filter, consumer.holder, consumer.expires) = (filter.clone(), holder, expires);
                self.filters.insert(name.clone(), filter.clone());
                self.consumers.insert(name, consumer);
                Ok(Reply::Held { position, filter })
            }
            WriteOperation::ConsumerLeave(leave) => {
                let mine = self.consumers.get_mut(&leave.name);
                let mine = mine.filter(|one| one.holder.as_ref() == Some(&leave.holder));
                let released = mine.is_some();
                if let Some(mine) = mine {
                    (mine.holder, mine.expires) = (None, None);
                }
                Ok(Reply::Released { released })
            }
            WriteOperation::ConsumerCommit(commit) => {
                let present = self.consumers.get(&commit.name);
                let holder = present.and_then(|one| one.holder.as_ref());
                match (&commit.holder, present) {
                    (Some(mine), _) if holder == Some(mine) => {}
                    (Some(_), Some(other)) if holder.is_some() => return busy(other),
                    (Some(_), _) => return failure(Code::ConsumerBusy, Details::default()),
                    (None, Some(other)) if is_held(&other) => return busy(other),
                    (None, _) => {}
                }
                if commit.seq > self.head() {
                    return failure(Code::Future, Details::default());
                }
                let filter = self.filter_of(&commit.name, &commit.filter)?;
                if present.is_none() {
                    self.first_position(Some(&Start::After(commit.seq)))?;
                }
                // A position alone does not tell what its reader wants.
                if commit.filter != Filter::default() {
                    self.filters.insert(commit.name.clone(), filter);
                }
                let new = Consumer::new(&commit.name, 0);
                let consumer = self.consumers.entry(commit.name.clone()).or_insert(new);
                consumer.position = consumer.position.max(commit.seq);
                Ok(Reply::Position { position: consumer.position })
            }
            WriteOperation::ConsumerDelete { name } => match self.consumers.get(name) {
                Some(other) if is_held(&other) => busy(other),
                _ => {
                    self.filters.remove(name);
                    Ok(Reply::Forgotten { deleted: self.consumers.remove(name).is_some() })
                }
            },
            other => unreachable!("{other:?}"),
        }
    }

    /// A consumer keeps the filter that it was told; all changes stand for those that it keeps.
    fn filter_of(&self, name: &str, wanted: &Filter) -> Told<Filter> {
        match self.filters.get(name) {
            Some(kept) if *wanted == Filter::default() || kept == wanted => Ok(kept.clone()),
            Some(_) => failure(Code::BadRequest, Details::default()),
            None => Ok(wanted.clone()),
        }
    }

    fn first_position(&self, start: Option<&Start>) -> Told<u64> {
        match start {
            None => Ok(self.trimmed),
            Some(Start::Now) => Ok(self.head()),
            Some(Start::After(seq)) if *seq > self.head() => failure(Code::Future, Details::default()),
            Some(Start::After(seq)) if *seq < self.trimmed => {
                failure_with(Code::Trimmed, |details| details.first = Some(self.trimmed + 1))
            }
            Some(Start::After(seq)) => Ok(*seq),
            Some(other) => unreachable!("{other:?}"),
        }
    }

    pub(super) fn consumer(&self, name: &str, now_ms: i64) -> Option<Consumer> {
        let mut consumer = self.consumers.get(name)?.clone();
        if consumer.expires.is_none_or(|expires| expires.unix_ms() <= now_ms) {
            (consumer.holder, consumer.expires) = (None, None);
        }
        let next = self.changes.iter().find(|change| change.seq > consumer.position.max(self.trimmed));
        consumer.filter = self.filters.get(name).cloned().unwrap_or_default();
        consumer.waiting_since = next.map(|change| change.time);
        Some(consumer)
    }

    pub(super) fn consumer_list(&self, list: &NameList, now_ms: i64) -> Reply {
        let names = self.consumers.keys().filter(|name| {
            name.starts_with(&list.prefix) && list.after.as_ref().is_none_or(|after| *name > after)
        });
        let items = names.filter_map(|name| self.consumer(name, now_ms)).collect();
        Reply::Consumers(Page { seq: self.head(), items, next: None })
    }

    pub(super) fn consumer_get(&self, get: &ConsumerGet) -> Told<Reply> {
        let consumer = self.consumers.get(&get.name);
        let filter = self.filter_of(&get.name, &get.filter)?;
        let position = match consumer {
            Some(consumer) => consumer.position,
            None => self.first_position(get.start.as_ref())?,
        };
        let limit = get.limit;
        match self.stream(&Stream { seq: position + 1, limit, filter, reverse: false })? {
            Reply::Changes(changes) => Ok(Reply::Consumed { changes, position }),
            other => unreachable!("{other:?}"),
        }
    }
}
