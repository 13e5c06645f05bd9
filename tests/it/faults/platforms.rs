//! The payment platforms of a drill: stand-ins that keep their state while the service's processes are killed, each behind a
//! proxy, and the webhooks that they send.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::load::Apis;
use super::method::{AtPlatform, Platform};
use super::webhooks::Courier;
use crate::platforms::paypal::stand_in::{self as paypal, Pays};
use crate::platforms::stand_in as stripe;
use crate::platforms::unreliable::{Book, Fault};
use crate::support::proxy::{Mode, Proxy};

/// One request in so many fails all the time.
const ONE_IN: u32 = 25;

const LOOK: Duration = Duration::from_millis(50);

/// What always happens now and then.
const USUAL: [Fault; 9] = [
    Fault::ErrorBefore,
    Fault::ErrorAfter,
    Fault::Silent,
    Fault::Lost,
    Fault::Busy,
    Fault::Html,
    Fault::Half,
    Fault::Cut,
    Fault::OtherAmount,
];

/// Both platforms.
pub struct Platforms {
    pub stripe: stripe::StandIn,
    pub paypal: paypal::StandIn,
    /// Between them and the service.
    ways: [Proxy; 2],
    pub courier: Arc<Courier>,
    seed: u64,
}

impl Platforms {
    /// Both work, apart from one request in many.
    pub async fn start(seed: u64) -> Self {
        let (stripe, paypal) = (
            stripe::StandIn::start().await,
            paypal::StandIn::start().await,
        );
        let ways = [stripe.address, paypal.address];
        let ways = ways.map(|address| Proxy::start(address).expect("a proxy"));
        let platforms = Self {
            stripe,
            paypal,
            ways,
            courier: Arc::default(),
            seed,
        };
        platforms.stripe.leave_undecided();
        platforms.fail_as_usual();
        platforms
    }

    /// Sends webhooks to the api processes until `stop`.
    pub fn send_webhooks(&self, apis: &Apis, stop: &CancellationToken) {
        for platform in Platform::ALL {
            let (sender, reports) = tokio::sync::mpsc::unbounded_channel();
            match platform {
                Platform::Stripe => self.stripe.report_to(sender),
                Platform::PayPal => self.paypal.report_to(sender),
            }
            let courier = Arc::clone(&self.courier);
            courier.deliver(platform, reports, Arc::clone(apis), stop.clone());
        }
    }

    /// Writes a `PROCESSORS_FILE` with both; its path.
    pub fn processors_file(&self, folder: &Path) -> String {
        let [stripe, paypal] = &self.ways;
        let api = |way: &Proxy| format!("http://{}", way.address());
        let listed = json!({"processors": [
            {
                "name": "stripe", "type": "stripe", "secret_key": stripe::SECRET_KEY, "api": api(stripe),
                "webhook_secret": stripe::WEBHOOK_SECRET,
            },
            {
                "name": "paypal", "type": "paypal", "client_id": paypal::CLIENT_ID,
                "client_secret": paypal::CLIENT_SECRET, "api": api(paypal), "webhook_id": paypal::WEBHOOK_ID,
            },
        ]});
        let file = folder.join("processors.json");
        std::fs::write(&file, listed.to_string()).expect("the file is written");
        file.display().to_string()
    }

    /// From now on every request fails in one of these ways.
    pub fn fail_always(&self, faults: &'static [Fault]) {
        self.fail(1, faults);
    }

    /// From now on one request in many fails.
    pub fn fail_as_usual(&self) {
        self.fail(ONE_IN, &USUAL);
    }

    /// From now on no request fails.
    pub fn fail_never(&self) {
        self.stripe.fail_never();
        self.paypal.fail_never();
    }

    fn fail(&self, one_in: u32, faults: &'static [Fault]) {
        self.stripe.fail_in_ways(self.seed, one_in, faults);
        self.paypal.fail_in_ways(self.seed, one_in, faults);
    }

    /// What the way to both does from now on.
    pub fn set_ways(&self, mode: Mode) {
        for way in &self.ways {
            way.set(mode);
        }
    }

    /// Where the service finds them.
    pub fn addresses(&self) -> [std::net::SocketAddr; 2] {
        [self.ways[0].address(), self.ways[1].address()]
    }

    /// How many requests have failed at each.
    pub fn failed(&self) -> [usize; 2] {
        [self.stripe.faults_so_far(), self.paypal.faults_so_far()]
    }

    /// What a platform holds for a payment.
    pub fn book(&self, platform: Platform, payment: i64) -> Book {
        match platform {
            Platform::Stripe => self.stripe.book(payment),
            Platform::PayPal => self.paypal.book(payment),
        }
    }

    /// The shopper of a payment does what its method says, on a page that somebody has shown; unless it is over.
    pub async fn shop(&self, way: AtPlatform, payment: i64, is_over: impl Fn() -> bool) {
        match way {
            AtPlatform::StripeToken | AtPlatform::StripeDeclined => {}
            AtPlatform::StripeShopper => self.stripe.approve(payment),
            AtPlatform::StripePage => self.stripe.pay_on_page(payment, "pm_card_visa"),
            AtPlatform::PayPal(pays) => {
                self.paypal.shopper(payment, pays);
                // Pays in another way, once the first was declined.
                while pays == Pays::Declined
                    && !is_over()
                    && !self.paypal.shopper(payment, Pays::Well)
                {
                    sleep(LOOK).await;
                }
            }
        }
    }
}
