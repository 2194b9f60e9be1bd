//! The contract of the store: one file per operation, every case on every engine, in this process and through the
//! daemon. The name of a case is a rule.

/// Makes a test of each case for each way to a store.
macro_rules! cases {
    ($($case:ident,)*) => {
        mod sqlite_in_process {
            $(#[test] fn $case() { crate::conformance::run!(in_process, Sqlite, $case) })*
        }
        mod sqlite_through_daemon {
            $(#[test] fn $case() { crate::conformance::run!(through_daemon, Sqlite, $case) })*
        }
        mod rqlite_in_process {
            $(#[test] fn $case() { crate::conformance::run!(in_process, Rqlite, $case) })*
        }
        mod rqlite_through_daemon {
            $(#[test] fn $case() { crate::conformance::run!(through_daemon, Rqlite, $case) })*
        }
        mod postgres_in_process {
            $(#[test] fn $case() { crate::conformance::run!(in_process, Postgres, $case) })*
        }
        mod postgres_through_daemon {
            $(#[test] fn $case() { crate::conformance::run!(through_daemon, Postgres, $case) })*
        }
    };
}

macro_rules! run {
    ($way:ident, $engine:ident, $case:ident) => {
        crate::support::$way(
            kv::store::EngineKind::$engine,
            concat!(module_path!(), "::", stringify!($case)),
            |world| Box::pin(super::$case(world)),
        )
    };
}

pub(crate) use run;

mod batch;
mod consumers;
mod count;
mod delete;
mod delete_range;
mod expiry;
mod fence;
mod get;
mod history;
mod import;
mod increment;
mod init;
mod library;
mod list;
mod lock_wait;
mod locks;
mod mutate;
mod odd_texts;
mod once;
mod patch;
mod put;
mod quickstart;
mod stream;
mod subscribe;
mod values;
