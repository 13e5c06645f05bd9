//! Faults in real processes and servers under continuous load, and a count of their effects on payments.
//!
//! The client application here keeps its own list ([`notes`]): what it was promised, by 202 or by a confirm, and what
//! it was told, on a durable subscription. [`verdict`] compares that list with the database, and asks the service's
//! own oracle, `check --payments`. docs/reliability.md says what is counted and how to repeat a run.

mod books;
mod cards;
mod clusters;
mod drill;
mod fixture;
mod fleet;
mod full_disk;
mod held;
mod kind;
mod load;
mod method;
mod notes;
mod on_clusters;
mod on_releases;
mod operations;
mod orders;
mod platforms;
mod pressure;
mod random;
mod results;
mod short;
mod soak;
mod stops;
mod strike;
mod table;
mod verdict;
mod watch;
mod webhooks;
