//! The image of the Containerfile, from a stand-in for the images that it is built from.

use serde_json::{Value, json};

use super::{command, is_skipped, output};

/// Serves as the image would by itself, with the daemon as a process of the container's user.
const SERVE: &str = "
    id -un
    kv init
    kv daemon run 2>/dev/null &
    until KV_DAEMON=require kv put greeting --text hello 2>/dev/null; do sleep 0.1; done
    kv get greeting --text
    kill -TERM $!
    wait $!
    ls /var/lib/kv
";

#[test]
fn the_image_serves_a_store() {
    if is_skipped("the_image_serves_a_store") {
        return;
    }
    let mut image = command("tests/packages/image");
    let printed = output(image.args(["try", env!("CARGO_BIN_EXE_kv"), SERVE]));
    let (config, served) = printed.split_once('\n').unwrap();
    let config: Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["Entrypoint"], json!(["kv"]));
    assert_eq!(config["Cmd"], json!(["daemon", "run"]));
    assert_eq!(config["Volumes"], json!({"/var/lib/kv": {}}));
    assert_eq!(config["User"], "kv");
    assert_eq!(served, "kv\nhello\ndata.db\ndata.db.kv-lock\n");
}
