//! Where a batch is decided: on the thread of the runtime, or aside where that could hold up others.

use super::error::{Code, Error, Result};
use super::plan::{Plan, Rows, plan};
use super::request::{Mutation, PatchFormat, Write, WriteOperation};
use crate::limits;

/// Decides a batch as [`plan`] does. One that may take longer than a few milliseconds is decided on a thread of its own, so
/// that a daemon answers others meanwhile.
///
/// # Errors
/// `internal` when that thread ended without an answer.
pub(crate) async fn decide(rows: Rows, requests: &[Write], now_ms: i64) -> Result<Plan> {
    if !may_take_long(&rows, requests) {
        return Ok(plan(rows, requests, now_ms));
    }
    // Texts are shared by their clones.
    let requests = requests.to_vec();
    tokio::task::spawn_blocking(move || plan(rows, &requests, now_ms))
        .await
        .map_err(|error| Error::new(Code::Internal, format!("a batch was not decided: {error}")))
}

/// Decided by size alone, so that it costs next to nothing itself.
fn may_take_long(rows: &Rows, requests: &[Write]) -> bool {
    let stored = rows.records.values().filter_map(|row| row.value.as_ref()).map(|value| value.get().len());
    let bytes = stored.chain(requests.iter().map(Write::weight_bytes)).sum::<usize>();
    let is_json_patch = |mutation: &Mutation| matches!(mutation, Mutation::Patch(patch) if patch.format == PatchFormat::JsonPatch);
    bytes > limits::PLAN_ASIDE_BYTES
        || requests.iter().any(|request| match &request.operation {
            WriteOperation::Apply(mutation) => is_json_patch(mutation),
            WriteOperation::Mutate(mutations) => mutations.iter().any(is_json_patch),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::store::plan::{Meta, Row};
    use crate::store::{JsonText, Patch, Put};

    /// A store with one record.
    fn rows(value: &JsonText) -> Rows {
        let meta = Meta { epoch: "e".to_owned(), head: 1, first: 1, last_ms: 0, fence: 0, lock_seq: 0 };
        let row = Row {
            version: 1,
            revision: 1,
            record_type: None,
            created_ms: 0,
            updated_ms: 0,
            value: Some(value.clone()),
        };
        Rows {
            meta,
            records: HashMap::from([("a".to_owned(), row)]),
            ranged: 0,
            counted: 0,
            locks: HashMap::new(),
            swept_locks: Vec::new(),
            consumers: HashMap::new(),
            once: HashMap::new(),
        }
    }

    fn parse(text: &str) -> JsonText {
        JsonText::parse(text).unwrap()
    }

    /// What runs on this thread is answered at the first look; what runs aside leaves the thread to others meanwhile.
    #[tokio::test]
    async fn what_may_take_long_is_decided_aside() {
        let array = format!("[{}0]", "0,".repeat(50_000));
        let copies = |times| {
            let copies = vec![r#"{"op":"copy","from":"/big","path":"/copy"}"#; times].join(",");
            Mutation::Patch(Patch::json_patch("a", parse(&format!("[{copies}]"))))
        };
        let merge = |patch: &str| Mutation::Patch(Patch::merge("a", parse(patch)));
        let deep = |inner: &str| format!("{}{inner}{}", "{\"a\":".repeat(98), "}".repeat(98));
        let wide: Vec<String> = (0..120_000).map(|number| format!("\"{number}\":0")).collect();
        let wide = format!("{{{}}}", wide.join(","));
        let small = parse(r#"{"big":0}"#);
        let numbers = parse(&format!(r#"{{"big":{array}}}"#));
        let put = |bytes| Mutation::Put(Put::new("b", parse(&format!("\"{}\"", "x".repeat(bytes)))));
        for (what, value, mutation, is_aside) in [
            ("80 copies", &numbers, copies(80), true),
            ("1,280 copies", &numbers, copies(1_280), true),
            ("a small patch of a large deep value", &parse(&deep(&wide)), merge(&deep("1")), true),
            ("a large patch of a small value", &small, merge(&wide), true),
            ("a large put", &small, put(2 << 20), true),
            ("a small put", &small, put(100), false),
            ("a small merge patch", &small, merge(r#"{"a":1}"#), false),
        ] {
            for request in [Write::from(mutation.clone()), WriteOperation::Mutate(vec![mutation]).into()] {
                let requests = [request];
                let mut deciding = std::pin::pin!(decide(rows(value), &requests, 0));
                let at_once = deciding.as_mut().now_or_never();
                assert_eq!(at_once.is_none(), is_aside, "{what}");
                let plan = match at_once {
                    Some(plan) => plan,
                    None => deciding.await,
                };
                assert_eq!(plan.unwrap().outcomes.len(), 1, "{what}");
            }
        }
    }

    /// A batch ends once its patches have cost enough, whatever came of them.
    #[tokio::test]
    async fn the_patches_of_one_batch_cost_a_bounded_amount() {
        let value = parse(&format!("[{}0]", "0,".repeat(200_000)));
        let failing = parse(r#"[{"op":"test","path":"/0","value":1}]"#);
        let requests: Vec<Write> =
            (0..1_000).map(|_| Mutation::Patch(Patch::json_patch("a", failing.clone())).into()).collect();
        let plan = decide(rows(&value), &requests, 0).await.unwrap();
        let cost_of_one = 200_000 * limits::WORK_OF_ELEMENT;
        let most = usize::try_from(limits::BATCH_WORK / cost_of_one).unwrap() + 1;
        assert!((2..=most).contains(&plan.outcomes.len()), "{}", plan.outcomes.len());
        // So do those of one mutate, which is refused as a whole.
        let patch = Mutation::Patch(Patch::json_patch("a", parse("[]")));
        let requests = [WriteOperation::Mutate(vec![patch; most + 1]).into()];
        let error = decide(rows(&value), &requests, 0).await.unwrap().outcomes.remove(0).unwrap_err();
        assert_eq!((error.code, error.details.index), (Code::TooLarge, Some(most)));
    }
}
