//! What the tests share. It knows nothing of the crate's insides that its public interface does not show.

pub mod certificates;
pub mod faketime;
pub mod process;
pub mod proxy;
pub mod python;
pub mod servers;
pub mod small_disk;
