//! The first page: the way of a payment through the stages of this process, and what passes.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Admin;
use super::live::Render;
use super::sample::{Passed, Sample};
use super::shell::{self, Shell, Visitor};
use crate::http::health::{Health, Liveness, Readiness};
use crate::http::page::Language;
use crate::watchdog::stages::{Name, Snapshot, Stages};

/// The stages in the order of a payment's way; the last two stand side by side.
const WAY: [Name; 7] = [
    Name::Accept,
    Name::Dispatch,
    Name::Authorize,
    Name::Record,
    Name::Announce,
    Name::Reply,
    Name::Callback,
];

/// What repairs in the background.
const BACKGROUND: [Name; 4] = [Name::Sweep, Name::Rescue, Name::Erase, Name::PlatformEvent];

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage {
    shell: Shell,
    overview: Overview,
}

/// The part of the page that changes.
#[derive(Template)]
#[template(path = "admin/overview.html", block = "main")]
struct OverviewMain {
    shell: Shell,
    overview: Overview,
}

struct Overview {
    version: &'static str,
    /// The class for the style, the word, and the reason.
    ready: (&'static str, &'static str, Option<String>),
    stuck: Option<String>,
    way: Vec<StageView>,
    background: Vec<StageView>,
    passed: Passed,
}

/// A stage of this process.
struct StageView {
    name: &'static str,
    title: &'static str,
    what: &'static str,
    /// `ok`, `busy`, `stuck` or `absent`.
    class: &'static str,
    state: &'static str,
    snapshot: Option<Snapshot>,
    /// Seconds with one decimal.
    oldest: String,
    /// Items per second with one decimal.
    rate: String,
    remedy: Option<&'static str>,
}

/// The page.
pub async fn page(State(admin): State<Arc<Admin>>, visitor: Visitor) -> Response {
    let passed = passed(&admin).await;
    let overview = Overview::new((&admin.health, &admin.stages), passed, visitor.language);
    let shell = Shell::new(&admin, &visitor, "/").renewed(1000).watches();
    shell::html(StatusCode::OK, &OverviewPage { shell, overview })
}

/// Renders the part of the page that changes.
pub fn renders(health: Health, stages: Stages) -> Render {
    Box::new(move |language, passed| {
        let shell = shell::bare(language);
        let overview = Overview::new((&health, &stages), passed.clone(), language);
        match (OverviewMain { shell, overview }).render() {
            Ok(html) => Some(html),
            Err(error) => {
                tracing::error!(%error, "the overview could not be rendered");
                None
            }
        }
    })
}

/// The same data.
pub async fn json(State(admin): State<Arc<Admin>>) -> Response {
    let (status, reason) = match admin.health.ready() {
        Readiness::Ready => ("ready", None),
        Readiness::Degraded(why) => ("degraded", Some(why)),
        Readiness::NotReady(why) => ("not_ready", Some(why)),
    };
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "status": status,
        "reason": reason,
        "stages": admin.stages.to_json(),
        "passed": passed(&admin).await,
    }))
    .into_response()
}

async fn passed(admin: &Admin) -> Passed {
    let sample = || Sample::new(admin.database.clone(), admin.clients.clone());
    admin.live.passed(sample).await
}

impl Overview {
    fn new((health, stages): (&Health, &Stages), passed: Passed, l: Language) -> Self {
        let view = |name: &Name| StageView::of(stages, *name, l);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ready: readiness(health.ready(), l),
            stuck: match health.live() {
                Liveness::Live => None,
                Liveness::Stuck(why) => Some(why),
            },
            way: WAY.iter().map(view).collect(),
            background: BACKGROUND.iter().map(view).collect(),
            passed,
        }
    }
}

fn readiness(ready: Readiness, l: Language) -> (&'static str, &'static str, Option<String>) {
    match ready {
        Readiness::Ready => ("ok", l.pick("Ready", "Prêt"), None),
        Readiness::Degraded(why) => (
            "warning",
            l.pick("Works in part", "Fonctionne en partie"),
            Some(why),
        ),
        Readiness::NotReady(why) => ("stuck", l.pick("Not ready", "Pas prêt"), Some(why)),
    }
}

impl StageView {
    fn of(stages: &Stages, name: Name, l: Language) -> Self {
        let stage = stages.get(name);
        let snapshot = stage.map(|stage| stage.snapshot());
        let (class, state) = match &snapshot {
            None => (
                "absent",
                l.pick("not in this process", "pas dans ce processus"),
            ),
            Some(now) if now.stuck => ("stuck", l.pick("stuck", "bloquée")),
            Some(now) if now.in_progress > 0 => ("busy", l.pick("working", "au travail")),
            Some(_) => ("ok", l.pick("free", "libre")),
        };
        let (title, what) = texts(name, l);
        Self {
            name: name.as_str(),
            title,
            what,
            class,
            state,
            oldest: decimal(snapshot.as_ref().map(|now| now.oldest_age), l),
            rate: decimal(snapshot.as_ref().map(|now| now.per_second), l),
            remedy: (class == "stuck").then(|| name.remedy()),
            snapshot,
        }
    }
}

fn decimal(number: Option<f64>, l: Language) -> String {
    let text = number.map_or_else(String::new, |number| format!("{number:.1}"));
    match l {
        Language::English => text,
        Language::French => text.replace('.', ","),
    }
}

fn texts(name: Name, l: Language) -> (&'static str, &'static str) {
    let (title, what) = match name {
        Name::Accept => (
            ("Accept", "Accepter"),
            ("writes the request", "enregistre la demande"),
        ),
        Name::Dispatch => (
            ("Dispatch", "Envoyer"),
            ("publishes the work", "publie le travail"),
        ),
        Name::Authorize => (
            ("Authorize", "Autoriser"),
            ("calls the issuer", "appelle l’émetteur"),
        ),
        Name::Record => (
            ("Record", "Consigner"),
            ("writes the outcome", "enregistre l’issue"),
        ),
        Name::Announce => (
            ("Announce", "Annoncer"),
            ("publishes the result", "publie le résultat"),
        ),
        Name::Reply => (
            ("Reply", "Répondre"),
            ("to the sender’s queue", "à la file de l’expéditeur"),
        ),
        Name::Callback => (
            ("Callback", "Rappeler"),
            ("calls the client", "appelle le client"),
        ),
        Name::Sweep => (
            ("Sweep", "Balayer"),
            ("finds what is due", "trouve ce qui est dû"),
        ),
        Name::Rescue => (
            ("Rescue", "Secourir"),
            ("finds what was lost", "retrouve ce qui s’est perdu"),
        ),
        Name::Erase => (
            ("Erase", "Effacer"),
            ("erases expired cards", "efface les cartes expirées"),
        ),
        Name::PlatformEvent => (
            ("Platform events", "Événements"),
            (
                "looks after what platforms report",
                "traite ce que signalent les plateformes",
            ),
        ),
    };
    (l.pick(title.0, title.1), l.pick(what.0, what.1))
}
