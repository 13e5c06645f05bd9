//! Wire formats: what goes over REST and AMQP, apart from the domain and from the rows.

pub mod payment;
