//! The records, and the change that each comes from.

use super::columns::Columns;
use super::{Check, Meta};
use crate::store::error::Result;

impl Check<'_, '_> {
    /// Each record by itself, and the change that its revision names, as far as the stream is kept.
    pub(super) fn records(&mut self, meta: &Meta) -> Result<()> {
        let columns = ["\"key\"", "version", "type", "created", "updated", "expires"];
        let same = columns.map(|name| format!("s.{name} is not distinct from r.{name}")).join(" and ");
        let text_of = |column: &str| self.tables.dialect().text_of(column);
        let text = format!(
            "select r.*, s.seq is not null as is_streamed, {same} and {} = {} and s.action <> 'delete' as is_same
            from kv_record r left join kv_stream s on s.seq = r.revision order by r.\"key\"",
            text_of("s.value"),
            text_of("r.value")
        );
        self.each("kv_record", &text, |check, row| {
            check.checked.records += 1;
            let mut columns = Columns::of(row);
            let key = columns.key().map(str::to_owned);
            columns.record_type();
            columns.json();
            columns.time("created");
            columns.time("updated");
            columns.expiry();
            if columns.count("version") == Some(0) {
                columns.problem("version is 0");
            }
            if let Some(revision) = columns.count("revision") {
                let is = |column: &str| Columns::of(row).number(column) == Some(1);
                if revision < 1 || revision > meta.head {
                    columns.problem(format!("revision is {revision}, and the stream ends at {}", meta.head));
                } else if revision >= meta.first && is("is_streamed") && !is("is_same") {
                    columns.problem(format!("it is not what change {revision} says"));
                }
            }
            check.tell("kv_record", key, columns);
            check.pass()
        })?;
        self.unique("kv_record", "revision", "records")
    }
}
