//! The store of one process, held to the same requirements as every other backend.

use parti::store::LocalStore;

/// A local store that is kinder than a server hides defects until production.
#[tokio::test]
async fn the_local_store_meets_every_requirement_of_a_backend() {
    let report = parti_testing::kit::conformance::run(async || LocalStore::new()).await;
    assert!(report.is_ok(), "{report}");
}
