//! Whether users' passwords are right. To find out takes tens of milliseconds, so that a thread of its own does it, and what
//! strangers can have it do is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::subscribers::ConnectionId;
use crate::access::PasswordHash;
use crate::limits::{
    LOGIN_FAILURES_FOR, LOGIN_FAILURES_MAX, LOGIN_FAILURES_REMEMBERED_MAX, LOGINS_WAITING_EACH_MAX,
    LOGINS_WAITING_MAX,
};
use crate::net::waker::Waker;
use crate::zmtp::plain::Login;

/// A login that is to be checked.
#[derive(Debug)]
struct Job {
    connection: ConnectionId,
    address: IpAddr,
    login: Login,
    /// The user's; of an unknown one some other's, so that it takes as long.
    hash: PasswordHash,
    is_known: bool,
}

/// What came of one.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) connection: ConnectionId,
    address: IpAddr,
    pub(super) user: String,
    /// What the password was compared with.
    pub(super) hash: PasswordHash,
    pub(super) is_right: bool,
}

impl Job {
    fn run(self) -> Verdict {
        let Self { connection, address, login, hash, is_known } = self;
        // First of all, so that it takes as long whoever it is.
        let is_right = hash.is_of(&login.password) & is_known;
        Verdict { connection, address, user: login.user, hash, is_right }
    }
}

/// Why a login is not checked now. The client may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMany {
    #[error("as many logins as may be wait to be checked")]
    All,
    #[error("{LOGINS_WAITING_EACH_MAX} logins of its address wait to be checked already")]
    Waiting,
    #[error(
        "{LOGIN_FAILURES_MAX} logins of its address were wrong within {} s: later ones may be right",
        LOGIN_FAILURES_FOR.as_secs()
    )]
    Failed,
    #[error("the system refused a thread that checks it")]
    Thread,
}

/// The thread ends when this is dropped.
#[derive(Debug)]
struct Thread {
    jobs: Sender<Job>,
    verdicts: Receiver<Verdict>,
}

/// Logins that are checked, or were lately.
#[derive(Default)]
pub(super) struct Logins {
    /// Wakes whoever waits for verdicts; without, there is no thread.
    waker: Option<Waker>,
    thread: Option<Thread>,
    /// What was found out at once.
    done: Vec<Verdict>,
    waiting: HashMap<IpAddr, usize>,
    count: usize,
    /// How many were wrong, and since when they are counted.
    failures: HashMap<IpAddr, (u32, Duration)>,
}

impl Logins {
    /// Checks on a thread of its own, which begins with the first login.
    pub(super) fn new(waker: Option<Waker>) -> Self {
        Self { waker, ..Self::default() }
    }

