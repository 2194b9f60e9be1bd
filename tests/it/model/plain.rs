//! The store as one would explain it: a map, a list of changes, and no batches. Written to be read, not to be fast.

use std::collections::BTreeMap;

use kv::store::{
    Action, Change, Code, Condition, Consumer, Delete, Deleted, Details, ExpiryChange, Filter, Grant,
    Increment, JsonText, List, Lock, LockAcquire, LockRelease, Mutation, MutationResult, Page, Patch,
    PatchFormat, Read, Record, Reply, Request, Retention, Selector, Target, Timestamp, Trim, TypeChange,
    Write, WriteOperation, Written,
};
use serde_json::Value;

use crate::fuzz::bodies::rfc_7396;

/// The facts in an error besides its message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) details: Details,
}

pub(super) type Told<T> = Result<T, Failure>;

pub(super) fn failure<T>(code: Code, details: Details) -> Told<T> {
    Err(Failure { code, details })
}

/// The failure with some details.
pub(super) fn failure_with<T>(code: Code, set: impl FnOnce(&mut Details)) -> Told<T> {
    let mut details = Details::default();
    set(&mut details);
    failure(code, details)
}

fn is_over(record: &Record, now_ms: i64) -> bool {
    record.expires.is_some_and(|expires| expires.unix_ms() <= now_ms)
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) records: BTreeMap<String, Record>,
    /// Also those that were trimmed: the first has seq 1.
    pub(super) changes: Vec<Change>,
    pub(super) trimmed: u64,
    retention: Retention,
    /// Also with leases that expired.
    pub(super) consumers: BTreeMap<String, Consumer>,
    /// Of the consumers that were told one.
    pub(super) filters: BTreeMap<String, Filter>,
    last_ms: i64,
    /// Also those that expired.
    locks: BTreeMap<String, Lock>,
    refreshes: BTreeMap<String, u64>,
    grants: u64,
    once: BTreeMap<String, (i64, WriteOperation, Told<Reply>)>,
}

impl Model {
    pub(super) fn records(&self) -> Vec<Record> {
        self.records.values().cloned().collect()
    }

    pub(super) fn kept_changes(&self) -> Vec<Change> {
        self.changes[self.trimmed as usize..].to_vec()
    }

    /// The store as everybody sees it at this time.
    pub(super) fn at(&self, now_ms: i64) -> Model {
        let mut seen = self.clone();
        seen.records.retain(|_, record| !is_over(record, now_ms));
        seen
    }

