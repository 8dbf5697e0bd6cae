//! One call of the API: who asks, what the path, the query and the headers say, and what of it
//! can't be taken. Whatever is wrong with a request is said here, with the part that is at fault.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use handover_model::api::{MOST_PER_PAGE, PER_PAGE};
use handover_model::{AgentId, AgentName, Timestamp};
use handover_store::agents::{self, Agent};
use handover_store::{StoreError, Tx};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, header};

use crate::problem::Code;
use crate::{AppState, Principal, Problem};

/// One call, by someone who was let in.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) state: AppState,
    pub(super) principal: Principal,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// When it came.
    pub(super) now: Timestamp,
}

impl FromRequestParts<AppState> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        check_accept(&parts.headers)?;
        let principal = parts.extensions.get::<Principal>().cloned();
        let principal = principal
            .ok_or_else(|| Problem::new(Code::Unauthenticated, "this route needs an API token"))?;
        Ok(Self {
            state: state.clone(),
            principal,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            now: state.now().wall,
        })
    }
}

impl Call {
    /// The query, to be taken apart.
    pub(super) fn query(&self) -> Params {
        Params::of(&self.uri)
    }

    /// The generation that `If-Match` names; `None` when there is no such header, or `*`.
    ///
    /// # Errors
    /// A tag that this server never gave.
    pub(super) fn if_match(&self) -> Result<Option<u64>, Problem> {
        let Some(value) = self.headers.get(header::IF_MATCH) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(None);
        }
        let number = text.strip_prefix("\"g").and_then(|rest| rest.strip_suffix('"'));
        number.and_then(|number| number.parse().ok()).map(Some).ok_or_else(|| {
            Problem::new(Code::Changed, "If-Match names no state that this server gave; look again")
                .field("header.if-match", "send the ETag of what was looked at, or *")
        })
    }
}

/// Refuses a change of something that has changed since the caller looked.
pub(super) fn check_generation(seen: Option<u64>, found: u64, what: &str) -> Result<(), Problem> {
    if seen.is_none_or(|seen| seen == found) {
        return Ok(());
    }
    Err(Problem::new(Code::Changed, format!("{what} has changed since; look again"))
        .field("header.if-match", format!("it is \"g{found}\" now")))
}

/// Only JSON is spoken here.
fn check_accept(headers: &HeaderMap) -> Result<(), Problem> {
    let mut wanted = headers.get_all(header::ACCEPT).iter().peekable();
    if wanted.peek().is_none() {
        return Ok(());
    }
    let takes = |text: &str| {
        text.split(',').any(|one| {
            let kind = one.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            matches!(
                kind.as_str(),
                "*/*"
                    | "application/*"
                    | "application/json"
                    | "application/problem+json"
                    | "text/event-stream"
                    | "text/plain"
                    | "text/*"
            )
        })
    };
    if wanted.any(|value| value.to_str().is_ok_and(takes)) {
        return Ok(());
    }
    Err(Problem::new(Code::NotAcceptable, "answers are JSON: send `Accept: application/json`")
        .field("header.accept", "none of these types is spoken here"))
}

/// The parameters of the path, in order, decoded.
#[derive(Debug, Clone)]
pub(super) struct Segments<const N: usize>(pub(super) [String; N]);

impl<const N: usize> FromRequestParts<AppState> for Segments<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_rejected| {
            Problem::new(Code::Malformed, "the path is not UTF-8 text")
                .field("path", "percent-encode UTF-8")
        })?;
        let texts: Vec<String> = params.iter().map(|(_, text)| text.to_owned()).collect();
        texts.try_into().map(Self).map_err(|_other: Vec<String>| {
            Problem::new(Code::NotFound, "there is no such path; /api/v1/openapi.json has all")
        })
    }
}

/// A part of the path as what it should be; anything else is not there.
pub(super) fn path_part<T: FromStr>(what: &str, text: &str) -> Result<T, Problem>
where
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| {
        Problem::new(Code::NotFound, format!("there is no {what} {:?}: {error}", cut(text)))
    })
}

/// An agent, as a path names it.
#[derive(Debug, Clone)]
pub(super) enum AgentRef {
    Id(AgentId),
    Name(AgentName),
}

impl AgentRef {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        path_part("agent", text).map(Self::Name)
    }

    /// Looks it up.
    pub(super) fn find(&self, tx: &mut Tx<'_>) -> Result<Agent, Problem> {
        let (found, shown) = match self {
            Self::Id(id) => (agents::get(tx, *id)?, id.to_string()),
            Self::Name(name) => (agents::by_name(tx, name)?, name.to_string()),
        };
        found.ok_or_else(|| {
            Problem::new(
                Code::NotFound,
                format!("there is no agent {shown}; `handover agent list` has all"),
            )
        })
    }
}

