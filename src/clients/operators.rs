//! Who may log in to the operators' page, from `ADMIN_FILE`, which is read again when it changes:
//!
//! ```json
//! {"operators": [{"name": "maria", "token_sha256": ["<64 hexadecimal digits>"]}]}
//! ```
//!
//! A token is as random as an API key: `payment-service keys` creates one, and shows its SHA-256.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio_util::sync::CancellationToken;

use super::{ClientsFileError, file};
use crate::domain::ClientName;
use crate::file_changes::FileChanges;
use crate::wire::fields::{Faults, FieldError, Object};

/// Everyone who may log in. Clones share them.
#[derive(Debug, Clone)]
pub struct Operators {
    known: Arc<ArcSwap<Vec<Operator>>>,
    /// The file that they were read from, if any.
    file: Option<Arc<Path>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Operator {
    name: Arc<str>,
    tokens: Vec<[u8; 32]>,
}

/// An operator, and the SHA-256 of the token that proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The operator's name.
    pub operator: Arc<str>,
    token: [u8; 32],
}

impl Operators {
    /// Reads an operators file.
    pub fn load(path: &Path) -> Result<Self, ClientsFileError> {
        Ok(Self {
            file: Some(path.into()),
            ..Self::of(read(path)?)
        })
    }

    /// Reads the content of an operators file.
    pub fn parse(content: &[u8]) -> Result<Self, Vec<FieldError>> {
        parse(content).map(Self::of)
    }

    fn of(operators: Vec<Operator>) -> Self {
        Self {
            known: Arc::new(ArcSwap::from_pointee(operators)),
            file: None,
        }
    }

    /// The operator who has this token. Takes the same time whichever token matches.
    pub fn by_token(&self, token: &str) -> Option<Proof> {
        let operators = self.known.load();
        let token: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = u32::MAX;
        for (number, operator) in (0_u32..).zip(&**operators) {
            for known in &operator.tokens {
                found.conditional_assign(&number, known.ct_eq(&token));
            }
        }
        let operator = operators.get(usize::try_from(found).ok()?)?;
        let operator = Arc::clone(&operator.name);
        Some(Proof { operator, token })
    }

    /// Whether the file still has the operator with this token.
    pub fn still_has(&self, proof: &Proof) -> bool {
        let operators = self.known.load();
        let mut of_name = operators.iter().filter(|it| it.name == proof.operator);
        of_name.any(|it| it.tokens.contains(&proof.token))
    }

    /// Checks the file every second and reads it again when it has changed, until `stop`. If the file cannot be used, the
    /// operators stay unchanged.
    pub async fn watch(self, stop: CancellationToken) {
        let Some(path) = self.file.clone() else {
            return stop.cancelled().await;
        };
        let mut changes = FileChanges::of(&path);
        let reading = async {
            loop {
                changes.next().await;
                self.reload(&path).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = reading => {}
        }
    }

    async fn reload(&self, path: &Path) {
        let owned = path.to_owned();
        match tokio::task::spawn_blocking(move || read(&owned)).await {
            Ok(Ok(operators)) if **self.known.load() == operators => {}
            Ok(Ok(operators)) => {
                let number = operators.len();
                self.known.store(Arc::new(operators));
                tracing::info!(operators = number, "the operators file was read again");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the operators file cannot be used; the operators stay unchanged");
            }
            Err(error) => tracing::warn!(%error, "the operators file could not be read"),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Operator>, ClientsFileError> {
    let content = std::fs::read(path).map_err(|source| ClientsFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&content).map_err(|faults| ClientsFileError::Invalid {
        path: path.to_owned(),
        faults,
    })
}

fn parse(content: &[u8]) -> Result<Vec<Operator>, Vec<FieldError>> {
    let document = file::document(content)?;
    let mut faults = Faults::default();
    let operators =
        Object::root(&document, &mut faults).and_then(|fields| operators(&fields, &mut faults));
    faults.settle(operators)
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
        let name = |token: &str| {
            operators
                .by_token(token)
                .map(|proof| proof.operator.to_string())
        };
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

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_an_invalid_one_is_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("operators.json");
        let write = |content: &str| std::fs::write(&path, content).expect("written");
        let ((first, first_digest), (second, second_digest)) = (new_api_key(), new_api_key());
        let file = |name: &str, digest: &str| {
            format!(r#"{{"operators": [{{"name": "{name}", "token_sha256": ["{digest}"]}}]}}"#)
        };
        write(&file("maria", &first_digest));
        let operators = Operators::load(&path).expect("a good file");
        let proof = operators.by_token(&first).expect("an operator");
        for invalid in ["{ not JSON at all", r#"{"operators": []}"#, ""] {
            write(invalid);
            operators.reload(&path).await;
            assert!(operators.still_has(&proof), "{invalid}");
        }
        let stop = CancellationToken::new();
        let following = tokio::spawn(operators.clone().watch(stop.clone()));
        write(&file("maria", &second_digest));
        while operators.by_token(&second).is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(operators.by_token(&first).is_none());
        assert!(
            !operators.still_has(&proof),
            "the same name with another token"
        );
        stop.cancel();
        following.await.expect("the watch ends");
    }
}
