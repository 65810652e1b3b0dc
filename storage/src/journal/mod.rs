//! The node journal.
