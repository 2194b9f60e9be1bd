use crate::support::World;

#[path = "../../../examples/quickstart.rs"]
#[allow(dead_code, unreachable_pub)]
mod example;

cases! {
    the_example_runs,
}

async fn the_example_runs(world: &World) {
    example::quickstart(&*world.store).await.unwrap();
    assert_eq!(world.store.get("person/alice").await.unwrap().unwrap().version, 1);
}
