//! Notices new slots generations: an inotify watch on the `slots` directory.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use camino::Utf8Path;
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// The watch.
#[derive(Debug)]
pub(super) struct Inbox {
    inotify: OwnedFd,
}

impl Inbox {
    /// Watches `slots`, which exists.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn watch(slots: &Utf8Path) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // A generation appears by a rename; a person's repair may write in place.
        let events = WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        add_watch(&inotify, slots.as_std_path(), events)?;
        Ok(Self { inotify })
    }

    /// Forgets what was noticed; says whether anything was. The caller looks at the directory, so
    /// names don't matter, nor does an overflow.
    pub(super) fn take(&self) -> bool {
        let mut space = [MaybeUninit::uninit(); 1024];
        let mut reader = Reader::new(&self.inotify, &mut space);
        let mut any = false;
        loop {
            match reader.next() {
                Ok(_event) => any = true,
                Err(Errno::INTR) => {}
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
