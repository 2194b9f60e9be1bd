//! Commands on whole stores.

use super::Page;

/// What all benchmarks have in common.
const LOAD: &str = "Each worker is a client of its own, which waits for a reply before it asks again. What a benchmark \
    wrote is deleted at its end, also when it is interrupted; its changes stay in the stream.";

pub(super) const PAGES: &[Page] = &[
    Page::new("backup", &["kv backup monday.db", "kv backup - | gzip >monday.db.gz"]).notes(&[
        "The store is copied as it is at one instant, while others read and write it. FILE is there once it is complete \
         and on the disk; it is one file, readable by its owner alone. The command reads the file of the store itself, \
         not through the daemon.",
    ]),
    Page::new("restore", &["kv restore backup.db", "kv restore - <backup.db"]).notes(&[
        "FILE is checked first; a damaged one changes nothing. The store that is there goes on until the moment in which \
         it is replaced, and is kept beside the new one, under a name that is told. Clients that follow the stream are \
         told that it is another one (epoch_changed), positions of consumers come with the backup, and no lock is held \
         any more.",
    ]),
    Page::new("check", &["kv check", "kv check --connection backup.db --output ndjson"])
        .notes(&[
            "Prints one finding a line: what SQLite itself finds, and whatever contradicts the rules of kv. Others may read \
             and write the store meanwhile. --connection FILE names a backup.",
        ])
        .exit_codes(&[(1, "there is damage, or the check failed")]),
    Page::new("compact", &["kv compact", "kv compact --daemon=never"]),
    Page::new("benchmark", &["kv benchmark put 1000 10", "kv benchmark mixed 1000 10"]).notes(&[LOAD]),
    Page::new("benchmark get", &["kv benchmark get 100 1000 10", "kv benchmark get 10 1000 1"])
        .notes(&[LOAD]),
    Page::new("benchmark put", &["kv benchmark put 1000 10", "kv benchmark put 1000 1"]).notes(&[LOAD]),
    Page::new("benchmark patch", &["kv benchmark patch 100 4", "kv benchmark patch 100 1"]).notes(&[LOAD]),
    Page::new("benchmark mixed", &["kv benchmark mixed 1000 10", "kv benchmark mixed 1000 1"])
        .notes(&[LOAD]),
];
