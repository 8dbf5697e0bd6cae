//! What is refused before anything is created: a specification that can't work, a change of one
//! that runs, a member that could not get there.
