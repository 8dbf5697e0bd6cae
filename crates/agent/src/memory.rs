//! Keeps a resident program small while it waits: the launcher, of which there is one for each
//! component, and the agent. Nearly all of either is code that ran once, at the start.

/// Gives back the memory of code that was read from files. What is needed again comes from the
/// system's file cache, in microseconds. Where that is refused nothing is lost but memory.
pub(crate) fn give_back_text() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, len) in maps.lines().filter_map(text_of) {
        give_back(start, len);
    }
}

/// The place and length of a mapping of `/proc/self/maps` if it is code from a file: such pages
/// are never written, so that the file has all of them.
fn text_of(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    if words.next()? != "r-xp" || !words.nth(3)?.starts_with('/') {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    Some((start, usize::from_str_radix(end, 16).ok()?.checked_sub(start)?))
}

#[expect(unsafe_code, reason = "madvise(2) takes an address")]
fn give_back(start: usize, len: usize) {
    // SAFETY: the range is a whole mapping of this process that was just listed, it is private,
    // backed by a file and was never writable. Dropping its pages makes the kernel read the same
    // bytes again (madvise(2), MADV_DONTNEED on file mappings), also for the code that runs now.
    let _ = unsafe {
        libc::madvise(std::ptr::with_exposed_provenance_mut(start), len, libc::MADV_DONTNEED)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_files_is_given_back() {
        let code = "00001000-00003000 r-xp 00001000 fe:01 12   /usr/bin/handover-launch";
        assert_eq!(text_of(code), Some((0x1000, 0x2000)));
        for other in [
            "00001000-00003000 r--p 00001000 fe:01 12   /usr/bin/handover-launch",
            "00001000-00003000 rw-p 00001000 fe:01 12   /usr/bin/handover-launch",
            "00001000-00003000 r-xp 00000000 00:00 0    [vdso]",
            "00001000-00003000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(text_of(other), None, "{other}");
        }
    }

    #[test]
    fn code_runs_on_after_its_memory_was_given_back() {
        give_back_text();
        assert!(!std::fs::read_to_string("/proc/self/maps").unwrap().is_empty());
    }
}
