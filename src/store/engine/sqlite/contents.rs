//! What a database holds: a store, nothing, or the tables of another application, which kv leaves alone.

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::column::{self, column};
use super::run::{Arguments, Statement};
use super::standing::Standing;
use super::{Sqlite, files, place};
use crate::store::engine::migrations::not_initialized;
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;

/// How many tables of another application are named.
const NAMED_TABLES: usize = 3;

/// The tables and views of a database, SQLite's own left out.
const TABLES: &str = "select name from sqlite_schema where type in ('table', 'view') and name not glob 'sqlite_*' order by name";

/// What a database holds.
pub(super) enum Contents {
    Store,
    Nothing,
    /// Tables of another application, by name.
    Foreign(Vec<String>),
}

impl Contents {
    /// Tells it by the rows of [`TABLES`].
    fn of(tables: &Statement) -> column::Result<Contents> {
        let names = tables.rows.iter().map(|row| column(row, 0)).collect::<column::Result<Vec<String>>>()?;
        Ok(match names.as_slice() {
            [] => Contents::Nothing,
            names if names.iter().any(|name| name == "kv_migration") => Contents::Store,
            _ => Contents::Foreign(names),
        })
    }

    /// Passes where a store is, or can be made.
    pub(super) fn check_for_init(&self, place: &SqlitePlace) -> Result<()> {
        match self {
            Contents::Store | Contents::Nothing => Ok(()),
            Contents::Foreign(tables) => Err(foreign(place, tables)),
        }
    }

    /// Passes where a store is.
    pub(super) fn check(&self, place: &SqlitePlace) -> Result<()> {
        match self {
            Contents::Nothing => Err(not_initialized(format!("{place} holds no store"))),
            Contents::Store | Contents::Foreign(_) => self.check_for_init(place),
        }
    }
}

fn foreign(place: &SqlitePlace, tables: &[String]) -> Error {
    let mut names: Vec<String> = tables.iter().take(NAMED_TABLES).map(|name| format!("{name:?}")).collect();
    if tables.len() > NAMED_TABLES {
        names.push(format!("and {} more", tables.len() - NAMED_TABLES));
    }
    let message =
        format!("{place} holds no store of kv, but tables of another application: {}", names.join(", "));
    Error::new(Code::Unsupported, message)
        .hint("choose another file with --connection: kv has not changed this one, and makes no store in it")
}

impl Sqlite {
    /// Checks that a store is at its place or can be made there, and leaves everything as it is. What may pass is not
    /// told.
    pub(crate) async fn check_place(&self) -> Result<()> {
        let SqlitePlace::File { path, .. } = &self.place else { return Ok(()) };
        if !place::is_file_at(path)? {
            return Ok(());
        }
        match self.contents().await {
            Ok(contents) => contents.check_for_init(&self.place),
            Err(error) if [Code::Unavailable, Code::Unsupported].contains(&error.code) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Looks what the file of the store holds, and leaves it and the files beside it as they are.
    pub(super) async fn contents(&self) -> Result<Contents> {
        let SqlitePlace::File { path, read_only } = &self.place else { return Ok(Contents::Nothing) };
        if let Some(standing) = Standing::at(path).filter(Standing::is_idle)
            && let Ok(connection) = standing.options(self.options()).connect().await
            && let Ok(contents) = self.contents_by(connection).await
            // Nobody has begun to write meanwhile.
            && standing.holds()
            && standing.is_idle()
        {
            return Ok(contents);
        }
        let journal = files::beside(path, "-journal");
        let connection = if !read_only && journal.exists() {
            // What a dead process left half done is rolled back, as by any reader that may write.
            self.connect(self.options()).await?
        } else {
            self.connect_to_read(path).await?.0
        };
        self.contents_by(connection).await
    }

    async fn contents_by(&self, mut connection: SqliteConnection) -> Result<Contents> {
        let found = self.run(&mut connection, TABLES, Arguments::default()).await;
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "closing the connection that looked");
        }
        let found = found?.pop().unwrap_or_default();
        Contents::of(&found).map_err(|damage| damage.describe(&self.place))
    }
}
