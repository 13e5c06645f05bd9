//! The clients of the service and the limits of this process, without any secret.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::Admin;
use super::shell::{self, Shell, Visitor};
use crate::domain::ClientName;

#[derive(Template)]
#[template(path = "admin/clients.html")]
struct ClientsPage {
    shell: Shell,
    clients: Vec<ClientView>,
    limits: Vec<(&'static str, String)>,
}

/// A client, without keys, secrets and the path of its receiver, which may hold one.
#[derive(Debug, Serialize)]
struct ClientView {
    name: ClientName,
    display_name: Option<String>,
    weight: u32,
    capture_within_seconds: u64,
    /// Scheme and host.
    callback: Option<String>,
    callback_format: Option<&'static str>,
    callback_events: Vec<&'static str>,
}

impl ClientView {
    fn of(admin: &Admin, name: ClientName) -> Self {
        let clients = &admin.clients;
        let callback = clients.callback(&name);
        let receiver = callback.as_ref().map(|callback| {
            let url = &callback.url;
            let scheme = url.scheme_str().unwrap_or_default();
            format!("{scheme}://{}", url.host().unwrap_or_default())
        });
        Self {
            display_name: clients.display_name(&name).map(|name| name.to_string()),
            weight: clients.weight(&name),
            capture_within_seconds: clients.capture_within(&name).as_secs(),
            callback: receiver,
            callback_format: callback.as_ref().map(|callback| callback.format.name()),
            callback_events: callback.map_or_else(Vec::new, |callback| callback.events.clone()),
            name,
        }
    }
}

/// Every client that may send requests.
pub fn names(admin: &Admin) -> Vec<ClientName> {
    let listed = admin.clients.callbacks().into_iter().map(|(name, _)| name);
    admin
        .clients
        .default_client()
        .into_iter()
        .chain(listed)
        .collect()
}

fn views(admin: &Admin) -> Vec<ClientView> {
    let view = |name| ClientView::of(admin, name);
    names(admin).into_iter().map(view).collect()
}

/// The page.
pub async fn page(State(admin): State<Arc<Admin>>, visitor: Visitor) -> Response {
    let page = ClientsPage {
        shell: Shell::new(&admin, &visitor, "/clients").renewed(3000),
        clients: views(&admin),
        limits: admin.limits.clone(),
    };
    shell::html(StatusCode::OK, &page)
}

/// The same data.
pub async fn json(State(admin): State<Arc<Admin>>) -> Response {
    let limits = admin.limits.iter().map(|(name, value)| (*name, value));
    let limits: std::collections::BTreeMap<_, _> = limits.collect();
    Json(json!({ "clients": views(&admin), "limits": limits })).into_response()
}
