//! Reads: what they ask for, and what no store could answer.

use super::check::check_keys;
use crate::store::error::Result;
use crate::store::filter::Filter;
use crate::store::keys::{KeyRange, check_bound, check_key, check_name};
use crate::store::reply::{Changes, Page};
use crate::store::subscription::Start;

/// The operations that only read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Read {
    /// One record.
    Get {
        /// Its key.
        key: String,
    },
    /// The records of these keys, in the order asked for; missing ones are left out, and a key that stands twice is
    /// answered once.
    GetBatch {
        /// At most 1,000 keys.
        keys: Vec<String>,
    },
    /// A page of records in key order.
    List(List),
    /// How many records there are.
    Count(Selector),
    /// A page of the stream.
    Stream(Stream),
    /// The bounds of the stream.
    StreamSeq,
    /// How much of the stream is kept.
    Retention,
    /// Who holds a lock.
    LockStatus {
        /// The lock.
        name: String,
    },
    /// A page of the locks that are held, in the order of their names.
    LockList(NameList),
    /// The changes behind the position of a consumer.
    ConsumerGet(ConsumerGet),
    /// How far a consumer is.
    ConsumerStatus {
        /// The consumer.
        name: String,
    },
    /// A page of the consumers, in the order of their names.
    ConsumerList(NameList),
    /// Which store this is.
    Identity,
}

impl Read {
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Read::Get { key } => check_key(key),
            Read::GetBatch { keys } => check_keys(keys),
            Read::List(list) => {
                if let Some(after) = &list.after {
                    check_bound("after", after)?;
                }
                list.selector.check()
            }
            Read::Count(selector) => selector.check(),
            Read::Stream(stream) => stream.filter.check(),
            Read::ConsumerGet(get) => {
                check_name("name", &get.name)?;
                get.filter.check()
            }
            Read::LockStatus { name } | Read::ConsumerStatus { name } => check_name("name", name),
            Read::LockList(list) | Read::ConsumerList(list) => {
                check_bound("prefix", &list.prefix)?;
                list.after.as_deref().map_or(Ok(()), |after| check_bound("after", after))
            }
            Read::StreamSeq | Read::Retention | Read::Identity => Ok(()),
        }
    }
}

/// Which records a listing, a count or a delete covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// All of them.
    #[default]
    All,
    /// Those whose key starts with this.
    Prefix(String),
    /// Those with `from <= key < to`.
    Range {
        /// The first key.
        from: String,
        /// The first key after the range.
        to: String,
    },
    /// Those of this type.
    Type(String),
}

impl Selector {
    /// The keys that can be selected.
    #[must_use]
    #[doc(hidden)]
    pub fn key_range(&self) -> KeyRange {
        match self {
            Selector::All | Selector::Type(_) => KeyRange::all(),
            Selector::Prefix(prefix) => KeyRange::prefix(prefix),
            Selector::Range { from, to } => KeyRange { from: from.clone(), to: Some(to.clone()) },
        }
    }

    /// The type that is selected.
    #[must_use]
    pub fn record_type(&self) -> Option<&str> {
        match self {
            Selector::Type(record_type) => Some(record_type),
            _ => None,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Selector::All => Ok(()),
            Selector::Prefix(prefix) => check_bound("prefix", prefix),
            Selector::Range { from, to } => {
                check_bound("from", from)?;
                check_bound("to", to)
            }
            Selector::Type(record_type) => check_name("type", record_type),
        }
    }
}

/// A page of records in key order: a builder for [`page`](crate::store::Store::page), [`keys`](crate::store::Store::keys) and
/// [`scan`](crate::store::StoreExt::scan).
///
/// ```
/// use kv::store::{List, Store, StoreExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// for name in ["alice", "bob", "carol"] {
///     store.put_json(&format!("user/{name}"), name).await?;
/// }
/// let page = store.keys(List::prefix("user/").limit(2)).await?;
/// assert_eq!(page.items, ["user/alice", "user/bob"]);
/// let rest = store.keys(List::prefix("user/").after("user/bob")).await?;
/// assert_eq!((rest.items, rest.next), (vec!["user/carol".to_owned()], None));
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Which records.
    pub selector: Selector,
    /// So many are passed over first: the cost grows with it, the one of `after` does not.
    pub offset: u64,
    /// At most so many; none = all. A page ends earlier at 1,000 records or 1 MiB.
    pub limit: Option<u64>,
    /// Only keys beyond this one, in the direction of the listing.
    pub after: Option<String>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Answer the keys alone.
    pub keys_only: bool,
}

