//! Existing servers, named by `TEST_DATABASE_URL` and `TEST_AMQP_URL`. What a test creates there (one
//! database or virtual host each, `payment_test_…`) stays there.

use std::{
    env,
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Result, ServerError};

/// The URL in that variable, up to and without the slash that starts the database or virtual host.
pub fn server(variable: &'static str) -> Option<String> {
    let url = env::var(variable).ok().filter(|url| !url.is_empty())?;
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..]
        .find(['/', '?'])
        .map_or(url.len(), |at| authority + at);
    Some(url[..end].to_owned())
}

/// A name that no other test has, in this run or an earlier one.
pub fn unique_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    format!("payment_test_{time}_{}_{number}", process::id())
}

/// Creates a virtual host for the URL's user. AMQP cannot do that, so this runs rabbitmqctl, or the command that
/// `TEST_RABBITMQCTL` names (such as `docker exec broker rabbitmqctl`).
pub fn make_vhost(server: &str) -> Result<String> {
    let command = env::var("TEST_RABBITMQCTL").unwrap_or_else(|_| "rabbitmqctl".to_owned());
    let user = server.split_once("://").map_or(server, |(_, rest)| rest);
    let user = user.split_once('@').map_or("guest", |(account, _)| {
        account.split(':').next().unwrap_or("guest")
    });
    let name = unique_name();
    for arguments in [
        &["add_vhost", &name][..],
        &["set_permissions", "-p", &name, user, ".*", ".*", ".*"],
    ] {
        let mut words = command.split_whitespace().chain(arguments.iter().copied());
        let output = Command::new(words.next().unwrap_or_default())
            .args(words)
            .output();
        let complaint = match output {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let reason = format!(
            "every test needs a virtual host of its own on that broker, and `{command} {}` failed: {complaint}; \
             TEST_RABBITMQCTL names another command",
            arguments.join(" ")
        );
        return Err(ServerError::Given {
            variable: "TEST_AMQP_URL",
            reason,
        });
    }
    Ok(name)
}
