//! The order that an agent gives to a newcomer's entrypoint.
#![no_main]

use handover_fuzz::round_trip;
use handover_model::Order;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(order) = serde_json::from_slice::<Order>(bytes) {
        round_trip(&order);
    }
});
