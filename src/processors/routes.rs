//! Which processors a payment may use that names none: the routes of `PROCESSORS_FILE`.

use crate::domain::{ClientName, Currency};

/// The routes, in the order in which they are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(pub Vec<Route>);

/// One route: the payments that take it, and their processors. A condition that is absent is met by every payment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Only payments of this client.
    pub client: Option<ClientName>,
    /// Only payments by this payment method, by its `type`.
    pub method: Option<String>,
    /// Only payments in this currency.
    pub currency: Option<Currency>,
    /// The names of its processors, in order: each stands in for those before it.
    pub processors: Vec<String>,
}

/// What decides about a payment's route.
#[derive(Debug, Clone, Copy)]
pub struct Routed<'a> {
    /// Its client.
    pub client: &'a ClientName,
    /// The `type` of its payment method.
    pub method: &'a str,
    /// Its currency.
    pub currency: Currency,
}

impl Routes {
    /// The routes that this payment may take.
    pub fn of(&self, payment: Routed<'_>) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(move |route| route.is_for(payment))
    }
}

impl Route {
    fn is_for(&self, payment: Routed<'_>) -> bool {
        self.client
            .as_ref()
            .is_none_or(|client| client == payment.client)
            && self
                .method
                .as_ref()
                .is_none_or(|method| method == payment.method)
            && self
                .currency
                .is_none_or(|currency| currency == payment.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_for_payments_that_meet_every_condition() {
        let client = |name| ClientName::parse(name).expect("a name");
        let (shop, kiosk) = (client("shop"), client("kiosk"));
        let currency = |code| Currency::parse(code).expect("a currency");
        let (cad, eur) = (currency("CAD"), currency("EUR"));
        let route = |client, method: Option<&str>, currency, processor: &str| Route {
            client,
            method: method.map(str::to_owned),
            currency,
            processors: vec![processor.to_owned()],
        };
        let routes = Routes(vec![
            route(Some(shop.clone()), Some("redirect"), Some(eur), "a"),
            route(None, Some("redirect"), None, "b"),
            route(Some(shop.clone()), None, None, "c"),
        ]);
        let found = |client, method, currency| {
            let payment = Routed {
                client,
                method,
                currency,
            };
            let routes = routes.of(payment);
            routes
                .map(|route| route.processors[0].as_str())
                .collect::<String>()
        };
        assert_eq!(found(&shop, "redirect", eur), "abc");
        assert_eq!(found(&shop, "redirect", cad), "bc");
        assert_eq!(found(&kiosk, "redirect", eur), "b");
        assert_eq!(found(&shop, "card", eur), "c");
        assert_eq!(found(&kiosk, "card", eur), "");
    }
}
