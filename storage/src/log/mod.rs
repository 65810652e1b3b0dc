//! One partition's log (placeholder).
pub struct Partition {}
