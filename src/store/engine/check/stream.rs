//! The stream: dense, in calls, and for each key one history.

use super::columns::Columns;
use super::{Check, Meta};
use crate::store::error::Result;
use crate::store::record::Action;

/// The change before the one that is looked at.
struct Last {
    seq: i64,
    tx: Option<i64>,
    is_end: Option<bool>,
}

impl Check<'_, '_> {
    /// Each change by itself, and the one before it.
    pub(super) fn stream(&mut self, meta: &Meta) -> Result<()> {
        let mut last = Last { seq: meta.first - 1, tx: None, is_end: (meta.first == 1).then_some(true) };
        // What was trimmed is removed bit by bit, and means nothing by then.
        let text = "select * from kv_stream where seq >= (select first from kv_meta) order by seq";
        self.each("kv_stream", text, |check, row| {
            check.checked.changes += 1;
            let mut columns = Columns::of(row);
            let Some(seq) = columns.integer("seq") else {
                check.tell("kv_stream", None, columns);
                return check.pass();
            };
            check.change(meta, seq, &mut columns);
            if seq <= meta.head {
                if seq > last.seq + 1 {
                    check.find("kv_stream", None, hole(last.seq + 1, seq - 1));
                    last = Last { seq: seq - 1, tx: None, is_end: None };
                }
                last = call(seq, &last, &mut columns);
            }
            check.tell("kv_stream", Some(seq.to_string()), columns);
            check.pass()
        })?;
        if last.seq < meta.head {
            self.find("kv_stream", None, hole(last.seq + 1, meta.head));
        } else if last.is_end == Some(false) {
            self.find(
                "kv_stream",
                Some(last.seq.to_string()),
                "its call has no end, and it is the last change",
            );
        }
        Ok(())
    }

    fn change(&mut self, meta: &Meta, seq: i64, columns: &mut Columns<'_>) {
        if seq > meta.head {
            columns.problem(format!("the stream ends at {}", meta.head));
        }
        columns.key();
        columns.record_type();
        columns.expiry();
        columns.json();
        // An imported record has the times and the version that it had elsewhere.
        for time in ["time", "created", "updated"] {
            columns.time(time);
        }
        let (version, revision) = (columns.count("version"), columns.count("revision"));
        let action = columns.text("action");
        let Some(known) = action.and_then(Action::from_name) else {
            if let Some(action) = action {
                columns.problem(format!("the action {action:?} is unknown"));
            }
            return;
        };
        if version == Some(0) {
            columns.problem("version is 0");
        }
        if known == Action::Expire && columns.is_null("expires") {
            columns.problem("it says that a record has expired which stays");
        }
        let Some(revision) = revision else { return };
        match known {
            Action::Delete | Action::Expire if revision >= seq || revision < 1 => {
                columns.problem(format!("it removes what was written at {revision}"));
            }
            Action::Create | Action::Update if revision != seq => {
                columns.problem(format!("the record in it has the revision {revision}"));
            }
            _ => {}
        }
    }

    /// For each key its changes in order, and the record that they leave.
    pub(super) fn histories(&mut self, meta: &Meta) -> Result<()> {
        let text = "select s.seq, s.\"key\", s.action, s.version, s.revision,
                lag(s.seq) over history as last_seq, lag(s.action) over history as last_action,
                lag(s.version) over history as last_version, lead(s.seq) over history is null as is_last,
                r.revision as present
            from kv_stream s left join kv_record r on r.\"key\" = s.\"key\"
            where s.seq >= (select first from kv_meta)
            window history as (partition by s.\"key\" order by s.seq)";
        self.each("kv_stream", text, |check, row| {
            let (plain, mut columns) = (Columns::of(row), Columns::of(row));
            let (number, word) = (|column: &str| plain.number(column), |column: &str| plain.word(column));
            let (seq, version, action) = (number("seq").unwrap_or(0), number("version"), word("action"));
            match (number("last_seq"), word("last_action"), action) {
                (None, _, "update" | "delete" | "expire") if meta.first == 1 => {
                    columns.problem(format!(
                        "it is the first change of {:?}, and the action is {action}",
                        word("key")
                    ));
                }
                (None, ..) => {}
                (Some(last), "delete" | "expire", "update" | "delete" | "expire") => {
                    columns.problem(format!(
                        "change {last} removed {:?}, and the action is {action}",
                        word("key")
                    ));
                }
                (Some(last), "create" | "update", "create") => {
                    columns.problem(format!(
                        "{:?} was there since change {last}, and the action is create",
                        word("key")
                    ));
                }
                (Some(last), "create" | "update", _) => {
                    let is_of_last = (version, number("revision")) == (number("last_version"), Some(last));
                    if matches!(action, "delete" | "expire") && !is_of_last {
                        columns.problem(format!("it does not remove what change {last} wrote"));
                    }
                }
                _ => {}
            }
            if number("is_last") == Some(1) {
                match (action, number("present")) {
                    ("delete" | "expire", None) | ("", _) => {}
                    ("delete" | "expire", Some(_)) => {
                        columns
                            .problem(format!("it is the last change of {:?}, which is there", word("key")));
                    }
                    (_, Some(revision)) if revision == seq => {}
                    (_, Some(revision)) => columns.problem(format!(
                        "it is the last change of {:?}, whose record has the revision {revision}",
                        word("key")
                    )),
                    (_, None) => {
                        columns.problem(format!(
                            "it is the last change of {:?}, which is not there",
                            word("key")
                        ));
                    }
                }
            }
            check.tell("kv_stream", Some(seq.to_string()), columns);
            check.pass()
        })
    }
}

/// All changes of one call have the seq of its first one as their `tx`, and only the last one ends it.
fn call(seq: i64, last: &Last, columns: &mut Columns<'_>) -> Last {
    let tx = columns.integer("tx");
    let is_end = match columns.integer("tx_end") {
        Some(end @ (0 | 1)) => Some(end == 1),
        Some(end) => {
            columns.problem(format!("tx_end is {end}"));
            None
        }
        None => None,
    };
    if let Some(tx) = tx {
        match last.is_end {
            Some(true) if tx != seq => columns.problem(format!("it begins a call, and its tx is {tx}")),
            Some(false) if last.tx.is_some_and(|last| last != tx) => {
                columns.problem(format!("its call goes on from change {}, and its tx is {tx}", last.seq));
            }
            None if tx < 1 || tx > seq => columns.problem(format!("its tx is {tx}")),
            _ => {}
        }
    }
    Last { seq, tx, is_end }
}

fn hole(from: i64, to: i64) -> String {
    if from == to {
        format!("change {from} is missing")
    } else {
        format!("changes {from} to {to} are missing")
    }
}
