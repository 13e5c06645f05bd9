mod back;
mod check_live;
mod dead_letters;
mod environment;
mod oracle;
mod output;
mod payments;
pub mod place;
