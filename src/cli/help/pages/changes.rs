//! Commands on changes, and on locks.

use super::{ExitCode, Page};

const BUSY: ExitCode = (5, "another session follows as this consumer");
const TRIMMED: ExitCode = (7, "changes were trimmed, or the store was replaced");
const OTHER_CODES: &str = "With -- COMMAND, the exit code of a COMMAND that fails is that of this command.";

const VARIABLES: &str = "COMMAND is run once for each change, one after the other. It reads the change as one line of \
    JSON from its stdin, and finds KV_CHANGE_SEQ, _TX, _TX_END, _ACTION, _TIME, _KEY, _VERSION, _REVISION and _TYPE in \
    its environment, and the store as KV_CONNECTION, KV_TYPE, KV_DAEMON and KV_SOCKET. When it fails, this command ends \
    with its exit code.";

const SIGNALS: &str = "INT, TERM, HUP, QUIT, USR1, USR2, ALRM, CONT and WINCH reach COMMAND once, whether they are sent \
    to this command, to its process group or by the terminal. When this command is killed itself (KILL), COMMAND is told \
    to end (TERM).";

pub(super) const PAGES: &[Page] = &[
    Page::new("stream", &["kv stream get", "kv stream seq"]).notes(&[
        "Every change of a record has a number, its seq, and stays in the stream until it is trimmed.",
    ]),
    Page::new("stream get", &["kv stream get --prefix user/", "kv stream get --after 1 --output ndjson"])
        .notes(&[super::records::WHOLE])
        .exit_codes(&[TRIMMED]),
    Page::new("stream seq", &["kv stream seq", "kv stream seq --connection backup.db"]),
    Page::new("stream trim", &["kv stream trim 1", "kv stream trim --all"])
        .notes(&["The number of changes that were removed is printed. Records stay as they are."])
        .exit_codes(&[(4, "fenced")]),
    Page::new("stream retain", &["kv stream retain --age 30d --keep-for-consumers", "kv stream retain"]).notes(&[
        "The processes that write to the store apply it, some seconds later. With --age and --count both bounds hold. \
         The options replace the whole rule: what is not given is no longer a part of it. The rule is printed afterwards, also \
         without any option, and {} when every change is kept.",
    ]),
    Page::new(
        "watch",
        &["kv watch user/1 --initial --limit 1", "kv watch --first --limit 1 --prefix user/ -- cat"],
    )
    .notes(&[
        "Without --limit and --timeout it ends by a signal, as by Ctrl-C.",
        "With --initial, seq is the revision of a record that is there, and KV_CHANGE_TX and _TX_END are not set for it.",
        VARIABLES,
        SIGNALS,
        OTHER_CODES,
    ])
    .exit_codes(&[(5, "fewer changes than --limit came within --timeout"), TRIMMED]),
    Page::new("wait", &["kv wait user/1", "kv wait user/1 --jq '.name == \"Ada\"' --timeout 10s"])
        .notes(&[
            "The value is printed as soon as it is as wanted, also when it is so already. With --timeout 0 it is looked at once.",
        ])
        .exit_codes(&[(5, "it was not so within --timeout")]),
    Page::new("consumer", &["kv consumer get mailer", "kv consumer list"]),
    Page::new("consumer get", &["kv consumer get mailer --limit 100", "kv consumer get mailer --prefix user/"])
        .notes(&[
            "The position stays where it is, until consumer commit. Without a limit everything is printed, page by page.",
        ])
        .exit_codes(&[TRIMMED]),
    Page::new("consumer status", &["kv consumer status mailer", "kv consumer status mailer | jq .lag"]),
    Page::new("consumer commit", &["kv consumer commit mailer 2", "kv consumer commit biller 1"])
        .notes(&["A new consumer keeps the filter; with another one it is refused from then on."])
        .exit_codes(&[BUSY]),
    Page::new("consumer delete", &["kv consumer delete mailer", "kv consumer delete biller"])
        .exit_codes(&[BUSY]),
    Page::new("consumer list", &["kv consumer list", "kv consumer list --prefix mail --output ndjson"]),
    Page::new(
        "consumer stream",
        &[
            "kv consumer stream mailer --limit 1",
            "kv consumer stream log --limit 1 --retries 3 -- cat",
        ],
    )
    .notes(&[
        "Without --limit it ends by a signal, as by Ctrl-C.",
        "The filter is kept with the name when it is first used. Another one is refused, because the changes that it wants may \
         have been passed over; none means the one that is kept.",
        "A change that is given up is stored with the number of attempts and the exit code. A COMMAND that cannot be run (126, 127) ends \
         this command: no change is given up for it. The consumer that stores it does \
         not get that record itself.",
        VARIABLES,
        SIGNALS,
        OTHER_CODES,
    ])
    .exit_codes(&[BUSY, TRIMMED]),
    Page::new("lock", &["kv lock run nightly -- date", "kv lock list"]),
    Page::new(
        "lock acquire",
        &["kv lock acquire nightly alice --duration 1h", "kv lock acquire deploy alice --wait 10s"],
    )
    .exit_codes(&[(5, "another owner holds it")]),
    Page::new("lock release", &["kv lock release deploy alice", "kv lock release nightly alice"])
        .notes(&["To release a lock that nobody holds is not an error."])
        .exit_codes(&[(5, "another owner holds it")]),
    Page::new(
        "lock run",
        &["kv lock run nightly -- date", "kv lock run nightly --wait 10s -- sleep 1"],
    )
    .notes(&[
        "COMMAND finds KV_LOCK_NAME and KV_LOCK_FENCE in its environment: kv put --fence $KV_LOCK_NAME:$KV_LOCK_FENCE is \
         refused once somebody else got the lock. It also finds the store there, in variables such as KV_CONNECTION, \
         so that kv means the same store in it.",
        "The lock is renewed while COMMAND runs. When its time was over meanwhile, as on a host that was asleep, and \
         nobody else got it, it is taken back with the same fence. When somebody did, COMMAND is told to end (TERM, and \
         KILL 5 s later), but not what it has started.",
        "INT, TERM, HUP, QUIT, USR1, USR2, ALRM, CONT and WINCH reach COMMAND once, whether they are sent to this \
         command, to its process group or by the terminal; a signal that was ignored when this command began stays \
         ignored. When this command is killed itself (KILL), COMMAND is told to end (TERM), and the lock expires.",
        "The exit code is that of COMMAND, unless the lock was not obtained or was lost.",
    ])
    .exit_codes(&[(5, "another owner holds it, or got it meanwhile")]),
    Page::new("lock status", &["kv lock status deploy", "kv lock status deploy | jq .held"]),
    Page::new("lock list", &["kv lock list", "kv lock list --prefix dep --output ndjson"]),
];
