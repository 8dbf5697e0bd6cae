//! Who may have an order, and who not.
