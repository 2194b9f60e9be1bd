//! A server that is far away: what waits is sent together.

use std::time::Duration;

use kv::store::EngineKind;

use super::OwnDaemon;
use crate::support::postgres::Cluster;
use crate::support::slow_link::SlowLink;
use crate::support::throughput::assert_many_do_ten_times_as_much;
use crate::support::{Site, skipped};

const DELAY: Duration = Duration::from_millis(20);

#[test]
fn sixty_four_clients_of_a_far_server_do_ten_times_as_much_as_one() {
    let name = "sixty_four_clients_of_a_far_server_do_ten_times_as_much_as_one";
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(name) };
    let link = SlowLink::to(Cluster::shared().unwrap().address(), DELAY);
    let daemon = OwnDaemon::start(&site.database().url_by_way_of(link.address()));
    assert_many_do_ten_times_as_much(&daemon);
}
