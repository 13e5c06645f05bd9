//! Reads the fields of a JSON object and collects every fault, so that a caller can fix them all at once.
//!
//! Independent of payments. Never repeats a value in a message: it may be card data.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::did_you_mean;

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Dotted path: `card.cardNumber`, `clients[0].name`; empty for the whole document.
    pub field: String,
    /// Snake case, for programs.
    pub code: &'static str,
    /// One sentence for people: what is wrong and how to fix it.
    pub message: String,
}

/// What happens to unknown fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are reported as errors, with a hint.
    #[default]
    Refuse,
    /// They are dropped, unless one looks like a known field that was misspelt or put in the wrong place.
    Ignore,
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Maximum number of faults kept, so that the answer to a bad request stays short.
    const MOST: usize = 100;

    /// Adds a fault; the message continues after the field's name: `must be …`.
    pub fn add(&mut self, field: String, code: &'static str, message: impl AsRef<str>) {
        let message = format!("{field} {}.", message.as_ref());
        self.add_sentence(field, code, message);
    }

    /// Adds a fault with a whole sentence.
    pub fn add_sentence(&mut self, field: String, code: &'static str, message: String) {
        if self.0.len() < Self::MOST {
            self.0.push(FieldError {
                field,
                code,
                message,
            });
        }
    }

    /// Whether a field already has a fault.
    fn name(&self, field: &str) -> bool {
        self.0.iter().any(|fault| fault.field == field)
    }

    /// The value that was read, if there are no faults.
    pub fn settle<T>(mut self, read: Option<T>) -> Result<T, Vec<FieldError>> {
        match read {
            Some(value) if self.0.is_empty() => Ok(value),
            None if self.0.is_empty() => {
                self.add_sentence(
                    String::new(),
                    "unreadable",
                    "The document cannot be read.".to_owned(),
                );
                Err(self.0)
            }
            _ => Err(self.0),
        }
    }
}

/// A JSON object and its path in the document. It has no `Debug`, because it may hold card data.
pub struct Object<'v> {
    path: String,
    entries: &'v Map<String, Value>,
}

impl<'v> Object<'v> {
    /// Largest whole number that every JSON implementation keeps exactly (RFC 8259, section 6).
    pub const MAX_INTEGER: i64 = 9_007_199_254_740_991;

    /// The document itself.
    pub fn root(document: &'v Value, faults: &mut Faults) -> Option<Self> {
        Self::of(document, String::new(), faults)
    }

    /// A value within the document that must be an object.
    pub fn of(value: &'v Value, path: String, faults: &mut Faults) -> Option<Self> {
        match value {
            Value::Object(entries) => Some(Self { path, entries }),
            _ if path.is_empty() => {
                let message = "The document must be a JSON object.".to_owned();
                faults.add_sentence(path, "wrong_type", message);
                None
            }
            _ => {
                faults.add(path, "wrong_type", "must be a JSON object");
                None
            }
        }
    }

