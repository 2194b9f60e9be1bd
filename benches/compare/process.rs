//! Facts of the system about a process and about the machine.

use std::path::Path;
use std::time::Duration;

/// CPU time that this thread has taken.
pub fn cpu_of_this_thread() -> Duration {
    on_cpu("/proc/thread-self/schedstat")
}

/// CPU time that the threads of a process have taken.
pub fn cpu(pid: u32) -> Duration {
    tasks(pid).map(|task| on_cpu(&format!("{task}/schedstat"))).sum()
}

/// How often the threads of a process went to sleep.
pub fn sleeps(pid: u32) -> u64 {
    tasks(pid).map(|task| field(&format!("{task}/status"), "voluntary_ctxt_switches:")).sum()
}

/// Resident memory of a process, in MiB.
pub fn resident_mib(pid: u32) -> f64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:") as f64 / 1_024.0
}

/// The facts about the machine that a reader needs to judge the figures.
pub fn describe_machine(directory: &Path) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let before = busy_and_all();
    std::thread::sleep(Duration::from_millis(500));
    let after = busy_and_all();
    let busy = 100.0 * (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
    let kernel = read("/proc/sys/kernel/osrelease");
    let (kernel, file_system) = (kernel.trim(), file_system(directory));
    let machine = format!("{cores} cores, Linux {kernel}, {file_system}, {busy:.0} % busy before the run");
    let mut notes = vec![machine];
    if busy > 15.0 {
        notes.push("Other programs take time: figures are low, and ratios waver.".to_owned());
    }
    if file_system == "tmpfs" {
        notes.push("Nothing is synced on this file system: choose another --directory.".to_owned());
    }
    notes
}

/// The kind of the file system with the longest mount point above this directory.
fn file_system(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap();
    let mounts = read("/proc/self/mounts");
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = mounts.filter(|(point, _)| directory.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map_or_else(String::new, |(_, kind)| kind.to_owned())
}

/// The ticks in which the processors were busy, and all ticks (proc_stat(5)).
fn busy_and_all() -> (u64, u64) {
    let text = read("/proc/stat");
    let ticks: Vec<u64> =
        text.lines().next().unwrap().split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    let all = ticks[..8].iter().sum();
    (all - ticks[3] - ticks[4], all)
}

fn tasks(pid: u32) -> impl Iterator<Item = String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|task| task.unwrap().path().to_str().unwrap().to_owned())
}

/// The first number of this file, in nanoseconds: finer than the ticks of `stat`.
fn on_cpu(schedstat: &str) -> Duration {
    Duration::from_nanos(read(schedstat).split(' ').next().unwrap().parse().unwrap())
}

fn field(path: &str, name: &str) -> u64 {
    let text = read(path);
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}; the benchmark needs Linux"))
}

/// How many files this process may have open.
pub fn descriptors() -> usize {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize)
}
