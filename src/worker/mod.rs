//! To come.

pub mod retry;