    /// The dotted path of one of its fields.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// A field's value; null is the same as absent.
    pub fn get(&self, name: &str) -> Option<&'v Value> {
        self.entries.get(name).filter(|value| !value.is_null())
    }

    /// A required field; `wanted` says what it should be: `a whole number such as 42`.
    pub fn required(&self, name: &str, wanted: &str, faults: &mut Faults) -> Option<&'v Value> {
        let value = self.get(name);
        if value.is_none() {
            let message = format!("is missing: send {wanted}");
            faults.add(self.path(name), "missing", message);
        }
        value
    }

    /// A required string.
    pub fn text(&self, name: &str, wanted: &str, faults: &mut Faults) -> Option<&'v str> {
        let text = self.required(name, wanted, faults)?.as_str();
        if text.is_none() {
            let message = format!("must be a string: send {wanted}");
            faults.add(self.path(name), "wrong_type", message);
        }
        text
    }

    /// A required whole number from 1 to [`Self::MAX_INTEGER`]: a JSON number without decimals, or its digits as a string,
    /// as sent by callers that keep their numbers in Redis.
    pub fn positive_integer(&self, name: &str, faults: &mut Faults) -> Option<i64> {
        let value = self.required(name, "a whole number such as 42", faults)?;
        let (code, message) = match value {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer @ 1..=Self::MAX_INTEGER), _) => return Some(integer),
                (Some(..=0), _) => ("not_positive", "must be 1 or more"),
                (Some(_), _) => ("too_large", "must be at most 9007199254740991"),
                (None, Some(float)) if float > Self::MAX_INTEGER as f64 => {
                    ("too_large", "must be at most 9007199254740991")
                }
                _ => (
                    "wrong_type",
                    "must be a whole number without decimals, such as 42",
                ),
            },
            Value::String(text) => match canonical_integer(text) {
                Some(integer @ 1..=Self::MAX_INTEGER) => return Some(integer),
                Some(0) => ("not_positive", "must be 1 or more"),
                Some(_) => ("too_large", "must be at most 9007199254740991"),
                None => (
                    "wrong_type",
                    "must be a whole number such as 42, without sign, spaces, decimals or leading zeros",
                ),
            },
            _ => ("wrong_type", "must be a whole number such as 42"),
        };
        faults.add(self.path(name), code, message);
        None
    }

    /// All fields, including nulls.
    pub fn entries(&self) -> &'v Map<String, Value> {
        self.entries
    }

    /// The same for a client whose unknown fields may be ignored. A field that looks like a missing known field, or is in
    /// the wrong place, is refused even then: dropping a misspelt `currency` would charge another amount.
    pub fn check_unknown(
        &self,
        known: &[&str],
        elsewhere: &[&str],
        unknown: UnknownFields,
        faults: &mut Faults,
    ) {
        match unknown {
            UnknownFields::Refuse => self.refuse_unknown(known, elsewhere, faults),
            UnknownFields::Ignore => {
                let absent = known.iter().filter(|name| self.get(name).is_none());
                let meant: Vec<&str> = absent.chain(elsewhere).copied().collect();
                let suspect = |name: &str| meant.iter().any(|it| did_you_mean::misspells(name, it));
                let names = self.entries.keys().map(String::as_str);
                let suspects = names.filter(|name| !known.contains(name) && suspect(name));
                suspects.for_each(|name| self.name_unknown(name, known, elsewhere, faults));
            }
        }
    }

    /// Refuses every field that is not in `known`. `elsewhere` holds paths that are known in other places of the document;
    /// they only serve as hints.
    pub fn refuse_unknown(&self, known: &[&str], elsewhere: &[&str], faults: &mut Faults) {
        for name in self.entries.keys() {
            if !known.contains(&name.as_str()) {
                self.name_unknown(name, known, elsewhere, faults);
            }
        }
    }

    fn name_unknown(&self, name: &str, known: &[&str], elsewhere: &[&str], faults: &mut Faults) {
        let candidates = known.iter().chain(elsewhere).copied();
        let hint = match did_you_mean::closest(name, candidates) {
            Some(meant) if meant.ends_with(name) => format!("is not known here: send {meant}"),
            Some(meant) => format!("is not a known field: did you mean {meant}?"),
            None if known.is_empty() => "is not a known field: leave the body out".to_owned(),
            None => format!("is not a known field: send only {}", known.join(", ")),
        };
        let field = self.path(&shown(name));
        if faults.name(&field) {
            return;
        }
        let end = if hint.ends_with('?') { "" } else { "." };
        let message = format!("{field} {hint}{end}");
        faults.add_sentence(field, "unknown_field", message);
    }
}

/// A whole number as programs write it: ASCII digits, no sign, no space, no leading zero. A number that is too large for
/// 64 bits becomes the largest one.
fn canonical_integer(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().unwrap_or(i64::MAX))
}

