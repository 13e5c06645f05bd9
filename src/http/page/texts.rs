//! The page's texts, in each of its languages.

use crate::domain::{DeclineCode, Funding, PaymentStatus};
use crate::http::problem::Kind;
use crate::wire::rules::NotAllowed;

/// The languages of the page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// Used if a caller accepts neither language.
    #[default]
    English,
    /// `fr`
    French,
}

/// The fixed texts. Texts that depend on a payment are methods.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    pub language: Language,
    /// BCP 47 tag of the document.
    pub tag: &'static str,
    pub payment: &'static str,
    pub order: &'static str,
    pub amount: &'static str,
    pub state: &'static str,
    pub card: &'static str,
    pub ending_in: &'static str,
    pub card_number: &'static str,
    pub expiry: &'static str,
    pub expiry_hint: &'static str,
    pub code: &'static str,
    pub code_hint: &'static str,
    pub pay: &'static str,
    pub correct: &'static str,
    pub form_expired: &'static str,
    pub simulation: &'static str,
    pub test_cards: &'static str,
    pub any_month: &'static str,
    pub see: &'static str,
    pub shop: &'static str,
    pub paid_at: &'static str,
    pub reference: &'static str,
    pub back_to: &'static str,
    pub back_to_shop: &'static str,
    pub approve: &'static str,
    pub wallet: &'static str,
    pub pay_with: &'static str,
    pub update: &'static str,
    pub other_method: &'static str,
    pub refunded: &'static str,
}

const ENGLISH: Words = Words {
    language: Language::English,
    tag: "en",
    payment: "Payment",
    order: "Order",
    amount: "Amount",
    state: "State",
    card: "Card",
    ending_in: "ending in",
    card_number: "Card number",
    expiry: "Expiry date",
    expiry_hint: "Month and year, such as 01/30",
    code: "Security code",
    code_hint: "3 digits on the back, or 4 on the front",
    pay: "Pay",
    correct: "Nothing has been charged. Please correct:",
    form_expired: "This page was open for too long. Nothing has been charged: please check the card and enter its code again.",
    simulation: "This is a simulation. No money moves: please do not enter a real card.",
    test_cards: "Test cards",
    any_month: "Any future month and any code go with them.",
    see: "See the payment",
    shop: "Shop",
    paid_at: "Paid on",
    reference: "Reference",
    back_to: "Back to",
    back_to_shop: "Back to the shop",
    approve: "Approve the payment",
    wallet: "Pay with a wallet",
    pay_with: "Pay with",
    update: "Already approved? Update this page",
    other_method: "Or pay in another way:",
    refunded: "Refunded",
};

const FRENCH: Words = Words {
    language: Language::French,
    tag: "fr",
    payment: "Paiement",
    order: "Commande",
    amount: "Montant",
    state: "État",
    card: "Carte",
    ending_in: "se terminant par",
    card_number: "Numéro de carte",
    expiry: "Date d’expiration",
    expiry_hint: "Mois et année, par exemple 01/30",
    code: "Code de sécurité",
    code_hint: "3 chiffres au dos, ou 4 au recto",
    pay: "Payer",
    correct: "Rien n’a été débité. Veuillez corriger :",
    form_expired: "Cette page est restée ouverte trop longtemps. Rien n’a été débité : veuillez vérifier la carte et saisir son code de nouveau.",
    simulation: "Ceci est une simulation. Aucun argent ne circule : ne saisissez pas de vraie carte.",
    test_cards: "Cartes de test",
    any_month: "Elles vont avec tout mois à venir et tout code.",
    see: "Voir le paiement",
    shop: "Boutique",
    paid_at: "Payé le",
    reference: "Référence",
    back_to: "Retour à",
    back_to_shop: "Retour à la boutique",
    approve: "Approuver le paiement",
    wallet: "Payer avec un portefeuille",
    pay_with: "Payer avec",
    update: "Déjà approuvé ? Mettre cette page à jour",
    other_method: "Ou payez autrement :",
    refunded: "Remboursé",
};

impl Language {
    /// `en` or `fr`, in lower case.
    pub fn from_primary_subtag(subtag: &str) -> Option<Self> {
        match subtag {
            "en" => Some(Self::English),
            "fr" => Some(Self::French),
            _ => None,
        }
    }

