//! A headless Chromium as wide as a phone, unless a test wants it otherwise, driven by WebDriver (https://www.w3.org/TR/webdriver2/).

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::examples::fixture::tool;

/// The page's width and height in CSS pixels.
pub const PHONE: (u32, u32) = (390, 844);
const LIMIT: Duration = Duration::from_secs(20);
/// The name of an element's id in answers; fixed by the standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How the browser is set up.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub languages: &'static str,
    pub javascript: bool,
    /// Width and height in CSS pixels.
    pub size: (u32, u32),
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            languages: "en",
            javascript: true,
            size: PHONE,
        }
    }
}

/// Behind axe-core: its serious and critical findings.
const FIND_SERIOUS: &str = r#"
const done = arguments[arguments.length - 1];
const isSerious = (it) => ["serious", "critical"].includes(it.impact);
const told = (it) => `${it.id}: ${it.nodes.map((node) => node.target.join(" ")).join(", ")}`;
axe.run(document, { resultTypes: ["violations"] }).then(
  (found) => done(found.violations.filter(isSerious).map(told)),
  (error) => done([`axe-core failed: ${error}`]),
);"#;

/// A browser with one window. [`Self::close`] ends it; if a test fails before, it ends with its driver.
pub struct Browser {
    driver: Driver,
    http: reqwest::Client,
    session: String,
}

/// The driver and its browser are one group of processes, which is killed when the pipe to it closes: when this is
/// dropped, and when the test process has ended in any way.
struct Driver {
    watch: Child,
    /// What the browser keeps.
    _folder: TempDir,
}

const WATCH: &str =
    "chromedriver --port=0 --log-level=SEVERE & while read -r _; do :; done; kill -KILL 0";

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

impl Browser {
    pub async fn start(wish: Wish) -> Self {
        let (driver, port) = tokio::task::spawn_blocking(start_driver).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let driver_url = format!("http://127.0.0.1:{port}/session");
        let answer = http
            .post(&driver_url)
            .json(&capabilities(wish))
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let id = answer["value"]["sessionId"].as_str();
        let id = id.unwrap_or_else(|| panic!("Chromium does not start: {answer}"));
        Self {
            driver,
            http,
            session: format!("{driver_url}/{id}"),
        }
    }

    pub async fn close(self) {
        self.ask(Method::DELETE, "", &Value::Null).await.unwrap();
        drop(self.driver);
    }

    /// Opens an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    pub async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    /// The browser's own button.
    pub async fn back(&self) {
        self.post("/back", json!({})).await;
    }

    /// Opens a tab and goes to it. Returns the one that was open before, for [`Self::go_to_tab`].
    pub async fn open_tab(&self) -> String {
        let before = text(self.get("/window").await);
        let opened = self.post("/window/new", json!({ "type": "tab" })).await;
        self.go_to_tab(&text(opened["handle"].clone())).await;
        before
    }

    pub async fn go_to_tab(&self, handle: &str) {
        self.post("/window", json!({ "handle": handle })).await;
    }

    /// Closes this tab and goes to another.
    pub async fn close_tab(&self, other: &str) {
        self.ask(Method::DELETE, "/window", &Value::Null)
            .await
            .unwrap();
        self.go_to_tab(other).await;
    }

    pub async fn address(&self) -> String {
        text(self.get("/url").await)
    }

    /// The first element that a selector finds.
    pub async fn find(&self, selector: &str) -> Option<String> {
        let search = json!({ "using": "css selector", "value": selector });
        let found = self.ask(Method::POST, "/element", &search).await.ok()?;
        Some(text(found[ELEMENT].clone()))
    }

    pub async fn text(&self, selector: &str) -> String {
        text(self.of(selector, "text").await)
    }

    /// What assistive technology calls it.
    pub async fn label(&self, selector: &str) -> String {
        text(self.of(selector, "computedlabel").await)
    }

    /// Empty if there is none.
    pub async fn attribute(&self, selector: &str, name: &str) -> String {
        let value = self.of(selector, &format!("attribute/{name}")).await;
        value.as_str().unwrap_or("").to_owned()
    }

    pub async fn css(&self, selector: &str, property: &str) -> String {
        text(self.of(selector, &format!("css/{property}")).await)
    }

    pub async fn height(&self, selector: &str) -> f64 {
        self.of(selector, "rect").await["height"].as_f64().unwrap()
    }

    /// How wide the document is, if it can be scrolled to the side more than the window.
    pub async fn scroll_width(&self) -> u32 {
        let script = "return document.documentElement.scrollWidth";
        let width = self
            .post("/execute/sync", json!({ "script": script, "args": [] }))
            .await;
        width.as_u64().unwrap().try_into().unwrap()
    }

    /// What axe-core finds on the page that keeps people out: rule and elements.
    pub async fn accessibility_findings(&self) -> Vec<String> {
        let axe = "newman/node_modules/axe-core/axe.min.js";
        let axe = tool("TEST_AXE", axe, "axe.min.js of axe-core");
        let axe = std::fs::read_to_string(axe).expect("axe-core");
        let script = format!("{axe}\n{FIND_SERIOUS}");
        let found = self
            .post("/execute/async", json!({ "script": script, "args": [] }))
            .await;
        let found = found.as_array().expect("a list").iter();
        found.map(|it| it.as_str().unwrap().to_owned()).collect()
    }

    /// Errors that the page or the browser has written to the console since the last call.
    pub async fn console_errors(&self) -> Vec<Value> {
        let mut written = self.post("/se/log", json!({ "type": "browser" })).await;
        let entries = written.as_array_mut().map(std::mem::take);
        let mut entries = entries.unwrap_or_default();
        entries.retain(|entry| entry["level"] == "SEVERE");
        entries
    }

