//! Several processes: every payment still ends once and is charged once, and more workers process more.

mod books;
pub mod fleet;
mod held_up;
mod outcomes;

mod racing_refunds;
mod two_sweepers;
mod two_workers;
