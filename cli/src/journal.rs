//! `mezzenger journal`: a server's journal, read, copied and repaired without the server.

use std::path::PathBuf;

use clap::Subcommand;
use mezzenger::{
    JournalInspection, JournalMessage, JournalRewritten, compact_journal, copy_journal,
    inspect_journal, read_journal, repair_journal,
};
use serde_json::{Value, json};

use crate::error::{Error, written};
use crate::show::{self, Delivered, counted};

/// What to do with a journal: the file of a server's --persist-file.
#[derive(Subcommand)]
pub(crate) enum JournalCommand {
    /// Print what a journal holds, and what is damaged and where. Changes nothing; a server may be using the file.
    /// Exits with 1 if it is damaged.
    Check(FileArgs),
    /// Remove what is damaged or torn, after a copy of the file. No server may be using it.
    Repair(FileArgs),
    /// Print each unsettled and each retained message as a JSON object, as `mezzenger sub --json` does, with `dead_in`:
    /// the groups that gave it up. Changes nothing; a server may be using the file.
    Dump(DumpArgs),
    /// Copy a journal to a new file, up to its last whole record, and sync it. A server may be using the journal: the
    /// copy is what it would recover after a crash at that moment.
    Backup(CopyArgs),
    /// Make a journal from a backup, for a server to start on. Messages that were settled since the backup are
    /// delivered again.
    Restore(CopyArgs),
    /// Rewrite a journal without what is settled. A server does so by itself; no server may be using it.
    Compact(FileArgs),
}

/// Which journal.
#[derive(clap::Args)]
pub(crate) struct FileArgs {
    /// The journal.
    file: PathBuf,

    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Which journal.
#[derive(clap::Args)]
pub(crate) struct DumpArgs {
    /// The journal.
    file: PathBuf,
}

/// From where to where.
#[derive(clap::Args)]
pub(crate) struct CopyArgs {
    /// The file to copy.
    from: PathBuf,

    /// The copy. It must not exist yet.
    to: PathBuf,

    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

impl JournalCommand {
    /// Does it; whether the journal is sound.
    pub(crate) fn run(self) -> Result<bool, Error> {
        match self {
            Self::Check(FileArgs { file, json }) => {
                let found = inspect_journal(&file)?;
                let is_sound = found.damage.is_empty();
                show(json, &found.to_string(), || inspection(&found)).map(|()| is_sound)
            }
            Self::Repair(FileArgs { file, json }) => tell(&repair_journal(&file)?, json),
            Self::Compact(FileArgs { file, json }) => tell(&compact_journal(&file)?, json),
            Self::Dump(DumpArgs { file }) => {
                for kept in read_journal(&file)? {
                    let line = show::json_line(&dumped(&kept?));
                    if line.is_err() {
                        return written(line).map(|()| true);
                    }
                }
                Ok(true)
            }
            Self::Backup(CopyArgs { from, to, json })
            | Self::Restore(CopyArgs { from, to, json }) => {
                let copied = copy_journal(&from, &to)?;
                let JournalInspection { live, bytes, letters, retained, .. } = copied;
                let (live, letters) = (counted(live, "message"), counted(letters, "dead letter"));
                let text = format!(
                    "{}: {bytes} bytes, {live}, {letters}, {retained} retained",
                    to.display()
                );
                show(json, &text, || inspection(&copied)).map(|()| true)
            }
        }
    }
}

fn show(as_json: bool, text: &str, json: impl FnOnce() -> Value) -> Result<(), Error> {
    if as_json {
        return written(show::json_line(&json()));
    }
    // Line by line, as a line's end is a control character, too.
    text.lines().try_for_each(|line| written(show::line(show::on_terminal(line).as_bytes())))
}

fn tell(done: &JournalRewritten, as_json: bool) -> Result<bool, Error> {
    let JournalRewritten { messages, bytes_before, bytes, torn, damage, copy, .. } = done;
    let copy = copy.as_ref().map(|path| path.display().to_string());
    let live = counted(*messages, "message");
    let mut text = format!("{live}, {bytes_before} bytes before and {bytes} now");
    if let Some(copy) = &copy {
        let (torn, records, damaged) = (torn.bytes, damage.records, damage.bytes);
        text += &format!(
            "; {} of {} and {} taken out, which are kept in {copy}",
            counted(records, "damaged record"),
            counted(damaged, "byte"),
            counted(torn, "torn byte")
        );
    }
    let json = || {
        json!({
            "messages": messages,
            "bytes_before": bytes_before,
            "bytes": bytes,
            "torn_bytes": torn.bytes,
            "damaged_records": damage.records,
            "damaged_bytes": damage.bytes,
            "copy": copy,
        })
    };
    show(as_json, &text, json).map(|()| true)
}

fn inspection(found: &JournalInspection) -> Value {
    json!({
        "file": found.path.display().to_string(),
        "format": found.version,
        "bytes": found.bytes,
        "records": found.records.all(),
        "appended": found.appended,
        "settled": found.settled,
        "settled_elsewhere": found.settled_elsewhere,
        "messages": found.live,
        "message_bytes": found.live_bytes,
        "dead_letters": found.letters,
        "durable_groups": found.groups,
        "retained": found.retained,
        "torn_bytes": found.torn.bytes,
        "damaged_records": found.damage.records,
        "damaged_bytes": found.damage.bytes,
    })
}

fn dumped(kept: &JournalMessage) -> Value {
    let mut object =
        show::json(&kept.message, Delivered { retained: kept.retained, ..Delivered::default() });
    object["dead_in"] = json!(kept.dead_in);
    object
}
