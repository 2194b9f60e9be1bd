//! The resource limits of the daemon's process (setrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;
use crate::store::Code;

/// The resources whose soft limits are raised to the hard ones: a soft limit that the caller has set for itself, with
/// `ulimit -S`, is not meant for a daemon that other processes use. A hard limit only root could raise.
const RAISED: &[Resource] = &[
    Resource::As,
    Resource::Cpu,
    Resource::Data,
    Resource::Fsize,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Rss,
];

/// Makes the limits of this process the same whichever process has started it, as far as the hard ones allow.
pub(super) fn raise() {
    for &resource in RAISED {
        let limit = getrlimit(resource);
        let soft = match (resource, limit.maximum) {
            // At the soft limit the system sends a signal, which ends the daemon in order; at the hard one it kills.
            (Resource::Cpu, Some(hard)) => Some(hard.saturating_sub(1).max(1)),
            (_, hard) => hard,
        };
        set_soft(resource, soft);
    }
    // Without any limit of the stack, Linux uses its legacy layout of memory (mmap_base).
    let stack = getrlimit(Resource::Stack).maximum.unwrap_or(limits::STACK_BYTES).min(limits::STACK_BYTES);
    set_soft(Resource::Stack, Some(stack));
    // A core dump would hold values.
    set_soft(Resource::Core, Some(0));
}

/// Sets a soft limit; none = no limit. Answers whether that was allowed; else the limit stays as it is.
fn set_soft(resource: Resource, soft: Option<u64>) -> bool {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: soft, maximum }).is_ok()
}

/// A hint that names the limits of this process which may have caused an error with this code; none when there are no such
/// limits. Without it a user would look at the limits of a shell, which are not those of the daemon.
pub(super) fn advice(code: Code) -> Option<String> {
    let asked: &[(Resource, &str)] = match code {
        Code::StoreFull => &[(Resource::Fsize, "ulimit -f")],
        Code::Unavailable => &[(Resource::As, "ulimit -v"), (Resource::Data, "ulimit -d")],
        Code::TooManyConnections => &[(Resource::Nofile, "ulimit -n")],
        _ => return None,
    };
    let words = asked.iter().filter_map(|(resource, command)| {
        getrlimit(*resource).current.map(|limit| format!("{limit} ({command})"))
    });
    let words = words.collect::<Vec<_>>().join(" and ");
    let pid = std::process::id();
    (!words.is_empty()).then(|| {
        format!("the daemon, process {pid}, has a limit of {words}: start it anew where that is higher, with kv daemon restart")
    })
}

/// How many connections this process serves at once: [`limits::CONNECTIONS`], or [`limits::CONNECTIONS_RAISED`] where the
/// limit on open files is high enough; fewer where not even the hard limit is. Raises the soft limit as far as needed.
pub(super) fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let with_own = |connections: usize| (connections + limits::OWN_DESCRIPTORS) as u64;
    if limit.current.is_none_or(|soft| soft >= with_own(limits::CONNECTIONS_RAISED)) {
        return limits::CONNECTIONS_RAISED;
    }
    let wanted = with_own(limits::CONNECTIONS);
    let allowed = limit.maximum.map_or(wanted, |hard| wanted.min(hard)).max(limit.current.unwrap_or(0));
    if limit.current.is_some_and(|soft| soft < allowed) && !set_soft(Resource::Nofile, Some(allowed)) {
        return usable(limit.current);
    }
    usable(Some(allowed))
}

/// How many connections a number of descriptors is enough for; none = no descriptors are known.
fn usable(descriptors: Option<u64>) -> usize {
    let descriptors = usize::try_from(descriptors.unwrap_or(0)).unwrap_or(usize::MAX);
    descriptors.saturating_sub(limits::OWN_DESCRIPTORS).clamp(1, limits::CONNECTIONS)
}
