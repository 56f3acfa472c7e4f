//! The messages of a journal, in the form in which a subscriber receives them.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use arcstr::ArcStr;

use crate::client::Message;
use crate::journal::{Contents, Messages, OpenError, contents};
use crate::message;
use crate::wire::id::MessageId;

/// A message of a journal: [`read_journal`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalMessage {
    /// The message.
    pub message: Message,
    /// The groups that gave it up: it is a dead letter of each.
    pub dead_in: Vec<String>,
    /// Whether it is kept as the retained message of its name, and not until it is acknowledged.
    pub retained: bool,
}

/// The messages of a journal, each read when it is taken: [`read_journal`].
pub struct JournalMessages {
    path: PathBuf,
    messages: Messages,
    dead_in: HashMap<MessageId, Vec<ArcStr>>,
    retained: std::vec::IntoIter<message::Message>,
}

/// Reads the messages of a server's journal: first those that are not settled, then those that are retained. Neither changes nor
/// locks the file: a server may use it meanwhile. Damaged records are left out; [`inspect_journal`](crate::inspect_journal)
/// reports them.
///
/// # Errors
/// As for [`inspect_journal`](crate::inspect_journal).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mezzenger::{Client, Server, read_journal};
///
/// # let folder = std::env::temp_dir().join(format!("mezzenger-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let file = folder.join("orders.journal");
/// let server = Server::builder().pub_port(0).recv_port(0).persist_file(&file).start()?;
/// let client = Client::builder().port(server.recv_addr().port()).connect()?;
/// client.message("orders.new", "tea").ack().send()?;
/// for kept in read_journal(&file)? {
///     let message = kept?.message;
///     assert_eq!((message.name(), message.text()), ("orders.new", Some("tea")));
/// }
/// # drop((client, server));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
pub fn read_journal(path: &Path) -> Result<JournalMessages, OpenError> {
    let Contents { messages, letters, retained } = contents(path)?;
    let mut dead_in = HashMap::<_, Vec<_>>::new();
    for letter in letters {
        dead_in.entry(letter.id).or_default().push(letter.group);
    }
    Ok(JournalMessages { path: path.to_owned(), messages, dead_in, retained: retained.into_iter() })
}

impl JournalMessages {
    fn read(&self, kept: &message::Message, retained: bool) -> Result<JournalMessage, OpenError> {
        let Some(message) = Message::of_frame(&kept.frame().into()) else {
            let source = std::io::Error::other(format!("message {} cannot be read", kept.id));
            return Err(OpenError::Io { action: "read", path: self.path.clone(), source });
        };
        let dead_in = self.dead_in.get(&kept.id).into_iter().flatten();
        Ok(JournalMessage {
            message,
            dead_in: dead_in.map(ToString::to_string).collect(),
            retained,
        })
    }
}

impl Iterator for JournalMessages {
    type Item = Result<JournalMessage, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.messages.next() {
            Some(message) => Some(message.and_then(|message| self.read(&message, false))),
            None => self.retained.next().map(|message| self.read(&message, true)),
        }
    }
}

impl fmt::Debug for JournalMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalMessages").field("messages", &self.messages).finish_non_exhaustive()
    }
}
