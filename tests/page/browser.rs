//! Debian's Chromium without a window, spoken to by the Chrome DevTools Protocol over a pipe.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>: JSON, each message ended by a zero byte. A WebDriver would
//! come between, and does not tell of requests, of the console or of what the page's colours should be.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::tab::Tab;
use crate::support::etcd::skip;
use crate::support::wait::DEADLINE;

/// Makes the pipe of standard input and output what Chromium expects it to be: descriptors 3 and 4.
const PIPES: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

const ARGUMENTS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    // It does not start as root otherwise, and shows nobody's page but ours.
    "--no-sandbox",
    "--disable-gpu",
    // A container may have little there.
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
];

/// A running Chromium; killed on drop.
pub(super) struct Browser {
    link: Arc<Link>,
    reader: JoinHandle<()>,
    /// Dies with it, and all that it has started with that.
    _child: Child,
    _profile: TempDir,
}

/// What is said and heard.
#[derive(Debug)]
pub(super) struct Link {
    to: tokio::sync::Mutex<ChildStdin>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    /// Events, by the session that they are about.
    events: HashMap<String, Vec<Value>>,
}

impl Browser {
    /// Starts one; none where Chromium is not installed, which is an error if `GOGETA_TEST_REQUIRE` says so.
    pub(super) async fn start() -> Option<Self> {
        let profile = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sh");
        command.args(["-c", PIPES, "sh", "chromium"]).args(ARGUMENTS);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.env("HOME", profile.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        if std::process::Command::new("chromium").arg("--version").output().is_err() {
            skip("chromium is not installed");
            return None;
        }
        let mut child = command.spawn().expect("a shell starts");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let link = Arc::new(Link { to: tokio::sync::Mutex::new(to), heard: Mutex::default() });
        let reader = tokio::spawn(link.clone().listen(from));
        Some(Self { link, reader, _child: child, _profile: profile })
    }

    /// An empty tab, as wide and as high as a desktop's.
    pub(super) async fn tab(&self) -> Tab {
        let context = self.link.call(None, "Target.createBrowserContext", &json!({})).await;
        let target = json!({ "url": "about:blank", "browserContextId": context["browserContextId"] });
        let target = self.link.call(None, "Target.createTarget", &target).await;
        let session = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.link.call(None, "Target.attachToTarget", &session).await;
        Tab::new(self.link.clone(), session["sessionId"].as_str().expect("a session").to_owned()).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Link {
    /// Has the browser do something; gives the result.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Value {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut heard = self.heard.lock().expect("no panic");
            heard.last += 1;
            let id = heard.last;
            heard.waiting.insert(id, sender);
            id
        };
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.lock().await.write_all(&bytes).await.expect("Chromium listens");
        let answer = tokio::time::timeout(3 * DEADLINE, answer).await;
        let mut answer = answer.unwrap_or_else(|_| panic!("no answer to {method}")).expect("Chromium runs");
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].take()
    }

    /// What it has told of this session so far, by the names of the events.
    pub(super) fn events(&self, session: &str, methods: &[&str]) -> Vec<Value> {
        let heard = self.heard.lock().expect("no panic");
        let all = heard.events.get(session).map(Vec::as_slice).unwrap_or_default();
        let is_asked = |event: &&Value| methods.iter().any(|method| event["method"] == *method);
        all.iter().filter(is_asked).cloned().collect()
    }

    async fn listen(self: Arc<Self>, from: ChildStdout) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while matches!(from.read_until(0, &mut bytes).await, Ok(1..)) {
            bytes.pop();
            let mut message: Value = serde_json::from_slice(&bytes).expect("Chromium says JSON");
            bytes.clear();
            let mut heard = self.heard.lock().expect("no panic");
            if let Some(id) = message["id"].as_u64() {
                if let Some(waiting) = heard.waiting.remove(&id) {
                    // Whoever does not wait any more does not want it.
                    let _ = waiting.send(message);
                }
            } else if let Value::String(session) = message["sessionId"].take() {
                heard.events.entry(session).or_default().push(message);
            }
        }
        // Nobody answers any more: who waits is told.
        self.heard.lock().expect("no panic").waiting.clear();
    }
}
