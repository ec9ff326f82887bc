//! Series sets between processes and from several replicas: labels with chunks still encoded, decoded at the very end.
//!
//! A snapshot of a head is cut into parts (`part`), parts become a set again where the query runs (`encoded`), and the
//! sets of replicas become one (`merged`), whose decode reads what replicas have in common once.

pub mod encoded;
pub mod exemplars;
mod histograms;
pub mod merged;
pub mod part;
pub mod python;
pub mod runs;

pub use python::register;
