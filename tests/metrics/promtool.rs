//! promtool, which comes with Prometheus.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::Scene;
use crate::support::etcd::skip;

/// What promtool says to that, with this as its input; none where it is not installed, which is an error where nothing
/// may be skipped.
pub(super) fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Option<Output> {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder);
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        skip("promtool is not installed (Debian's package prometheus)");
        return None;
    };
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    Some(child.wait_with_output().expect("it ends"))
}

/// The same; it must have nothing to say against it.
#[track_caller]
pub(super) fn is_clean(arguments: &[&str], folder: &Path, input: &str) {
    let Some(output) = promtool(arguments, folder, input) else { return };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "promtool {arguments:?}: {out}\n{err}\n{input}");
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_a_scrape() {
    let scene = Scene::played().await;
    let text = scene.plain().await;
    is_clean(&["check", "metrics"], Path::new("."), &text);
    // It is able to.
    let odd = "# HELP oddMilliseconds x\n# TYPE oddMilliseconds counter\noddMilliseconds 1\n";
    if let Some(output) = promtool(&["check", "metrics"], Path::new("."), odd) {
        assert!(!output.status.success(), "{output:?}");
    }
}

/// The same of what says so where all is well.
#[track_caller]
pub(super) fn is_clean_but_for_success(arguments: &[&str], folder: &Path) {
    let Some(output) = promtool(arguments, folder, "") else { return };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("SUCCESS"), "promtool {arguments:?}: {out}\n{err}");
}
