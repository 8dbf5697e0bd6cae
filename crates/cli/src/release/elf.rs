//! Which processor an executable is for (System V ABI, ELF header).

use handover_model::Platform;

/// The platform of an ELF file's first bytes; `None` when it is no ELF file.
pub(super) fn platform_of(head: &[u8]) -> Option<&'static str> {
    if head.get(..4) != Some(b"\x7fELF".as_slice()) {
        return None;
    }
    let little = head.get(5) == Some(&1);
    let machine = head.get(18..20).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok())?;
    let machine = if little { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) };
    Some(match machine {
        62 => "linux-x86_64",
        183 => "linux-aarch64",
        40 => "linux-armv7",
        243 => "linux-riscv64",
        _other => "another processor",
    })
}

/// What is wrong with an executable of these first bytes in a package for `platform`.
pub(super) fn mismatch(head: &[u8], platform: &Platform) -> Option<String> {
    let found = platform_of(head)?;
    (found != platform.as_str()).then(|| {
        format!(
            "it is an executable for {found}, the package is for {platform}; build it for that, \
             or name the right --platform"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_test_is_for_this_platform() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(platform_of(&own), Some(Platform::of_this_build().as_str()));
        assert_eq!(mismatch(&own, &Platform::of_this_build()), None);
        assert!(mismatch(&own, &"any".parse().unwrap()).is_some());
        assert_eq!(platform_of(b"#!/bin/sh"), None);
    }
}
