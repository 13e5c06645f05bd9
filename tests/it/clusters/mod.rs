//! The service on a cluster of brokers and a cluster of databases: nodes die under load, and nothing is lost.

mod formation;
