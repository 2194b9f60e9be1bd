//! Commands on the daemon, the settings and the shell.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page::new("daemon", &["kv daemon status", "kv daemon restart"]),
    Page::new("daemon run", &["kv daemon run", "kv daemon run --idle-timeout 1h --log-format json"])
        .notes(&["It ends by a signal, as by Ctrl-C, or by kv daemon stop."]),
    Page::new("daemon start", &["kv daemon start", "kv daemon start --idle-timeout 1h"]),
    Page::new("daemon stop", &["kv daemon stop", "kv daemon stop --connection backup.db"]).notes(&[
        "Commands that are connected and go on, such as watch, consumer stream and lock run, start the next daemon when \
         they need it. The command names them.",
    ]),
    Page::new("daemon restart", &["kv daemon restart", "kv daemon restart --log-level debug"]),
    Page::new("daemon status", &["kv daemon status", "kv daemon status --output json | jq .uptime_s"])
        .exit_codes(&[(6, "no daemon runs")]),
    Page::new("daemon metrics", &["kv daemon metrics", "kv daemon metrics | grep '^kv_'"])
        .exit_codes(&[(6, "no daemon runs")]),
    Page::new("daemon list", &["kv daemon list", "kv daemon list --output json"]),
    Page::new("daemon logs", &["kv daemon logs", "kv daemon logs --lines 20"]),
    Page::new("daemon install", &["kv daemon install --dry-run", "kv daemon install --user --dry-run"]),
    Page::new("daemon uninstall", &["kv daemon uninstall --dry-run", "kv daemon uninstall --user --dry-run"]),
    Page::new("socket", &["kv socket", "kv socket --daemon=require"])
        .notes(&["The daemon is started when it does not run. With --daemon=require that is an error, and with --daemon=never the path \
              is printed at which it would be, whether it runs or not."]),
    Page::new(
        "rpc",
        &["kv rpc <<<'{\"id\":1,\"op\":\"get\",\"key\":\"hello\"}'", "kv rpc <requests.ndjson"],
    )
    .notes(&["kv protocol describes the lines. It ends with the answers to the lines of stdin."]),
    Page::new("protocol", &["kv protocol", "kv protocol --schema >schema.json"]),
    Page::new("config", &["kv config show", "kv config show --output json"]),
    Page::new("config show", &["kv config show --profile notes", "kv config show --output json | jq .settings"]),
    Page::new("doctor", &["kv doctor", "kv doctor --report >report.txt"])
        .notes(&[
            "Looks at the settings, the directory of the socket, the daemons, the store, its servers and the limits of this \
             process. Starts no daemon and changes nothing.",
        ])
        .exit_codes(&[(1, "something does not work")]),
    Page::new("version", &["kv version", "kv version | cut --delimiter ' ' --fields 2"]),
    Page::new("completions", &["kv completions bash >kv.bash", "kv completions zsh >_kv"]).notes(&[
        "In bash, zsh and fish, keys and the names of locks, consumers and profiles are completed too; no daemon is \
         started for that.",
        "A shell reads the script from ~/.local/share/bash-completion/completions/kv, from a file _kv in a directory of \
         fpath in zsh, or from ~/.config/fish/completions/kv.fish. It can also be loaded at once: source <(kv completions \
         bash), also for zsh, and kv completions fish | source.",
    ]),
    Page::new("manual", &["kv manual .", "kv manual ~/.local/share/man/man1"]).notes(&[
        "Writes kv.1, and a page such as kv-put.1 for each command; packages have them. DIRECTORY must exist.",
    ]),
];
