//! What selections say.
