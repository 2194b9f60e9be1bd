//! The rows of tables: what people see of records, changes, locks and consumers.

use indicatif::HumanBytes;
use jiff::tz::TimeZone;
use kv::protocol::{ChangeBody, ConsumerStatusBody, LockStateBody, RecordBody};
use kv::store::{Change, Consumer, Filter, Lock, Record, Timestamp};

use crate::cli::duration;
use crate::cli::output::{Column, Listed, NOTHING, NamedBody};

/// A time in a table that has little room.
const MINUTES: &str = "%Y-%m-%d %H:%M";

/// The time of a change: several of them come in one minute.
pub(in crate::cli) const SECONDS: &str = "%Y-%m-%d %H:%M:%S";

impl Listed for Record {
    type Body = RecordBody;

    const COLUMNS: &'static [Column] = &[
        Column::text("KEY"),
        Column::number("VERSION").spare(1),
        Column::word("UPDATED").spare(2),
        Column::word("TYPE").spare(3),
        Column::number("SIZE").spare(5),
        Column::number("EXPIRES").spare(4).sparse(),
        Column::text("VALUE"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.clone(),
            self.version.to_string(),
            local(self.updated, MINUTES),
            or_dash(self.record_type.as_ref()),
            HumanBytes(self.value.get().len() as u64).to_string(),
            or_dash(self.expires.map(until).as_ref()),
            self.value.get().to_owned(),
        ]
    }

    fn into_key(self) -> String {
        self.key
    }
}

impl Listed for Change {
    type Body = ChangeBody;

    const COLUMNS: &'static [Column] = &[
        Column::number("SEQ"),
        Column::word("ACTION"),
        Column::text("KEY"),
        Column::number("VERSION").spare(2),
        Column::word("TIME").spare(1),
        Column::word("TYPE").spare(3),
        Column::text("VALUE"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.seq.to_string(),
            self.action.as_str().to_owned(),
            self.record.key.clone(),
            self.record.version.to_string(),
            local(self.time, SECONDS),
            or_dash(self.record.record_type.as_ref()),
            self.record.value.get().to_owned(),
        ]
    }

    fn into_key(self) -> String {
        self.record.key
    }
}

/// A key alone.
impl Listed for String {
    type Body = String;

    const COLUMNS: &'static [Column] = &[Column::text("KEY")];

    fn cells(&self) -> Vec<String> {
        vec![self.clone()]
    }

    fn into_key(self) -> String {
        self
    }
}

impl Listed for Lock {
    type Body = NamedBody<LockStateBody>;

    const COLUMNS: &'static [Column] = &[
        Column::text("NAME"),
        Column::number("FENCE").spare(1),
        Column::number("EXPIRES"),
        Column::text("OWNER"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.fence.to_string(), until(self.expires), self.owner.clone()]
    }

    fn into_key(self) -> String {
        self.name
    }
}

impl From<Lock> for NamedBody<LockStateBody> {
    fn from(lock: Lock) -> NamedBody<LockStateBody> {
        NamedBody { name: lock.name.clone(), body: Some(lock).into() }
    }
}

/// A consumer, and the head of the stream when it was read.
pub(in crate::cli) struct ConsumerAt {
    pub(in crate::cli) consumer: Consumer,
    pub(in crate::cli) head: u64,
}

impl Listed for ConsumerAt {
    type Body = NamedBody<ConsumerStatusBody>;

    const COLUMNS: &'static [Column] = &[
        Column::text("NAME"),
        Column::number("POSITION"),
        Column::number("LAG"),
        Column::number("AGE"),
        Column::number("EXPIRES").spare(1),
        Column::text("HOLDER"),
        Column::text("FILTER").sparse(),
    ];

    fn cells(&self) -> Vec<String> {
        let Consumer { name, position, filter, waiting_since, holder, expires, .. } = &self.consumer;
        vec![
            name.clone(),
            position.to_string(),
            self.head.saturating_sub(*position).to_string(),
            or_dash(waiting_since.map(ago).as_ref()),
            or_dash(expires.map(until).as_ref()),
            or_dash(holder.as_ref()),
            or_dash(Some(wanted(filter)).filter(|words| !words.is_empty()).as_ref()),
        ]
    }

    fn into_key(self) -> String {
        self.consumer.name
    }
}

impl From<ConsumerAt> for NamedBody<ConsumerStatusBody> {
    fn from(ConsumerAt { consumer, head }: ConsumerAt) -> NamedBody<ConsumerStatusBody> {
        let name = consumer.name.clone();
        NamedBody { name, body: ConsumerStatusBody::new(consumer, head) }
    }
}

/// What a filter wants, in the fewest words; none when that is every change.
fn wanted(Filter { key, prefix, record_type }: &Filter) -> String {
    let parts = [("key", key), ("prefix", prefix), ("type", record_type)];
    let words = parts.into_iter().filter_map(|(name, text)| Some(format!("{name} {}", text.as_ref()?)));
    words.collect::<Vec<_>>().join(", ")
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| NOTHING.to_owned())
}

/// A time on the clock of the user, in this form of strftime.
pub(in crate::cli) fn local(time: Timestamp, form: &str) -> String {
    let shown = jiff::Timestamp::from_millisecond(time.unix_ms())
        .map(|time| time.to_zoned_datetime(TimeZone::system()).strftime(form).to_string());
    // The years that only one of the two can write.
    shown.unwrap_or_else(|_| time.to_string())
}

/// How long it is until a time.
fn until(time: Timestamp) -> String {
    let left_s = (time.unix_ms() - jiff::Timestamp::now().as_millisecond()).div_euclid(1_000);
    duration::told(left_s.max(0))
}

/// How long ago a time was.
fn ago(time: Timestamp) -> String {
    let passed_s = (jiff::Timestamp::now().as_millisecond() - time.unix_ms()).div_euclid(1_000);
    duration::told(passed_s.max(0))
}
