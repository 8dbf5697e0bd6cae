//! Problem details (RFC 9457): what every refusal and failure answers.

mod code;

use axum::response::{IntoResponse, Response};
use handover_model::ErrorClass;
use handover_model::api::{self, PROBLEM_JSON};
use handover_store::StoreError;
use http::{HeaderValue, header};

pub use code::Code;

/// A refusal or a failure, on its way to the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    document: Box<api::Problem>,
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem; `detail` is a sentence for people that names the subject and the way out.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let document = api::Problem::new(code.status().as_u16(), code.as_str(), code.title());
        Self { code, document: Box::new(document.with_detail(detail)), retry_after: None }
    }

    /// Blames one part of the request: `body.labels.site`, `query.limit`, `header.if-match`.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        *self.document = self.document.clone().with_field(field, message);
        self
    }

    /// Says when to come again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Which one.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The document, as the one who asked gets it.
    pub fn document(&self) -> &api::Problem {
        &self.document
    }

    /// A failure of ours: the log gets the cause, the one who asked does not.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %Chain(error), "request failed");
        Self::new(Code::Internal, "the server failed; its log says why")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error.class() {
            ErrorClass::Retry => {
                tracing::warn!(error = %Chain(&error), "database not available");
                Self::new(Code::Unavailable, "the database can't do that now; try again")
                    .retry_after(5)
            }
            ErrorClass::Conflict => Self::new(Code::Conflict, error.to_string()),
            ErrorClass::Permanent | ErrorClass::Bug => {
                if let StoreError::Absent { what, id } = &error {
                    return Self::new(Code::NotFound, format!("there is no {what} {id}"));
                }
                Self::internal(&error)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Texts and numbers can always be written.
        let body = serde_json::to_vec(&self.document).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An error with its causes, on one line.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
