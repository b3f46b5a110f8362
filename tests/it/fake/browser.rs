//! The web console in a real headless Chromium: by keyboard, light and dark, wide and narrow.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    error::ErrorStatus,
    key::Key,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use ovpn_warden::{
    store::{ActivityKey, ActivityKind, DeviceStatus, SessionState},
    types::{DenyReason, Timestamp},
};
use serde_json::{Value, json};

use super::{
    console::{Site, TOKEN, site},
    metrics::free_port,
};

/// A driver that ends with the test, and the browser with it.
struct Driver {
    process: Child,
    port: u16,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Driver {
    async fn start() -> Self {
        let port = free_port().await;
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `make test` installs it");
        Self { process, port }
    }

    /// A browser of its own profile.
    async fn browser(&self, is_dark: bool) -> Client {
        let mut args = vec![
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1280,1000",
        ];
        if is_dark {
            args.push("--blink-settings=preferredColorScheme=0");
        }
        let mut wanted = Capabilities::new();
        wanted.insert("goog:chromeOptions".into(), json!({ "args": args }));
        wanted.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let driver = format!("http://127.0.0.1:{}", self.port);
        for _ in 0..100 {
            match ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
                .capabilities(wanted.clone())
                .connect(&driver)
                .await
            {
                Ok(client) => return client,
                // It is not up yet.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("no browser");
    }
}

/// What the browser has to complain of.
#[derive(Debug)]
struct Complaints;

impl WebDriverCompatibleCommand for Complaints {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or("")))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

async fn complaints(browser: &Client) -> Vec<Value> {
    let all = browser.issue_cmd(Complaints).await.unwrap();
    let all = all.as_array().unwrap().clone();
    all.into_iter().filter(|line| line["level"] != "DEBUG" && line["level"] != "INFO").collect()
}

/// What is wrong with a page for somebody who cannot see it, or not well; and whether it fits.
const AUDIT: &str = r#"
const wrong = [];
const tell = (what, of) => wrong.push(what + ": " + (of ? of.outerHTML.slice(0, 120) : ""));
if (document.documentElement.lang !== "en") tell("no language");
for (const one of ["h1", "main", "header"]) if (document.querySelectorAll(one).length !== 1) tell("not one " + one);
for (const field of document.querySelectorAll("input:not([type=hidden]), select"))
  if (!field.labels.length) tell("no label", field);
for (const button of document.querySelectorAll("button, a"))
  if (!(button.textContent.trim() || button.ariaLabel)) tell("no name", button);
for (const table of document.querySelectorAll("table")) {
  if (!table.caption) tell("no caption", table);
  for (const cell of table.querySelectorAll("th")) if (!cell.scope) tell("no scope", cell);
}
for (const svg of document.querySelectorAll("svg"))
  if (svg.getAttribute("role") !== "img" || !svg.ariaLabel) tell("an unnamed picture", svg);
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
if (new Set(ids).size !== ids.length) tell("an id twice");
const light = (rgb) => rgb.map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const parts = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const behind = (of) => { for (; of; of = of.parentElement) {
  const color = parts(getComputedStyle(of).backgroundColor);
  if (color.length === 3 || color[3] === 1) return color; } return [255, 255, 255]; };
for (const of of document.querySelectorAll("body *")) {
  const has = [...of.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!has || !of.checkVisibility() || of.closest("title")) continue;
  const style = getComputedStyle(of);
  const [a, b] = [light(parts(of.namespaceURI.includes("svg") ? style.fill : style.color)), light(behind(of).slice(0, 3))];
  const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (contrast < 4.5) tell("contrast " + contrast.toFixed(2), of);
}
if (document.documentElement.scrollWidth > window.innerWidth) tell("wider than the window");
return wrong;
"#;

const PAGES: [&str; 7] = [
    "/",
    "/?range=month",
    "/sessions?ended=yes",
    "/users",
    "/user?name=alice",
    "/devices",
    "/explain?user=alice&client_ip=192.0.2.7",
];

/// Types what is said where the focus is.
async fn keys(browser: &Client, text: &str) {
    browser.active_element().await.unwrap().send_keys(text).await.unwrap();
}

async fn tab(browser: &Client) {
    keys(browser, &String::from(char::from(Key::Tab))).await;
}

async fn has_text(browser: &Client, wanted: &str) {
    for _ in 0..100 {
        let body = browser.find(Locator::Css("body")).await;
        if let Ok(body) = body
            && body.text().await.is_ok_and(|text| text.contains(wanted))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no {wanted:?} on {}", browser.source().await.unwrap());
}

async fn log_in(browser: &Client, site: &Site) {
    browser.goto(&format!("http://127.0.0.1:{}/", site.port)).await.unwrap();
    // The field has the focus.
    keys(browser, &format!("{TOKEN}{}", char::from(Key::Enter))).await;
    has_text(browser, "Servers").await;
}

/// An hour in which something has happened.
async fn fill(site: &Site) {
    let now = site.bed.clock.now().utc;
    let hour = Timestamp::from_secs(now.as_secs() / 3_600 * 3_600);
    let key = |kind, reason| ActivityKey { hour, server: "udp".parse().unwrap(), kind, reason };
    let counts = [
        (key(ActivityKind::Sessions, None), 7),
        (key(ActivityKind::Allowed, None), 40),
        (key(ActivityKind::Denied, Some(DenyReason::BadCredentials)), 5),
        (key(ActivityKind::Received, None), 1 << 30),
        (key(ActivityKind::Sent, None), 3 << 30),
    ];
    site.bed.store.add_activity(&counts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_can_be_used_light_and_dark_wide_and_narrow() {
    let (site, driver) = (site().await, Driver::start().await);
    fill(&site).await;
    for is_dark in [false, true] {
        let browser = driver.browser(is_dark).await;
        log_in(&browser, &site).await;
        let back = "return getComputedStyle(document.body).backgroundColor";
        let back = browser.execute(back, vec![]).await.unwrap();
        assert_eq!(back == json!("rgb(255, 255, 255)"), !is_dark, "{back}");
        for (width, height) in [(1280, 1000), (420, 800)] {
            browser.set_window_size(width, height).await.unwrap();
            for path in PAGES {
                browser.goto(&format!("http://127.0.0.1:{}{path}", site.port)).await.unwrap();
                let mut wrong = browser.execute(AUDIT, vec![]).await.unwrap();
                if wrong != json!([]) {
                    // A browser on a busy machine may still be about to follow the system's colours.
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    wrong = browser.execute(AUDIT, vec![]).await.unwrap();
                }
                assert_eq!(wrong, json!([]), "{path} at {width}, dark: {is_dark}");
            }
        }
        // Scripts, styles and the content security policy go together.
        assert_eq!(complaints(&browser).await, [] as [Value; 0]);
        browser.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_works_by_keyboard_alone() {
    let (mut site, driver) = (site().await, Driver::start().await);
    fill(&site).await;
    let browser = driver.browser(false).await;
    log_in(&browser, &site).await;
    let bars = browser.find_all(Locator::Css("svg rect[class^=part]")).await.unwrap();
    assert_eq!(bars.len(), 1 + 2 + 1 + 2, "sessions; allowed, denied; one reason; both ways");
    // The first stop of the keyboard goes past the navigation.
    tab(&browser).await;
    assert_eq!(browser.active_element().await.unwrap().text().await.unwrap(), "Skip to content");
    keys(&browser, &String::from(char::from(Key::Enter))).await;
    let focus = browser.execute("return document.activeElement.id", vec![]).await.unwrap();
    assert_eq!(focus, json!("main"));

    // What ends sessions is asked about first.
    browser.goto(&format!("http://127.0.0.1:{}/devices", site.port)).await.unwrap();
    let block = browser.find(Locator::Css("button[value=blocked]")).await.unwrap();
    block.click().await.unwrap();
    let asked = browser.get_alert_text().await.unwrap();
    assert_eq!(asked, "Block this device and end its sessions?");
    browser.dismiss_alert().await.unwrap();
    let devices = site.bed.store.devices(None, 10).await.unwrap();
    assert_eq!(devices[0].status, DeviceStatus::Approved, "he has thought better of it");

    let session = site.bed.session(|session| session.vpn_ip.is_some()).await;
    let url = format!("http://127.0.0.1:{}/sessions", site.port);
    browser.goto(&url).await.unwrap();
    // What is typed narrows the table down.
    let filter = browser.find(Locator::Css("input[data-filter=sessions]")).await.unwrap();
    filter.send_keys("nobody").await.unwrap();
    let shown =
        "return [...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden).length";
    assert_eq!(browser.execute(shown, vec![]).await.unwrap(), json!(0));
    filter.clear().await.unwrap();
    filter.send_keys("ALICE").await.unwrap();
    assert_eq!(browser.execute(shown, vec![]).await.unwrap(), json!(1));
    tab(&browser).await;
    keys(&browser, &String::from(char::from(Key::Enter))).await;
    has_text(&browser, &session.id.to_string()).await;

    let reason = browser.find(Locator::Id("reason")).await.unwrap();
    reason.send_keys("go home").await.unwrap();
    let end = String::from(char::from(Key::Enter));
    keys(&browser, &end).await;
    assert_eq!(browser.get_alert_text().await.unwrap(), "End this session?");
    browser.dismiss_alert().await.unwrap();
    let open = site.bed.session(|_| true).await;
    assert_eq!(open.state, SessionState::Active, "he has thought better of it");
    keys(&browser, &end).await;
    let accept = async {
        browser.accept_alert().await.unwrap();
        has_text(&browser, "The session is being ended.").await;
    };
    let server = async {
        site.controller.expect("client-kill 0 \"HALT,go home\"").await;
        site.controller.say("SUCCESS: client-kill command succeeded\n").await;
        site.controller.disconnect(0).await;
    };
    tokio::join!(accept, server);
    assert_eq!(complaints(&browser).await, [] as [Value; 0]);
    browser
        .find(Locator::Css("form[action='/logout'] button"))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    has_text(&browser, "Token").await;
    let gone = browser.get_named_cookie("ovpn_warden_console").await.unwrap_err();
    assert!(
        matches!(gone, fantoccini::error::CmdError::Standard(ref e) if e.error == ErrorStatus::NoSuchCookie),
        "{gone}"
    );
    browser.close().await.unwrap();
}

/// A month of a server with a few hundred people, the same each time.
async fn fill_month(site: &Site) {
    let this_hour = site.bed.clock.now().utc.as_secs() / 3_600;
    let mut seed: u64 = 7;
    let mut counts = Vec::new();
    for hour in this_hour - 30 * 24..=this_hour {
        let mut some = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % most
        };
        let people = if (7..18).contains(&(hour % 24)) { 200 + some(160) } else { 40 + some(80) };
        let denied = |reason| (ActivityKind::Denied, Some(reason));
        for (kind, reason, amount) in [
            ((ActivityKind::Sessions, None), people),
            ((ActivityKind::Allowed, None), people / 3 + some(40)),
            ((ActivityKind::Challenged, None), some(16)),
            (denied(DenyReason::BadCredentials), some(18)),
            (denied(DenyReason::DeviceUnknown), some(12)),
            (denied(DenyReason::Throttled), some(6)),
            ((ActivityKind::Received, None), people * (1 << 24)),
            ((ActivityKind::Sent, None), people * (1 << 26)),
        ]
        .map(|((kind, reason), amount)| (kind, reason, amount))
        {
            let hour = Timestamp::from_secs(hour * 3_600);
            let key = ActivityKey { hour, server: "udp".parse().unwrap(), kind, reason };
            counts.push((key, amount));
        }
    }
    for some in counts.chunks(500) {
        site.bed.store.add_activity(some).await.unwrap();
    }
}

/// The pictures in the documentation: `BLESS=1 cargo test --test it the_pictures` takes them anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pictures_in_the_documentation_are_there() {
    let pictures =
        [(false, "/", "docs/console.png"), (true, "/?range=month", "docs/console-dark.png")];
    if std::env::var_os("BLESS").is_some() {
        let (site, driver) = (site().await, Driver::start().await);
        fill_month(&site).await;
        for (is_dark, path, file) in pictures {
            let browser = driver.browser(is_dark).await;
            log_in(&browser, &site).await;
            browser.goto(&format!("http://127.0.0.1:{}{path}", site.port)).await.unwrap();
            std::fs::write(file, browser.screenshot().await.unwrap()).unwrap();
            browser.close().await.unwrap();
        }
    }
    for (_, _, file) in pictures {
        let bytes = std::fs::read(file).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{file}");
    }
}