/// An unknown name in a form that may be repeated in a message: shortened, and without possible card numbers.
pub fn shown(name: &str) -> String {
    let hide = name.chars().filter(|c| c.is_numeric()).count() >= 8;
    let mut shown: String = name
        .chars()
        .take(40)
        .map(|c| match c {
            c if c.is_control() || (hide && c.is_numeric()) => '*',
            c => c,
        })
        .collect();
    if name.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn integer(value: Value) -> Result<i64, &'static str> {
        let document = json!({ "order_id": value });
        let mut faults = Faults::default();
        let read = Object::root(&document, &mut faults)
            .and_then(|fields| fields.positive_integer("order_id", &mut faults));
        faults.settle(read).map_err(|faults| {
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].field, "order_id");
            faults[0].code
        })
    }

    #[test]
    fn a_positive_integer_is_a_plain_whole_number() {
        assert_eq!(integer(json!(1)), Ok(1));
        assert_eq!(integer(json!(Object::MAX_INTEGER)), Ok(Object::MAX_INTEGER));
        assert_eq!(integer(json!(0)), Err("not_positive"));
        assert_eq!(integer(json!(-3)), Err("not_positive"));
        assert_eq!(integer(json!(Object::MAX_INTEGER + 1)), Err("too_large"));
        assert_eq!(integer(json!(u64::MAX)), Err("too_large"));
        assert_eq!(integer(json!(1e300)), Err("too_large"));
        for wrong in [json!(1.0), json!(1.5), json!(true), json!([1])] {
            assert_eq!(integer(wrong), Err("wrong_type"));
        }
        assert_eq!(integer(Value::Null), Err("missing"));
    }

    #[test]
    fn a_positive_integer_may_be_a_text_of_digits() {
        assert_eq!(integer(json!("1")), Ok(1));
        assert_eq!(integer(json!("9007199254740991")), Ok(Object::MAX_INTEGER));
        assert_eq!(integer(json!("0")), Err("not_positive"));
        assert_eq!(integer(json!("9007199254740992")), Err("too_large"));
        assert_eq!(integer(json!("9".repeat(60_000))), Err("too_large"));
        for wrong in [
            "", " ", "01", "00", "+1", "-1", "-0", " 1", "1 ", "1\n", "1.0", "1.", "1e3", "0x1",
            "1_000", "1,000", "\u{ff11}", "\u{661}", "\u{a0}1", "one", "null",
        ] {
            assert_eq!(integer(json!(wrong)), Err("wrong_type"), "{wrong:?}");
        }
    }

    #[test]
    fn extra_fields_may_be_allowed_but_misspelled_ones_never() {
        let document = json!({
            "order_id": 1, "colour": "red", "orderId": 1, "cart": {}, "currancy": "USD", "card_number": 1, "ordr_id": 2,
        });
        let mut faults = Faults::default();
        let fields = Object::root(&document, &mut faults).expect("an object");
        let known = ["order_id", "currency", "card"];
        let elsewhere = ["card.cardNumber"];
        fields.check_unknown(&known, &elsewhere, UnknownFields::Ignore, &mut faults);
        let named: Vec<String> = faults.0.into_iter().map(|fault| fault.message).collect();
        // `orderId` and `ordr_id` change nothing, because order_id is there.
        assert_eq!(
            named,
            [
                "card_number is not a known field: did you mean card.cardNumber?",
                "currancy is not a known field: did you mean currency?",
            ]
        );
    }

    #[test]
    fn unknown_fields_are_named_with_a_hint() {
        let document = json!({ "orderId": 1, "cardNumber": 1, "colour": "red" });
        let mut faults = Faults::default();
        let fields = Object::root(&document, &mut faults).expect("an object");
        fields.refuse_unknown(&["order_id"], &["card.cardNumber"], &mut faults);
        let messages: Vec<String> = faults.0.into_iter().map(|fault| fault.message).collect();
        assert_eq!(
            messages,
            [
                "cardNumber is not known here: send card.cardNumber.",
                "colour is not a known field: send only order_id.",
                "orderId is not a known field: did you mean order_id?",
            ]
        );
    }

    #[test]
    fn a_name_is_repeated_shortened_and_without_card_digits() {
        assert_eq!(shown("orderId2"), "orderId2");
        assert_eq!(shown("4242 4242 4242 4242"), "**** **** **** ****");
        assert_eq!(shown("４２４２・４２４２"), "****・****");
        assert_eq!(shown("a\nb"), "a*b");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), 41);
    }

    #[test]
    fn the_number_of_errors_is_limited() {
        let document: Value = (0..1000).map(|n| (format!("x{n}"), json!(1))).collect();
        let mut faults = Faults::default();
        let fields = Object::root(&document, &mut faults).expect("an object");
        fields.refuse_unknown(&[], &[], &mut faults);
        assert_eq!(faults.0.len(), Faults::MOST);
    }
}
