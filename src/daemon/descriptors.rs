//! How many connections the limit on open files allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;

/// How many connections are served at once.
///
/// [`limits::CONNECTIONS`], or [`limits::CONNECTIONS_RAISED`] where somebody raised the limit on open files that far;
/// fewer where not even the hard limit allows them.
pub(super) fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let with_own = |connections: usize| (connections + limits::OWN_DESCRIPTORS) as u64;
    if limit.current.is_none_or(|soft| soft >= with_own(limits::CONNECTIONS_RAISED)) {
        return limits::CONNECTIONS_RAISED;
    }
    let wanted = with_own(limits::CONNECTIONS);
    let allowed = limit.maximum.map_or(wanted, |hard| wanted.min(hard)).max(limit.current.unwrap_or(0));
    if limit.current.is_some_and(|soft| soft < allowed)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: limit.maximum }).is_err()
    {
        return usable(limit.current);
    }
    usable(Some(allowed))
}

fn usable(descriptors: Option<u64>) -> usize {
    let descriptors = usize::try_from(descriptors.unwrap_or(0)).unwrap_or(usize::MAX);
    descriptors.saturating_sub(limits::OWN_DESCRIPTORS).clamp(1, limits::CONNECTIONS)
}
