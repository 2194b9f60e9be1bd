//! The resource limits of the daemon's process (setrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;
use crate::store::Code;

/// Those whose soft limits are raised to the hard ones: what a caller set for itself, with `ulimit -S`, is not meant for a
/// daemon that others use. A hard limit is not the daemon's to raise.
const RAISED: &[Resource] = &[
    Resource::As,
    Resource::Cpu,
    Resource::Data,
    Resource::Fsize,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Rss,
];

/// Makes the limits of this process those that the daemon has whoever starts it, as far as the hard ones allow.
pub(super) fn raise() {
    for &resource in RAISED {
        let limit = getrlimit(resource);
        let soft = match (resource, limit.maximum) {
            // The system tells a process of the soft limit, and ends it at the hard one.
            (Resource::Cpu, Some(hard)) => Some(hard.saturating_sub(1).max(1)),
            (_, hard) => hard,
        };
        set_soft(resource, soft);
    }
    // Without a bound the system lays out the memory of a process in an older way.
    let stack = getrlimit(Resource::Stack).maximum.unwrap_or(limits::STACK_BYTES).min(limits::STACK_BYTES);
    set_soft(Resource::Stack, Some(stack));
    // What a process leaves when it crashes would hold values.
    set_soft(Resource::Core, Some(0));
}

/// A limit that cannot be set stays as it is.
fn set_soft(resource: Resource, soft: Option<u64>) -> bool {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: soft, maximum }).is_ok()
}

/// What to do about limits of this process that stand in the way of an error like this; none where there are none.
///
/// Whoever is told of the error looks at limits of its own, which are others.
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

/// How many connections are served at once.
///
/// [`limits::CONNECTIONS`], or [`limits::CONNECTIONS_RAISED`] where the limit on open files allows them; fewer where not
/// even the hard limit does.
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

fn usable(descriptors: Option<u64>) -> usize {
    let descriptors = usize::try_from(descriptors.unwrap_or(0)).unwrap_or(usize::MAX);
    descriptors.saturating_sub(limits::OWN_DESCRIPTORS).clamp(1, limits::CONNECTIONS)
}
