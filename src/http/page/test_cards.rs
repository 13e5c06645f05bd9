//! The list of test cards on the page. The table belongs to the issuer; its texts are English, so the French ones are
//! here.

use super::texts::Language;
use crate::processors::simulated::{Behaviour, TestCard};

/// A row of the list.
pub struct Row {
    /// In groups of four digits, as printed on a card.
    pub number: String,
    pub line: &'static str,
}

/// The cards that differ for a shopper, in the table's order; not those with which later captures or refunds go wrong.
pub fn rows(cards: &'static [TestCard], language: Language) -> Vec<Row> {
    let row = |card: &'static TestCard| Row {
        number: grouped(card.number),
        line: line(card, language),
    };
    cards
        .iter()
        .filter(|card| concerns_shopper(card))
        .map(row)
        .collect()
}

/// What the issuer does with a card.
pub fn line(card: &'static TestCard, language: Language) -> &'static str {
    match language {
        Language::English => card.line,
        Language::French => french(card.token).unwrap_or(card.line),
    }
}

fn concerns_shopper(card: &TestCard) -> bool {
    !matches!(card.behaviour, Behaviour::ApproveThen(_))
}

/// The digits in groups of four.
pub fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + 4);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[rustfmt::skip] // one card, one line: this is a table
fn french(token: &str) -> Option<&'static str> {
    Some(match token {
        "tok_visa" | "tok_mastercard" | "tok_amex" | "tok_discover" => "Acceptée.",
        "tok_visa_debit" | "tok_mastercard_debit" => "Acceptée : une carte de débit.",
        "tok_mastercard_prepaid" => "Acceptée : une carte prépayée.",
        "tok_all_nines" => "Acceptée, bien que sa clé soit fausse : d’anciens appelants l’utilisent.",
        "tok_generic_decline" => "Refusée sans motif.",
        "tok_insufficient_funds" => "Refusée : solde insuffisant.",
        "tok_lost_card" => "Refusée : déclarée perdue.",
        "tok_stolen_card" => "Refusée : déclarée volée.",
        "tok_expired_card" => "Refusée car expirée, quel que soit le mois.",
        "tok_incorrect_cvc" => "Refusée : mauvais code, quel que soit le code.",
        "tok_processing_error" => "Refusée : erreur de l’émetteur.",
        "tok_card_velocity_exceeded" => "Refusée : utilisée trop souvent.",
        "tok_incorrect_number" => "Refusée : sa clé est fausse.",
        "tok_fraudulent" => "Refusée : bloquée pour fraude.",
        "tok_issuer_slow" => "Acceptée au bout de deux secondes.",
        "tok_issuer_down_1" => "L’émetteur est en panne une fois, puis accepte.",
        "tok_issuer_down_2" => "L’émetteur est en panne deux fois, puis accepte.",
        "tok_issuer_down_3" => "L’émetteur est en panne pendant trois essais, puis accepte.",
        "tok_issuer_down_4" => "L’émetteur est en panne pendant quatre essais, puis accepte.",
        "tok_issuer_down" => "L’émetteur n’est jamais joignable : échec, rien n’est débité.",
        "tok_answer_lost_once" => "Débitée, mais la première réponse se perd ; l’essai suivant l’apprend : acceptée, un seul débit.",
        "tok_answer_lost" => "Débitée, mais toutes les réponses se perdent : annulée, échec.",
        "tok_issuer_silent" => "Ne répond ni ne débite jamais ; personne ne pouvant le savoir : annulée, échec.",
        "tok_reversal_lost_2" => "Débitée, toutes les réponses se perdent, et les deux premières de l’annulation aussi : annulée enfin, échec.",
        "tok_later_calls_declined" => "Acceptée au bout de deux secondes ; redemandée entre-temps, cette demande est refusée : débit annulé, refusée.",
        "tok_later_calls_down" => "Acceptée au bout de deux secondes ; redemandée entre-temps, l’émetteur est en panne : débit annulé, échec.",
        "tok_later_calls_silent" => "Acceptée au bout de deux secondes ; redemandée entre-temps, aucune réponse ne vient : débit annulé, échec.",
        "tok_3ds" => "Le client doit approuver (3-D Secure) ; puis acceptée.",
        "tok_3ds_always" => "Le client doit approuver (3-D Secure), à chaque paiement ; puis acceptée.",
        "tok_3ds_insufficient_funds" => "Le client doit approuver (3-D Secure) ; puis refusée : solde insuffisant.",
        "tok_3ds_declined" => "Le client doit approuver (3-D Secure) ; puis refusée sans motif.",
        "tok_3ds_tab_closed" => "Le client approuve (3-D Secure) et ferme l’onglet : le service l’apprend en demandant : acceptée.",
        "tok_3ds_told_twice" => "Le client approuve (3-D Secure), et l’émetteur le dit deux fois : acceptée, un seul débit.",
        "tok_3ds_too_late" => "L’accord (3-D Secure) arrive quand le délai est passé : échec, rien n’est débité.",
        "tok_refund_pending" => "Acceptée ; ses remboursements restent en attente deux secondes, puis réussissent.",
        "tok_refund_fails" => "Acceptée ; ses remboursements réussissent, puis échouent deux secondes plus tard.",
        "tok_capture_down_2" => "Acceptée ; l’émetteur est en panne pendant les deux premiers essais d’un encaissement, puis l’exécute.",
        "tok_capture_answer_lost" => "Acceptée ; un encaissement est exécuté, mais sa première réponse se perd : l’essai suivant l’apprend.",
        "tok_capture_silent" => "Acceptée ; un encaissement reste sans réponse et n’est jamais exécuté : fermé, échec.",
        "tok_capture_refused" => "Acceptée ; un encaissement est refusé.",
        "tok_void_down_2" => "Acceptée ; l’émetteur est en panne pendant les deux premiers essais d’une annulation, puis l’exécute.",
        "tok_void_answer_lost" => "Acceptée ; une annulation est exécutée, mais sa première réponse se perd : l’essai suivant l’apprend.",
        "tok_void_silent" => "Acceptée ; une annulation reste sans réponse et n’est jamais exécutée : fermée, échec.",
        "tok_void_refused" => "Acceptée ; une annulation est refusée.",
        "tok_refund_down_2" => "Acceptée ; l’émetteur est en panne pendant les deux premiers essais d’un remboursement, puis l’exécute.",
        "tok_refund_answer_lost" => "Acceptée ; un remboursement est exécuté, mais sa première réponse se perd : l’essai suivant l’apprend.",
        "tok_refund_silent" => "Acceptée ; un remboursement reste sans réponse et n’est jamais exécuté : fermé, échec.",
        "tok_refund_refused" => "Acceptée ; un remboursement est refusé.",
        "tok_authorization_gone" => "Acceptée ; l’autorisation a disparu au moment de l’encaissement : annulée.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processors::simulated::TEST_CARDS;

    #[test]
    fn each_test_card_has_a_french_description() {
        for card in TEST_CARDS {
            let line = french(card.token).unwrap_or_else(|| panic!("no line: {}", card.token));
            assert!(line.ends_with('.'), "{line}");
        }
    }

    #[test]
    fn a_card_number_is_shown_in_groups() {
        assert_eq!(grouped("4242424242424242"), "4242 4242 4242 4242");
        assert_eq!(grouped("378282246310005"), "3782 8224 6310 005");
    }
}
