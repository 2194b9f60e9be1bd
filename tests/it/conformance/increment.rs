use std::time::Duration;

use kv::limits;
use kv::store::{
    Action, Code, Condition, ExpiryChange, Increment, Mutation, MutationResult, Patch, Put, Timestamp,
    TypeChange,
};

use crate::support::{START_MS, World, json};

cases! {
    an_absent_key_counts_as_zero,
    sums_are_exact_and_as_long_as_the_longer_operand,
    it_is_one_write_that_keeps_type_and_expiry_unless_told_otherwise,
    a_value_that_is_not_a_number_is_left,
    a_sum_that_is_too_long_is_refused_and_no_exponent_explodes,
    conditions_hold_for_counters,
    many_at_once_lose_nothing,
    in_a_mutate_each_sees_those_before_it,
    what_is_added_is_a_number,
}

fn by(key: &str, number: &str) -> Increment {
    Increment::by(key, json(number))
}

async fn an_absent_key_counts_as_zero(world: &World) {
    let written = world.store.increment(by("a", "1")).await.unwrap();
    assert_eq!((written.version, written.revision, written.value), (1, 1, Some(json("1"))));
    let written = world.store.increment(by("a", "-3")).await.unwrap();
    assert_eq!((written.version, written.revision, written.value), (2, 2, Some(json("-2"))));
    let actions: Vec<Action> =
        world.store.stream(0, None).await.unwrap().into_iter().map(|change| change.action).collect();
    assert_eq!(actions, [Action::Create, Action::Update]);
}

async fn sums_are_exact_and_as_long_as_the_longer_operand(world: &World) {
    for (stored, added, sum) in [
        ("0.10", "0.2", "0.30"),
        ("1e3", "1", "1001"),
        ("9007199254740993", "1", "9007199254740994"),
        ("99999999999999999999999999999999", "1", "100000000000000000000000000000000"),
        ("-0.0", "0", "0.0"),
        ("1", "1E-3", "1.001"),
    ] {
        world.store.put(Put::new("a", json(stored))).await.unwrap();
        let written = world.store.increment(by("a", added)).await.unwrap();
        assert_eq!(written.value, Some(json(sum)), "{stored} + {added}");
        assert_eq!(world.store.get("a").await.unwrap().unwrap().value.get(), sum);
    }
}

async fn it_is_one_write_that_keeps_type_and_expiry_unless_told_otherwise(world: &World) {
    world.store.put(Put::new("a", json("1")).of_type("T").ttl(Duration::from_secs(1))).await.unwrap();
    world.clock.advance_ms(10);
    world.store.increment(by("a", "1")).await.unwrap();
    let record = world.store.get("a").await.unwrap().unwrap();
    let at = |ms| Some(Timestamp::from_unix_ms(START_MS + ms));
    assert_eq!((record.version, record.record_type.as_deref(), record.expires), (2, Some("T"), at(1_000)));
    let expiry = ExpiryChange::After(Duration::from_millis(500));
    world
        .store
        .increment(Increment { expiry, record_type: TypeChange::Clear, ..by("a", "1") })
        .await
        .unwrap();
    let record = world.store.get("a").await.unwrap().unwrap();
    assert_eq!((record.record_type, record.expires, record.value), (None, at(510), json("3")));
    // One that has expired is absent.
    world.clock.advance_ms(500);
    let written = world.store.increment(by("a", "1")).await.unwrap();
    assert_eq!((written.version, written.value), (1, Some(json("1"))));
}

async fn a_value_that_is_not_a_number_is_left(world: &World) {
    for value in ["null", "true", "\"1\"", "[1]", r#"{"n":1}"#] {
        world.store.put(Put::new("a", json(value))).await.unwrap();
        let error = world.store.increment(by("a", "1")).await.unwrap_err();
        assert_eq!(error.code, Code::PatchFailed);
        assert_eq!(error.message, "a is not a number, so nothing can be added to it");
        assert!(error.hint.is_some() && !error.maybe);
        assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json(value));
    }
}

async fn a_sum_that_is_too_long_is_refused_and_no_exponent_explodes(world: &World) {
    let nines = "9".repeat(limits::NUMBER_CHARACTERS);
    for stored in [nines.as_str(), "1e1000000", "1e-1000000", "1e999999999999999999999"] {
        world.store.put(Put::new("a", json(stored))).await.unwrap();
        let error = world.store.increment(by("a", "1")).await.unwrap_err();
        assert_eq!(error.code, Code::TooLarge, "{stored}");
        assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json(stored));
    }
    world.store.put(Put::new("a", json(&nines))).await.unwrap();
    let written = world.store.increment(by("a", "-1")).await.unwrap();
    assert_eq!(written.value.unwrap().get().len(), limits::NUMBER_CHARACTERS);
}

async fn conditions_hold_for_counters(world: &World) {
    let at = |version| Condition { version: Some(version), ..Condition::default() };
    let error = world.store.increment(Increment { condition: at(1), ..by("a", "1") }).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(0)));
    world.store.increment(Increment { condition: at(0), ..by("a", "1") }).await.unwrap();
    let written = world.store.increment(Increment { condition: at(1), ..by("a", "1") }).await.unwrap();
    assert_eq!(written.value, Some(json("2")));
}

async fn many_at_once_lose_nothing(world: &World) {
    let increments = (0..40).map(|_| world.store.increment(by("a", "0.5")));
    let mut sums: Vec<String> = futures_util::future::join_all(increments)
        .await
        .into_iter()
        .map(|written| written.unwrap().value.unwrap().get().to_owned())
        .collect();
    sums.sort_by(|one, other| one.parse::<f64>().unwrap().total_cmp(&other.parse().unwrap()));
    let expected: Vec<String> = (1..=40).map(|number| format!("{}.{}", number / 2, number % 2 * 5)).collect();
    assert_eq!(sums, expected);
}

async fn in_a_mutate_each_sees_those_before_it(world: &World) {
    let mutations = vec![
        Mutation::Increment(by("a", "2")),
        Mutation::Increment(by("a", "3")),
        Mutation::Patch(Patch::merge("b", json("7"))),
        Mutation::Increment(by("b", "1")),
    ];
    let results = world.store.mutate_all(mutations).await.unwrap();
    let values: Vec<Option<String>> = results
        .into_iter()
        .map(|result| match result {
            MutationResult::Written(written) => written.value.map(|value| value.get().to_owned()),
            other => panic!("{other:?}"),
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(values, [some("2"), some("5"), None, some("8")]);
}

async fn what_is_added_is_a_number(world: &World) {
    for wrong in ["null", "\"1\"", "{}", "1e1001", &"1".repeat(1_001)] {
        let error = world.store.increment(by("a", wrong)).await.unwrap_err();
        assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("by")), "{wrong}");
    }
    assert_eq!(world.store.get("a").await.unwrap(), None);
}
