//! `payments`: shows operators one payment or a list: status, what is due, and what happened. Reads only the database, so
//! it works while the service is down; it shows every client's payments.

mod needs_person;
mod reconcile;
mod view;
mod watch;

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;

use super::open;
use crate::app::requests;
use crate::cli::{configuration, output};
use crate::config::{Config, Role};
use crate::domain::{ClientName, OrderId, PaymentId, PaymentStatus};
use crate::payments::story::{self, Searched, Story};
use crate::store::rows::{PaymentFilter, StoredPayment};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct PaymentsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    #[command(flatten)]
    Show(Shown),
    /// Compares the payments at a platform with the platform's own record, both ways, and lists every difference
    ///
    /// It compares captured and held amounts, currencies, and refunds with their states. Only objects of this installation
    /// count. It changes nothing, here and there.
    ///
    /// Exit code 0: no differences; 1: there are some; 64: the command was used wrongly; 69: the comparison is not complete,
    /// because the platform or the database gave no answer.
    Reconcile(reconcile::ReconcileArgs),
    /// Takes a payment off the list of `list --needs-person`, after you have dealt with what differs at the platform
    ///
    /// Only differences that an event of the platform has shown are dismissed; the payment itself is not changed. Another
    /// event about it can list it again.
    ///
    /// Exit code 0: something was dismissed; 1: nothing of this payment differs.
    Dismiss {
        /// The payment's id
        id: i64,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Shown {
    /// Lists the newest payments, one per line
    List(Filter),
    /// Shows one payment: its state, what is due, its history, its charges, and callbacks that are repeated
    Show {
        /// The payment's id
        id: i64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Follows payments live: new ones and every change of a status, or the history of one until it has an outcome
    ///
    /// Without an id it prints one line for each new payment and each change of a status, until Ctrl-C. It follows payments
    /// that are created or in progress after its start, and the newest 1000 of those before; an older one whose status
    /// changes while no poll finds it in progress is not shown. With an id it prints the history of that payment from its
    /// beginning, and ends when the payment has succeeded, was declined, failed or was canceled, and no capture, void or
    /// refund is under way.
    ///
    /// It polls the database four times a second, less often if a poll takes long, and shows every change that it has
    /// found, in the order of their times. During an outage of the database it waits and then continues.
    Watch {
        /// The payment's id
        id: Option<i64>,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Filter {
    /// Only payments of this order
    #[arg(long)]
    order: Option<i64>,
    /// Only payments in this status: requires_payment_method, processing, requires_action, requires_capture, succeeded, declined, failed, canceled
    #[arg(long, value_parser = status)]
    status: Option<PaymentStatus>,
    /// Only payments of this client
    #[arg(long, value_parser = client)]
    client: Option<ClientName>,
    /// Only payments whose result, or that of a capture, void or refund, a person has to find out at the payment platform
    #[arg(long)]
    needs_person: bool,
    /// The newest refunds instead, among the newest 5000 captures, voids and refunds
    #[arg(long, conflicts_with_all = ["order", "status"])]
    refunds: bool,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn status(text: &str) -> Result<PaymentStatus, String> {
    PaymentStatus::parse(text).ok_or_else(|| format!("`{text}` is not a payment status"))
}

fn client(text: &str) -> Result<ClientName, String> {
    ClientName::parse(text).map_err(|error| error.to_string())
}

/// Runs the command; exit code 1 if the payment does not exist, or the database cannot be read.
pub async fn run(options: PaymentsArgs) -> ExitCode {
    if let Err(error) = telemetry::install(telemetry::COMMAND_FILTER, None) {
        return output::failed(error.as_ref());
    }
    let config = match configuration::load(Role::All) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match options.action {
        Action::Reconcile(options) => reconcile::run(&config, options).await,
        Action::Dismiss { id } => code(dismiss(&config, PaymentId(id)).await),
        Action::Show(shown) => code(show_some(&config, shown).await),
    }
}

fn code(done: Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    done.unwrap_or_else(|error| output::failed(error.as_ref()))
}

async fn dismiss(config: &Config, payment: PaymentId) -> Result<ExitCode, Box<dyn Error>> {
    let database = open::database(config)?;
    let dismissing = needs_person::dismiss(&database, payment).await;
    database.close().await;
    Ok(dismissing?)
}

async fn show_some(config: &Config, shown: Shown) -> Result<ExitCode, Box<dyn Error>> {
    let database = open::database(config)?;
    let answer = match shown {
        Shown::List(filter) if filter.needs_person => {
            let processors = requests::processors(config, &database)?;
            needs_person::list(&database, &processors, &filter).await
        }
        Shown::List(filter) if filter.refunds => refunds(&database, &filter).await,
        Shown::List(filter) => list(&database, filter).await,
        Shown::Show { id, json } => show(&database, PaymentId(id), json).await,
        Shown::Watch { id: None, json } => {
            let watched = watch::all(&database, json).await;
            watched.map(|()| ExitCode::SUCCESS)
        }
        Shown::Watch { id: Some(id), json } => {
            let watched = watch::one(&database, PaymentId(id), json).await;
            watched.map(|found| {
                if found {
                    ExitCode::SUCCESS
                } else {
                    not_found(PaymentId(id))
                }
            })
        }
    };
    database.close().await;
    Ok(answer?)
}

async fn list(database: &Store, filter: Filter) -> Result<ExitCode, StoreError> {
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
        let payments: Vec<Value> = payments.iter().map(story::payment).collect();
        crate::outln!("{:#}", Value::Array(payments));
    } else {
        crate::out!("{}", view::lines(&payments));
    }
    Ok(ExitCode::SUCCESS)
}

async fn refunds(database: &Store, filter: &Filter) -> Result<ExitCode, StoreError> {
    let client = filter.client.as_ref();
    let refunds = database.newest_refunds(client, filter.limit).await?;
    let refunds = Value::Array(refunds.iter().map(story::refund).collect());
    if filter.json {
        crate::outln!("{refunds:#}");
    } else {
        crate::out!("{}", view::refunds(&refunds));
    }
    Ok(ExitCode::SUCCESS)
}

fn not_found(id: PaymentId) -> ExitCode {
    crate::errln!(
        "payment-service: there is no payment {id}; `payments list` shows the newest ones"
    );
    ExitCode::FAILURE
}

async fn show(database: &Store, id: PaymentId, json: bool) -> Result<ExitCode, StoreError> {
    let Some(story) = Story::read(database, id, Searched::All).await? else {
        return Ok(not_found(id));
    };
    if json {
        crate::outln!("{:#}", story.to_json());
    } else {
        crate::out!("{}", view::story(&story));
    }
    Ok(ExitCode::SUCCESS)
}
