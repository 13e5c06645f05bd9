//! Checks all payments in the database: outcomes by their history, charges by the issuer's ledger.

use sqlx::{MySqlPool, query_scalar};

use super::outcomes::Outcomes;

pub struct Books(MySqlPool);

impl Books {
    pub async fn open(database_url: &str) -> Self {
        Self(MySqlPool::connect(database_url).await.unwrap())
    }

    async fn count(&self, sql: &'static str) -> i64 {
        query_scalar(sql).fetch_one(&self.0).await.unwrap()
    }

    /// Makes everything in the outbox due now; how many rows that is.
    pub async fn make_outbox_due(&self) -> u64 {
        sqlx::query("UPDATE outbox SET due_at = UTC_TIMESTAMP(6)")
            .execute(&self.0)
            .await
            .unwrap()
            .rows_affected()
    }

    pub async fn outbox(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM outbox").await
    }

    /// Every payment has ended once, one in ten was declined, and exactly those that succeeded were charged, once.
    pub async fn must_balance(&self, payments: usize, outcomes: &Outcomes) {
        let payments = i64::try_from(payments).unwrap();
        assert_eq!(self.count("SELECT COUNT(*) FROM payments").await, payments);
        assert_eq!(
            self.count("SELECT COUNT(*) FROM payments WHERE status = 'declined'")
                .await,
            payments / 10
        );
        let succeeded = self
            .count("SELECT COUNT(*) FROM payments WHERE status = 'succeeded'")
            .await;
        assert_eq!(succeeded, payments - payments / 10);
        assert_eq!(
            self.count(
                "SELECT COUNT(*) FROM payment_events WHERE kind IN ('succeeded', 'declined', 'failed')"
            )
            .await,
            payments,
            "outcomes in all histories"
        );
        assert_eq!(
            self.count(
                "SELECT COUNT(*) FROM payments WHERE (SELECT COUNT(*) FROM payment_events
                 WHERE payment_id = payments.id AND kind = payments.status) <> 1"
            )
            .await,
            0,
            "payments without exactly one outcome"
        );
        assert_eq!(
            self.count(
                "SELECT COUNT(*) FROM payments LEFT JOIN (
                     SELECT payment_id, COUNT(*) AS charges FROM issuer_ledger
                     WHERE charged_at IS NOT NULL AND reversed_at IS NULL GROUP BY payment_id
                 ) AS charged ON charged.payment_id = payments.id
                 WHERE status = 'succeeded' AND COALESCE(charges, 0) <> 1"
            )
            .await,
            0,
            "payments that succeeded without exactly one charge"
        );
        assert_eq!(
            self.count(
                "SELECT COUNT(*) FROM issuer_ledger
                 WHERE charged_at IS NOT NULL AND reversed_at IS NULL"
            )
            .await,
            succeeded,
            "charges that stand in the issuer's ledger"
        );
        assert_eq!(
            outcomes.told_twice(),
            0,
            "payments with two outcomes on the topic"
        );
    }
}
