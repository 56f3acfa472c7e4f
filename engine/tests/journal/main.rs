//! The journal's promises, over disks that fail, lose power and hold damaged files.

mod compaction;
mod damage;
mod durability;
mod files;
mod harness;
mod model;
mod power_cut;
mod recovery;