    /// Each record leaves by a call of its own, those first that expired first.
    fn remove_expired(&mut self, now_ms: i64) {
        let mut over: Vec<Record> =
            self.records.values().filter(|record| is_over(record, now_ms)).cloned().collect();
        over.sort_by_key(|record| record.expires);
        let time = Timestamp::from_unix_ms(self.time_ms(now_ms));
        for record in over {
            self.records.remove(&record.key);
            self.append(Action::Expire, record, self.head() + 1, time);
            self.changes.last_mut().unwrap().tx_end = true;
            self.last_ms = time.unix_ms();
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.changes.len() as u64
    }

    pub(super) fn call(&mut self, request: &Request, now_ms: i64) -> Told<Reply> {
        match request {
            Request::Init => Ok(Reply::Init { created: false }),
            Request::Write(write) => self.write(write, now_ms),
            Request::Read(read) => self.at(now_ms).read(read, now_ms),
            other => panic!("the model has no files: {other:?}"),
        }
    }

    fn write(&mut self, write: &Write, now_ms: i64) -> Told<Reply> {
        self.remove_expired(now_ms);
        let Some(id) = &write.once else { return self.write_now(write, now_ms) };
        if let Some((_, operation, told)) = self.once.get(id).filter(|kept| now_ms - kept.0 < 86_400_000) {
            if *operation == write.operation {
                return told.clone();
            }
            return failure_with(Code::BadRequest, |details| details.field = Some("once".to_owned()));
        }
        let told = self.write_now(write, now_ms);
        self.once.retain(|_, kept| now_ms - kept.0 < 86_400_000);
        self.once.insert(id.clone(), (now_ms, write.operation.clone(), told.clone()));
        told
    }

    fn write_now(&mut self, write: &Write, now_ms: i64) -> Told<Reply> {
        if let Some(fence) = &write.fence {
            let current = self.last_grant(&fence.lock, now_ms).map(|lock| lock.fence);
            if current != Some(fence.token) {
                return failure_with(Code::Fenced, |details| details.current = current);
            }
        }
        let tx = self.head() + 1;
        let told = match &write.operation {
            WriteOperation::Apply(mutation) => self.apply(mutation, tx, now_ms).map(Reply::from),
            WriteOperation::Mutate(mutations) => self.mutate(mutations, tx, now_ms).map(Reply::Mutated),
            WriteOperation::Retain(retention) => {
                self.retention = *retention;
                Ok(Reply::Retained)
            }
            WriteOperation::Trim(trim) => {
                let last = if let Trim::UpTo(seq) = trim { *seq } else { u64::MAX };
                let before = self.trimmed;
                self.trimmed = before.max(last.min(self.head()));
                Ok(Reply::Trimmed { trimmed: self.trimmed - before })
            }
            WriteOperation::LockAcquire(acquire) => {
                let expires = Timestamp::from_unix_ms(now_ms + acquire.duration.as_millis() as i64);
                self.acquire(acquire, expires, now_ms).map(Reply::Granted)
            }
            WriteOperation::LockRelease(release) => {
                self.release(release, now_ms).map(|released| Reply::Released { released })
            }
            operation => self.write_consumer(operation, now_ms),
        };
        if self.head() >= tx {
            self.last_ms = self.time_ms(now_ms);
            self.changes.last_mut().unwrap().tx_end = true;
        }
        told
    }

    fn mutate(&mut self, mutations: &[Mutation], tx: u64, now_ms: i64) -> Told<Vec<MutationResult>> {
        let before = self.clone();
        let mut results = Vec::new();
        for (index, mutation) in mutations.iter().enumerate() {
            match self.apply(mutation, tx, now_ms) {
                Ok(result) => results.push(result),
                Err(mut failure) => {
                    *self = before;
                    failure.details.index = Some(index);
                    return Err(failure);
                }
            }
        }
        Ok(results)
    }

    fn apply(&mut self, mutation: &Mutation, tx: u64, now_ms: i64) -> Told<MutationResult> {
        match mutation {
            Mutation::Put(put) => {
                self.check(&put.key, put.condition)?;
                let written =
                    self.store(&put.key, put.value.clone(), &put.record_type, put.expiry, tx, now_ms);
                Ok(MutationResult::Written(written))
            }
            Mutation::Patch(patch) => {
                self.check(&patch.key, patch.condition)?;
                let value = self.patched(patch)?;
                let mut written =
                    self.store(&patch.key, value.clone(), &patch.record_type, patch.expiry, tx, now_ms);
                written.value = patch.return_value.then_some(value);
                Ok(MutationResult::Written(written))
            }
            Mutation::Delete(delete) => self.delete(delete, tx, now_ms).map(MutationResult::Deleted),
            Mutation::Increment(increment) => {
                self.check(&increment.key, increment.condition)?;
                let stored = self.records.get(&increment.key).map_or("0", |record| record.value.get());
                // The numbers of the model are small integers.
                let Ok(number) = stored.parse::<i64>() else {
                    return failure(Code::PatchFailed, Details::default());
                };
                let sum = (number + increment.by.get().parse::<i64>().unwrap()).to_string();
                let value = JsonText::parse(&sum).unwrap();
                let Increment { key, record_type, expiry, .. } = increment;
                let mut written = self.store(key, value.clone(), record_type, *expiry, tx, now_ms);
                written.value = Some(value);
                Ok(MutationResult::Written(written))
            }
            Mutation::Expire(expire) => {
                self.check(&expire.key, expire.condition)?;
                let Some(present) = self.records.get(&expire.key) else {
                    return failure(Code::NotFound, Details::default());
                };
                let value = present.value.clone();
                let change = expire.ttl.into();
                let written = self.store(&expire.key, value, &TypeChange::Keep, change, tx, now_ms);
                Ok(MutationResult::Written(written))
            }
            Mutation::Import(import) => self.import(import, tx, now_ms).map(MutationResult::Imported),
            Mutation::Check(check) => {
                self.check(&check.key, check.condition).map(|()| MutationResult::Checked)
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn check(&self, key: &str, condition: Condition) -> Told<()> {
        let present = self.records.get(key);
        let version = present.map_or(0, |record| record.version);
        let revision = present.map_or(0, |record| record.revision);
        if condition.exists.is_some_and(|exists| exists != present.is_some()) {
            return failure_with(Code::VersionMismatch, |details| details.current = Some(version));
        }
        for (expected, current) in [(condition.version, version), (condition.revision, revision)] {
            if expected.is_some_and(|expected| expected != current) {
                return failure_with(Code::VersionMismatch, |details| details.current = Some(current));
            }
        }
        Ok(())
    }

    /// Times neither run back nor lead the clock by more than a second.
    pub(super) fn time_ms(&self, now_ms: i64) -> i64 {
        now_ms.max(self.last_ms).min(now_ms + 1_000)
    }

    fn store(
        &mut self,
        key: &str,
        value: JsonText,
        record_type: &TypeChange,
        expiry: ExpiryChange,
        tx: u64,
        now_ms: i64,
    ) -> Written {
        let time = Timestamp::from_unix_ms(self.time_ms(now_ms));
        let before = self.records.get(key);
        let mut record = Record::new(key, value, time);
        record.version = before.map_or(1, |record| record.version + 1);
        record.revision = self.head() + 1;
        record.created = before.map_or(time, |record| record.created);
        record.record_type = match record_type {
            TypeChange::Keep => before.and_then(|record| record.record_type.clone()),
            TypeChange::Clear => None,
            TypeChange::Set(name) => Some(name.clone()),
        };
        record.expires = match expiry {
            ExpiryChange::Keep => before.and_then(|record| record.expires),
            ExpiryChange::Clear => None,
            ExpiryChange::After(ttl) => Some(Timestamp::from_unix_ms(now_ms + ttl.as_millis() as i64)),
        };
        let action = if before.is_some() { Action::Update } else { Action::Create };
        self.append(action, record.clone(), tx, time);
        let written = Written::new(record.version, record.revision);
        self.records.insert(key.to_owned(), record);
        written
    }

    pub(super) fn append(&mut self, action: Action, record: Record, tx: u64, time: Timestamp) {
        let mut change = Change::new(self.head() + 1, action, time, record);
        (change.tx, change.tx_end) = (tx, false);
        self.changes.push(change);
    }

    fn patched(&self, patch: &Patch) -> Told<JsonText> {
        let read = |text: &JsonText| text.to::<Value>().unwrap();
        let target = self.records.get(&patch.key).map(|record| read(&record.value));
        let patched = match patch.format {
            PatchFormat::Merge => rfc_7396(target, &read(&patch.patch)),
            PatchFormat::JsonPatch => {
                let Some(target) = target else { return failure(Code::NotFound, Details::default()) };
                let Some(patched) = json_patch(target, &read(&patch.patch)) else {
                    return failure(Code::PatchFailed, Details::default());
                };
                patched
            }
            other => unreachable!("{other:?}"),
        };
        Ok(JsonText::parse(&patched.to_string()).unwrap())
    }

    fn delete(&mut self, delete: &Delete, tx: u64, now_ms: i64) -> Told<Deleted> {
        let mut present: Vec<String> = Vec::new();
        match &delete.target {
            Target::Keys(keys) => {
                if let [key] = keys.as_slice() {
                    self.check(key, delete.condition)?;
                }
                for key in keys {
                    if self.records.contains_key(key) && !present.contains(key) {
                        present.push(key.clone());
                    }
                }
            }
            Target::Selection(selector) => {
                present =
                    self.records.values().filter(|record| selects(selector, record)).map(key_of).collect();
            }
        }
        let chosen: Vec<String> = cut(present, delete.offset, delete.limit);
        let time = Timestamp::from_unix_ms(self.time_ms(now_ms));
        for key in &chosen {
            let record = self.records.remove(key).unwrap();
            self.append(Action::Delete, record, tx, time);
        }
        let deleted = chosen.len() as u64;
        Ok(Deleted { deleted, revision: (deleted > 0).then(|| self.head()) })
    }

    fn acquire(&mut self, acquire: &LockAcquire, expires: Timestamp, now_ms: i64) -> Told<Grant> {
        let LockAcquire { name, owner, fence, .. } = acquire;
        let mut held = self.held(name, now_ms);
        if let Some(fence) = fence {
            let last = self.last_grant(name, now_ms);
            let last = last.filter(|lock| lock.owner == *owner && lock.fence == *fence);
            if last.is_none() {
                return failure(Code::NotOwner, held.as_ref().map_or_else(Details::default, holder));
            }
            held = last.cloned();
        }
        if let Some(other) = held.as_ref().filter(|lock| lock.owner != *owner) {
            return failure(Code::Locked, holder(other));
        }
        let refreshes = held.as_ref().map_or(0, |_| self.refreshes[name] + 1);
        self.refreshes.insert(name.clone(), refreshes);
        let mut grant = match held {
            Some(mine) => Grant::new(mine.fence, mine.expires.max(expires)),
            None => {
                self.grants += 1;
                Grant::new(self.grants, expires)
            }
        };
        self.locks.insert(name.clone(), Lock::new(name, owner, grant));
        grant.refreshes = refreshes;
        Ok(grant)
    }

    fn release(&mut self, release: &LockRelease, now_ms: i64) -> Told<bool> {
        let LockRelease { name, owner, fence, refreshes } = release;
        if let Some(lock) = self.last_grant(name, now_ms)
            && (fence.is_some_and(|fence| lock.fence != fence)
                || refreshes.is_some_and(|refreshes| self.refreshes[name] != refreshes))
        {
            return Ok(false);
        }
        if let Some(other) = self.held(name, now_ms).filter(|lock| lock.owner != *owner) {
            return failure(Code::NotOwner, holder(&other));
        }
        let is_mine = self.last_grant(name, now_ms).is_some_and(|lock| lock.owner == *owner);
        Ok(is_mine && self.locks.remove(name).is_some())
    }

    /// A day after its expiry a lock is as if it had been released.
    fn last_grant(&self, name: &str, now_ms: i64) -> Option<&Lock> {
        self.locks.get(name).filter(|lock| lock.expires.unix_ms() + 86_400_000 > now_ms)
    }

    fn held(&self, name: &str, now_ms: i64) -> Option<Lock> {
        self.locks.get(name).filter(|lock| lock.expires.unix_ms() > now_ms).cloned()
    }

    fn read(&self, read: &Read, now_ms: i64) -> Told<Reply> {
        let seq = self.head();
        Ok(match read {
            Read::Get { key } => Reply::Get { seq, record: self.records.get(key).cloned() },
            Read::GetBatch { keys } => {
                let mut items: Vec<Record> = Vec::new();
                for record in keys.iter().filter_map(|key| self.records.get(key)) {
                    if !items.contains(record) {
                        items.push(record.clone());
                    }
                }
                Reply::Records(Page { seq, items, next: None })
            }
            Read::List(list) => self.list(list),
            Read::Count(selector) => {
                let count = self.records.values().filter(|record| selects(selector, record)).count() as u64;
                Reply::Count { seq, count }
            }
            Read::Stream(stream) => return self.stream(stream),
            Read::Retention => Reply::Retention { seq, retention: self.retention },
            Read::StreamSeq => Reply::Head { seq, first: self.trimmed + 1 },
            Read::LockStatus { name } => Reply::Lock { seq, lock: self.held(name, now_ms) },
            Read::LockList(list) => {
                let names = self.locks.keys().filter(|name| {
                    name.starts_with(&list.prefix) && list.after.as_ref().is_none_or(|after| *name > after)
                });
                let items = names.filter_map(|name| self.held(name, now_ms)).collect();
                Reply::Locks(Page { seq, items, next: None })
            }
            Read::ConsumerStatus { name } => Reply::Consumer { seq, consumer: self.consumer(name, now_ms) },
            Read::ConsumerList(list) => self.consumer_list(list, now_ms),
            Read::ConsumerGet(get) => return self.consumer_get(get),
            other => unreachable!("the identity is random: {other:?}"),
        })
    }

    fn list(&self, list: &List) -> Reply {
        let seq = self.head();
        let mut records: Vec<Record> =
            self.records.values().filter(|record| selects(&list.selector, record)).cloned().collect();
        if list.reverse {
            records.reverse();
        }
        if let Some(after) = &list.after {
            records.retain(|record| if list.reverse { record.key < *after } else { record.key > *after });
        }
        let all = cut(records.clone(), list.offset, None).len();
        let items = cut(records, list.offset, list.limit);
        let next = items.last().filter(|_| items.len() < all).map(key_of);
        if list.keys_only {
            Reply::Keys(Page { seq, items: items.iter().map(key_of).collect(), next })
        } else {
            Reply::Records(Page { seq, items, next })
        }
    }
}

fn key_of(record: &Record) -> String {
    record.key.clone()
}

pub(super) fn cut<T>(items: Vec<T>, offset: u64, limit: Option<u64>) -> Vec<T> {
    items.into_iter().skip(offset as usize).take(limit.map_or(usize::MAX, |limit| limit as usize)).collect()
}

fn holder(lock: &Lock) -> Details {
    let mut details = Details::default();
    details.holder = Some(lock.owner.clone());
    details.expires_ms = Some(lock.expires.unix_ms());
    details
}

fn selects(selector: &Selector, record: &Record) -> bool {
    match selector {
        Selector::All => true,
        Selector::Prefix(prefix) => record.key.starts_with(prefix),
        Selector::Range { from, to } => record.key >= *from && record.key < *to,
        Selector::Type(name) => record.record_type.as_ref() == Some(name),
        other => unreachable!("{other:?}"),
    }
}

/// Test, add and remove of the members of the document (RFC 6902, section 4); none when one of them fails.
fn json_patch(target: Value, operations: &Value) -> Option<Value> {
    let mut document = target;
    for operation in operations.as_array().unwrap() {
        let members = document.as_object_mut()?;
        let name = &operation["path"].as_str().unwrap()[1..];
        match operation["op"].as_str().unwrap() {
            "test" => (members.get(name) == operation.get("value")).then_some(())?,
            "add" => drop(members.insert(name.to_owned(), operation["value"].clone())),
            _ => drop(members.shift_remove(name)?),
        }
    }
    Some(document)
}
