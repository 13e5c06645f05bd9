//! Who is logged in. Sessions are kept in memory, so they end with the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::clients::operators::Proof;

/// How long a session lasts, however often it is used.
pub const LASTS: Duration = Duration::from_secs(8 * 3600);

/// Sessions at the same time; for a new one beyond that, the one that would end first is ended.
const MOST: usize = 1000;

/// The sessions by the SHA-256 of their ids: a look-up takes the same time for ids that share a beginning.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

#[derive(Debug)]
struct Session {
    proof: Proof,
    ends: Instant,
}

impl Sessions {
    /// Starts a session; returns its id, 256 random bits as 64 hexadecimal digits.
    pub fn start(&self, proof: Proof) -> String {
        let random: [u8; 32] = rand::random();
        let id = hex::encode(random);
        let now = Instant::now();
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.ends > now);
        if sessions.len() >= MOST {
            let first = sessions.iter().min_by_key(|(_, session)| session.ends);
            if let Some(digest) = first.map(|(digest, _)| *digest) {
                sessions.remove(&digest);
            }
        }
        let ends = now + LASTS;
        sessions.insert(digest(&id), Session { proof, ends });
        id
    }

    /// Who has started a session that has not ended.
    pub fn proof(&self, id: &str) -> Option<Proof> {
        let sessions = self.lock();
        let session = sessions.get(&digest(id))?;
        (session.ends > Instant::now()).then(|| session.proof.clone())
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.lock().remove(&digest(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::new_api_key;
    use crate::clients::operators::Operators;

    fn proof(name: &str) -> Proof {
        let (token, digest) = new_api_key();
        let file =
            format!(r#"{{"operators": [{{"name": "{name}", "token_sha256": ["{digest}"]}}]}}"#);
        let operators = Operators::parse(file.as_bytes()).expect("a good file");
        operators.by_token(&token).expect("an operator")
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_after_eight_hours_or_when_it_is_ended() {
        let sessions = Sessions::default();
        let (first, second) = (
            sessions.start(proof("maria")),
            sessions.start(proof("paul")),
        );
        assert_eq!(first.len(), 64);
        let found = sessions.proof(&first).expect("a session");
        assert_eq!(&*found.operator, "maria");
        assert_eq!(sessions.proof("0"), None);
        sessions.end(&second);
        assert_eq!(sessions.proof(&second), None);
        tokio::time::advance(LASTS - Duration::from_secs(1)).await;
        assert!(sessions.proof(&first).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(sessions.proof(&first), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_sessions_is_bounded() {
        let sessions = Sessions::default();
        let oldest = sessions.start(proof("maria"));
        let paul = proof("paul");
        for _ in 0..MOST {
            tokio::time::advance(Duration::from_millis(1)).await;
            sessions.start(paul.clone());
        }
        assert_eq!(sessions.lock().len(), MOST);
        assert_eq!(sessions.proof(&oldest), None);
    }
}
