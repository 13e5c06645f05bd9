//! `payments`: what an operator asks of one payment, or of some: where it stands, what is due, and what happened. Reads
//! the database alone, so it works while the service is down; every client's payments are shown.

mod view;

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;

use super::open;
use crate::cli::{configuration, output};
use crate::config::{Config, Role};
use crate::domain::{ClientName, OrderId, PaymentId, PaymentStatus};
use crate::store::rows::{PaymentFilter, StoredPayment};
use crate::store::{Database, StoreError};
use crate::telemetry;

/// What is asked.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Lists the newest payments, a line each
    List(Filter),
    /// Shows one payment: where it stands, what is due, its history, its charges, and callbacks that are repeated
    Show {
        /// The payment's id
        id: i64,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Only of this order
    #[arg(long)]
    order: Option<i64>,
    /// Only in this status: requires_payment_method, processing, succeeded, declined, failed, canceled
    #[arg(long, value_parser = status)]
    status: Option<PaymentStatus>,
    /// Only of this client
    #[arg(long, value_parser = client)]
    client: Option<ClientName>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

fn status(text: &str) -> Result<PaymentStatus, String> {
    PaymentStatus::parse(text).ok_or_else(|| format!("no payment has the status `{text}`"))
}

fn client(text: &str) -> Result<ClientName, String> {
    ClientName::parse(text).map_err(|error| error.to_string())
}

/// Runs the command; exit code 1 if there is no such payment, or the database cannot be read.
pub async fn run(options: Options) -> ExitCode {
    if let Err(error) = telemetry::install(telemetry::COMMAND_FILTER, None) {
        return output::failed(error.as_ref());
    }
    let config = match configuration::load(Role::All) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match act(&config, options.action).await {
        Ok(code) => code,
        Err(error) => output::failed(error.as_ref()),
    }
}

async fn act(config: &Config, action: Action) -> Result<ExitCode, Box<dyn Error>> {
    let database = open::database(config)?;
    let answer = match action {
        Action::List(filter) => list(database.as_ref(), filter).await,
        Action::Show { id, json } => show(database.as_ref(), PaymentId(id), json).await,
    };
    database.close().await;
    Ok(answer?)
}

async fn list(database: &dyn Database, filter: Filter) -> Result<ExitCode, StoreError> {
    let clients = match filter.client {
        Some(client) => vec![client],
        None => database.clients().await?,
    };
    let mut payments: Vec<StoredPayment> = Vec::new();
    for client in clients {
        let asked = PaymentFilter {
            client,
            order_id: filter.order.map(OrderId),
            user_id: None,
            status: filter.status,
            before: None,
            limit: filter.limit,
        };
        payments.extend(database.payments(&asked).await?);
    }
    payments.sort_by_key(|row| std::cmp::Reverse((row.payment.created_at, row.payment.id)));
    payments.truncate(filter.limit as usize);
    if filter.json {
        let payments: Vec<Value> = payments.iter().map(view::payment).collect();
        crate::outln!("{:#}", Value::Array(payments));
    } else {
        crate::out!("{}", view::lines(&payments));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(database: &dyn Database, id: PaymentId, json: bool) -> Result<ExitCode, StoreError> {
    let Some(row) = database.payment(id).await? else {
        crate::errln!(
            "payment-service: there is no payment {id}; `payments list` shows the newest ones"
        );
        return Ok(ExitCode::FAILURE);
    };
    let about = view::About {
        events: database.events(id).await?,
        due: database.outbox_about(id).await?,
        ledger: database.ledger(id).await?,
        row,
    };
    if json {
        crate::outln!("{:#}", about.as_json());
    } else {
        crate::out!("{}", about.as_text());
    }
    Ok(ExitCode::SUCCESS)
}
