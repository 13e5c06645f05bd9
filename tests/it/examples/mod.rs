//! The examples and the guide in docs/, as somebody with Python, Postman and a shell runs them: against api and worker as
//! processes of their own, on real servers.

mod clients;
mod fixture;
mod generated;
mod guide;