    /// The BCP 47 tag.
    pub fn tag(self) -> &'static str {
        self.words().tag
    }

    pub fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::French => &FRENCH,
        }
    }

    /// The text in this language.
    pub fn pick(self, english: &'static str, french: &'static str) -> &'static str {
        match self {
            Self::English => english,
            Self::French => french,
        }
    }
}

impl Words {
    /// The status in one or two words.
    pub fn status(&self, status: PaymentStatus) -> &'static str {
        use PaymentStatus as S;
        let (english, french) = match status {
            S::RequiresPaymentMethod => ("To be paid", "À payer"),
            S::Processing => ("Being processed", "En cours"),
            S::RequiresAction => ("To be approved", "À approuver"),
            S::RequiresCapture => ("Authorized, not yet charged", "Autorisé, pas encore débité"),
            S::Succeeded => ("Paid", "Payé"),
            S::Declined => ("Declined", "Refusé"),
            S::Failed => ("Failed", "Échoué"),
            S::Canceled => ("Canceled", "Annulé"),
        };
        self.language.pick(english, french)
    }

    /// The status in a sentence, with what the shopper can do. A shopper is not told that a card is reported lost or
    /// stolen.
    pub fn explanation(
        &self,
        status: PaymentStatus,
        why: Option<&DeclineCode>,
    ) -> Option<&'static str> {
        use PaymentStatus as S;
        let (english, french) = match (status, why.map(DeclineCode::as_str)) {
            (S::RequiresPaymentMethod, _) => return None,
            (S::Processing, _) => (
                "The payment is being checked. This page renews itself; you do not have to pay again.",
                "Le paiement est en cours de vérification. Cette page se met à jour ; ne payez pas une seconde fois.",
            ),
            (S::RequiresAction, _) => (
                "You have to approve this payment on another page. Nothing is charged before.",
                "Vous devez approuver ce paiement sur une autre page. Rien n’est débité avant.",
            ),
            (S::RequiresCapture, _) => (
                "Thank you: the amount is reserved. It is charged when your order is completed.",
                "Merci : le montant est réservé. Il sera débité lorsque votre commande sera finalisée.",
            ),
            (S::Succeeded, _) => (
                "Thank you: the payment has been made.",
                "Merci : le paiement est effectué.",
            ),
            (S::Canceled, _) => (
                "This payment has been canceled and can no longer be made.",
                "Ce paiement a été annulé et ne peut plus être effectué.",
            ),
            (_, Some("insufficient_funds")) => (
                "There is not enough money on the card. Nothing has been charged: you can use another one.",
                "Le solde de la carte est insuffisant. Rien n’a été débité : vous pouvez en utiliser une autre.",
            ),
            (_, Some("expired_card")) => (
                "The card has expired. Nothing has been charged: you can use another one.",
                "La carte a expiré. Rien n’a été débité : vous pouvez en utiliser une autre.",
            ),
            (_, Some("incorrect_number")) => (
                "The card number is wrong. Nothing has been charged: please check it.",
                "Le numéro de carte est incorrect. Rien n’a été débité : veuillez le vérifier.",
            ),
            (_, Some("incorrect_cvc")) => (
                "The security code is wrong. Nothing has been charged: please check it.",
                "Le code de sécurité est incorrect. Rien n’a été débité : veuillez le vérifier.",
            ),
            (_, Some("action_expired")) => (
                "The payment was not approved in time. Nothing has been charged: you can try again.",
                "Le paiement n’a pas été approuvé à temps. Rien n’a été débité : vous pouvez réessayer.",
            ),
            (_, Some("authentication_failed" | "abandoned_by_shopper")) => (
                "The payment was not approved. Nothing has been charged: you can pay in another way.",
                "Le paiement n’a pas été approuvé. Rien n’a été débité : vous pouvez payer autrement.",
            ),
            (S::Failed, _) => (
                "The bank could not be reached. Nothing has been charged: you can try again.",
                "La banque n’a pas pu être jointe. Rien n’a été débité : vous pouvez réessayer.",
            ),
            (S::Declined, _) => (
                "The bank has declined the card. Nothing has been charged: you can use another one.",
                "La banque a refusé la carte. Rien n’a été débité : vous pouvez en utiliser une autre.",
            ),
        };
        Some(self.language.pick(english, french))
    }

    /// The text for an invalid field, by its error code.
    pub fn fault(&self, code: &str) -> &'static str {
        let (english, french) = match code {
            "invalid_card_number" => (
                "The card number has 12 to 19 digits.",
                "Le numéro de carte compte de 12 à 19 chiffres.",
            ),
            "invalid_card_code" => (
                "The security code has 3 or 4 digits.",
                "Le code de sécurité compte 3 ou 4 chiffres.",
            ),
            "invalid_expiration_date" => (
                "The expiry date is a month and a year, such as 01/30.",
                "La date d’expiration est un mois et une année, par exemple 01/30.",
            ),
            "too_far_ahead" => (
                "The expiry date is more than 20 years ahead.",
                "La date d’expiration est dans plus de 20 ans.",
            ),
            _ => (
                "This is missing or cannot be read.",
                "Ce champ est vide ou illisible.",
            ),
        };
        self.language.pick(english, french)
    }

    /// The text next to a card that the shop may not use.
    pub fn not_allowed(&self, why: &NotAllowed) -> String {
        let pick = |english, french| self.language.pick(english, french);
        let NotAllowed::Funding { allowed, .. } = why else {
            let none = pick(
                "This shop does not accept cards.",
                "Cette boutique n’accepte pas les cartes.",
            );
            return none.to_owned();
        };
        let name = |funding: &Funding| match funding {
            Funding::Credit => pick("credit cards", "cartes de crédit"),
            Funding::Debit => pick("debit cards", "cartes de débit"),
            Funding::Prepaid => pick("prepaid cards", "cartes prépayées"),
            Funding::Unknown => pick("other cards", "autres cartes"),
        };
        let names: Vec<&str> = allowed.iter().map(name).collect();
        let sentence = pick(
            "This shop does not accept this card. It accepts:",
            "Cette boutique n’accepte pas cette carte. Elle accepte :",
        );
        format!("{sentence} {}.", names.join(", "))
    }

    /// Headline and sentence of an answer without a payment.
    pub fn problem(&self, kind: Kind) -> (&'static str, &'static str) {
        let pick = |english: [&'static str; 2], french: [&'static str; 2]| {
            let headline = self.language.pick(english[0], french[0]);
            (headline, self.language.pick(english[1], french[1]))
        };
        match kind {
            Kind::NotFound => pick(
                [
                    "There is no such payment",
                    "Please check the address, or go back to the shop.",
                ],
                [
                    "Ce paiement n’existe pas",
                    "Vérifiez l’adresse, ou retournez à la boutique.",
                ],
            ),
            Kind::Unauthorized => pick(
                [
                    "This page opens through the shop only",
                    "Please use the link that the shop gave you. Applications send an API key instead.",
                ],
                [
                    "Cette page s’ouvre seulement par la boutique",
                    "Utilisez le lien que la boutique vous a donné. Les applications envoient une clé d’API.",
                ],
            ),
            Kind::CrossSite => pick(
                [
                    "This form was sent from another site",
                    "Nothing has been charged. To pay, please open the shop’s link yourself.",
                ],
                [
                    "Ce formulaire a été envoyé depuis un autre site",
                    "Rien n’a été débité. Pour payer, ouvrez vous-même le lien de la boutique.",
                ],
            ),
            Kind::TooManyRequests
            | Kind::Overloaded
            | Kind::Unavailable
            | Kind::Exhausted
            | Kind::Timeout => pick(
                [
                    "Payments cannot be made just now",
                    "Please try again in a moment. You cannot pay twice by that.",
                ],
                [
                    "Les paiements sont momentanément impossibles",
                    "Réessayez dans un instant. Vous ne pouvez pas payer deux fois ainsi.",
                ],
            ),
            _ => pick(
                [
                    "Something went wrong",
                    "Please open the link again. You cannot pay twice by that.",
                ],
                [
                    "Une erreur est survenue",
                    "Ouvrez le lien de nouveau. Vous ne pouvez pas payer deux fois ainsi.",
                ],
            ),
        }
    }
}
