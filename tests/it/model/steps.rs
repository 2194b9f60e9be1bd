//! Steps that are likely to meet each other: few keys, few names, small numbers.

use std::time::Duration;

use kv::store::{
    Check, Condition, ConsumerCommit, ConsumerGet, ConsumerHold, ConsumerLeave, Delete, Expire, ExpiryChange,
    Fence, Filter, Import, Increment, List, LockAcquire, LockRelease, Mutation, NameList, OnConflict, Patch,
    Put, Read, Request, Retention, Selector, Start, Stream, Target, Timestamp, Trim, TypeChange, Write,
    WriteOperation,
};
use proptest::prelude::*;

use crate::support::{START_MS, json};

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a test holds few of them")]
pub(super) enum Step {
    Call {
        request: Request,
        joins: bool,
        store: usize,
    },
    /// An earlier write once more.
    Again {
        which: usize,
        joins: bool,
        store: usize,
    },
    /// Gives space back, through one of the stores, which changes nothing.
    Compact(usize),
    /// Moves the clock, in milliseconds.
    Clock(i64),
    Reopen,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let how = || (any::<bool>(), 0_usize..2);
    prop_oneof![
        28 => (write(), how()).prop_map(|(write, (joins, store))| Step::Call {
            request: Request::Write(write), joins, store
        }),
        10 => (read(), how()).prop_map(|(read, (joins, store))| Step::Call {
            request: Request::Read(read), joins, store
        }),
        4 => (any::<usize>(), how()).prop_map(|(which, (joins, store))| Step::Again { which, joins, store }),
        3 => prop::sample::select(&[1, 10, 500, 3_600_000, -3_600_000, 86_400_000][..]).prop_map(Step::Clock),
        1 => Just(Step::Reopen),
        1 => (0_usize..2).prop_map(Step::Compact),
    ]
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = String> {
    one_of(&["a", "a/1", "a/2", "a%", "A/1", "b", "ä", "\u{D7FF}", "\u{10FFFF}"])
}

fn bound() -> impl Strategy<Value = String> {
    one_of(&["", "a", "a/", "a/2", "A", "b", "\u{D7FF}", "\u{10FFFF}"])
}

fn lock() -> impl Strategy<Value = String> {
    one_of(&["l", "l/m", "n"])
}

fn owner() -> impl Strategy<Value = String> {
    one_of(&["me", "you"])
}

/// The fence of a grant, mostly of one of the first.
fn named_fence() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 1 => (1_u64..5).prop_map(Some)]
}

