//! Commands on records.

use super::{ExitCode, Page};

const CONDITION: &[ExitCode] = &[(4, "another version or revision, or fenced")];

const EXPIRY: &[ExitCode] = &[(3, "the key does not exist"), (4, "another version or revision, or fenced")];

/// What is true of every listing.
pub(super) const WHOLE: &str = "Without a limit everything is printed, page by page. When a limit leaves something out, stderr has the \
    command for the rest. On a terminal people see a table, cut to its width and in a pager; in a pipe programs find one \
    JSON array.";

pub(super) const PAGES: &[Page] = &[
    Page::new("init", &["kv init", "kv init --connection other.db"]).notes(&[
        "No other command creates a store. A store that exists keeps its records.",
    ]),
    Page::new(
        "put",
        &["kv put hello --text world", "kv put user/3 '{\"name\":\"Eve\"}' --if-absent --ttl 10m"],
    )
    .notes(&[
        "Without a value it is read from stdin, as JSON. The word - means stdin too: a text that is a hyphen is stored by \
         kv put KEY '\"-\"'.",
        "A key that begins with a hyphen is written --key=-k, or stands behind -- and all options.",
    ])
    .exit_codes(CONDITION),
    Page::new("get", &["kv get user/1", "kv get prefix user/ --output ndjson"])
        .notes(&[
            "A key that is key, batch, prefix, range or type itself is read by get key KEY. Several words are several keys, as \
             behind batch; stderr tells which of them do not exist.",
            WHOLE,
        ])
        .exit_codes(&[(3, "one key was asked for, and it does not exist; with --all-or-fail, one of several")]),
    Page::new("list", &["kv list user/ --limit 10", "kv list --keys-only --output text"]).notes(&[
        "A prefix that is a number is a word of get: kv get prefix 2024.",
        WHOLE,
    ]),
    Page::new(
        "patch",
        &[
            "kv patch user/1 '{\"age\":36}'",
            "kv patch user/1 --value '{\"name\":null}' --print-value",
        ],
    )
    .notes(&[
        "A key that does not exist is created by a merge patch; a JSON Patch of it fails. \
         Without a patch it is read from stdin. An array of operations needs --format.",
    ])
    .exit_codes(&[
        (3, "the key of a JSON Patch does not exist"),
        (4, "another version or revision, a patch that does not fit, or fenced"),
    ]),
    Page::new("history", &["kv history user/1", "kv history user/1 --reverse --limit 1"])
        .notes(&["Changes that were trimmed from the stream are not in it: a line on stderr tells with which one the stream begins then."])
        .exit_codes(&[(7, "the change that --after names was trimmed")]),
    Page::new("revert", &["kv revert user/1 --to 2", "kv revert user/1 --to 2 --print-version"])
        .notes(&[
            "A key that did not exist then stays as it is, unless --allow-delete says so. A record that is as it was then is not written again. The type comes back with the value, and the present expiry stays. The change is a new \
             one: nothing of the history is lost.",
        ])
        .exit_codes(&[
            (3, "the key did not exist then, and a record would be removed"),
            (7, "the stream does not tell what the record was"),
        ]),
    Page::new("rename", &["kv rename user/1 user/one", "kv rename user/2 user/1 --overwrite"])
        .notes(&["The value, the type and the expiry move in one transaction. The new record begins at version 1; one that is \
             replaced goes on from its version."])
        .exit_codes(&[(3, "there is no such key"), (4, "there is a record under the new key")]),
    Page::new("copy-key", &["kv copy-key user/1 user/9", "kv copy-key user/1 user/2 --overwrite"])
        .notes(&["The new record begins at version 1; one that is replaced goes on from its version."])
        .exit_codes(&[(3, "there is no such key"), (4, "there is a record under the new key")]),
    Page::new("update", &["kv update visits -- jq '. + 1'", "kv update user/1 -- jq '.name = \"Eve\"'"]).notes(&[
        "COMMAND reads null for a key that does not exist. It finds KV_RECORD_KEY and KV_RECORD_VERSION in its environment. \
         When another writer changes the key meanwhile, COMMAND is run again with the new value, so it should have no other \
         effects. When it fails, nothing is stored and this command ends with its exit code. The type and the expiry stay.",
    ]),
    Page::new("incr", &["kv incr visits", "kv incr balance -0.50"])
        .notes(&[
            "A key that does not exist counts as 0. Sums are exact, whatever the sizes of the numbers are, and have as many \
             decimals as the number that has more of them.",
        ])
        .exit_codes(&[(4, "the value is not a number, another version or revision, or fenced")]),
    Page::new("ttl", &["kv ttl user/1", "kv ttl user/1 --output json"])
        .notes(&["A record that does not expire has none. What is left is told by the clock of this machine."])
        .exit_codes(&[(3, "the key does not exist, or its time is over")]),
    Page::new("expire", &["kv expire user/1 24h", "kv expire user/1 10m --print-version"])
        .notes(&[
            "When the time is over, the record is gone for everybody, and the stream has a change with the action \
             expire. Setting it again counts from then on; persist takes it back.",
        ])
        .exit_codes(EXPIRY),
    Page::new("persist", &["kv persist user/1", "kv persist user/1 --print-version"]).exit_codes(EXPIRY),
    Page::new("count", &["kv count", "kv count prefix user/"]),
    Page::new("delete", &["kv delete hello", "kv delete prefix user/ --dry-run"])
        .notes(&[
            "A first key that is key, prefix or range itself is removed by delete key KEY. The number of records that were \
             removed is printed.",
            "A prefix or range of more than 20,000 records is removed in several transactions, so that others need not \
             wait for all of it. When something fails on its way, the error says how many records are gone; delete \
             again to remove the rest. To interrupt this command does not interrupt a daemon; the command tells how much \
             is left.",
        ])
        .exit_codes(CONDITION),
    Page::new(
        "mutate",
        &[
            "kv mutate <<<'{\"op\":\"put\",\"key\":\"a\",\"value\":1}'",
            "kv mutate --once import-7 <mutations.ndjson",
        ],
    )
    .notes(&[
        "Each line is one mutation, such as {\"op\":\"put\",\"key\":\"a\",\"value\":1}, \
         {\"op\":\"patch\",\"key\":\"b\",\"patch\":{\"n\":1}}, {\"op\":\"delete\",\"prefix\":\"tmp/\"}, or \
         {\"op\":\"check\",\"key\":\"a\",\"version\":1}, which changes nothing and fails at any other version. \
         When one fails, none is applied. kv protocol tells their fields.",
    ])
    .exit_codes(&[(4, "a mutation failed for its condition or its patch, or fenced")]),
];
