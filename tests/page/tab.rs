//! A tab: what is in it, keys, colours and sizes, and what it has asked for and complained about.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::browser::Link;
use crate::support::gogeta::Gogeta;
use crate::support::wait::{DEADLINE, within};

/// A tab, with a storage of its own.
pub(super) struct Tab {
    link: Arc<Link>,
    session: String,
}

impl Tab {
    pub(super) async fn new(link: Arc<Link>, session: String) -> Self {
        let tab = Self { link, session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab.size(1280, 900).await;
        tab.dark(false).await;
        tab
    }

    pub(super) async fn call(&self, method: &str, parameters: Value) -> Value {
        self.link.call(Some(&self.session), method, &parameters).await
    }

    /// As large as that, in CSS pixels; below 500 it is a phone.
    pub(super) async fn size(&self, width: u32, height: u32) {
        let mobile = width < 500;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Whether its user prefers dark pages.
    pub(super) async fn dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": value },
            // What fades in has no colours yet that could be judged.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// Goes to the dashboard, with that behind the `#`, and waits until it shows what gogeta has said.
    pub(super) async fn open(&self, gogeta: &Gogeta, fragment: &str) {
        // Another fragment alone would load nothing.
        self.call("Page.navigate", json!({ "url": "about:blank" })).await;
        self.call("Page.navigate", json!({ "url": format!("http://{}/#{fragment}", gogeta.admin) })).await;
        self.until("the page is there", "document.querySelector('#main[aria-busy=false]')").await;
    }

    /// The value of an expression of JavaScript, when its promise is kept.
    pub(super) async fn eval(&self, script: &str) -> Value {
        let what =
            json!({ "expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let mut answer = self.call("Runtime.evaluate", what).await;
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{script}: {thrown}");
        answer["result"]["value"].take()
    }

    /// The text of what the selector finds first; empty where it finds nothing.
    pub(super) async fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?})?.innerText ?? ''")).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the expression is true.
    pub(super) async fn until(&self, what: &str, script: &str) {
        self.within(DEADLINE, what, script).await;
    }

    /// The same, where a time is promised.
    pub(super) async fn within(&self, limit: Duration, what: &str, script: &str) {
        let script = format!("Boolean({script})");
        within(limit, what, async || (self.eval(&script).await == true).then_some(())).await;
    }

    /// Waits until what the selector finds first has the text.
    pub(super) async fn shows(&self, selector: &str, text: &str) {
        let script = format!("document.querySelector({selector:?})?.innerText.includes({text:?})");
        self.until(&format!("{selector} shows {text:?}"), &script).await;
    }

    /// Presses and lets go of a key, by the name that `KeyboardEvent.key` has for it.
    pub(super) async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "Tab" => (9, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            letter => (0, letter),
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let mut event = json!({ "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", event).await;
    }

    /// Types a text, letter by letter.
    pub(super) async fn type_in(&self, text: &str) {
        for letter in text.chars() {
            self.press(&letter.to_string()).await;
        }
    }

    /// Clicks at what the selector finds first.
    pub(super) async fn click(&self, selector: &str) {
        self.until(&format!("{selector} is there"), &format!("document.querySelector({selector:?})")).await;
        self.eval(&format!("document.querySelector({selector:?}).click()")).await;
    }

    /// What is seen of it, as a PNG in base64.
    pub(super) async fn picture(&self) -> String {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        picture["data"].as_str().expect("a picture").to_owned()
    }

    /// What the page, or the browser about it, has complained of.
    pub(super) fn complaints(&self) -> Vec<String> {
        let said = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
        let events = self.link.events(&self.session, &said);
        let is_bad = |event: &&Value| match event["method"].as_str() {
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != "verbose",
            Some("Runtime.consoleAPICalled") => event["params"]["type"] != "debug",
            _ => true,
        };
        events.iter().filter(is_bad).map(Value::to_string).collect()
    }

    /// The URLs of all that was asked for.
    pub(super) fn requests(&self) -> Vec<String> {
        let events =
            self.link.events(&self.session, &["Network.requestWillBeSent", "Network.webSocketCreated"]);
        let url = |event: &Value| {
            let params = &event["params"];
            let url = params["request"]["url"].as_str().or(params["url"].as_str());
            url.expect("a URL").to_owned()
        };
        events.iter().map(url).collect()
    }

    /// Nothing was asked of anybody but this gogeta.
    #[track_caller]
    pub(super) fn asked_nobody_else(&self, gogeta: &Gogeta) {
        let own = format!("http://{}/", gogeta.admin);
        let others: Vec<String> = self.requests().into_iter().filter(|url| !url.starts_with(&own)).collect();
        assert!(others.iter().all(|url| url == "about:blank"), "{others:?}");
        assert!(
            self.requests().iter().any(|url| url.ends_with("/api/live")),
            "it asked gogeta for what happens"
        );
    }

    /// Nobody else was asked, and nobody complained.
    #[track_caller]
    pub(super) fn is_clean(&self, gogeta: &Gogeta) {
        self.asked_nobody_else(gogeta);
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}
