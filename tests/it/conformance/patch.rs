use kv::store::{Code, Condition, Patch, Put, TypeChange};

use crate::support::{World, json};

cases! {
    the_table_of_rfc_7396_holds,
    a_merge_patch_of_a_missing_key_drops_its_nulls,
    what_a_merge_patch_does_not_touch_keeps_its_text,
    the_value_is_answered_when_it_is_asked_for,
    a_patch_counts_as_a_write_of_its_key,
    a_condition_guards_a_patch,
    the_table_of_rfc_6902_holds,
    the_errors_of_rfc_6902_are_errors,
    a_json_patch_is_all_or_nothing,
    a_json_patch_of_a_missing_key_is_not_found,
    patches_of_one_key_in_one_batch_build_on_each_other,
    patches_of_large_values_in_one_batch_are_all_applied,
    a_patch_that_makes_a_value_too_large_is_refused,
}

async fn value(world: &World, key: &str) -> String {
    world.store.get(key).await.unwrap().unwrap().value.get().to_owned()
}

/// RFC 7396, appendix A.
async fn the_table_of_rfc_7396_holds(world: &World) {
    for (original, patch, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        world.store.put(Put::new("a", json(original))).await.unwrap();
        world.store.patch(Patch::merge("a", json(patch))).await.unwrap();
        assert_eq!(value(world, "a").await, result, "{original} + {patch}");
    }
}

