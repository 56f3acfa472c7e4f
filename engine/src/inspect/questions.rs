//! The queue of questions to the broker's thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    ConnectionOverview, DeadAction, DeadChanged, DeadOverview, DeadSelection, GroupOverview,
    InspectError, NameOverview, Overview, Page, PendingCursor, PendingOverview, RetainedOverview,
};
use crate::limits::QUESTIONS_MAX;

/// Is called with an answer, once, by the broker's thread.
pub(crate) type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// What may be asked.
pub(crate) enum Question {
    Overview(Answer<Overview>),
    Connections {
        from: u64,
        max: usize,
        answer: Answer<Page<ConnectionOverview, u64>>,
    },
    /// The connections that do not keep up.
    Slow {
        from: u64,
        max: usize,
        answer: Answer<Page<ConnectionOverview, u64>>,
    },
    Names {
        from: u64,
        max: usize,
        answer: Answer<Page<NameOverview, u64>>,
    },
    Groups {
        from: String,
        max: usize,
        answer: Answer<Page<GroupOverview, String>>,
    },
    Pending {
        from: PendingCursor,
        max: usize,
        answer: Answer<Page<PendingOverview, PendingCursor>>,
    },
    Dead {
        group: String,
        from: u64,
        max: usize,
        answer: Answer<Page<DeadOverview, u64>>,
    },
    Retained {
        after: String,
        max: usize,
        answer: Answer<Page<RetainedOverview, String>>,
    },
    ChangeDead {
        action: DeadAction,
        group: String,
        selection: DeadSelection,
        answer: Answer<Result<DeadChanged, String>>,
    },
    /// Close a connection; whether it was there.
    Kick {
        connection: u64,
        answer: Answer<bool>,
    },
    /// Count what is published under each name from now on.
    CountNames,
}

/// The questions that wait.
#[derive(Default)]
pub(crate) struct Questions {
    is_there: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Question>,
    is_over: bool,
}

impl Questions {
    /// Nothing is called under the lock that could leave the queue half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a question wait. Its answer is dropped if the server ends before.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn ask(&self, question: Question) -> Result<(), InspectError> {
        let mut queue = self.lock();
        if queue.is_over {
            return Err(InspectError::Ended);
        }
        if queue.waiting.len() >= QUESTIONS_MAX {
            return Err(InspectError::Busy);
        }
        queue.waiting.push_back(question);
        self.is_there.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether one waits.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }

    /// The next one.
    fn take(&self) -> Option<Question> {
        if !self.is_there() {
            return None;
        }
        let mut queue = self.lock();
        let question = queue.waiting.pop_front();
        self.is_there.store(!queue.waiting.is_empty(), Ordering::Relaxed);
        question
    }
}

/// The broker's end. A question after it is gone is answered with the error that the server has ended.
#[derive(Default)]
pub(crate) struct Asked(Arc<Questions>);

impl Asked {
    /// The other end.
    pub(crate) fn questions(&self) -> &Arc<Questions> {
        &self.0
    }

    /// Whether a question waits.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_there()
    }

    /// The next one.
    pub(crate) fn take(&self) -> Option<Question> {
        self.0.take()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let waiting = {
            let mut queue = self.0.lock();
            queue.is_over = true;
            std::mem::take(&mut queue.waiting)
        };
        // Outside of the lock: to drop an answer calls who waits for it.
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_come_in_their_order_and_are_bounded() {
        let asked = Asked::default();
        assert!(!asked.is_there() && asked.take().is_none());
        for n in 0..QUESTIONS_MAX as u64 {
            let answer = Box::new(|_| {});
            asked.questions().ask(Question::Kick { connection: n, answer }).unwrap();
        }
        let refused = asked.questions().ask(Question::CountNames);
        assert_eq!(refused, Err(InspectError::Busy));
        for n in 0..QUESTIONS_MAX as u64 {
            assert!(asked.is_there());
            let Some(Question::Kick { connection, .. }) = asked.take() else { panic!("{n}") };
            assert_eq!(connection, n);
        }
        assert!(!asked.is_there() && asked.take().is_none());
    }

    #[test]
    fn who_asks_a_server_that_ends_is_not_left_waiting() {
        let asked = Asked::default();
        let questions = Arc::clone(asked.questions());
        let (sender, receiver) = std::sync::mpsc::channel();
        let answer = Box::new(move |found| sender.send(found).unwrap());
        questions.ask(Question::Kick { connection: 1, answer }).unwrap();
        drop(asked);
        assert!(receiver.recv().is_err());
        assert_eq!(questions.ask(Question::CountNames), Err(InspectError::Ended));
    }
}
