//! `setup --back`, over both databases.

use payment_service::store::rows::Fact;

use super::fixture::Fixture;
use crate::store::samples::{fact, keep, keep_outbox, outbox, processing, seconds};

#[tokio::test]
async fn setup_back_rewrites_what_is_pending_for_a_release_without_facts() {
    for fixture in Fixture::both().await {
        let database = fixture.database();
        keep(&database, &[processing(1, seconds(0))]).await;
        let due = Fact::Try {
            attempt: 1,
            try_number: 1,
            postponed: 0,
        };
        let rows = [fact(1, seconds(60), due), outbox(None, seconds(60))];
        keep_outbox(&database, &rows).await;
        let said = fixture.run(&["setup", "--back"]).await.with(0).err;
        assert!(said.contains("rewritten=1"), "{said}");
        let work =
            "SELECT COUNT(*) FROM outbox WHERE lane = 'work' AND publication LIKE '{\"exchange\"%'";
        assert_eq!(fixture.number(work).await, 2);
        let said = fixture.run(&["setup", "--back"]).await.with(0).err;
        assert!(said.contains("rewritten=0"), "{said}");

        let lost = fact(
            77,
            seconds(60),
            Fact::Result {
                sequence: 1,
                method: None,
            },
        );
        keep_outbox(&database, &[lost]).await;
        let said = fixture.run(&["setup", "--back"]).await.with(1).err;
        assert!(said.contains("1 outbox rows are set aside"), "{said}");
        database.close().await;
    }
}
