//! The handle by which other threads ask a server about itself.

use std::fmt;
use std::sync::Arc;

use crate::inspect::{
    ConnectionOverview, DeadAction, DeadChanged, DeadOverview, DeadSelection, GroupOverview,
    InspectError, NameOverview, Overview, Page, PendingCursor, PendingOverview, Question,
    Questions, RetainedOverview,
};
use crate::net::waker::Waker;

/// Asks a running [`Server`](crate::Server) about its state: [`Server::inspector`](crate::Server::inspector). It may be used on any
/// thread.
///
/// A question never makes the server wait. The server's thread calls `answer` between two turns, a moment later. So `answer` must return
/// at once: have it send its argument to another thread. When the server ends before, `answer` is dropped. Lists come in parts:
/// `max` is 256 at most, and a part may be shorter, or empty, although there is a next one.
///
/// ```
/// use std::sync::mpsc::channel;
///
/// # let server = mezzenger::Server::builder().pub_port(0).recv_port(0).start()?;
/// # let client = mezzenger::Client::builder().port(server.recv_addr().port()).connect()?;
/// let inspector = server.inspector();
/// client.message("orders.new", "tea").ack().send()?;
///
/// let (sender, answers) = channel();
/// inspector.overview(move |overview| _ = sender.send(overview))?;
/// let overview = answers.recv()?;
/// assert_eq!(overview.metrics.pending_messages, 1);
/// assert!(overview.oldest_pending.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Inspector {
    questions: Arc<Questions>,
    waker: Waker,
}

impl Inspector {
    pub(crate) fn new(questions: Arc<Questions>, waker: Waker) -> Self {
        let inspector = Self { questions, waker };
        // A server that has ended has nothing to count.
        let _ = inspector.ask(Question::CountNames);
        inspector
    }

    fn ask(&self, question: Question) -> Result<(), InspectError> {
        self.questions.ask(question)?;
        self.waker.wake();
        Ok(())
    }

    /// Asks for the figures of the whole server.
    ///
    /// # Errors
    /// [`InspectError`]: too many questions wait, or the server has ended. The same for all other questions.
    pub fn overview(
        &self,
        answer: impl FnOnce(Overview) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Overview(Box::new(answer)))
    }

    /// Asks for connections, from 0 or [`Page::next`] on.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn connections(
        &self,
        from: u64,
        max: usize,
        answer: impl FnOnce(Page<ConnectionOverview, u64>) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Connections { from, max, answer: Box::new(answer) })
    }

    /// Asks for connections that do not keep up, or for which publishers wait, from 0 or [`Page::next`] on.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn slow(
        &self,
        from: u64,
        max: usize,
        answer: impl FnOnce(Page<ConnectionOverview, u64>) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Slow { from, max, answer: Box::new(answer) })
    }

    /// Asks for what was published under names since the first inspector, from 0 or [`Page::next`] on, in the order in which
    /// the names were first seen. The first of all stands for the names that are not counted on their own: those beyond 10,000.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn names(
        &self,
        from: u64,
        max: usize,
        answer: impl FnOnce(Page<NameOverview, u64>) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Names { from, max, answer: Box::new(answer) })
    }

    /// Asks for groups in the order of their names, from the empty one or [`Page::next`] on.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn groups(
        &self,
        from: &str,
        max: usize,
        answer: impl FnOnce(Page<GroupOverview, String>) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Groups { from: from.to_owned(), max, answer: Box::new(answer) })
    }

    /// Asks for unacknowledged messages, but for dead letters, from [`PendingCursor::START`] or [`Page::next`] on.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn pending(
        &self,
        from: PendingCursor,
        max: usize,
        answer: impl FnOnce(Page<PendingOverview, PendingCursor>) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Pending { from, max, answer: Box::new(answer) })
    }

    /// Asks for dead letters of a group, or of all for the empty name, from 0 or [`Page::next`] on, those that died first.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn dead(
        &self,
        group: &str,
        from: u64,
        max: usize,
        answer: impl FnOnce(Page<DeadOverview, u64>) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Dead { group: group.to_owned(), from, max, answer: Box::new(answer) })
    }

    /// Asks for retained messages in the order of their names, behind the empty one or [`Page::next`].
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn retained(
        &self,
        after: &str,
        max: usize,
        answer: impl FnOnce(Page<RetainedOverview, String>) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Retained { after: after.to_owned(), max, answer: Box::new(answer) })
    }

    /// Has dead letters of a group replayed or purged, 1,024 of them at most; [`DeadChanged::next`] is the number to go on from.
    /// The answer is an error in words when some of those that were named are not there, and the others are changed all the same.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn change_dead(
        &self,
        action: DeadAction,
        group: &str,
        selection: DeadSelection,
        answer: impl FnOnce(Result<DeadChanged, String>) + Send + 'static,
    ) -> Result<(), InspectError> {
        let (group, answer) = (group.to_owned(), Box::new(answer));
        self.ask(Question::ChangeDead { action, group, selection, answer })
    }

    /// Has a connection closed; the answer is whether it was there.
    ///
    /// # Errors
    /// See [`Self::overview`].
    pub fn kick(
        &self,
        connection: u64,
        answer: impl FnOnce(bool) + Send + 'static,
    ) -> Result<(), InspectError> {
        self.ask(Question::Kick { connection, answer: Box::new(answer) })
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}
