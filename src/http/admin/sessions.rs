//! Who is logged in. Sessions are kept in memory, so they end with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How long a session lasts, however often it is used.
pub const LASTS: Duration = Duration::from_secs(8 * 3600);

/// Sessions at the same time; for a new one beyond that, the one that would end first is ended.
const MOST: usize = 1000;

/// The sessions by the SHA-256 of their ids: a look-up takes the same time for ids that share a beginning.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

#[derive(Debug)]
struct Session {
    operator: Arc<str>,
    ends: Instant,
}

impl Sessions {
    /// Starts a session; returns its id, 256 random bits as 64 hexadecimal digits.
    pub fn start(&self, operator: Arc<str>) -> String {
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
        sessions.insert(digest(&id), Session { operator, ends });
        id
    }

    /// The operator of a session that has not ended.
    pub fn operator(&self, id: &str) -> Option<Arc<str>> {
        let sessions = self.lock();
        let session = sessions.get(&digest(id))?;
        (session.ends > Instant::now()).then(|| Arc::clone(&session.operator))
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

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_after_eight_hours_or_when_it_is_ended() {
        let sessions = Sessions::default();
        let (first, second) = (
            sessions.start("maria".into()),
            sessions.start("paul".into()),
        );
        assert_eq!(first.len(), 64);
        assert_eq!(sessions.operator(&first).as_deref(), Some("maria"));
        assert_eq!(sessions.operator("0"), None);
        sessions.end(&second);
        assert_eq!(sessions.operator(&second), None);
        tokio::time::advance(LASTS - Duration::from_secs(1)).await;
        assert!(sessions.operator(&first).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(sessions.operator(&first), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_sessions_is_bounded() {
        let sessions = Sessions::default();
        let oldest = sessions.start("maria".into());
        for _ in 0..MOST {
            tokio::time::advance(Duration::from_millis(1)).await;
            sessions.start("paul".into());
        }
        assert_eq!(sessions.lock().len(), MOST);
        assert_eq!(sessions.operator(&oldest), None);
    }
}
