//! Payment platforms in trouble. Payments of others must go on meanwhile.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::Ground;
use crate::faults::drill::AFTERMATH;
use crate::faults::fleet::PROCESSOR_TIMEOUT;
use crate::faults::kind::Kind;
use crate::faults::method::{AtPlatform, Method};
use crate::faults::notes::Way;
use crate::faults::operations;
use crate::faults::random::Random;
use crate::faults::webhooks::Delivery;
use crate::platforms::paypal::stand_in::Pays;
use crate::platforms::unreliable::Fault;
use crate::support::proxy::Mode;

/// Payments at the platforms that are under way then, beside those of the load.
const BURST: usize = 12;

/// How platforms fail in each kind.
fn faults(kind: Kind) -> Option<&'static [Fault]> {
    Some(match kind {
        Kind::PlatformsHang => &[Fault::Silent, Fault::Lost],
        Kind::PlatformsFailBefore => &[Fault::ErrorBefore],
        Kind::PlatformsFailAfter => &[Fault::ErrorAfter],
        Kind::PlatformsBusy => &[Fault::BusyFor(2)],
        Kind::PlatformsCutAnswers => &[Fault::Cut, Fault::Half],
        Kind::PlatformsAnswerHtml => &[Fault::Html],
        _ => return None,
    })
}

pub async fn trouble(ground: &Ground, kind: Kind, random: &mut Random) -> Result<(), String> {
    // A busy machine takes longer without any fault.
    let usual = ground.until_flowing(AFTERMATH).await;
    let usual = usual.ok_or("no work flows before it")?;
    until_called(ground).await?;
    begin_some(ground, random);
    sleep(random.millis(100, 500)).await;
    let platforms = &ground.platforms;
    let before = (platforms.failed(), platforms.courier.taken_over());
    match (kind, faults(kind)) {
        (_, Some(faults)) => platforms.fail_always(faults),
        (Kind::PlatformsRefuse, _) => platforms.set_ways(Mode::Refuse),
        (Kind::WebhooksTwice, _) => platforms.courier.set(Delivery::Twice),
        (Kind::WebhooksLate, _) => platforms.courier.set(Delivery::Late),
        _ => platforms.courier.set(Delivery::Never),
    }
    begin_some(ground, random);
    sleep(random.millis(2_000, 4_000)).await;
    let others = ground
        .until_flowing(PROCESSOR_TIMEOUT * 2 + usual * 3)
        .await;
    let had_effect = match kind {
        Kind::PlatformsRefuse => is_refused(ground).await,
        _ if faults(kind).is_some() => {
            let now = platforms.failed();
            now.iter().zip(before.0).all(|(now, before)| *now > before)
        }
        _ => platforms.courier.taken_over() > before.1,
    };
    platforms.set_ways(Mode::Pass);
    platforms.courier.set(Delivery::Usual);
    platforms.fail_as_usual();
    others.ok_or("payments that need no platform wait for the platforms")?;
    match had_effect {
        true => Ok(()),
        false => Err("no platform was in trouble".to_owned()),
    }
}

/// How long that may take: a pause after a fault lasts up to 30 s, and one request in 25 fails meanwhile.
const CALLED_AGAIN: Duration = Duration::from_secs(120);

/// Waits until both platforms are called again: after a fault the workers pause.
async fn until_called(ground: &Ground) -> Result<(), String> {
    let ways = [
        AtPlatform::StripeToken,
        AtPlatform::StripePage,
        AtPlatform::PayPal(Pays::Well),
    ];
    let sent = ways.map(|way| ground.client.begin(Way::Rest, Method::At(way), Vec::new()));
    let called = ground.until_heard(&sent, CALLED_AGAIN).await;
    called
        .map(|_| ())
        .ok_or_else(|| "the platforms are not called before it".to_owned())
}

async fn is_refused(ground: &Ground) -> bool {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    while tokio::time::Instant::now() < deadline {
        let mut refused = 0;
        for address in ground.platforms.addresses() {
            refused += usize::from(TcpStream::connect(address).await.is_err());
        }
        if refused == 2 {
            return true;
        }
    }
    false
}

/// Half of them have operations.
fn begin_some(ground: &Ground, random: &mut Random) {
    for number in 0..BURST {
        let way = random.pick(&[Way::Rest, Way::Message]);
        let operations = operations::chosen(random, way).filter(|_| number % 2 == 0);
        let paid_at = AtPlatform::any(random, operations.is_some());
        let operations = operations.unwrap_or_default();
        ground.client.begin(way, Method::At(paid_at), operations);
    }
}
