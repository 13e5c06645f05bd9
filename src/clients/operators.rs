//! Who may log in to the operators' page, from `ADMIN_FILE`, which is read once:
//!
//! ```json
//! {"operators": [{"name": "maria", "token_sha256": ["<64 hexadecimal digits>"]}]}
//! ```
//!
//! A token is as random as an API key: `payment-service keys` creates one, and shows its SHA-256.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::{ClientsFileError, file};
use crate::domain::ClientName;
use crate::wire::fields::{Faults, FieldError, Object};

/// Everyone who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operators(Vec<Operator>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Operator {
    name: Arc<str>,
    tokens: Vec<[u8; 32]>,
}

impl Operators {
    /// Reads an operators file.
    pub fn load(path: &Path) -> Result<Self, ClientsFileError> {
        let content = std::fs::read(path).map_err(|source| ClientsFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&content).map_err(|faults| ClientsFileError::Invalid {
            path: path.to_owned(),
            faults,
        })
    }

    /// Reads the content of an operators file.
    pub fn parse(content: &[u8]) -> Result<Self, Vec<FieldError>> {
        let document = file::document(content)?;
        let mut faults = Faults::default();
        let operators =
            Object::root(&document, &mut faults).and_then(|fields| operators(&fields, &mut faults));
        faults.settle(operators.map(Self))
    }

    /// The operator who has this token. Takes the same time whichever token matches.
    pub fn by_token(&self, token: &str) -> Option<Arc<str>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = u32::MAX;
        for (number, operator) in (0_u32..).zip(&self.0) {
            for known in &operator.tokens {
                found.conditional_assign(&number, known.ct_eq(&digest));
            }
        }
        let operator = self.0.get(usize::try_from(found).ok()?);
        operator.map(|operator| Arc::clone(&operator.name))
    }
}

fn operators(fields: &Object, faults: &mut Faults) -> Option<Vec<Operator>> {
    fields.refuse_unknown(&["operators"], &[], faults);
    let listed = fields.required("operators", "a list of operators", faults)?;
    let Some(listed) = listed.as_array().filter(|listed| !listed.is_empty()) else {
        let message = "must be a list of at least one operator";
        faults.add("operators".to_owned(), "wrong_type", message);
        return None;
    };
    let (mut names, mut digests) = (HashSet::new(), HashSet::new());
    let operators: Vec<Option<Operator>> = listed
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let fields = Object::of(value, format!("operators[{place}]"), faults)?;
            operator(&fields, (&mut names, &mut digests), faults)
        })
        .collect();
    operators.into_iter().collect()
}

fn operator(
    fields: &Object,
    (names, digests): (&mut HashSet<ClientName>, &mut HashSet<[u8; 32]>),
    faults: &mut Faults,
) -> Option<Operator> {
    fields.refuse_unknown(&["name", "token_sha256"], &[], faults);
    let name = file::name(fields, names, faults);
    let wanted = "a list with the SHA-256 of each token";
    let tokens = file::digests(fields, ("token_sha256", wanted), digests, faults);
    Some(Operator {
        name: name?.as_str().into(),
        tokens: tokens?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::new_api_key;

    #[test]
    fn an_operator_is_found_by_each_of_its_tokens_and_by_nothing_else() {
        let ((old, old_digest), (new, new_digest)) = (new_api_key(), new_api_key());
        let (other, other_digest) = new_api_key();
        let file = format!(
            r#"{{"operators": [{{"name": "maria", "token_sha256": ["{old_digest}", "{new_digest}"]}},
                {{"name": "paul", "token_sha256": ["{other_digest}"]}}]}}"#
        );
        let operators = Operators::parse(file.as_bytes()).expect("a good file");
        let name = |token: &str| operators.by_token(token).map(|name| name.to_string());
        assert_eq!(name(&old).as_deref(), Some("maria"));
        assert_eq!(name(&new).as_deref(), Some("maria"));
        assert_eq!(name(&other).as_deref(), Some("paul"));
        for wrong in ["", "maria", &old_digest, &format!("{old} ")] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_fault_of_the_file_is_named() {
        let digest = "0".repeat(64);
        let file = format!(
            r#"{{"operators": [{{"name": "A b", "token_sha256": ["{digest}"]}},
                {{"name": "paul", "token_sha256": ["{digest}", "12"], "role": "admin"}}]}}"#
        );
        let faults = Operators::parse(file.as_bytes()).unwrap_err();
        let mut codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
        codes.sort_unstable();
        assert_eq!(
            codes,
            [
                "invalid_digest",
                "invalid_name",
                "repeated",
                "unknown_field"
            ]
        );
        for broken in [
            "",
            "[]",
            "{}",
            r#"{"operators": []}"#,
            r#"{"operators": 1}"#,
        ] {
            assert!(Operators::parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
