//! Mounting routes: each one behind its own access, body limit and time limit.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use http::{HeaderMap, Method};

use crate::permissions::{self, Access, ROUTES};
use crate::problem::Code;
use crate::{AppState, Principal, Problem, StartError, auth};

/// Routes that are being put together.
#[derive(Debug)]
pub(crate) struct Routes {
    router: Router<AppState>,
    state: AppState,
    mounted: BTreeSet<(String, &'static str)>,
    undeclared: Option<StartError>,
}

/// How much time and body a route's requests get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// The configured limits.
    Ordinary,
    /// The configured limits of a body, and no other time limit: what takes as long as files are
    /// large.
    Patient,
    /// No body limit and no time limit but the connection's own: uploads, which bound themselves.
    Upload,
}

impl Routes {
    pub(crate) fn new(state: AppState) -> Self {
        Self { router: Router::new(), state, mounted: BTreeSet::new(), undeclared: None }
    }

    /// Mounts a handler; its access is looked up in the table.
    #[must_use]
    pub(crate) fn mount<H, T>(self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        self.mount_with(Bounds::Ordinary, method, path, handler)
    }

    /// Mounts a handler with other bounds.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write a constant")]
    pub(crate) fn mount_with<H, T>(
        mut self,
        bounds: Bounds,
        method: Method,
        path: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        let found = permissions::access(&method, path)
            .and_then(|access| Some((access, MethodFilter::try_from(method.clone()).ok()?)));
        let Some((access, filter)) = found else {
            self.undeclared =
                Some(StartError::Undeclared { method: method.to_string(), path: path.to_owned() });
            return self;
        };
        let body = match bounds {
            Bounds::Ordinary | Bounds::Patient => {
                DefaultBodyLimit::max(self.state.config.limits.body_bytes)
            }
            Bounds::Upload => DefaultBodyLimit::disable(),
        };
        let guard = Guard { state: self.state.clone(), access, bounds };
        let route = on(filter, handler).layer(body).layer(from_fn_with_state(guard, guarded));
        self.router = self.router.route(path, route);
        self.mounted.insert((method.to_string(), path));
        self
    }

    /// The router, once every route of the table is mounted and no other.
    pub(crate) fn finish(self) -> Result<Router, StartError> {
        if let Some(error) = self.undeclared {
            return Err(error);
        }
        let missing = ROUTES
            .iter()
            .find(|route| !self.mounted.contains(&(route.method.to_string(), route.path)));
        if let Some(route) = missing {
            return Err(StartError::Unmounted {
                method: route.method.to_string(),
                path: route.path.to_owned(),
            });
        }
        Ok(self
            .router
            .fallback(|| async {
                Problem::new(Code::NotFound, "there is no such path; /api/v1/openapi.json has all")
            })
            .method_not_allowed_fallback(|| async {
                Problem::new(Code::Method, "this path is there, but takes other methods")
            })
            .with_state(self.state))
    }
}

#[derive(Debug, Clone)]
struct Guard {
    state: AppState,
    access: Access,
    bounds: Bounds,
}

async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match guard.admit(&parts.headers).await {
        Ok(Some(principal)) => {
            parts.extensions.insert(principal);
        }
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    let served = next.run(Request::from_parts(parts, body));
    match guard.bounds {
        Bounds::Patient | Bounds::Upload => return served.await,
        Bounds::Ordinary => {}
    }
    let limit = guard.state.config.limits.request;
    tokio::time::timeout(limit, served).await.unwrap_or_else(|_elapsed| {
        let detail = "the request was not done in time; whether it had an effect is not known";
        Problem::new(Code::Timeout, detail).into_response()
    })
}

impl Guard {
    /// Who calls, where the route asks; or why it is not answered.
    async fn admit(&self, headers: &HeaderMap) -> Result<Option<Principal>, Problem> {
        match self.access {
            Access::Anybody | Access::Agent | Access::Signed => return Ok(None),
            Access::Known | Access::Needs(_) => {}
        }
        let principal = auth::authenticate(&self.state, headers).await?;
        if let Access::Needs(permission) = self.access
            && !principal.may(permission)
        {
            let detail = format!("this needs the permission {permission}, which the token lacks");
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Ok(Some(principal))
    }
}
