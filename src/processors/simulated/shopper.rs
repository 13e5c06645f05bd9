//! What a shopper does on the simulated issuer's pages: 3-D Secure's question, and the wallet.
//!
//! The ledger decides: a key is charged by an approval or closed by anything else, whichever comes first, and stays so. So
//! two tabs, a double click, or a link that is opened next week never charge twice, and never after the attempt was closed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cards::{self, AfterApproval, Behaviour};
use super::ledger::{Ledger, Standing};
use crate::domain::{ActionAnswer, Answer, DeclineCode, Timestamp};
use crate::processors::AttemptKey;
use crate::store::rows::{IssuerAction, LedgerLine};
use crate::store::{Store, StoreError};

/// How many requests for pages are answered at the same time.
pub const TURNS: usize = 16;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the pages are, below `PUBLIC_URL`.
pub const PAGES: &str = "simulator/actions";

const APPROVED: &str = "approved";
const EXPIRED: &str = "expired";
const ABANDONED: &str = "abandoned_by_shopper";

/// The shoppers' side of the simulated issuer.
#[derive(Clone)]
pub struct Shoppers {
    /// Holds the pages.
    pub database: Store,
    /// Decides what is charged.
    pub ledger: Ledger,
    /// `PUBLIC_URL`, without a slash at its end; none if shoppers cannot reach this service.
    pub public_url: Option<String>,
    /// How long a page can be used.
    pub life: Duration,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// One for each request that is answered at the same time: the pages need no key, and a flood of requests must not take
    /// the database from payments.
    pub turns: Arc<Semaphore>,
}

/// What a shopper chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// To pay.
    Approve,
    /// Not to pay.
    Decline,
    /// To pay in another way.
    Another,
    /// To let the time run out, without waiting for it.
    Expire,
}

/// A page, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopperPage {
    /// What it is about.
    pub action: IssuerAction,
    /// Its state.
    pub state: PageState,
}

/// The state of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// The shopper can choose.
    Open,
    /// The shopper has approved, and the amount is charged or held.
    Approved,
    /// The shopper has approved; the issuer has not answered yet.
    Undecided,
    /// The shopper or the issuer has refused.
    Declined,
    /// The attempt is closed, or the time is over: nothing was or will be charged.
    Over,
}

/// What the service is told of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing: the shopper has closed the tab.
    Nothing,
    /// That the shopper is back, so many times.
    Times(u32),
    /// That the shopper approved what was closed already.
    TooLate,
    /// The same, but only at this time.
    TooLateAt(Timestamp),
}

/// An attempt that needs its shopper.
pub(super) struct Wanted<'a> {
    pub key: AttemptKey,
    pub amount: crate::domain::Money,
    pub held: bool,
    pub test_card: Option<&'static str>,
    pub return_to: Option<&'a str>,
}

impl Shoppers {
    /// Opens a page for an attempt, or finds the one that it has.
    pub(super) async fn open(&self, wanted: Wanted<'_>) -> Result<Answer, StoreError> {
        let (Some(base), Some(return_to)) = (&self.public_url, wanted.return_to) else {
            tracing::error!(
                payment.id = wanted.key.payment.0,
                "an attempt needs its shopper, who cannot reach this service: set PUBLIC_URL"
            );
            return Ok(Answer::Declined {
                code: DeclineCode::AUTHENTICATION_REQUIRED,
            });
        };
        let action = IssuerAction {
            secret: Alphanumeric.sample_string(&mut rand::rng(), 32),
            key: wanted.key.to_string(),
            payment: wanted.key.payment,
            amount: wanted.amount,
            held: wanted.held,
            test_card: wanted.test_card.map(str::to_owned),
            return_to: return_to.to_owned(),
            expires_at: (self.now)(),
            answer: None,
        };
        let opened = self.database.open_issuer_action(&action, self.life);
        let opened = opened.await?;
        Ok(Answer::ActionRequired {
            url: format!("{base}/{PAGES}/{}", opened.secret),
            expires_at: opened.expires_at,
        })
    }

    /// What became of an attempt's page; `charged` is the issuer's authorization code, if it is charged.
    pub(super) async fn answer(
        &self,
        key: AttemptKey,
        charged: impl FnOnce() -> String,
    ) -> Result<ActionAnswer, StoreError> {
        let action = self.database.issuer_action_of(&key.to_string()).await?;
        let refused = action.filter(|action| {
            let answer = action.answer.as_deref();
            answer.is_some_and(|answer| answer != APPROVED)
        });
        let standing = match &refused {
            // The process that noted the refusal may have ended before it closed the key.
            Some(action) => self.ledger.close(line(action)).await?,
            None => self.ledger.standing(key.to_string()).await?,
        };
        if standing == Standing::Charged {
            let authorization_code = charged();
            return Ok(ActionAnswer::Approved { authorization_code });
        }
        Ok(match refused.and_then(|action| action.answer) {
            Some(answer) if answer == EXPIRED => ActionAnswer::Expired,
            Some(answer) => ActionAnswer::Declined {
                code: DeclineCode::new(answer),
            },
            None => ActionAnswer::Waiting,
        })
    }

