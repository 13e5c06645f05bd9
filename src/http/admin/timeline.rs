//! A payment's story in the order in which it happened, in the reader's language.

use crate::domain::{EventKind, OperationKind, PaymentStatus, Timestamp};
use crate::http::page::Language;
use crate::payments::story::{Due, Story};

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    /// The class for the style: `good`, `bad`, `waiting`, or empty.
    pub class: &'static str,
    /// `event`, `charge` or `due`.
    pub source: &'static str,
    pub title: String,
    pub detail: String,
}

impl Line {
    /// Its time, as [`moment`] writes it.
    pub fn written(&self) -> String {
        moment(self.at)
    }
}

/// Everything with a time, the oldest first. What is due comes last.
pub fn lines(story: &Story, l: Language) -> Vec<Line> {
    let mut lines: Vec<Line> = events(story, l).chain(charges(story, l)).collect();
    // Stable: events of the same moment keep their order.
    lines.sort_by_key(|line| line.at);
    lines.extend(due(story, l));
    lines
}

fn events(story: &Story, l: Language) -> impl Iterator<Item = Line> {
    story.events.iter().map(move |event| {
        let mut detail = Vec::new();
        if event.attempt > 0 {
            let attempt = l.pick("attempt", "tentative");
            detail.push(format!("{attempt} {}", event.attempt));
        }
        if event.try_number > 0 {
            let word = l.pick("try", "essai");
            detail.push(format!("{word} {}", event.try_number));
        }
        detail.extend(event.reason.clone());
        Line {
            at: event.at,
            class: class(event.kind),
            source: "event",
            title: event_title(event.kind, l).to_owned(),
            detail: detail.join(" · "),
        }
    })
}

fn charges(story: &Story, l: Language) -> impl Iterator<Item = Line> {
    story.ledger.iter().flat_map(move |entry| {
        let charged = if entry.held {
            l.pick(
                "The issuer has held the amount",
                "L’émetteur a réservé le montant",
            )
        } else {
            l.pick("The issuer has charged", "L’émetteur a débité")
        };
        let reversed = l.pick("The issuer has reversed it", "L’émetteur a annulé le débit");
        let line = |at: Option<Timestamp>, title: &str| {
            at.map(|at| Line {
                at,
                class: "",
                source: "charge",
                title: title.to_owned(),
                detail: entry.key.clone(),
            })
        };
        let both = [
            line(entry.charged_at, charged),
            line(entry.reversed_at, reversed),
        ];
        both.into_iter().flatten()
    })
}

fn due(story: &Story, l: Language) -> impl Iterator<Item = Line> {
    story.due.iter().map(move |row| {
        let due = Due::of(row);
        let title = match due.what {
            "try" => l.pick("A try waits", "Un essai attend"),
            "result" => l.pick("A result waits", "Un résultat attend"),
            "reply" => l.pick("A reply waits", "Une réponse attend"),
            "callback" => l.pick("A callback will be repeated", "Un rappel sera répété"),
            _ => l.pick("A message waits", "Un message attend"),
        };
        let calls = due.tries.map(|tries| {
            let word = l.pick("calls so far:", "appels jusqu’ici :");
            format!("{word} {tries}")
        });
        let words = [calls.as_deref(), due.reason, due.error];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        Line {
            at: due.at,
            class: "waiting",
            source: "due",
            title: title.to_owned(),
            detail: words.join(" · "),
        }
    })
}

fn class(kind: EventKind) -> &'static str {
    use EventKind as E;
    match kind {
        E::Succeeded | E::RefundSucceeded | E::RequiresCapture => "good",
        E::Declined
        | E::Failed
        | E::TryFailed
        | E::OperationTryFailed
        | E::RefundFailed
        | E::DisputeOpened => "bad",
        E::ReversalStarted | E::RequiresAction | E::CloseStarted => "waiting",
        E::Accepted
        | E::AttemptStarted
        | E::LateApproval
        | E::CaptureStarted
        | E::VoidStarted
        | E::RefundStarted
        | E::DisputeClosed
        | E::Canceled => "",
    }
}

/// An event in a few words.
pub fn event_title(kind: EventKind, l: Language) -> &'static str {
    use EventKind as E;
    let (english, french) = match kind {
        E::Accepted => ("Accepted", "Accepté"),
        E::AttemptStarted => ("A card was presented", "Une carte a été présentée"),
        E::TryFailed => ("The issuer gave no decision", "L’émetteur n’a pas décidé"),
        E::ReversalStarted => (
            "Any charge is being reversed",
            "Tout débit est en cours d’annulation",
        ),
        E::RequiresAction => ("The shopper has to approve", "Le client doit approuver"),
        E::CloseStarted => (
            "The attempt is being closed",
            "La tentative est en cours de clôture",
        ),
        E::LateApproval => (
            "Approved too late: nothing charged",
            "Approuvé trop tard : rien de débité",
        ),
        E::RequiresCapture => ("Authorized, to be captured", "Autorisé, à encaisser"),
        E::CaptureStarted => ("A capture was requested", "Un encaissement a été demandé"),
        E::VoidStarted => (
            "A cancellation was requested",
            "Une annulation a été demandée",
        ),
        E::OperationTryFailed => ("The issuer gave no decision", "L’émetteur n’a pas décidé"),
        E::RefundStarted => ("A refund was requested", "Un remboursement a été demandé"),
        E::RefundSucceeded => ("Refunded", "Remboursé"),
        E::RefundFailed => ("The refund has failed", "Le remboursement a échoué"),
        E::DisputeOpened => (
            "The shopper disputes the payment",
            "Le client conteste le paiement",
        ),
        E::DisputeClosed => ("The dispute has ended", "La contestation est close"),
        E::Succeeded => ("Succeeded", "Réussi"),
        E::Declined => ("Declined", "Refusé"),
        E::Failed => ("Failed", "Échoué"),
        E::Canceled => ("Canceled", "Annulé"),
    };
    l.pick(english, french)
}

/// A status in a few words.
pub fn status_word(status: PaymentStatus, l: Language) -> &'static str {
    use PaymentStatus as S;
    let (english, french) = match status {
        S::RequiresPaymentMethod => ("To be paid", "À payer"),
        S::Processing => ("Processing", "En cours"),
        S::RequiresAction => ("To be approved", "À approuver"),
        S::RequiresCapture => ("Authorized", "Autorisé"),
        S::Succeeded => ("Succeeded", "Réussi"),
        S::Declined => ("Declined", "Refusé"),
        S::Failed => ("Failed", "Échoué"),
        S::Canceled => ("Canceled", "Annulé"),
    };
    l.pick(english, french)
}

/// An operation's kind.
pub fn operation_word(kind: OperationKind, l: Language) -> &'static str {
    match kind {
        OperationKind::Capture => l.pick("Capture", "Encaissement"),
        OperationKind::Void => l.pick("Cancellation", "Annulation"),
        OperationKind::Refund => l.pick("Refund", "Remboursement"),
    }
}

/// `2026-11-26 15:06:28.123`, in UTC: the same in every language, and it sorts.
pub fn moment(at: Timestamp) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{} {:02}:{:02}:{:02}.{:03}",
        at.date(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_is_written_in_utc_to_the_millisecond() {
        let written = moment(datetime!(2026-01-31 20:05:06.0789 -5));
        assert_eq!(written, "2026-02-01 01:05:06.078");
    }
}