fn condition() -> impl Strategy<Value = Condition> {
    let number = || prop_oneof![6 => Just(None), 3 => (0_u64..4).prop_map(Some)];
    let exists = prop_oneof![9 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (number(), prop_oneof![9 => Just(None), 1 => (0_u64..20).prop_map(Some)], exists)
        .prop_map(|(version, revision, exists)| Condition { version, revision, exists })
}

fn type_change() -> impl Strategy<Value = TypeChange> {
    prop_oneof![
        4 => Just(TypeChange::Keep),
        1 => Just(TypeChange::Clear),
        2 => one_of(&["T", "t"]).prop_map(TypeChange::Set),
    ]
}

/// Values and merge patches: objects of few members, and values that are not objects.
fn value() -> impl Strategy<Value = String> {
    let member =
        prop::sample::select(&["1", "2", "null", "\"x\"", "[]", "{\"p\":1}", "{\"p\":null,\"q\":2}"][..]);
    prop_oneof![
        1 => prop::sample::select(&["null", "7", "[1,2]", "\"text\""][..]).prop_map(str::to_owned),
        5 => prop::collection::btree_map(prop::sample::select(&["x", "y", "z"][..]), member, 0..3).prop_map(|members| {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        }),
    ]
}

/// Of JSON Patch what a model can follow in a few lines: members of the document itself.
fn json_patch() -> impl Strategy<Value = String> {
    let operation = (one_of(&["test", "add", "remove"]), one_of(&["x", "y", "z"]), one_of(&["1", "\"x\""]))
        .prop_map(|(op, name, value)| match op.as_str() {
            "remove" => format!(r#"{{"op":"remove","path":"/{name}"}}"#),
            _ => format!(r#"{{"op":"{op}","path":"/{name}","value":{value}}}"#),
        });
    prop::collection::vec(operation, 0..3).prop_map(|operations| format!("[{}]", operations.join(",")))
}

fn put() -> impl Strategy<Value = Mutation> {
    (key(), value(), condition(), type_change(), expiry()).prop_map(
        |(key, value, condition, record_type, expiry)| {
            Mutation::Put(Put { condition, record_type, expiry, ..Put::new(key, json(&value)) })
        },
    )
}

/// One of these numbers of milliseconds.
fn duration(of_ms: &'static [u64]) -> impl Strategy<Value = Duration> {
    prop::sample::select(of_ms).prop_map(Duration::from_millis)
}

fn ttl() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![3 => Just(None), 1 => duration(&[1, 10, 600, 4_000_000]).prop_map(Some)]
}

fn expiry() -> impl Strategy<Value = ExpiryChange> {
    prop_oneof![3 => Just(ExpiryChange::Keep), 1 => ttl().prop_map(ExpiryChange::from)]
}

fn increment() -> impl Strategy<Value = Mutation> {
    (key(), -2_i64..3, condition(), type_change(), expiry()).prop_map(
        |(key, by, condition, record_type, expiry)| {
            let increment = Increment::by(key, json(&by.to_string()));
            Mutation::Increment(Increment { condition, record_type, expiry, ..increment })
        },
    )
}

fn expire() -> impl Strategy<Value = Mutation> {
    (key(), ttl(), condition())
        .prop_map(|(key, ttl, condition)| Mutation::Expire(Expire { key, ttl, condition }))
}

fn patch() -> impl Strategy<Value = Mutation> {
    let body = prop_oneof![
        3 => (key(), value()).prop_map(|(key, patch)| Patch::merge(key, json(&patch))),
        1 => (key(), json_patch()).prop_map(|(key, patch)| Patch::json_patch(key, json(&patch))),
    ];
    (body, condition(), type_change(), expiry(), any::<bool>()).prop_map(
        |(patch, condition, record_type, expiry, return_value)| {
            Mutation::Patch(Patch { condition, record_type, expiry, return_value, ..patch })
        },
    )
}

/// Of a few records, which come again.
fn import() -> impl Strategy<Value = Mutation> {
    let time = || prop::sample::select(&[0, START_MS, START_MS + 10][..]).prop_map(Timestamp::from_unix_ms);
    let conflict = prop::sample::select(&[OnConflict::Fail, OnConflict::Skip, OnConflict::Overwrite][..]);
    let of_type = prop::option::of(one_of(&["T"]));
    let expires = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(&[START_MS, START_MS + 500, START_MS + 3_600_000][..])
            .prop_map(|expires_ms| Some(Timestamp::from_unix_ms(expires_ms))),
    ];
    let version = prop::option::of(1_u64..4);
    let times = (prop::option::of(time()), prop::option::of(time()));
    (key(), prop::sample::select(&["7", "{\"x\":1}"][..]), version, times, of_type, expires, conflict)
        .prop_map(|(key, value, version, (created, updated), record_type, expires, on_conflict)| {
            let value = json(value);
            Mutation::Import(Import {
                key,
                value,
                record_type,
                version,
                created,
                updated,
                expires,
                on_conflict,
            })
        })
}

fn limit() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(0_u64..5)
}

fn delete() -> impl Strategy<Value = Mutation> {
    let target = prop_oneof![
        one_of(&["a", "a/", "A", "\u{D7FF}", "\u{10FFFF}"]).prop_map(Selector::Prefix),
        (bound(), bound()).prop_map(|(from, to)| Selector::Range { from, to }),
        Just(Selector::All),
    ];
    prop_oneof![
        3 => (key(), condition()).prop_map(|(key, condition)| Delete { condition, ..Delete::keys([key]) }),
        1 => (prop::collection::vec(key(), 0..6), 0_u64..3, limit())
            .prop_map(|(keys, offset, limit)| Delete { offset, limit, ..Delete::keys(keys) }),
        2 => (target, 0_u64..3, limit()).prop_map(|(selector, offset, limit)| Delete {
            target: Target::Selection(selector), offset, limit, ..Delete::all()
        }),
    ]
    .prop_map(Mutation::Delete)
}

fn check() -> impl Strategy<Value = Mutation> {
    (key(), condition(), 0_u64..4).prop_map(|(key, condition, version)| {
        // A check without a condition is refused, so one without a revision has a version.
        let version = condition.version.or(condition.revision.is_none().then_some(version));
        Mutation::Check(Check { key, condition: Condition { version, ..condition } })
    })
}