async fn a_merge_patch_of_a_missing_key_drops_its_nulls(world: &World) {
    let written =
        world.store.patch(Patch::merge("a", json(r#"{"a":{"b":null,"c":1},"d":null}"#))).await.unwrap();
    assert_eq!(written.version, 1);
    assert_eq!(value(world, "a").await, r#"{"a":{"c":1}}"#);
}

async fn what_a_merge_patch_does_not_touch_keeps_its_text(world: &World) {
    world.store.put(Put::new("a", json(r#"{"z":1E2,"b":9007199254740993,"c":"\u00e4"}"#))).await.unwrap();
    world.store.patch(Patch::merge("a", json(r#"{"b":1.10}"#))).await.unwrap();
    assert_eq!(value(world, "a").await, r#"{"z":1E2,"b":1.10,"c":"\u00e4"}"#);
}

async fn the_value_is_answered_when_it_is_asked_for(world: &World) {
    let patch = Patch { return_value: true, ..Patch::merge("a", json(r#"{"a":1}"#)) };
    assert_eq!(world.store.patch(patch).await.unwrap().value, Some(json(r#"{"a":1}"#)));
    let to_null = Patch { return_value: true, ..Patch::merge("a", json("null")) };
    assert_eq!(world.store.patch(to_null).await.unwrap().value, Some(json("null")));
    assert_eq!(world.store.patch(Patch::merge("a", json("{}"))).await.unwrap().value, None);
}

async fn a_patch_counts_as_a_write_of_its_key(world: &World) {
    world.store.put(Put::new("a", json("{}")).of_type("T")).await.unwrap();
    let written = world.store.patch(Patch::merge("a", json(r#"{"a":1}"#))).await.unwrap();
    assert_eq!((written.version, written.revision), (2, 2));
    assert_eq!(world.store.get("a").await.unwrap().unwrap().record_type.as_deref(), Some("T"));
    let cleared = Patch { record_type: TypeChange::Clear, ..Patch::merge("a", json("{}")) };
    world.store.patch(cleared).await.unwrap();
    assert_eq!(world.store.get("a").await.unwrap().unwrap().record_type, None);
    assert_eq!(world.store.stream(2, Some(1)).await.unwrap()[0].record.value, json(r#"{"a":1}"#));
}

async fn a_condition_guards_a_patch(world: &World) {
    let at = |version| Patch {
        condition: Condition { version: Some(version), ..Condition::default() },
        ..Patch::merge("a", json(r#"{"a":1}"#))
    };
    let error = world.store.patch(at(1)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(0)));
    world.store.patch(at(0)).await.unwrap();
    let error = world.store.patch(at(0)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(1)));
}

/// RFC 6902, appendix A: the examples that succeed.
async fn the_table_of_rfc_6902_holds(world: &World) {
    for (original, patch, result) in [
        // A.1 to A.4
        (r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, r#"{"foo":"bar","baz":"qux"}"#),
        (
            r#"{"foo":["bar","baz"]}"#,
            r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
            r#"{"foo":["bar","qux","baz"]}"#,
        ),
        (r#"{"baz":"qux","foo":"bar"}"#, r#"[{"op":"remove","path":"/baz"}]"#, r#"{"foo":"bar"}"#),
        (
            r#"{"foo":["bar","qux","baz"]}"#,
            r#"[{"op":"remove","path":"/foo/1"}]"#,
            r#"{"foo":["bar","baz"]}"#,
        ),
        // A.5 to A.7
        (
            r#"{"baz":"qux","foo":"bar"}"#,
            r#"[{"op":"replace","path":"/baz","value":"boo"}]"#,
            r#"{"baz":"boo","foo":"bar"}"#,
        ),
        (
            r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
            r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
            r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#,
        ),
        (
            r#"{"foo":["all","grass","cows","eat"]}"#,
            r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
            r#"{"foo":["all","cows","eat","grass"]}"#,
        ),
        // A.8
        (
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
            r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
        ),
        // A.10, A.11
        (
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
            r#"{"foo":"bar","child":{"grandchild":{}}}"#,
        ),
        (
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
            r#"{"foo":"bar","baz":"qux"}"#,
        ),
        // A.14, A.16
        (r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":10}]"#, r#"{"/":9,"~1":10}"#),
        (
            r#"{"foo":["bar"]}"#,
            r#"[{"op":"add","path":"/foo/-","value":["abc","def"]}]"#,
            r#"{"foo":["bar",["abc","def"]]}"#,
        ),
    ] {
        world.store.put(Put::new("a", json(original))).await.unwrap();
        world.store.patch(Patch::json_patch("a", json(patch))).await.unwrap();
        assert_eq!(value(world, "a").await, result, "{original} + {patch}");
    }
}

/// RFC 6902, appendix A: the examples that fail.
async fn the_errors_of_rfc_6902_are_errors(world: &World) {
    for (original, patch, code) in [
        // A.9, A.12, A.13, A.15
        (r#"{"baz":"qux"}"#, r#"[{"op":"test","path":"/baz","value":"bar"}]"#, Code::PatchFailed),
        (r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz/bat","value":"qux"}]"#, Code::PatchFailed),
        (r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux","op":"remove"}]"#, Code::BadRequest),
        (r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":"10"}]"#, Code::PatchFailed),
    ] {
        world.store.put(Put::new("a", json(original))).await.unwrap();
        let error = world.store.patch(Patch::json_patch("a", json(patch))).await.unwrap_err();
        assert_eq!(error.code, code, "{original} + {patch}");
        assert_eq!(value(world, "a").await, original);
    }
}

async fn a_json_patch_is_all_or_nothing(world: &World) {
    world.store.put(Put::new("a", json(r#"{"b":[1,2]}"#))).await.unwrap();
    let good = r#"[{"op":"test","path":"/b/0","value":1},{"op":"add","path":"/b/-","value":3}]"#;
    world.store.patch(Patch::json_patch("a", json(good))).await.unwrap();
    assert_eq!(value(world, "a").await, r#"{"b":[1,2,3]}"#);
    let failing = r#"[{"op":"remove","path":"/b/0"},{"op":"test","path":"/b/0","value":1}]"#;
    let error = world.store.patch(Patch::json_patch("a", json(failing))).await.unwrap_err();
    assert_eq!(error.code, Code::PatchFailed);
    let error = world.store.patch(Patch::json_patch("a", json(r#"{"op":"remove"}"#))).await.unwrap_err();
    assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("patch")));
    assert_eq!(value(world, "a").await, r#"{"b":[1,2,3]}"#);
    assert_eq!(world.store.stream_seq().await.unwrap(), 2);
}

async fn a_json_patch_of_a_missing_key_is_not_found(world: &World) {
    let patch = Patch::json_patch("a", json(r#"[{"op":"add","path":"/b","value":1}]"#));
    assert_eq!(world.store.patch(patch).await.unwrap_err().code, Code::NotFound);
    assert_eq!(world.store.get("a").await.unwrap(), None);
}

async fn patches_of_one_key_in_one_batch_build_on_each_other(world: &World) {
    world.store.put(Put::new("a", json(r#"{"z":0}"#))).await.unwrap();
    let patches =
        (0..100).map(|number| world.store.patch(Patch::merge("a", json(&format!("{{\"{number}\":1}}")))));
    for (version, written) in (2..).zip(futures_util::future::join_all(patches).await) {
        assert_eq!(written.unwrap().version, version);
    }
    let object: serde_json::Value = serde_json::from_str(&value(world, "a").await).unwrap();
    assert_eq!(object.as_object().unwrap().len(), 101);
}

async fn patches_of_large_values_in_one_batch_are_all_applied(world: &World) {
    // Ten values of 7 MiB are more than one batch loads.
    let large = json(&format!("{{\"x\":\"{}\"}}", "x".repeat(7 * 1_024 * 1_024)));
    for key in 0..10 {
        world.store.put(Put::new(key.to_string(), large.clone())).await.unwrap();
    }
    let patches =
        (0..10).map(|key| world.store.patch(Patch::merge(key.to_string(), json(r#"{"x":null,"y":1}"#))));
    for written in futures_util::future::join_all(patches).await {
        assert_eq!(written.unwrap().version, 2);
    }
    for key in 0..10 {
        assert_eq!(value(world, &key.to_string()).await, r#"{"y":1}"#);
    }
}

async fn a_patch_that_makes_a_value_too_large_is_refused(world: &World) {
    let half = |name: &str| json(&format!("{{\"{name}\":\"{}\"}}", "x".repeat(5 * 1_024 * 1_024)));
    world.store.put(Put::new("a", half("a"))).await.unwrap();
    let error = world.store.patch(Patch::merge("a", half("b"))).await.unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
    assert_eq!(world.store.get("a").await.unwrap().unwrap().version, 1);
}