/// The parameters of a query. Each is taken out once; what is left over at the end is refused.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

/// Which part of a list is wanted.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) after: Option<String>,
    pub(super) limit: u32,
}

impl Params {
    fn of(uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Every value of a parameter that may come several times.
    pub(super) fn many(&mut self, name: &str) -> Vec<String> {
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The text of a parameter that may come once.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.many(name).into_iter();
        let value = values.next();
        if values.next().is_some() {
            return Err(bad_query(name, "it comes more than once"));
        }
        match &value {
            Some(text) if text.chars().any(char::is_control) => {
                Err(bad_query(name, "it holds control characters"))
            }
            Some(_) | None => Ok(value),
        }
    }

    /// The same, read as what it should be.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: Display,
    {
        let Some(text) = self.one(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| bad_query(name, error))
    }

    /// `after` and `limit`.
    pub(super) fn slice(&mut self) -> Result<Slice, Problem> {
        let after = self.one("after")?;
        let limit: Option<u32> = self.parsed("limit")?;
        let limit = limit.unwrap_or(PER_PAGE);
        if !(1..=MOST_PER_PAGE).contains(&limit) {
            return Err(bad_query("limit", format!("it goes from 1 to {MOST_PER_PAGE}")));
        }
        Ok(Slice { after, limit })
    }

    /// Nothing may be left: a misspelt filter is never taken for none.
    pub(super) fn done(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(bad_query(&cut(name), "there is no such parameter here")),
        }
    }
}

/// What is wrong with a parameter of the query.
pub(super) fn bad_query(name: &str, why: impl Display) -> Problem {
    Problem::new(Code::Malformed, format!("the query's {name} can't be taken: {why}"))
        .field(format!("query.{name}"), why.to_string())
}

/// What is wrong with a field of the body.
pub(super) fn bad_field(name: &str, why: impl Display) -> Problem {
    Problem::new(Code::Invalid, format!("{name} can't be taken: {why}"))
        .field(format!("body.{name}"), why.to_string())
}

/// A place in a list that is none is the caller's mistake.
pub(super) fn listed(error: StoreError) -> Problem {
    if let StoreError::Cursor { .. } = &error {
        return bad_query("after", &error);
    }
    error.into()
}

/// Words of people, for other people: bounded, one paragraph, and nothing that could deceive a
/// terminal or a reader.
pub(super) fn check_words(name: &str, words: Option<&str>, most: usize) -> Result<(), Problem> {
    let Some(words) = words else { return Ok(()) };
    if words.chars().count() > most {
        return Err(bad_field(name, format!("it has more than {most} characters")));
    }
    let treacherous = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if words.chars().any(treacherous) {
        return Err(bad_field(name, "it holds control or formatting characters"));
    }
    Ok(())
}

/// Text of a stranger, for showing.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/x?{query}").parse().unwrap())
    }

    #[test]
    fn a_parameter_that_nobody_knows_is_refused_by_name() {
        let mut query = params("limit=5&lable=a%3Db");
        assert_eq!(query.slice().unwrap().limit, 5);
        let problem = query.done().unwrap_err();
        assert_eq!(problem.document().fields[0].field, "query.lable");
    }

    #[test]
    fn a_parameter_that_comes_twice_or_holds_a_nul_is_refused() {
        assert!(params("after=1&after=2").slice().is_err());
        assert!(params("after=%00").slice().is_err());
        assert!(params("limit=0").slice().is_err());
        assert!(params("limit=1001").slice().is_err());
        assert_eq!(params("label=a&label=b").many("label"), ["a", "b"]);
    }

    #[test]
    fn words_that_could_deceive_a_reader_are_refused() {
        assert!(check_words("reason", Some("because\nof this"), 50).is_ok());
        for bad in ["a\u{0}b", "a\u{202e}b", "\u{1b}[31m"] {
            assert!(check_words("reason", Some(bad), 50).is_err(), "{bad:?}");
        }
        assert!(check_words("reason", Some(&"x".repeat(51)), 50).is_err());
    }

    #[test]
    fn someone_who_takes_no_json_is_told_so() {
        let headers = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            headers
        };
        assert!(check_accept(&HeaderMap::new()).is_ok());
        assert!(check_accept(&headers("text/html, */*;q=0.1")).is_ok());
        assert!(check_accept(&headers("image/png")).is_err());
    }
}
