mod check_live;
mod dead_letters;
mod environment;
mod oracle;
pub mod place;
