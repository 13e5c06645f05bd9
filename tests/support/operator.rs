//! An operator who opens the operators' page.

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]

use std::net::SocketAddr;

use reqwest::Response;
use reqwest::header::{ACCEPT, COOKIE, ORIGIN, SET_COOKIE};
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

const TOKEN: &str = "token-of-maria";

/// An `ADMIN_FILE` with the operator who logs in here.
pub fn admin_file() -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    let digest = hex::encode(Sha256::digest(TOKEN.as_bytes()));
    let operators = json!({ "operators": [{ "name": "maria", "token_sha256": [digest] }] });
    std::fs::write(file.path(), operators.to_string()).expect("the file is written");
    file
}

/// A session at one process, with connections that are kept.
pub struct Operator {
    http: reqwest::Client,
    base: String,
    cookie: String,
}

impl Operator {
    /// Logs in at the process with this `ADMIN_ADDR`, as the page's script does.
    pub async fn log_in(admin: SocketAddr) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        let base = format!("http://{admin}");
        let request = http.post(format!("{base}/login")).header(ORIGIN, &base);
        let answer = request.json(&json!({ "token": TOKEN })).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 204, "the login");
        let cookie = answer.headers()[SET_COOKIE].to_str().expect("text");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Self { http, base, cookie }
    }

    /// Requests a page; its body is still to be read.
    pub async fn get(&self, path: &str) -> reqwest::Result<Response> {
        let request = self.http.get(format!("{}{path}", self.base));
        let request = request.header(COOKIE, &self.cookie);
        request.header(ACCEPT, "text/html").send().await
    }
}
