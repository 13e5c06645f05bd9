//! Faults of the database.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::time::{Instant, sleep};

use super::{Ground, issuer};
use crate::faults::kind::Kind;
use crate::faults::random::Random;

pub async fn stop_and_start(ground: &Ground, random: &mut Random) -> Result<(), String> {
    ground.fixture.with_database(|server| server.stop()).await?;
    sleep(random.millis(0, 3_000)).await;
    ground
        .fixture
        .with_database(|server| server.start_again())
        .await
}

pub async fn kill_and_start(ground: &Ground, random: &mut Random) -> Result<(), String> {
    ground.fixture.with_database(|server| server.kill()).await?;
    sleep(random.millis(0, 3_000)).await;
    ground
        .fixture
        .with_database(|server| server.start_again())
        .await
}

/// Three times within a second: what comes back is killed as well.
pub async fn kill_connections(ground: &Ground) -> Result<(), String> {
    for _ in 0..3 {
        kill_all(ground).await.map_err(|error| error.to_string())?;
        sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

async fn kill_all(ground: &Ground) -> sqlx::Result<()> {
    let mut administrator = ground.fixture.administrator().await?;
    let others: Vec<i64> = sqlx::query_scalar(
        "SELECT CAST(id AS SIGNED) FROM information_schema.processlist
         WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    )
    .fetch_all(&mut administrator)
    .await?;
    for id in others {
        // A connection that has already ended is not an error.
        let _ = administrator
            .execute(AssertSqlSafe(format!("KILL {id}")))
            .await;
    }
    administrator.close().await
}

/// Locks payments in the order opposite to the service's, after so much work of its own that the server chooses the
/// service's transaction as the victim. Goes on until that has happened some times. A burst of payments that are all
/// answered at the same moment sees to it that there is something to lock crosswise.
pub async fn deadlocks(ground: &Ground) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut next_burst = Instant::now();
    let made = async {
        let mut administrator = ground.fixture.administrator().await?;
        let weight = "CREATE TABLE IF NOT EXISTS deadlock_weight (number INT NOT NULL)";
        administrator.execute(weight).await?;
        let before = deadlocks_so_far(&mut administrator).await?;
        let mut made = 0;
        while made < 3 && Instant::now() < deadline {
            if Instant::now() >= next_burst {
                issuer::burst(ground, Kind::IssuerSlow);
                next_burst += Duration::from_secs(3);
            }
            lock_crosswise(&mut administrator).await?;
            made = deadlocks_so_far(&mut administrator).await? - before;
        }
        administrator.execute("DROP TABLE deadlock_weight").await?;
        administrator.close().await?;
        Ok(made)
    };
    match made.await {
        Ok(made) if made >= 1 => Ok(()),
        Ok(_) => Err("no deadlock came about".to_owned()),
        Err(error) => Err(sqlx::Error::to_string(&error)),
    }
}

async fn lock_crosswise(administrator: &mut MySqlConnection) -> sqlx::Result<()> {
    let open = "SELECT id FROM payments WHERE status = 'processing' ORDER BY id DESC LIMIT 40";
    let ids: Vec<i64> = sqlx::query_scalar(open)
        .fetch_all(&mut *administrator)
        .await?;
    let mut tx = administrator.begin().await?;
    tx.execute("INSERT INTO deadlock_weight SELECT seq FROM seq_1_to_500")
        .await?;
    for id in ids {
        let locked = sqlx::query("SELECT id FROM payments WHERE id = ? FOR UPDATE")
            .bind(id)
            .execute(&mut *tx)
            .await;
        match locked {
            // This time the server chose this transaction.
            Err(sqlx::Error::Database(_)) => break,
            other => other?,
        };
        // The service, which goes up, is to come the other way meanwhile.
        sleep(Duration::from_millis(15)).await;
    }
    tx.rollback().await
}

async fn deadlocks_so_far(administrator: &mut MySqlConnection) -> sqlx::Result<i64> {
    let (_, number): (String, String) =
        sqlx::query_as("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
            .fetch_one(administrator)
            .await?;
    Ok(number.parse().unwrap_or_default())
}

pub async fn read_only(ground: &Ground, random: &mut Random) -> Result<(), String> {
    ground.fixture.sql("SET GLOBAL read_only = 1").await?;
    sleep(random.millis(1_000, 4_000)).await;
    ground.fixture.sql("SET GLOBAL read_only = 0").await
}

/// Somebody's open transaction has the rows of all payments in progress, for longer than the service waits for a lock.
pub async fn lock_rows(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let open = "SELECT id FROM payments WHERE status = 'processing' FOR UPDATE";
    hold(ground, &["BEGIN", open], random.millis(4_000, 7_000)).await
}

/// As by somebody's ALTER TABLE: whatever needs the table waits.
pub async fn lock_table(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let table = random.pick(&["payments", "outbox", "payment_events"]);
    let lock = format!("LOCK TABLES {table} WRITE");
    hold(ground, &[&lock], random.millis(2_000, 6_000)).await
}

/// Whatever the statements have locked is free when their connection ends. If they are the victim of a deadlock, they begin
/// again.
async fn hold(ground: &Ground, statements: &[&str], time: Duration) -> Result<(), String> {
    let is_victim = |error: &sqlx::Error| {
        let refused = error.as_database_error();
        refused.is_some_and(|it| it.message().contains("Deadlock found"))
    };
    let held = || async {
        let mut somebody = ground.fixture.administrator().await?;
        for statement in statements {
            somebody
                .execute(AssertSqlSafe((*statement).to_owned()))
                .await?;
        }
        sleep(time).await;
        somebody.close().await
    };
    for _ in 0..10 {
        match held().await {
            Err(error) if is_victim(&error) => {}
            done => return done.map_err(|error| error.to_string()),
        }
    }
    Err("it is the victim of one deadlock after the other".to_owned())
}

/// As by an administrator's mistake: open connections are closed, and new ones refused.
pub async fn lock_account(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let fixture = &ground.fixture;
    fixture
        .sql("ALTER USER payments@'127.0.0.1' ACCOUNT LOCK")
        .await?;
    let killed = fixture.kill_service_connections().await;
    sleep(random.millis(1_000, 4_000)).await;
    fixture
        .sql("ALTER USER payments@'127.0.0.1' ACCOUNT UNLOCK")
        .await?;
    killed
}

/// Takes every connection that the server gives, then has the service's closed, and takes those as well.
pub async fn too_many_connections(ground: &Ground, random: &mut Random) -> Result<(), String> {
    // When the server is full, the service's own attempts take the one place that it keeps for administrators.
    let administrator = ground.fixture.administrator().await;
    let mut administrator = administrator.map_err(|error| error.to_string())?;
    let fewer = administrator.execute("SET GLOBAL max_connections = 60");
    fewer.await.map_err(|error| error.to_string())?;
    let url = ground.fixture.crowd_url();
    let until = Instant::now() + random.millis(2_000, 4_000);
    // A busy machine takes longer to fill the places.
    let at_most = until + Duration::from_secs(20);
    let mut taken = Vec::new();
    let mut refused = 0;
    let mut killed = false;
    while Instant::now() < until || (refused == 0 && Instant::now() < at_most) {
        match MySqlConnection::connect(&url).await {
            Ok(connection) => taken.push(connection),
            Err(_) if !killed => {
                killed = true;
                let done = administrator.execute("KILL USER payments").await;
                done.map_err(|error| format!("KILL USER payments: {error}"))?;
            }
            Err(_) => {
                refused += 1;
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop(taken);
    let more = administrator.execute("SET GLOBAL max_connections = 500");
    more.await.map_err(|error| error.to_string())?;
    if refused == 0 {
        return Err("the server never refused a connection".to_owned());
    }
    Ok(())
}
