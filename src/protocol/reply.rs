//! Replies: what a request is answered with.

mod body;
mod consumers;
mod decode;
mod encode;
mod hello;

pub(super) use self::body::ErrorBody;
pub use self::body::{ChangeBody, LockStateBody, RecordBody, ResultBody};
pub use self::consumers::ConsumerStatusBody;
pub(crate) use self::decode::decode_own;
pub(super) use self::decode::unusable;
pub use self::decode::{decode_reply, is_reply};
pub use self::encode::encode_reply;
pub use self::hello::{Hello, Limits, Status, Subscribed};
use super::Id;
use super::schema::Schemas;
use crate::store::Reply;

/// What a line is answered with.
#[derive(Debug)]
pub enum Answer {
    /// The store's.
    Store(Reply),
    /// To `hello`.
    Hello(Hello),
    /// To `status`.
    Status(Status),
    /// To `subscribe`.
    Subscribed(Subscribed),
    /// To `shutdown`, `bye` and others that only say that they were done.
    Done,
}

/// The schema of the reply to each operation, without what all replies have.
pub(super) fn schemas(schemas: &mut Schemas) {
    schemas.reply::<body::InitBody>("init");
    schemas.reply::<body::GetBody>("get");
    schemas.reply::<body::RecordsBody>("get");
    schemas.reply::<body::RecordsBody>("list");
    schemas.reply::<body::KeysBody>("list");
    schemas.reply::<body::CountBody>("count");
    schemas.reply::<body::WrittenBody>("put");
    schemas.reply::<body::WrittenBody>("patch");
    schemas.reply::<body::DeletedBody>("delete");
    schemas.reply::<body::ResultsBody>("mutate");
    schemas.reply::<body::ChangesBody>("stream.get");
    schemas.reply::<body::HeadBody>("stream.seq");
    schemas.reply::<body::TrimmedBody>("stream.trim");
    schemas.reply::<body::GrantBody>("lock.acquire");
    schemas.reply::<body::ReleasedBody>("lock.release");
    schemas.reply::<body::LockStatusBody>("lock.status");
    schemas.reply::<body::LocksBody>("lock.list");
    schemas.reply::<consumers::ConsumedBody>("consumer.get");
    schemas.reply::<consumers::ConsumerStatusBody>("consumer.status");
    schemas.reply::<consumers::PositionBody>("consumer.commit");
    schemas.reply::<consumers::ForgottenBody>("consumer.delete");
    schemas.reply::<body::ConsumersBody>("consumer.list");
    schemas.reply::<body::NoBody>("cancel");
    schemas.reply::<Subscribed>("subscribe");
    schemas.reply::<body::NoBody>("unsubscribe");
    schemas.reply::<Hello>("hello");
    schemas.reply::<Status>("status");
    schemas.reply::<body::CompactedBody>("compact");
    schemas.reply::<body::RestoredBody>("restore");
    schemas.reply::<body::NoBody>("shutdown");
    schemas.reply::<body::NoBody>("bye");
    schemas.error::<body::ErrorBody>();
}
