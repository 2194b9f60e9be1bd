//! Commands that move data between stores.

use super::Page;

/// What the words of commands with two stores can be.
const STORES: &str = "A store is named by a profile, by the path of a file, or by a URL, whose scheme tells the kind of database: \
    postgres:// or http://. Each store is used through its daemon, as by any other command.";

pub(super) const PAGES: &[Page] = &[
    Page::new("export", &["kv export monday.ndjson", "kv export --prefix user/ | gzip >users.ndjson.gz"]).notes(&[
        "One record a line, with its version and its times, in key order, between a first line that names the store and a \
         last one that counts the records: so a cut file is told from a whole one. FILE is there once it is complete and on \
         the disk. A record that changes meanwhile is as its page was read; the command says how many did.",
        "With --stream the lines are the changes that the stream keeps, in order, and before them the records that are older. \
         An import repeats the changes, so the new store has the history too.",
    ]),
    Page::new("import", &["kv import records.ndjson", "kv import --dry-run <records.ndjson"])
        .notes(&[
            "Records keep their versions, types, times and expiries; only their revisions are new, and a record that replaces \
             another one gets a later version than that one. A line needs a key and a value. What kv list --output ndjson prints can be imported too. A line that cannot be used ends the import.",
            "A record that is there already, and is the same, is left as it is. So the same import again goes on where \
             another one ended, however that was.",
            "--from-go reads the database of the Go original, and writes nothing into it. Its records were updated when they \
             were created, as far as it tells. Its stream, its locks and the positions of its consumers stay there.",
        ])
        .exit_codes(&[(4, "a key is there with another record")]),
    Page::new("copy", &["kv copy --from data.db --to copy.db", "kv copy --from data.db --to users.db --prefix user/"])
        .notes(&[
            STORES,
            "Records are copied page by page, then the changes that were committed meanwhile; at the end both stores are \
             compared. The same copy again goes on where another one ended, and brings what has changed since.",
            "A record in the target that the stream of the copied store knows is an older copy, which is replaced or removed. \
             --on-conflict is about any other one.",
        ])
        .exit_codes(&[(1, "the stores differ at the end, or a failure"), (4, "a key is there with another record")]),
    Page::new("diff", &["kv diff data.db backup.db", "kv diff --prefix user/ data.db backup.db"])
        .notes(&[
            STORES,
            "A line for each difference: - is only in the first store, + only in the second, and ~ tells what differs. \
             Revisions are not compared. What changes while it is read is not a difference.",
        ])
        .exit_codes(&[(1, "the stores differ, or a failure")]),
];
