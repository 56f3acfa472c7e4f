//! The parts of the page that are made of figures.

pub(crate) mod criterion;
pub(crate) mod gate;
pub(crate) mod goals;
pub(crate) mod losses;
pub(crate) mod machine;
pub(crate) mod measures;
pub(crate) mod torture;
pub(crate) mod workload;
