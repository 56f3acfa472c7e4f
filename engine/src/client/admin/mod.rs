//! Administration: durable groups, dead letters and retained messages.

pub(super) mod dead_letters;
pub(super) mod groups;
pub(super) mod retained;
