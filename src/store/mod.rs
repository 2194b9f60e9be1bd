//! The store: what a program can use alone, without a daemon.
//!
//! [`Store`] is the contract. [`LocalStore`] keeps it on a database of this process, [`Client`](crate::Client)
//! through a daemon.
//!
//! - `contract`: the trait [`Store`]
//! - `batcher`: gathers the requests that wait into one batch
//! - `plan`: decides a batch, without I/O: every rule of the store stands there once
//! - `engine`: reads rows and applies a plan; one file for each kind of database
//! - [`maintenance`]: copies and checks of a whole store
//! - [`history`]: earlier states of the store, from its stream
//! - `original`: databases of the Go original, whose records can be taken over
//! - `feed`, `follow`: wake subscriptions when the stream grows, and read it for them
//! - `request`, `reply`, `record`, `keys`, `json_text`, `time`, `error`: the words of the contract

pub(crate) mod batcher;
pub(crate) mod commit;
mod contract;
mod damage;
mod decimal;
pub(crate) mod engine;
mod error;
pub(crate) mod expiry;
mod extension;
pub(crate) mod feed;
pub(crate) mod file_id;
pub(crate) mod files;
mod filter;
pub(crate) mod follow;
mod guarded;
pub mod history;
mod json_patch;
mod json_text;
#[doc(hidden)]
pub mod keys;
mod lease;
mod local;
mod lock_guard;
pub mod maintenance;
#[doc(hidden)]
pub mod merge_patch;
mod open;
#[doc(hidden)]
pub mod original;
pub(crate) mod page;
pub(crate) mod plan;
mod position;
mod record;
pub(crate) mod reply;
mod request;
mod retention;
pub(crate) mod subscription;
mod time;
pub(crate) mod waiting;
mod work;

pub use contract::Store;
pub(crate) use error::cancelled;
pub use error::{Code, Details, Error, Result};
pub use extension::StoreExt;
pub use filter::Filter;
pub use guarded::Guarded;
pub use json_text::{JsonText, JsonTextError, JsonTextErrorKind};
#[doc(hidden)]
pub use lease::session_name;
pub(crate) use lease::session_name_of;
pub use local::LocalStore;
pub use lock_guard::{LockGuard, LockRequest};
pub(crate) use open::foreign_owner;
pub use open::{Address, EngineKind};
pub use record::{Action, Change, Record};
pub use reply::{
    Changes, Compacted, Consumer, Deleted, Grant, Identity, ImportOutcome, Imported, Lock, MutationResult,
    Page, Reply, Restored, Server, Servers, Written,
};
pub use request::{
    Check, Condition, ConsumerCommit, ConsumerGet, ConsumerHold, ConsumerLeave, Delete, Expire, ExpiryChange,
    Fence, Import, Increment, List, LockAcquire, LockRelease, Mutation, NameList, OnConflict, Patch,
    PatchFormat, Put, Read, Request, Retention, Selector, Stream, Target, Trim, TypeChange, Write,
    WriteOperation,
};
pub use retention::slowest_position;
pub use subscription::{Event, Start, Subscribe, Subscription};
pub(crate) use time::whole_ms;
pub use time::{Clock, ManualClock, Timestamp};
