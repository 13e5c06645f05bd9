//! Disputes: a shopper has asked their bank to take a payment back, and the bank decides.

use serde::{Deserialize, Serialize};

use super::EventKind;

/// A dispute about a payment, as its platform reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// The platform's name.
    pub processor: String,
    /// The platform's reference.
    pub reference: String,
    /// The shopper's reason, in snake case: `fraudulent`.
    pub reason: String,
    /// How it ended, such as `won` or `lost`; none while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

impl Dispute {
    /// Adds what is reported now to what is known; returns what has happened, each with its reason. The same report again
    /// is nothing new, and a dispute that has ended stays so.
    pub fn note(known: &mut Vec<Self>, reported: Self) -> Vec<(EventKind, String)> {
        let opened = (EventKind::DisputeOpened, reported.reason.clone());
        let ended = reported.ended.clone();
        let closed = ended.map(|how| (EventKind::DisputeClosed, how));
        let is_same = |it: &&mut Self| {
            (&it.processor, &it.reference) == (&reported.processor, &reported.reference)
        };
        match known.iter_mut().find(is_same) {
            None => {
                known.push(reported);
                std::iter::once(opened).chain(closed).collect()
            }
            Some(open) if open.ended.is_none() => {
                open.ended = reported.ended;
                closed.into_iter().collect()
            }
            Some(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(reference: &str, ended: Option<&str>) -> Dispute {
        Dispute {
            processor: "stripe".to_owned(),
            reference: reference.to_owned(),
            reason: "fraudulent".to_owned(),
            ended: ended.map(str::to_owned),
        }
    }

    #[test]
    fn each_dispute_is_opened_and_closed_once_in_whatever_order_it_is_reported() {
        let mut known = Vec::new();
        let mut note = |reference, ended| {
            let noted = Dispute::note(&mut known, reported(reference, ended));
            noted
                .into_iter()
                .map(|(kind, reason)| format!("{kind} {reason}"))
                .collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(note("du_1", None), ["dispute_opened fraudulent"]);
        assert_eq!(note("du_1", None), none);
        assert_eq!(note("du_1", Some("won")), ["dispute_closed won"]);
        assert_eq!(note("du_1", Some("lost")), none);
        assert_eq!(note("du_1", None), none);
        let both = ["dispute_opened fraudulent", "dispute_closed lost"];
        assert_eq!(note("du_2", Some("lost")), both);
        assert_eq!(note("du_3", None), ["dispute_opened fraudulent"]);
        let open: Vec<_> = known.iter().filter(|it| it.ended.is_none()).collect();
        assert_eq!(open, [&reported("du_3", None)]);
    }
}
