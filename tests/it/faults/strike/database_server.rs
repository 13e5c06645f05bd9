//! What takes a database server that is started in another way for a while: its clock, its disk, and a second server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::time::sleep;

use super::{Ground, issuer};
use crate::faults::drill::AFTERMATH;
use crate::faults::fixture::blocking;
use crate::faults::kind::Kind;
use crate::faults::random::Random;
use crate::support::faketime::Clock;
use crate::support::servers::Database;
use crate::support::small_disk::SmallDisk;

/// Until a server has noticed what was done to it.
const NOTICED: Duration = Duration::from_secs(20);

const HOUR: i64 = 3_600;

/// What is due too far ahead is looked for every ten seconds; then the tries have to be made.
const BROUGHT_BACK: Duration = Duration::from_secs(60);

/// Every process erases cards about once a minute.
const ERASED: Duration = Duration::from_secs(100);

/// MariaDB looks whether there is space again once a minute.
const SPACE_LOOKED_FOR: Duration = Duration::from_secs(60);

/// The server's clock goes back by an hour and forward again, while payments wait for tries that are due by the clock as it
/// was. None of them may wait for an hour.
pub async fn set_clock_back(ground: &Ground) -> Result<(), String> {
    let clock = Clock::make()?;
    let variables = clock.variables();
    let restarted = ground.fixture.with_database(move |server| {
        server.stop()?;
        server.start_with(&variables, &[])
    });
    let struck = match restarted.await {
        Ok(()) => back_and_forward(ground, &clock).await,
        failed => failed,
    };
    ground.client.notes.do_without_tokens(false);
    let restarted = ground
        .fixture
        .with_database(|server| server.restart())
        .await;
    restarted.and(struck)
}

async fn back_and_forward(ground: &Ground, clock: &Clock) -> Result<(), String> {
    let flows = ground.until_flowing(AFTERMATH).await;
    flows.ok_or("no work flows by the server's new clock")?;
    let waiting = issuer::burst(ground, Kind::IssuerDown);
    sleep(Duration::from_secs(1)).await;
    let back = async {
        set(clock, &format!("-{HOUR}"))?;
        until_behind_by(ground, HOUR).await?;
        let ended = ground.until_heard(&waiting, BROUGHT_BACK).await;
        ended.ok_or("payments hang since the database's clock was set back")?;
        Ok(())
    };
    let back: Result<(), String> = back.await;
    // A card token lives for a quarter of an hour by that clock: none may be on its way when an hour passes at once.
    ground.client.notes.do_without_tokens(true);
    until_no_token_is_open(ground).await?;
    set(clock, "+0")?;
    until_behind_by(ground, 0).await?;
    ground.client.notes.do_without_tokens(false);
    let flows = ground.until_flowing(AFTERMATH).await;
    flows.ok_or("no work flows since the database's clock was set forward")?;
    until_expired_cards_are_erased(ground).await?;
    back
}

