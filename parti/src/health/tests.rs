//! What holds when, as tables.