    /// A turn for a request; none if there are too many.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        tokio::time::timeout(PATIENCE, turn).await.ok()?.ok()
    }

    /// The page with this secret.
    pub async fn page(&self, secret: &str) -> Result<Option<ShopperPage>, StoreError> {
        let Some(action) = self.database.issuer_action(secret).await? else {
            return Ok(None);
        };
        let standing = self.ledger.standing(action.key.clone()).await?;
        let state = match (standing, action.answer.as_deref()) {
            (Standing::Charged, _) => PageState::Approved,
            (_, Some(EXPIRED)) => PageState::Over,
            (Standing::Blank, Some(APPROVED)) => PageState::Undecided,
            (_, Some(answer)) if answer != APPROVED => PageState::Declined,
            (Standing::Reversed, _) => PageState::Over,
            (Standing::Blank, _) if action.expires_at <= (self.now)() => PageState::Over,
            (Standing::Blank, _) => PageState::Open,
        };
        Ok(Some(ShopperPage { action, state }))
    }

    /// Takes the choice of a shopper. On a page that is not open it changes nothing.
    pub async fn choose(
        &self,
        secret: &str,
        choice: Choice,
    ) -> Result<Option<(ShopperPage, Told)>, StoreError> {
        let Some(page) = self.page(secret).await? else {
            return Ok(None);
        };
        if page.state != PageState::Open {
            let told = match (page.state, choice) {
                (PageState::Over, Choice::Approve) => Told::TooLate,
                _ => Told::Times(1),
            };
            return Ok(Some((page, told)));
        }
        let told = match choice {
            Choice::Approve => self.approve(&page.action).await?,
            Choice::Decline => {
                let code = DeclineCode::AUTHENTICATION_FAILED;
                self.close(&page.action, code.as_str()).await?
            }
            Choice::Another => self.close(&page.action, ABANDONED).await?,
            Choice::Expire => self.close(&page.action, EXPIRED).await?,
        };
        let page = self.page(secret).await?;
        Ok(page.map(|page| (page, told)))
    }

    async fn approve(&self, action: &IssuerAction) -> Result<Told, StoreError> {
        let then = match action.test_card.as_deref().and_then(cards::by_token) {
            Some(card) => match card.behaviour {
                Behaviour::NeedsShopper(then) => then,
                _ => AfterApproval::Charge,
            },
            None => AfterApproval::Charge,
        };
        match then {
            AfterApproval::Decline(code) => return self.close(action, code).await,
            AfterApproval::ChargeTooLate => {
                self.note(action, APPROVED).await?;
                let later = action.expires_at + LATE;
                return Ok(Told::TooLateAt(later));
            }
            AfterApproval::Charge
            | AfterApproval::ChargeUntold
            | AfterApproval::ChargeToldTwice => {}
        }
        let standing = self.ledger.charge(line(action)).await?;
        if standing != Standing::Charged {
            return Ok(Told::TooLate);
        }
        self.note(action, APPROVED).await?;
        Ok(match then {
            AfterApproval::ChargeUntold => Told::Nothing,
            AfterApproval::ChargeToldTwice => Told::Times(2),
            _ => Told::Times(1),
        })
    }

    /// Refuses the attempt for good, unless it is charged. The answer is noted before the key is closed: a closed key without
    /// an answer would leave the service waiting, and an answer without a closed key is closed by [`Self::answer`].
    async fn close(&self, action: &IssuerAction, answer: &str) -> Result<Told, StoreError> {
        self.note(action, answer).await?;
        self.ledger.close(line(action)).await?;
        Ok(Told::Times(1))
    }

    async fn note(&self, action: &IssuerAction, answer: &str) -> Result<(), StoreError> {
        self.database
            .answer_issuer_action(&action.key, answer)
            .await
    }
}

/// How long after the shopper's time an approval of [`AfterApproval::ChargeTooLate`] arrives.
const LATE: Duration = Duration::from_secs(3);

fn line(action: &IssuerAction) -> LedgerLine {
    LedgerLine {
        key: action.key.clone(),
        payment: action.payment,
        amount: action.amount,
        held: action.held,
        test_card: None,
    }
}

impl ShopperPage {
    /// Whether it is a wallet's.
    pub fn is_wallet(&self) -> bool {
        self.action.test_card.is_none()
    }

    /// Whether the shopper goes back to the shop from it.
    pub fn leads_back(&self) -> bool {
        let card = self.action.test_card.as_deref().and_then(cards::by_token);
        let never = Behaviour::NeedsShopper(AfterApproval::ChargeUntold);
        self.state != PageState::Approved || card.is_none_or(|card| card.behaviour != never)
    }

    /// The attempt that it is about.
    pub fn attempt(&self) -> Option<u32> {
        self.action.key.rsplit_once('-')?.1.parse().ok()
    }
}

impl Choice {
    /// As in the page's form.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "approve" => Self::Approve,
            "decline" => Self::Decline,
            "another" => Self::Another,
            "expire" => Self::Expire,
            _ => return None,
        })
    }
}

impl fmt::Debug for Shoppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shoppers")
    }
}
