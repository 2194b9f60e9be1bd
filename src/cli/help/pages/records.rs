//! Commands on records.

use super::{ExitCode, Page};

const CONDITION: &[ExitCode] = &[(4, "another version or revision, or fenced")];

const EXPIRY: &[ExitCode] = &[(3, "the key does not exist"), (4, "another version or revision, or fenced")];

pub(super) const PAGES: &[Page] = &[
    Page::new("init", &["kv init", "kv init --connection other.db"]).notes(&[
        "No other command creates a store. A store that exists keeps its records.",
    ]),
    Page::new(
        "put",
        &["kv put hello --text world", "kv put user/3 --text Eve --if-absent --ttl 10m"],
    )
    .notes(&["Without --value, --text and --file the value is read from stdin, as JSON."])
    .exit_codes(CONDITION),
    Page::new("get", &["kv get user/1", "kv get prefix user/ --output ndjson"])
        .notes(&["A key that is key, batch, prefix, range or type itself is read by get key KEY."])
        .exit_codes(&[(3, "one key was asked for, and it does not exist")]),
    Page::new("list", &["kv list --keys-only", "kv list 0 -1 --output ndjson"]),
    Page::new(
        "patch",
        &[
            "kv patch user/1 --value '{\"age\":36}'",
            "kv patch user/1 --value '{\"name\":null}' --print-value",
        ],
    )
    .notes(&[
        "A key that does not exist is created by a merge patch; JSON Patch begins with null then. \
         Without --value the patch is read from stdin.",
    ])
    .exit_codes(&[(4, "another version or revision, a patch that does not fit, or fenced")]),
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
    Page::new("count", &["kv count all", "kv count prefix user/"]),
    Page::new("delete", &["kv delete hello", "kv delete prefix user/ --dry-run"])
        .notes(&[
            "A key that is key, prefix or range itself is removed by delete key KEY. The number of records that were \
             removed is printed.",
            "A prefix or range of more than 20,000 records is removed in several transactions, so that others need not \
             wait for all of it. When something fails on its way, the error says how many records are gone; delete \
             again to remove the rest. To interrupt this command does not interrupt a daemon.",
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
