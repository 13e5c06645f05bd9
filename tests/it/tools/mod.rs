mod back;
mod check_live;
mod dead_letters;
mod environment;
pub mod fixture;
mod oracle;
mod output;
mod payments;
mod watch;
