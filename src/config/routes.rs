//! `routes` of `PROCESSORS_FILE`: which payments that name no processor use which.

use serde_json::Value;

use crate::domain::{ClientName, Currency, TOKEN};
use crate::processors::routes::{Route, Routes};
use crate::wire::fields::{Faults, Object};

const FIELDS: [&str; 4] = ["client", "method", "currency", "processors"];

/// Reads the routes; none are listed if the field is absent. `names` are those of the processors.
pub(super) fn read(fields: &Object<'_>, names: &[&str], faults: &mut Faults) -> Option<Routes> {
    let Some(listed) = fields.get("routes") else {
        return Some(Routes::default());
    };
    let Some(listed) = listed.as_array() else {
        let message = "must be a list of routes";
        faults.add("routes".to_owned(), "wrong_type", message);
        return None;
    };
    let read = |(place, value): (usize, &Value)| {
        let fields = Object::of(value, format!("routes[{place}]"), faults)?;
        route(&fields, names, faults)
    };
    let read: Vec<Option<Route>> = listed.iter().enumerate().map(read).collect();
    read.into_iter().collect::<Option<_>>().map(Routes)
}

fn route(fields: &Object<'_>, names: &[&str], faults: &mut Faults) -> Option<Route> {
    fields.refuse_unknown(&FIELDS, &[], faults);
    let client = condition(fields, "client", "the name of a client", faults, |text| {
        ClientName::parse(text).ok()
    });
    let method = condition(
        fields,
        "method",
        "card, wallet or redirect",
        faults,
        |text| (text != TOKEN).then(|| text.to_owned()),
    );
    let currency = condition(
        fields,
        "currency",
        "an ISO 4217 code such as CAD",
        faults,
        |text| Currency::parse(text).ok(),
    );
    let processors = processors(fields, names, faults);
    Some(Route {
        client: client?,
        method: method?,
        currency: currency?,
        processors: processors?,
    })
}

/// A condition of a route, which may be absent.
fn condition<T>(
    fields: &Object<'_>,
    name: &str,
    what: &str,
    faults: &mut Faults,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<Option<T>> {
    if fields.get(name).is_none() {
        return Some(None);
    }
    let parsed = parse(fields.text(name, what, faults)?);
    if parsed.is_none() {
        let message = format!("must be {what}");
        faults.add(fields.path(name), "invalid_condition", message);
    }
    parsed.map(Some)
}

fn processors(fields: &Object<'_>, names: &[&str], faults: &mut Faults) -> Option<Vec<String>> {
    let what = "a list of names of processors, in the order in which they are used";
    let listed = fields.required("processors", what, faults)?;
    let read = listed.as_array().filter(|list| !list.is_empty());
    let read = read.and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let Some(read) = read else {
        let message = format!("must be {what}");
        faults.add(fields.path("processors"), "wrong_type", message);
        return None;
    };
    let unknown = read.iter().find(|name| !names.contains(name));
    let again = (1..read.len()).find(|place| read[..*place].contains(&read[*place]));
    if let Some(name) = unknown {
        let message = format!(
            "names {name}, which is not listed: the processors are {}",
            names.join(", ")
        );
        faults.add(fields.path("processors"), "unknown_processor", message);
    }
    if let Some(place) = again {
        let message = format!("names {} twice", read[place]);
        faults.add(fields.path("processors"), "duplicate_name", message);
    }
    let is_fine = unknown.is_none() && again.is_none();
    is_fine.then(|| read.into_iter().map(str::to_owned).collect())
}
