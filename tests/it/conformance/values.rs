use kv::store::{Code, JsonText, Put};

use crate::support::{World, json};

cases! {
    the_exact_text_of_a_value_comes_back,
    white_space_between_tokens_is_dropped,
    a_value_of_the_largest_size_comes_back,
    a_value_over_the_largest_size_is_refused,
}

async fn the_exact_text_of_a_value_comes_back(world: &World) {
    let texts = [
        "null",
        "true",
        "\"text\"",
        "\"\\u00e4\\/\\n\\ud83d\\ude00ä\"",
        "9007199254740993",
        "-0",
        "1E2",
        "1.10",
        "1e400",
        "123456789012345678901234567890",
        "[]",
        "{}",
        r#"{"b":1,"a":2,"b":3,"":null}"#,
        r#"[1,"x'6162'",":a","$1","?","%_"]"#,
    ];
    for text in texts {
        world.store.put(Put::new("a", json(text))).await.unwrap();
        assert_eq!(world.store.get("a").await.unwrap().unwrap().value.get(), text);
    }
    let changes = world.store.stream(0, None).await.unwrap();
    let in_stream: Vec<&str> = changes.iter().map(|change| change.record.value.get()).collect();
    assert_eq!(in_stream, texts);
}

async fn white_space_between_tokens_is_dropped(world: &World) {
    let value = JsonText::parse(" {\n\t\"a b\" : [ 1 , 2 ] }\r\n").unwrap();
    world.store.put(Put::new("a", value)).await.unwrap();
    assert_eq!(world.store.get("a").await.unwrap().unwrap().value.get(), r#"{"a b":[1,2]}"#);
}

async fn a_value_of_the_largest_size_comes_back(world: &World) {
    let text = format!("\"{}\"", "x".repeat(8 * 1_024 * 1_024 - 2));
    world.store.put(Put::new("large", json(&text))).await.unwrap();
    world.store.put(Put::new("small", json("1"))).await.unwrap();
    assert_eq!(world.store.get("large").await.unwrap().unwrap().value.get(), text);
    let batch = world.store.get_batch(&["small", "large", "small2"]).await.unwrap();
    assert_eq!(batch.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(), ["small", "large"]);
    assert_eq!(world.store.list(0, None).await.unwrap()[0].value.get(), text);
}

async fn a_value_over_the_largest_size_is_refused(world: &World) {
    let text = format!("\"{}\"", "x".repeat(8 * 1_024 * 1_024 - 1));
    let error = world.store.put(Put::new("large", json(&text))).await.unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
    assert_eq!(world.store.stream_seq().await.unwrap(), 0);
}
