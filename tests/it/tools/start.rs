//! Starting with a file that does not fit what is stored, and starting after a restore.

use std::time::Duration;

use serde_json::json;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use super::fixture::Fixture;
use crate::store::samples::{keep, processing, seconds};

#[tokio::test]
async fn a_start_is_refused_if_the_file_gives_a_processor_that_payments_need_another_type() {
    for mut fixture in Fixture::both().await {
        let database = fixture.database();
        database
            .note_processor_type("shop", "stripe")
            .await
            .unwrap();
        keep(
            &database,
            &[processing(1, seconds(0)), processing(2, seconds(0))],
        )
        .await;
        let method = r#"UPDATE payments SET method = '{"processor":"shop"}'"#;
        fixture.execute(method).await;
        let file = NamedTempFile::new().unwrap();
        let listed = json!({"processors": [{"name": "shop", "type": "simulated"}]});
        std::fs::write(file.path(), listed.to_string()).unwrap();
        fixture.also("PROCESSORS_FILE", file.path().display().to_string());
        fixture.also("LISTEN_ADDR", "127.0.0.1:0".to_owned());
        fixture.also("ADMIN_ADDR", "127.0.0.1:0".to_owned());
        let role: &[&str] = match fixture.is_embedded() {
            true => &[],
            false => &["worker"],
        };
        let started = timeout(Duration::from_secs(60), fixture.run(role)).await;
        let said = started.expect("it does not start").with(1).err;
        for part in ["shop the type simulated", "2 payments", "as stripe"] {
            assert!(said.contains(part), "{said}");
        }
        let kept = database.processor_type("shop").await.unwrap();
        assert_eq!(kept.as_deref(), Some("stripe"));
        database.close().await;
    }
}

#[tokio::test]
async fn setup_leaves_payment_ids_out_after_a_restore() {
    for fixture in Fixture::both().await {
        let database = fixture.database();
        keep(&database, &[processing(70, seconds(0))]).await;
        let said = fixture.run(&["setup", "--skip-ids", "5000"]).await.with(0);
        assert!(said.err.contains("first=5071"), "{said:?}");
        let next = fixture.number("SELECT next_id FROM id_blocks").await;
        assert_eq!(next, 5071);
        let far = ["setup", "--skip-ids", "4000000000"];
        let said = fixture.run(&far).await.with(1);
        assert!(said.err.contains("PAYMENT_ID_MAX"), "{said:?}");
        assert_eq!(fixture.number("SELECT next_id FROM id_blocks").await, 5071);
        fixture.run(&["setup", "--skip-ids", "0"]).await.with(2);
        database.close().await;
    }
}