/// Tokens whose answer the client never got are still there, and expired an hour ago all of a sudden.
async fn until_expired_cards_are_erased(ground: &Ground) -> Result<(), String> {
    let deadline = Instant::now() + ERASED;
    loop {
        let expired = expired_cards(ground).await;
        if expired.map_err(|error| error.to_string())? == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the cards of expired tokens are not erased".to_owned());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

async fn expired_cards(ground: &Ground) -> sqlx::Result<i64> {
    let mut administrator = ground.fixture.administrator().await?;
    let sql = "SELECT COUNT(*) FROM card_tokens
               WHERE sealed_card IS NOT NULL AND expires_at < UTC_TIMESTAMP(6)";
    let expired = sqlx::query_scalar(sql)
        .fetch_one(&mut administrator)
        .await?;
    administrator.close().await?;
    Ok(expired)
}

fn set(clock: &Clock, offset: &str) -> Result<(), String> {
    clock.set(offset).map_err(|error| error.to_string())
}

/// Whether the server really lives by that clock.
async fn until_behind_by(ground: &Ground, seconds: i64) -> Result<(), String> {
    let deadline = Instant::now() + NOTICED;
    loop {
        let behind = behind_by(ground).await.map_err(|error| error.to_string())?;
        if (behind - seconds).abs() < 60 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "the database's clock is {behind} s behind, not {seconds} s"
            ));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn behind_by(ground: &Ground) -> sqlx::Result<i64> {
    let mut administrator = ground.fixture.administrator().await?;
    let there: i64 = sqlx::query_scalar("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS SIGNED)")
        .fetch_one(&mut administrator)
        .await?;
    administrator.close().await?;
    let here = SystemTime::now().duration_since(UNIX_EPOCH);
    let here = here.map_or(0, |since| since.as_secs());
    Ok(i64::try_from(here).unwrap_or(i64::MAX) - there)
}

/// Until each card token of the client's has been used.
async fn until_no_token_is_open(ground: &Ground) -> Result<(), String> {
    let deadline = Instant::now() + AFTERMATH;
    while Instant::now() < deadline {
        // First those that have yet to be made.
        if ground.client.notes.tokens_on_their_way() == 0 {
            let unused = unused_tokens(ground).await;
            let unused = unused.map_err(|error| error.to_string())?;
            if !ground.client.notes.have_token_of(&unused) {
                return Ok(());
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err("some card tokens are not used in time".to_owned())
}

async fn unused_tokens(ground: &Ground) -> sqlx::Result<Vec<String>> {
    let mut administrator = ground.fixture.administrator().await?;
    let sql = "SELECT CAST(id AS CHAR) FROM card_tokens WHERE used_by IS NULL";
    let unused = sqlx::query_scalar(sql)
        .fetch_all(&mut administrator)
        .await?;
    administrator.close().await?;
    Ok(unused)
}

/// The disk of the binary log, which every commit needs, is full. MariaDB then waits for space, and so does everything
/// that is to be committed; it goes on by itself within a minute.
pub async fn fill_disk(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let disk = SmallDisk::mount(64).ok_or("no small file system")?;
    let log = format!("--log-bin={}/binlog", disk.path().display());
    let restarted = ground.fixture.with_database(move |server| {
        server.stop()?;
        server.start_with(&[], &[log])
    });
    let struck = match restarted.await {
        Ok(()) => fill_and_free(ground, &disk, random).await,
        failed => failed,
    };
    // Frees it as well, should that not have happened: a server that waits for space does not stop.
    let _ = disk.free();
    let restarted = ground
        .fixture
        .with_database(|server| server.restart())
        .await;
    drop(disk);
    restarted.and(struck)
}

async fn fill_and_free(
    ground: &Ground,
    disk: &SmallDisk,
    random: &mut Random,
) -> Result<(), String> {
    let flows = ground.until_flowing(AFTERMATH).await;
    flows.ok_or("no work flows before the disk is full")?;
    let before = waits_for_space(ground);
    disk.fill().map_err(|error| error.to_string())?;
    let deadline = Instant::now() + NOTICED;
    while waits_for_space(ground) == before && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
    }
    if waits_for_space(ground) == before {
        return Err("the database does not notice that its disk is full".to_owned());
    }
    sleep(random.millis(2_000, 6_000)).await;
    disk.free().map_err(|error| error.to_string())?;
    let flows = ground.until_flowing(SPACE_LOOKED_FOR + AFTERMATH * 2).await;
    flows.ok_or("no work flows although there is space again")?;
    Ok(())
}

/// How often the server has said so.
fn waits_for_space(ground: &Ground) -> usize {
    let log = ground
        .fixture
        .database
        .as_ref()
        .map(|server| server.log_file());
    let log = log.and_then(|log| std::fs::read(log).ok());
    let log = log.unwrap_or_default();
    String::from_utf8_lossy(&log)
        .matches("Disk is full writing")
        .count()
}

/// Twice the primary becomes read-only, its replica takes over, and new connections to their shared address lead to it.
/// Connections to the former primary stay open: the service must leave them.
pub async fn fail_over_and_back(ground: &Ground) -> Result<(), String> {
    let first = ground.fixture.database.clone();
    let first = first.ok_or("the database is shared")?;
    let second = replica(&first).await?;
    let forth = switch(ground, &first, &second).await;
    // Whatever has gone wrong: what the second has taken is in the first again.
    let back = switch(ground, &second, &first).await;
    if back.is_err() {
        lead_to(ground, &first);
        Server::of(&first).await?.run(WRITABLE).await?;
    }
    forth.and(back)
}

const WRITABLE: &str = "SET GLOBAL read_only = OFF";

/// For new connections.
fn lead_to(ground: &Ground, server: &Database) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    ground.fixture.database_way.forward_to(address);
}

/// A second server, with the data of the first and on its heels.
async fn replica(first: &Arc<Database>) -> Result<Arc<Database>, String> {
    let primary = Arc::clone(first);
    let copied = blocking(move || {
        primary.stop()?;
        let options = ["--server-id=2", "--log-slave-updates=ON", "--read-only=ON"];
        let copy = primary.copy(&options.map(str::to_owned));
        primary.start_again()?;
        let copy = copy?;
        copy.start_again()?;
        Ok(copy)
    });
    let second = Arc::new(copied.await?);
    let mut replica = Server::of(&second).await?;
    // What it has of the primary's; its own start has written something as well.
    let held = replica.text("SELECT @@GLOBAL.gtid_binlog_state").await?;
    let held = held
        .split(',')
        .find(|position| position.starts_with("0-1-"));
    let held = held.ok_or("the copy has no position of the primary's")?;
    replica.run("RESET MASTER").await?;
    replica.follow(first, held).await?;
    Ok(second)
}

async fn switch(ground: &Ground, from: &Database, to: &Database) -> Result<(), String> {
    let (mut old, mut new) = (Server::of(from).await?, Server::of(to).await?);
    old.run("SET GLOBAL read_only = ON").await?;
    let last = old.text("SELECT @@GLOBAL.gtid_binlog_pos").await?;
    let waited = format!("SELECT CAST(MASTER_GTID_WAIT('{last}', 20) AS CHAR)");
    if new.text(&waited).await? != "0" {
        return Err("the replica has not come as far as the primary".to_owned());
    }
    new.run("STOP SLAVE").await?;
    new.run("RESET SLAVE ALL").await?;
    old.follow(to, &last).await?;
    new.run(WRITABLE).await?;
    lead_to(ground, to);
    if old.service_connections().await? == 0 {
        return Err("no connection to the former primary was open".to_owned());
    }
    let flows = ground.until_flowing(AFTERMATH).await;
    flows.ok_or("no work flows after the fail-over")?;
    let deadline = Instant::now() + NOTICED;
    while old.service_connections().await? > 0 {
        if Instant::now() > deadline {
            return Err("the service keeps connections to the former primary".to_owned());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// A server, for its administrator.
struct Server(MySqlConnection);

impl Server {
    async fn of(server: &Database) -> Result<Self, String> {
        let connection = MySqlConnection::connect(&server.admin_url()).await;
        connection.map(Self).map_err(|error| error.to_string())
    }

    async fn run(&mut self, statement: &str) -> Result<(), String> {
        let done = self.0.execute(AssertSqlSafe(statement.to_owned())).await;
        done.map(drop)
            .map_err(|error| format!("{statement}: {error}"))
    }

    async fn text(&mut self, query: &str) -> Result<String, String> {
        let asked = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        let found = asked.fetch_one(&mut self.0).await;
        found.map_err(|error| format!("{query}: {error}"))
    }

    /// Gets all changes from there, after that position.
    async fn follow(&mut self, primary: &Database, position: &str) -> Result<(), String> {
        let position = format!("SET GLOBAL gtid_slave_pos = '{position}'");
        let port = primary.port();
        let primary = format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'root', \
             MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos"
        );
        for statement in [&*position, &*primary, "START SLAVE"] {
            self.run(statement).await?;
        }
        Ok(())
    }

    async fn service_connections(&mut self) -> Result<i64, String> {
        let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'payments'";
        let counted = sqlx::query_scalar(sql).fetch_one(&mut self.0).await;
        counted.map_err(|error| error.to_string())
    }
}
