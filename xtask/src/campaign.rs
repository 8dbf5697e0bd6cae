//! `cargo xtask campaign`: the real executables, with no test hook in them, killed or given
//! ENOSPC or EIO at every call by which an update makes something durable.

mod points;
pub(crate) mod tracer;
