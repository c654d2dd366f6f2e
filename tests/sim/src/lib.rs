//! A fleet of real engines, a million if need be, against a model of the service, in virtual time; and its rivals
//! beside it.

pub mod client;
pub mod figures;
pub mod policies;
pub mod report;
pub mod scenario;
pub mod service;
pub mod wheel;
pub mod world;
