//! Code that the tests share. It uses only the crate's public interface.

pub mod certificates;
pub mod faketime;
pub mod operator;
pub mod process;
pub mod proxy;
pub mod python;
pub mod servers;
pub mod small_disk;
