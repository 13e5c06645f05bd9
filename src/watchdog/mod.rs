//! What notices that a task has died, hangs, or lets nothing out.

pub mod pulse;
pub mod stages;
pub mod vital;
