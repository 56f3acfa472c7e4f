//! What a server keeps, to be looked at and changed: durable groups, dead letters, the last messages of names.

pub(super) mod dead_letters;
pub(super) mod groups;
pub(super) mod retained;
