//! Payments that are in the database: what the lists are asked for.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};
use time::PrimitiveDateTime;

use crate::fill::WITH_HISTORY;

/// A payment.
#[derive(Debug, Clone)]
pub struct Sampled {
    pub id: i64,
    pub client: String,
    pub order: i64,
    pub user: i64,
    /// Microseconds since 1970.
    pub created_micros: i64,
}

/// As many payments with a history as wanted, from the whole year, in random order that is the same in every run.
pub async fn sample(url: &str, payments: u64, wanted: u64) -> Vec<Sampled> {
    let places = payments / WITH_HISTORY;
    let ids = (0..wanted).map(|number| ((1 + random(number) % places) * WITH_HISTORY).to_string());
    let ids: Vec<String> = ids.collect();
    let mut connection = MySqlConnection::connect(url)
        .await
        .expect("the database server");
    let ids = ids.join(", ");
    let query = format!(
        "SELECT id, client, order_id, user_id, created_at FROM payments WHERE id IN ({ids})
         ORDER BY CRC32(CONCAT('sampled', id))"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .fetch_all(&mut connection)
        .await
        .expect("payments");
    let sampled = rows.iter().map(|row| {
        let created: PrimitiveDateTime = row.get(4);
        let nanos = created.assume_utc().unix_timestamp_nanos();
        Sampled {
            id: row.get(0),
            client: row.get(1),
            order: row.get(2),
            user: row.get(3),
            created_micros: (nanos / 1000) as i64,
        }
    });
    sampled.collect()
}

/// A number that looks random, the same in every run (splitmix64).
pub fn random(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
