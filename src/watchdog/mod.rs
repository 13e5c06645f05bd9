//! Detects tasks that have died or hang, and stages that make no progress.

pub mod pulse;
pub mod stages;
pub mod vital;
