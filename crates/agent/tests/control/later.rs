//! Orders for later: brought at once, begun in their time.

use std::time::Duration;

use handover_model::wire::{AgentOrder, OrderReport, OrderStage, ReportBody};
use handover_model::{OrderId, Timestamp};

use crate::host::{Running, enrolled, runs_of_web, update};
use crate::plane::{Plane, is_done, now};
use crate::until;

fn later(plane: &Plane, activate: Timestamp) -> AgentOrder {
    AgentOrder {
        activate: Some(activate),
        expires: activate.after(Duration::from_hours(1)),
        ..plane.draft(update(None))
    }
}

fn is_staged(said: &OrderReport) -> bool {
    said.stage == OrderStage::Accepted
        && said.progress.as_ref().is_some_and(|progress| progress.step == AgentOrder::STAGED)
}

fn await_staged(plane: &Plane, order: OrderId) {
    until("the order is staged", || plane.said(order).iter().any(is_staged));
}

/// When it was first said that the order is under way.
fn began_at(plane: &Plane, order: OrderId) -> Option<Timestamp> {
    plane.with(|books| {
        books.reports.values().find_map(|report| match &report.body {
            ReportBody::Order(said) if said.order == order && said.stage == OrderStage::Running => {
                Some(report.at)
            }
            ReportBody::Order(_) | ReportBody::State(_) => None,
        })
    })
}

#[test]
fn an_order_for_later_is_brought_at_once_and_can_be_cancelled_until_its_time() {
    let (mut site, plane) = enrolled();
    site.publish_stock("1.0.0", 1, true);
    let agent = Running::agent(&site);
    let order = later(&plane, now().after(Duration::from_hours(1)));
    plane.hand_out(&order);
    await_staged(&plane, order.id);
    let unpacked = || {
        let entries = site.root().join("incoming").read_dir_utf8().unwrap();
        entries.filter_map(Result::ok).any(|entry| entry.path().join("handover/upgrade").is_file())
    };
    assert!(unpacked(), "the package is here, unpacked");
    // The next agent finds it in the ledger, and says again that all is here.
    agent.kill();
    plane.with(|books| books.reports.clear());
    let _agent = Running::agent(&site);
    await_staged(&plane, order.id);
    plane.heard();
    assert_eq!(runs_of_web(&site), 0, "nothing began");
    plane.cancel(order.id);
    let end = plane.end_of(order.id);
    assert_eq!(end.stage, OrderStage::Cancelled, "{end:?}");
    assert_eq!(runs_of_web(&site), 0);
}

#[test]
fn an_order_for_later_begins_in_its_time_though_the_control_plane_is_gone_by_then() {
    let (mut site, plane) = enrolled();
    site.publish_stock("1.0.0", 1, true);
    let _agent = Running::agent(&site);
    let _launcher = Running::launcher(&site, "web");
    let activate = now().after(Duration::from_secs(5));
    let order = later(&plane, activate);
    plane.hand_out(&order);
    until("the order is taken", || !plane.said(order.id).is_empty());
    plane.with(|books| books.refusal = Some((503, "unavailable")));
    until("its run begins", || runs_of_web(&site) > 0);
    assert!(now() >= activate, "it began too early");
    plane.with(|books| books.refusal = None);
    let end = plane.end_of(order.id);
    assert!(is_done(&end), "{end:?}");
    let began = began_at(&plane, order.id).unwrap();
    assert!(began >= activate, "{began} is before {activate}");
}