    /// Makes the browser ask for dark pages.
    pub async fn prefer_dark(&self) {
        let features = json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
        let command =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.post("/goog/cdp/execute", command).await;
    }

    pub async fn click(&self, selector: &str) {
        self.on(selector, Method::POST, "click", &json!({})).await;
    }

    pub async fn double_click(&self, selector: &str) {
        let origin = json!({ ELEMENT: self.element(selector).await });
        let (down, up) = (
            json!({ "type": "pointerDown", "button": 0 }),
            json!({ "type": "pointerUp", "button": 0 }),
        );
        let to = json!({ "type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": origin });
        let mouse =
            json!({ "type": "pointer", "id": "mouse", "actions": [to, down, up, down, up] });
        self.post("/actions", json!({ "actions": [mouse] })).await;
    }

    /// Empties a field.
    pub async fn clear(&self, selector: &str) {
        self.on(selector, Method::POST, "clear", &json!({})).await;
    }

    /// What is in a field now, whoever wrote it.
    pub async fn value(&self, selector: &str) -> String {
        let value = self.of(selector, "property/value").await;
        value.as_str().unwrap_or("").to_owned()
    }

    pub async fn write(&self, selector: &str, keys: &str) {
        let typed = json!({ "text": keys });
        self.on(selector, Method::POST, "value", &typed).await;
    }

    /// Presses a key of the standard's own range, such as Tab, wherever the keyboard is.
    pub async fn press(&self, key: &str) {
        let strokes = ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }));
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", json!({ "actions": [keyboard] }))
            .await;
    }

    /// Waits until an element says this; the page may change meanwhile.
    pub async fn until(&self, selector: &str, expected: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let said = match self.find(selector).await {
                Some(element) => {
                    self.ask(
                        Method::GET,
                        &format!("/element/{element}/text"),
                        &Value::Null,
                    )
                    .await
                }
                None => Err(format!("no {selector}")),
            };
            if said.as_ref().is_ok_and(|said| said == expected) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{selector} is not {expected:?} but {said:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until an element is there, or is no longer.
    pub async fn until_there(&self, selector: &str, there: bool) {
        let deadline = Instant::now() + LIMIT;
        while self.find(selector).await.is_some() != there {
            assert!(Instant::now() < deadline, "{selector} there: {}", !there);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the browser is at this address.
    pub async fn until_at(&self, expected: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let address = self.address().await;
            if address == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "it is not at {expected} but at {address}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Keeps a picture of the window in the folder `PAGE_PICTURES`, if that is set: scripts/page-pictures does so.
    pub async fn picture(&self, name: &str) {
        use base64::Engine;
        let Some(folder) = std::env::var_os("PAGE_PICTURES") else {
            return;
        };
        let encoded = text(self.get("/screenshot").await);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .unwrap();
        std::fs::write(Path::new(&folder).join(name), bytes).unwrap();
    }

    async fn element(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        element.unwrap_or_else(|| panic!("there is no {selector} on the page"))
    }

    async fn of(&self, selector: &str, what: &str) -> Value {
        self.on(selector, Method::GET, what, &Value::Null).await
    }

    /// A command about an element. If the page replaces it after it was found, nothing was done, and the new one is found.
    async fn on(&self, selector: &str, method: Method, what: &str, body: &Value) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let element = self.element(selector).await;
            let path = format!("/element/{element}/{what}");
            match self.ask(method.clone(), &path, body).await {
                Ok(value) => return value,
                Err(error) if error.contains("stale element") && Instant::now() < deadline => {}
                Err(error) => panic!("{selector}: {error}"),
            }
        }
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, &Value::Null).await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, &body).await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the driver answers");
        let failed = !answer.status().is_success();
        let mut answer: Value = answer.json().await.expect("JSON");
        let value = answer["value"].take();
        if failed {
            Err(format!("{}: {}", value["error"], value["message"]))
        } else {
            Ok(value)
        }
    }
}

fn text(value: Value) -> String {
    value
        .as_str()
        .map(str::to_owned)
        .unwrap_or_else(|| panic!("no text: {value}"))
}

fn capabilities(wish: Wish) -> Value {
    let mut arguments = vec![
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ];
    // Chromium's sandbox does not start as root; it opens the tests' own pages only.
    arguments.push("--no-sandbox");
    let mut preferences = json!({ "intl.accept_languages": wish.languages });
    if !wish.javascript {
        preferences["profile.managed_default_content_settings.javascript"] = 2.into();
    }
    let (width, height) = wish.size;
    let phone = json!({ "width": width, "height": height, "pixelRatio": 1.0, "touch": false });
    json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": {
        "args": arguments, "prefs": preferences, "mobileEmulation": { "deviceMetrics": phone },
    }, "goog:loggingPrefs": { "browser": "ALL" } }}})
}

/// On a port that it chooses and prints.
fn start_driver() -> (Driver, u16) {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Command::new("sh")
        .args(["-c", WATCH])
        .env("TMPDIR", folder.path())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let stdout = watch.stdout.take().unwrap();
    let driver = Driver {
        watch,
        _folder: folder,
    };
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("a line of chromedriver");
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return (driver, port.trim_end_matches('.').parse().expect("a port"));
        }
    }
    panic!(
        "chromedriver does not start, and the page's tests need Chromium. scripts/test installs it; by hand: \
         apt-get install chromium chromium-driver"
    );
}
