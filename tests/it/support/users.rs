//! What tests of the users of a server share: what kv refuses, and what it shows of a secret.

use serde_json::Value;

use super::Kv;

/// The error that a request is answered with over the socket of the daemon.
#[track_caller]
pub(crate) fn refusal(kv: &Kv, request: &str) -> Value {
    let answer = kv.ok(&format!("echo '{request}' | kv rpc"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["ok"], false, "{request}: {answer}");
    answer["error"].clone()
}

/// The same, of a command with the wrong words for a server; and how it fails on the command line.
#[track_caller]
pub(crate) fn assert_refused(kv: &Kv, request: &str, code: &str, retry: bool, words: &[&str]) {
    let error = refusal(kv, request);
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(error["retry"] == true, retry, "{error}");
    let told = format!("{} {}", error["message"], error["hint"]);
    assert!(error["hint"].is_string(), "there is no hint: {error}");
    for word in words {
        assert!(told.contains(word), "{word}: {error}");
    }
}

/// Asserts that a text shows no part of a secret.
#[track_caller]
pub(crate) fn assert_hidden(parts: &[&str], what: &str, text: &str) {
    for part in parts {
        assert!(!text.contains(part), "{what} shows the password: {text}");
    }
}

/// What a command prints on both outputs, whether it succeeds or not.
pub(crate) fn both(kv: &Kv, text: &str) -> String {
    let output = kv.shell(text);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// What of every process of a store can be seen: its words and its environment.
pub(crate) fn processes(kv: &Kv) -> String {
    let own = kv.directory.path().to_str().unwrap();
    let mut seen = String::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let read = |file: &str| std::fs::read(entry.as_ref().unwrap().path().join(file)).unwrap_or_default();
        let (words, environment) = (read("cmdline"), read("environ"));
        let (words, environment) = (String::from_utf8_lossy(&words), String::from_utf8_lossy(&environment));
        if environment.contains(own) {
            seen += &words;
            seen += &environment;
        }
    }
    seen
}
