//! Problem documents (RFC 9457): how the API says no.

use serde::{Deserialize, Serialize};

/// What `type` begins with; the code follows. The addresses are names, not pages.
pub const PROBLEM_TYPE: &str = "urn:handover:problem:";

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// [`PROBLEM_TYPE`] and the code.
    #[serde(rename = "type")]
    pub type_: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable code, `subject.verdict`: `order.running`. Programs branch on it, never on text.
    pub code: String,
    /// What kind of problem it is, for people.
    pub title: String,
    /// What it is this time, and the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request's id, as in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Which parts of the request are at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldProblem>,
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldProblem {
    /// Where: `body.labels.site`, `query.limit`, `header.if-match`, `path.component`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    /// A problem with nothing but its kind.
    pub fn new(status: u16, code: &str, title: &str) -> Self {
        Self {
            type_: format!("{PROBLEM_TYPE}{code}"),
            status,
            code: code.to_owned(),
            title: title.to_owned(),
            detail: None,
            instance: None,
            fields: Vec::new(),
        }
    }

    /// The same, saying what it is this time.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same, blaming one part of the request.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.fields.push(FieldProblem { field: field.into(), message: message.into() });
        self
    }
}