fn write() -> impl Strategy<Value = Write> {
    // In boxes: a tree of all of them would not fit the stack of a test.
    let mutation = || {
        prop_oneof![
            4 => put().boxed(), 2 => patch().boxed(), 2 => delete().boxed(), 1 => import().boxed(), 1 => expire().boxed(), 1 => increment().boxed()
        ]
        .boxed()
    };
    let part = prop_oneof![4 => mutation(), 1 => check()].boxed();
    let guarded = prop_oneof![
        10 => mutation().prop_map(WriteOperation::Apply),
        4 => prop::collection::vec(part, 0..6).prop_map(WriteOperation::Mutate),
        1 => prop_oneof![4 => (0_u64..30).prop_map(Trim::UpTo), 1 => Just(Trim::All)].prop_map(WriteOperation::Trim),
    ];
    let once = prop_oneof![5 => Just(None), 1 => one_of(&["i", "j", "k"]).prop_map(Some)];
    let fence = prop_oneof![
        6 => Just(None),
        1 => (lock(), 1_u64..5).prop_map(|(lock, token)| Some(Fence { lock, token })),
    ];
    let locks = prop_oneof![
        3 => (lock(), owner(), duration(&[1, 10, 1_000, 7_200_000]), named_fence())
            .prop_map(|(name, owner, duration, fence)| WriteOperation::LockAcquire(LockAcquire {
                name, owner, duration, fence
            })),
        1 => (lock(), owner(), prop::option::of(1_u64..4), prop::option::of(0_u64..2)).prop_map(
            |(name, owner, fence, refreshes)| WriteOperation::LockRelease(LockRelease {
                name, owner, fence, refreshes
            })
        ),
    ];
    // What it bounds is trimmed by a process that looks after its store.
    let retain = (prop::option::of(1_u64..1_000), prop::option::of(1_u64..9), any::<bool>());
    let retain = retain.prop_map(|(age_ms, count, unread)| {
        WriteOperation::Retain(Retention { age: age_ms.map(Duration::from_millis), count, unread })
    });
    prop_oneof![
        10 => (guarded, once, fence).prop_map(|(operation, once, fence)| Write { operation, once, fence }),
        1 => retain.prop_map(Write::from),
        2 => locks.prop_map(Write::from),
        1 => consumers().prop_map(Write::from),
    ]
}

fn consumer() -> impl Strategy<Value = String> {
    one_of(&["c", "c/d"])
}

fn start() -> impl Strategy<Value = Option<Start>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(Start::Now)),
        3 => (0_u64..12).prop_map(|seq| Some(Start::After(seq))),
    ]
}

fn consumers() -> impl Strategy<Value = WriteOperation> {
    let duration = duration(&[1, 10, 1_000, 7_200_000]);
    prop_oneof![
        4 => (consumer(), owner(), duration, start(), kept_filter(), any::<bool>()).prop_map(
            |(name, holder, duration, start, filter, renew)| {
                WriteOperation::ConsumerHold(ConsumerHold { name, holder, duration, start, filter, renew })
            }
        ),
        1 => (consumer(), owner())
            .prop_map(|(name, holder)| WriteOperation::ConsumerLeave(ConsumerLeave { name, holder })),
        4 => (consumer(), 0_u64..20, prop::option::of(owner()), kept_filter()).prop_map(
            |(name, seq, holder, filter)| {
                WriteOperation::ConsumerCommit(ConsumerCommit { name, seq, holder, filter })
            }
        ),
        1 => consumer().prop_map(|name| WriteOperation::ConsumerDelete { name }),
    ]
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        Just(Selector::All),
        bound().prop_map(Selector::Prefix),
        (bound(), bound()).prop_map(|(from, to)| Selector::Range { from, to }),
        one_of(&["T", "t"]).prop_map(Selector::Type),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let keys = prop_oneof![
        2 => Just(Filter::default()),
        2 => bound().prop_map(Filter::prefix),
        1 => key().prop_map(Filter::key),
    ];
    (keys, prop::option::of(one_of(&["T", "t"])))
        .prop_map(|(keys, record_type)| Filter { record_type, ..keys })
}

/// Few of them, so that a consumer is often used with its own.
fn kept_filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        3 => Just(Filter::default()),
        2 => Just(Filter::prefix("a")),
        1 => Just(Filter::key("a").of_type("T")),
    ]
}

fn read() -> impl Strategy<Value = Read> {
    let list = (selector(), 0_u64..3, limit(), prop::option::of(bound()), any::<bool>(), any::<bool>())
        .prop_map(|(selector, offset, limit, after, reverse, keys_only)| List {
            selector,
            offset,
            limit,
            after,
            reverse,
            keys_only,
        });
    let stream = (0_u64..20, limit(), filter(), any::<bool>())
        .prop_map(|(seq, limit, filter, reverse)| Stream { seq, limit, filter, reverse });
    prop_oneof![
        2 => key().prop_map(|key| Read::Get { key }),
        2 => prop::collection::vec(key(), 0..5).prop_map(|keys| Read::GetBatch { keys }),
        4 => list.prop_map(Read::List),
        2 => selector().prop_map(Read::Count),
        4 => stream.prop_map(Read::Stream),
        1 => Just(Read::StreamSeq),
        1 => Just(Read::Retention),
        2 => lock().prop_map(|name| Read::LockStatus { name }),
        1 => (bound(), prop::option::of(lock())).prop_map(|(prefix, after)| Read::LockList(NameList { prefix, after })),
        1 => consumer().prop_map(|name| Read::ConsumerStatus { name }),
        1 => (bound(), prop::option::of(consumer()))
            .prop_map(|(prefix, after)| Read::ConsumerList(NameList { prefix, after })),
        2 => (consumer(), start(), limit(), kept_filter()).prop_map(|(name, start, limit, filter)| {
            Read::ConsumerGet(ConsumerGet { name, start, limit, filter })
        }),
    ]
}