    /// Has a login checked.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn begin(
        &mut self,
        connection: ConnectionId,
        address: IpAddr,
        login: Login,
        (hash, is_known): (PasswordHash, bool),
        now: Duration,
    ) -> Result<(), TooMany> {
        if self.count >= LOGINS_WAITING_MAX {
            return Err(TooMany::All);
        }
        let waiting = self.waiting.get(&address).copied().unwrap_or(0);
        if waiting >= LOGINS_WAITING_EACH_MAX {
            return Err(TooMany::Waiting);
        }
        if let Some(&(count, since)) = self.failures.get(&address) {
            if now >= since + LOGIN_FAILURES_FOR {
                self.failures.remove(&address);
            } else if count >= LOGIN_FAILURES_MAX {
                return Err(TooMany::Failed);
            }
        }
        let job = Job { connection, address, login, hash, is_known };
        if self.waker.is_none() {
            self.done.push(job.run());
        } else {
            // There is room: the channel has as much as may wait.
            let begun = self.thread().and_then(|thread| thread.jobs.try_send(job).ok());
            begun.ok_or(TooMany::Thread)?;
        }
        self.count += 1;
        self.waiting.insert(address, waiting + 1);
        Ok(())
    }

    fn thread(&mut self) -> Option<&Thread> {
        if self.thread.is_none() {
            let waker = self.waker.clone()?;
            let (jobs, todo) = bounded::<Job>(LOGINS_WAITING_MAX);
            let (found, verdicts) = bounded(LOGINS_WAITING_MAX);
            let work = move || {
                for job in todo {
                    if found.send(job.run()).is_err() {
                        return;
                    }
                    waker.wake();
                }
            };
            thread::Builder::new().name("mezzenger-login".into()).spawn(work).ok()?;
            self.thread = Some(Thread { jobs, verdicts });
        }
        self.thread.as_ref()
    }

    /// What came of the next login, if one was checked.
    pub(super) fn next(&mut self, now: Duration) -> Option<Verdict> {
        if self.count == 0 {
            return None;
        }
        let verdicts = self.thread.as_ref().map(|thread| &thread.verdicts);
        let verdict =
            self.done.pop().or_else(|| verdicts.and_then(|verdicts| verdicts.try_recv().ok()))?;
        self.count -= 1;
        let address = verdict.address;
        if let Some(waiting) = self.waiting.get_mut(&address) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&address);
            }
        }
        if !verdict.is_right {
            self.failed(address, now);
        }
        Some(verdict)
    }

    fn failed(&mut self, address: IpAddr, now: Duration) {
        if self.failures.len() >= LOGIN_FAILURES_REMEMBERED_MAX {
            self.failures.retain(|_, (_, since)| now < *since + LOGIN_FAILURES_FOR);
        }
        // With as many addresses as this, counting by address stops nobody; what may wait still does.
        if self.failures.len() < LOGIN_FAILURES_REMEMBERED_MAX {
            self.failures.entry(address).or_insert((0, now)).0 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::OnceLock;

    use zeroize::Zeroizing;

    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    /// Of `right`, made with so little that it is found out at once.
    fn hash() -> PasswordHash {
        static HASH: OnceLock<PasswordHash> = OnceLock::new();
        HASH.get_or_init(|| PasswordHash::cheap("right")).clone()
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(127, 0, 0, last).into()
    }

    fn begin(logins: &mut Logins, last: u8, password: &str, now: Duration) -> Result<(), TooMany> {
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let login = Login { user: "alice".to_owned(), password };
        logins.begin(u64::from(last), address(last), login, (hash(), true), now)
    }

    #[test]
    fn a_login_is_right_if_the_user_is_known_and_the_password_is_his() {
        let mut logins = Logins::default();
        let login = |password: &str| Login {
            user: "alice".to_owned(),
            password: Zeroizing::new(password.as_bytes().to_vec()),
        };
        for (password, is_known, is_right) in
            [("right", true, true), ("wrong", true, false), ("right", false, false)]
        {
            logins.begin(1, address(1), login(password), (hash(), is_known), NOW).unwrap();
            let verdict = logins.next(NOW).unwrap();
            assert_eq!((verdict.is_right, &*verdict.user), (is_right, "alice"));
        }
        assert!(logins.next(NOW).is_none() && logins.waiting.is_empty());
    }

    #[test]
    fn wrong_logins_of_an_address_stop_further_ones_for_a_while() {
        let mut logins = Logins::default();
        for _ in 0..LOGIN_FAILURES_MAX {
            begin(&mut logins, 1, "wrong", NOW).unwrap();
            assert!(!logins.next(NOW).unwrap().is_right);
        }
        let end = NOW + LOGIN_FAILURES_FOR;
        let before = end - Duration::from_nanos(1);
        assert_eq!(begin(&mut logins, 1, "right", before), Err(TooMany::Failed));
        begin(&mut logins, 2, "right", before).unwrap();
        begin(&mut logins, 1, "right", end).unwrap();
        assert!(logins.failures.is_empty());
    }

    #[test]
    fn so_many_wait_of_an_address_and_in_all() {
        let mut logins = Logins::default();
        for _ in 0..LOGINS_WAITING_EACH_MAX {
            begin(&mut logins, 1, "right", NOW).unwrap();
        }
        assert_eq!(begin(&mut logins, 1, "right", NOW), Err(TooMany::Waiting));
        logins.next(NOW).unwrap();
        begin(&mut logins, 1, "right", NOW).unwrap();
        logins.count = LOGINS_WAITING_MAX;
        assert_eq!(begin(&mut logins, 2, "right", NOW), Err(TooMany::All));
    }
}
