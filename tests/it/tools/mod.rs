mod check_live;
mod dead_letters;
mod oracle;
mod place;
