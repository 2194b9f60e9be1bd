//! The tables whose rows have names. Each lists its columns here only, so that loading, reading and writing agree.

/// A table with a name as its key.
pub(super) struct Named {
    pub(super) table: &'static str,
    /// The columns behind the name, in the order of [`lock`](super::load::lock) and its like.
    pub(super) columns: &'static [&'static str],
}

pub(super) const LOCKS: Named =
    Named { table: "kv_lock", columns: &["owner", "fence", "refreshes", "expires"] };

pub(super) const CONSUMERS: Named =
    Named { table: "kv_consumer", columns: &["position", "holder", "expires"] };

impl Named {
    /// The columns from the name on, of the table that a statement calls `t`.
    pub(super) fn selected(&self) -> String {
        let columns: String = self.columns.iter().map(|column| format!(", t.{column}")).collect();
        format!("t.name{columns}")
    }
}
