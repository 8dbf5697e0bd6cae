//! What a component says to its launcher's readiness socket.
#![no_main]

use handover_agent::launch::parse_notification;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let said = parse_notification(text);
    // Only a whole line counts, and other lines around it change nothing.
    assert_eq!(said.ready, text.lines().any(|line| line == "READY=1"));
    assert_eq!(said.alive, text.lines().any(|line| line == "WATCHDOG=1"));
    let again = parse_notification(&format!("MAINPID=1\n{text}"));
    assert_eq!(again, said);
    assert!(said.status.is_none_or(|status| !status.contains('\n')));
});
