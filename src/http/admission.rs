//! How many requests one client may have under way at the same time, so that a flood from one client leaves room for
//! others.
//!
//! This limits concurrent requests instead of a rate: how much a machine can do per second is not known, but the requests
//! under way are what other clients have to wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::ClientName;

/// Counts the requests of each client.
#[derive(Debug)]
pub struct Admission {
    /// Requests being worked on for one client.
    working: usize,
    /// The same, plus requests that wait for an outcome: they need a connection, but hardly any work.
    held: usize,
    clients: Mutex<HashMap<ClientName, Requests>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Requests {
    working: usize,
    held: usize,
}

/// One request under way; dropping it ends it.
#[derive(Debug)]
pub struct Turn {
    admission: Arc<Admission>,
    client: ClientName,
    waits: bool,
}

impl Admission {
    /// At most `working` requests of one client are worked on, and at most `held` are open, including those that wait.
    pub fn new(working: usize, held: usize) -> Arc<Self> {
        Arc::new(Self {
            working,
            held,
            clients: Mutex::default(),
        })
    }

    /// Returns a turn, unless the client has too many requests already.
    pub fn admit(self: &Arc<Self>, client: &ClientName) -> Option<Turn> {
        let mut clients = self.lock();
        let of_client = clients.get(client).copied().unwrap_or_default();
        if of_client.working >= self.working || of_client.held >= self.held {
            return None;
        }
        let counted = Requests {
            working: of_client.working + 1,
            held: of_client.held + 1,
        };
        clients.insert(client.clone(), counted);
        Some(Turn {
            admission: Arc::clone(self),
            client: client.clone(),
            waits: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientName, Requests>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The work is done; from now on the request only waits.
    pub fn only_waits(&mut self) {
        if !self.waits {
            self.waits = true;
            self.change(|requests| requests.working -= 1);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Requests)) {
        let mut clients = self.admission.lock();
        if let Some(requests) = clients.get_mut(&self.client) {
            change(requests);
            if requests.held == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.only_waits();
        self.change(|requests| requests.held -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> ClientName {
        ClientName::parse(name).expect("a name")
    }

    #[test]
    fn a_client_at_its_limit_does_not_affect_others() {
        let admission = Admission::new(2, 10);
        let (shop, kiosk) = (client("shop"), client("kiosk"));
        let turns = [admission.admit(&shop), admission.admit(&shop)];
        assert!(turns.iter().all(Option::is_some));
        assert!(admission.admit(&shop).is_none());
        assert!(admission.admit(&kiosk).is_some());
        drop(turns);
        assert!(admission.admit(&shop).is_some());
        assert!(admission.lock().is_empty(), "nothing is kept of the past");
    }

    #[test]
    fn waiting_requests_do_not_count_up_to_a_second_limit() {
        let admission = Admission::new(1, 2);
        let shop = client("shop");
        let mut first = admission.admit(&shop).expect("a turn");
        assert!(admission.admit(&shop).is_none());
        first.only_waits();
        first.only_waits();
        let mut second = admission.admit(&shop).expect("a turn");
        second.only_waits();
        assert!(admission.admit(&shop).is_none(), "two are held");
        drop(first);
        assert!(admission.admit(&shop).is_some());
    }
}