impl List {
    /// The records whose key starts with this.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> List {
        List { selector: Selector::Prefix(prefix.into()), ..List::default() }
    }

    /// The records with `from <= key < to`.
    #[must_use]
    pub fn range(from: impl Into<String>, to: impl Into<String>) -> List {
        List { selector: Selector::Range { from: from.into(), to: to.into() }, ..List::default() }
    }

    /// The records of this type.
    #[must_use]
    pub fn of_type(record_type: impl Into<String>) -> List {
        List { selector: Selector::Type(record_type.into()), ..List::default() }
    }

    /// At most so many of them.
    #[must_use]
    pub fn limit(self, limit: u64) -> List {
        List { limit: Some(limit), ..self }
    }

    /// Only those beyond this key, in the direction of the listing.
    #[must_use]
    pub fn after(self, key: impl Into<String>) -> List {
        List { after: Some(key.into()), ..self }
    }

    /// From the last key to the first.
    #[must_use]
    pub fn reverse(self) -> List {
        List { reverse: true, ..self }
    }

    /// The request for what follows a page of this listing; none when nothing more is wanted, or nothing more is there.
    #[must_use]
    pub fn after_page<T>(&self, page: &Page<T>) -> Option<List> {
        let limit = left(self.limit, page.items.len());
        let after = page.next.clone().filter(|_| limit != Some(0))?;
        Some(List { offset: 0, limit, after: Some(after), ..self.clone() })
    }
}

/// What is left of a limit behind so many items.
fn left(limit: Option<u64>, items: usize) -> Option<u64> {
    limit.map(|limit| limit.saturating_sub(items as u64))
}

/// A page of the stream: a builder for [`changes`](crate::store::Store::changes).
///
/// ```
/// use kv::store::{Filter, Store, StoreExt, Stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// for value in 1..=3 {
///     store.put_json("a", &value).await?;
///     store.put_json("b", &value).await?;
/// }
/// let newest = Stream::from_seq(5).reverse().filter(Filter::key("a")).limit(2);
/// let page = store.changes(newest).await?;
/// assert_eq!(page.changes.iter().map(|change| change.seq).collect::<Vec<u64>>(), [5, 3]);
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The first seq to look at; 0 = the first that is kept, in reverse the last one.
    pub seq: u64,
    /// At most so many; none = all. A page ends earlier at 1,000 changes or 1 MiB.
    pub limit: Option<u64>,
    /// From the newest change to the oldest.
    pub reverse: bool,
    /// Which changes are wanted.
    pub filter: Filter,
}

impl Stream {
    /// The changes from this seq on.
    #[must_use]
    pub fn from_seq(seq: u64) -> Stream {
        Stream { seq, ..Stream::default() }
    }

    /// At most so many of them.
    #[must_use]
    pub fn limit(self, limit: u64) -> Stream {
        Stream { limit: Some(limit), ..self }
    }

    /// From the newest change to the oldest.
    #[must_use]
    pub fn reverse(self) -> Stream {
        Stream { reverse: true, ..self }
    }

    /// Of the changes only those that match this filter.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Stream {
        Stream { filter, ..self }
    }

    /// The request for what follows a page of the stream; none when nothing more is wanted, or nothing more is there.
    #[must_use]
    pub fn after_page(&self, page: &Changes) -> Option<Stream> {
        let limit = left(self.limit, page.changes.len());
        let is_at_end = if self.reverse { page.next == 0 } else { page.next > page.seq };
        let is_last = is_at_end || limit == Some(0);
        (!is_last).then(|| Stream { seq: page.next, limit, ..self.clone() })
    }
}

/// A page of the stream behind the position of a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerGet {
    /// The consumer.
    pub name: String,
    /// Where it begins when it is not there; none = with the first change that is kept.
    pub start: Option<Start>,
    /// At most so many; none = all. A page ends earlier at 1,000 changes or 1 MiB.
    pub limit: Option<u64>,
    /// Which changes are wanted.
    pub filter: Filter,
}

impl ConsumerGet {
    /// The changes that this consumer has not dealt with.
    #[must_use]
    pub fn of(name: impl Into<String>) -> ConsumerGet {
        ConsumerGet { name: name.into(), ..ConsumerGet::default() }
    }
}

/// A page of locks that are held, or of consumers. It ends at 1,000.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameList {
    /// Only names that start with this.
    pub prefix: String,
    /// Only names beyond this one.
    pub after: Option<String>,
}

impl NameList {
    /// Those whose name starts with this.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> NameList {
        NameList { prefix: prefix.into(), after: None }
    }

    /// The request for what follows a page of this listing; none when nothing more is there.
    #[must_use]
    pub fn after_page<T>(&self, page: &Page<T>) -> Option<NameList> {
        let after = page.next.clone()?;
        Some(NameList { prefix: self.prefix.clone(), after: Some(after) })
    }
}
