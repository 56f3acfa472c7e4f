//! The journal's promises, over disks that fail, lose power and hold damaged files.

mod choices;
mod compaction;
mod damage;
mod durability;
mod faults;
mod files;
mod full_disk;
mod groups;
mod harness;
mod history;
mod inspect;
mod keys;
mod kill;
mod letters;
mod model;
mod power_cut;
mod recovery;
mod retained;
mod special_files;
mod switched_off;
mod unsynced;
mod version_1;
