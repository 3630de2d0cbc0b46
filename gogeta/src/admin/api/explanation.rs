//! What `/api/explain` answers: how a request would be routed now, step by step.
//!
//! The handler is `explain::…`'s, a pure function over the table; it is mounted here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a request would be routed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The store's revision that this is about.
    pub revision: i64,
    /// What it comes to.
    pub verdict: Verdict,
    /// How it came to that.
    pub steps: Vec<Step>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// The status that gogeta itself answers with; none where an instance answers.
    pub status: Option<u16>,
    /// Where the request goes, if anywhere.
    pub goes_to: Option<String>,
    /// One sentence.
    pub text: String,
}

/// How a step came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The request goes on.
    Ok,
    /// It goes on, and there is something to know.
    Info,
    /// It goes on, and somebody should look at this.
    Warn,
    /// Here it ends.
    Stop,
}

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Its name, in one word.
    pub step: String,
    /// How it came out.
    pub outcome: Outcome,
    /// One sentence.
    pub text: String,
    /// The key that decided, if one did.
    pub key: Option<String>,
}
