//! The tests see the faults that they are for: each is planted in a copy of a test, which must then fail.

use std::process::{Command, Stdio};

use crate::support::postgres::Cluster;
use crate::support::skipped;

/// Asserts that a test fails on an engine with a fault, and says how it noticed.
fn sees(defect: &str, test: &str) {
    if Cluster::shared().is_none() {
        return skipped(&format!("{test} with the fault {defect}"));
    }
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("KV_PLANTED_DEFECT", defect)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success(), "{test} passes with the fault {defect}\n{told}");
    let noticed: Vec<&str> = told.lines().skip_while(|line| !line.contains("panicked at")).take(2).collect();
    assert!(!noticed.is_empty(), "{test} did not run with the fault {defect}\n{told}");
    eprintln!("{defect}: {}", noticed.join(" "));
}

#[test]
fn numbers_that_are_taken_outside_the_transaction_are_seen() {
    sees("sequence", super::stream::NAME);
}

#[test]
fn rows_that_are_read_by_the_statement_that_waits_for_the_lock_are_seen() {
    sees("lock_in_read", super::stream::NAME);
}

#[test]
fn listening_behind_the_first_look_is_seen() {
    sees("late_listen", super::two_daemons::WINDOW);
}
