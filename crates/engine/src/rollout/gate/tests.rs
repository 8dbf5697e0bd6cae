//! Checked against values found by other means.
