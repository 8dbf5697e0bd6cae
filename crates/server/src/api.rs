//! `/api/v1` and what people and probes ask beside it.
//!
//! Invariant: a change and its audit row are one transaction; an order is refused when it is
//! made, if it can be known that the host would refuse it.

mod about;
mod agents;
mod answer;
mod audit;
mod body;
mod call;
mod checks;
mod events;
mod files_served;
mod groups;
mod insight;
pub(crate) mod library;
mod once;
mod openapi;
mod orders;
mod pins;
mod piped;
mod place;
mod releases;
mod rollouts;
mod selections;
mod stop;
mod tokens;
mod webhooks;

pub(crate) use place::{component_in, host_state};

use handover_model::AgentId;
use http::Method;
use serde::Deserialize;

use crate::routes::{Bounds, Routes};
use call::Call;

/// Mounts every route of the API.
pub(crate) fn mount(routes: Routes) -> Routes {
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let routes = routes
        .mount(get.clone(), "/healthz", about::healthz)
        .mount(get.clone(), "/readyz", about::readyz)
        .mount(get.clone(), "/metrics", about::metrics)
        .mount(get.clone(), "/repository/metadata/{name}", files_served::metadata)
        .mount(get.clone(), "/repository/targets/{*path}", files_served::targets)
        .mount(get.clone(), "/api/v1/openapi.json", openapi::document)
        .mount(get.clone(), "/api/v1/info", about::info)
        .mount(get.clone(), "/api/v1/whoami", tokens::whoami)
        .mount(get.clone(), "/api/v1/tokens", tokens::list)
        .mount(post.clone(), "/api/v1/tokens", tokens::create)
        .mount(delete.clone(), "/api/v1/tokens/{token}", tokens::revoke)
        .mount(get.clone(), "/api/v1/api-tokens", tokens::list_api)
        .mount(post.clone(), "/api/v1/api-tokens", tokens::create_api)
        .mount(delete, "/api/v1/api-tokens/{token}", tokens::revoke_api)
        .mount(get.clone(), "/api/v1/releases", releases::list)
        .mount(get.clone(), "/api/v1/releases/{component}", releases::show)
        .mount(get.clone(), "/api/v1/releases/{component}/graph", releases::graph)
        .mount_with(Bounds::Patient, post, "/api/v1/repository/publish", library::publish)
        .mount(get.clone(), "/api/v1/inventory", insight::inventory)
        .mount(get.clone(), "/api/v1/audit", audit::list)
        .mount(get.clone(), "/api/v1/audit/checkpoints", audit::checkpoints)
        .mount(get, "/api/v1/events", events::stream);
    let stage = "/api/v1/repository/staging/{*path}";
    mount_rollouts(mount_around(mount_agents(routes))).mount_with(
        Bounds::Upload,
        Method::PUT,
        stage,
        library::stage,
    )
}

/// What stands around rollouts.
fn mount_around(routes: Routes) -> Routes {
    let (get, post) = (Method::GET, Method::POST);
    let check = "/api/v1/rollouts/{rollout}/checks/{check}";
    routes
        .mount(get.clone(), "/api/v1/rollouts/{rollout}/checks", checks::list)
        .mount(get.clone(), "/api/v1/rollouts/{rollout}/checks/{check}/secret", checks::secret)
        .mount(post.clone(), check, checks::take)
        .mount(get.clone(), "/api/v1/groups", groups::list)
        .mount(get.clone(), "/api/v1/groups/{group}", groups::show)
        .mount(Method::PUT, "/api/v1/groups/{group}", groups::put)
        .mount(Method::DELETE, "/api/v1/groups/{group}", groups::remove)
        .mount(get.clone(), "/api/v1/stop", stop::show)
        .mount(Method::PUT, "/api/v1/stop", stop::put)
        .mount(get.clone(), "/api/v1/webhooks", webhooks::list)
        .mount(get, "/api/v1/webhooks/{webhook}", webhooks::show)
        .mount(post, "/api/v1/webhooks", webhooks::create)
        .mount(Method::DELETE, "/api/v1/webhooks/{webhook}", webhooks::remove)
}

fn mount_rollouts(routes: Routes) -> Routes {
    let (get, post) = (Method::GET, Method::POST);
    routes
        .mount(get.clone(), "/api/v1/rollouts", rollouts::list)
        .mount_with(Bounds::Patient, post.clone(), "/api/v1/rollouts", rollouts::create)
        .mount_with(Bounds::Patient, post.clone(), "/api/v1/rollouts/preview", rollouts::preview)
        .mount(get.clone(), "/api/v1/rollouts/{rollout}", rollouts::show)
        .mount(Method::PUT, "/api/v1/rollouts/{rollout}", rollouts::change)
        .mount(get, "/api/v1/rollouts/{rollout}/members", rollouts::members)
        .mount(post.clone(), "/api/v1/rollouts/{rollout}/approve", rollouts::approve)
        .mount(post.clone(), "/api/v1/rollouts/{rollout}/pause", rollouts::pause)
        .mount(post.clone(), "/api/v1/rollouts/{rollout}/resume", rollouts::resume)
        .mount(post.clone(), "/api/v1/rollouts/{rollout}/abort", rollouts::abort)
        .mount(post.clone(), "/api/v1/rollouts/{rollout}/revert", rollouts::revert)
        .mount(post.clone(), "/api/v1/rollouts/{rollout}/leave-out", rollouts::leave_out)
        .mount(post, "/api/v1/selections/preview", selections::preview)
}

fn mount_agents(routes: Routes) -> Routes {
    let (get, post) = (Method::GET, Method::POST);
    let pin = "/api/v1/agents/{agent}/pins/{component}";
    let clear = "/api/v1/agents/{agent}/quarantine/clear";
    let available = "/api/v1/agents/{agent}/updates/available";
    routes
        .mount(get.clone(), "/api/v1/agents", agents::list)
        .mount(get.clone(), "/api/v1/agents/{agent}", agents::show)
        .mount(Method::PATCH, "/api/v1/agents/{agent}", agents::change_labels)
        .mount(post.clone(), "/api/v1/agents/{agent}/retire", agents::retire)
        .mount(get.clone(), available, insight::updates)
        .mount(post.clone(), "/api/v1/agents/{agent}/update", orders::update)
        .mount(post.clone(), "/api/v1/agents/{agent}/rollback", orders::rollback)
        .mount(Method::PUT, pin, pins::put)
        .mount(Method::DELETE, pin, pins::delete)
        .mount(post.clone(), clear, orders::clear_quarantine)
        .mount(get.clone(), "/api/v1/agents/{agent}/explain", insight::explain_agent)
        .mount(get.clone(), "/api/v1/agents/{agent}/timeline", agents::timeline)
        .mount(get.clone(), "/api/v1/agents/{agent}/reports", agents::reports)
        .mount(get.clone(), "/api/v1/orders", orders::list)
        .mount(get, "/api/v1/orders/{order}", orders::show)
        .mount(post, "/api/v1/orders/{order}/cancel", orders::cancel)
}

/// A body that says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// Wakes the agent that an answer is about, if it waits here for something to do.
fn changed(call: &Call, answer: &str) {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Whose {
        Order { agent: AgentId },
        Agent { id: AgentId },
    }
    if let Ok(Whose::Order { agent } | Whose::Agent { id: agent }) = serde_json::from_str(answer) {
        call.state.orders_changed(agent);
    }
}
