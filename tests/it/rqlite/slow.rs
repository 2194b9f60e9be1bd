//! Nodes that are far away: what waits is sent together.

use std::time::Duration;

use super::OwnDaemon;
use crate::support::rqlite::Database;
use crate::support::skipped;
use crate::support::slow_link::SlowLink;
use crate::support::throughput::assert_many_do_ten_times_as_much;

const DELAY: Duration = Duration::from_millis(20);

#[test]
fn sixty_four_clients_of_a_far_node_do_ten_times_as_much_as_one() {
    let name = "sixty_four_clients_of_a_far_node_do_ten_times_as_much_as_one";
    let Some(node) = Database::lease() else { return skipped(name) };
    let link = SlowLink::to(node.node().address(), DELAY);
    assert_many_do_ten_times_as_much(&OwnDaemon::start(&format!("http://{}", link.address())));
}
