mod check_live;
mod oracle;
mod place;
