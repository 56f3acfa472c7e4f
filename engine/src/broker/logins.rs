//! Whether users' passwords are right. To find out takes tens of milliseconds, so that a thread of its own does it, and what
//! strangers can have it do is bounded. Addresses from which a right login came lately go first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, select_biased};

use super::subscribers::ConnectionId;
use crate::access::PasswordHash;
use crate::limits::{
    LOGIN_FAILURES_FOR, LOGIN_FAILURES_MAX, LOGIN_FAILURES_REMEMBERED_MAX, LOGINS_KNOWN_FOR,
    LOGINS_KNOWN_MAX, LOGINS_WAITING_EACH_MAX, LOGINS_WAITING_KNOWN, LOGINS_WAITING_MAX,
};
use crate::net::network;
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
    /// Its connection is gone.
    is_over: Arc<AtomicBool>,
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
    /// Its connection was gone before it was looked at.
    is_over: bool,
}

impl Job {
    fn run(self) -> Verdict {
        let Self { connection, address, login, hash, is_known, is_over } = self;
        let is_over = is_over.load(Ordering::Relaxed);
        // First of all, so that it takes as long whoever it is.
        let is_right = !is_over && hash.is_of(&login.password) & is_known;
        Verdict { connection, address, user: login.user, hash, is_right, is_over }
    }
}

/// Why a login is not checked now. The client may connect again.
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
    #[error("the system denied a thread that checks it")]
    Thread,
}

/// The thread ends when this is dropped.
#[derive(Debug)]
struct Thread {
    jobs: Sender<Job>,
    /// Those of known addresses, which go first.
    first: Sender<Job>,
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
    /// Of the connections that wait, where to say that they are gone.
    over: HashMap<ConnectionId, Arc<AtomicBool>>,
    /// From where right logins came, and when.
    known: HashMap<IpAddr, Duration>,
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
        let address = network(address);
        let is_first = self.known.get(&address).is_some_and(|&at| now < at + LOGINS_KNOWN_FOR);
        let kept = if is_first { 0 } else { LOGINS_WAITING_KNOWN };
        if self.count + kept >= LOGINS_WAITING_MAX {
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
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let job = Job { connection, address, login, hash, is_known, is_over };
        if self.waker.is_none() {
            self.done.push(job.run());
        } else {
            let thread = self.thread().ok_or(TooMany::Thread)?;
            let jobs = if is_first { &thread.first } else { &thread.jobs };
            // There is room: each channel has as much as may wait.
            jobs.try_send(job).map_err(|_| TooMany::Thread)?;
        }
        self.over.insert(connection, over);
        self.count += 1;
        self.waiting.insert(address, waiting + 1);
        Ok(())
    }

    fn thread(&mut self) -> Option<&Thread> {
        if self.thread.is_none() {
            let waker = self.waker.clone()?;
            let (jobs, todo) = bounded::<Job>(LOGINS_WAITING_MAX);
            let (first, todo_first) = bounded::<Job>(LOGINS_WAITING_MAX);
            let (found, verdicts) = bounded(LOGINS_WAITING_MAX);
            let work = move || {
                loop {
                    let job = select_biased! {
                        recv(todo_first) -> job => job,
                        recv(todo) -> job => job,
                    };
                    // Both end together.
                    let Ok(job) = job else { return };
                    if found.send(job.run()).is_err() {
                        return;
                    }
                    waker.wake();
                }
            };
            thread::Builder::new().name("mezzenger-login".into()).spawn(work).ok()?;
            self.thread = Some(Thread { jobs, first, verdicts });
        }
        self.thread.as_ref()
    }

    /// A connection is gone: its login is not checked any more.
    pub(super) fn closed(&mut self, connection: ConnectionId) {
        if let Some(over) = self.over.remove(&connection) {
            over.store(true, Ordering::Relaxed);
        }
    }

    /// What came of the next login, if one was checked.
    pub(super) fn next(&mut self, now: Duration) -> Option<Verdict> {
        while self.count > 0 {
            let verdicts = self.thread.as_ref().map(|thread| &thread.verdicts);
            let verdict = self
                .done
                .pop()
                .or_else(|| verdicts.and_then(|verdicts| verdicts.try_recv().ok()))?;
            self.count -= 1;
            self.over.remove(&verdict.connection);
            let address = verdict.address;
            if let Some(waiting) = self.waiting.get_mut(&address) {
                *waiting -= 1;
                if *waiting == 0 {
                    self.waiting.remove(&address);
                }
            }
            if verdict.is_over {
                continue;
            }
            match verdict.is_right {
                true => self.note_known(address, now),
                false => self.failed(address, now),
            }
            return Some(verdict);
        }
        None
    }

    fn note_known(&mut self, address: IpAddr, now: Duration) {
        if self.known.len() >= LOGINS_KNOWN_MAX {
            self.known.retain(|_, at| now < *at + LOGINS_KNOWN_FOR);
        }
        if self.known.len() < LOGINS_KNOWN_MAX || self.known.contains_key(&address) {
            self.known.insert(address, now);
        }
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
        logins.count = LOGINS_WAITING_MAX - LOGINS_WAITING_KNOWN;
        assert_eq!(begin(&mut logins, 2, "right", NOW), Err(TooMany::All));
    }

    #[test]
    fn an_address_of_a_right_login_has_its_place_before_strangers() {
        let mut logins = Logins::default();
        begin(&mut logins, 1, "right", NOW).unwrap();
        assert!(logins.next(NOW).unwrap().is_right);
        logins.count = LOGINS_WAITING_MAX - LOGINS_WAITING_KNOWN;
        assert_eq!(begin(&mut logins, 2, "right", NOW), Err(TooMany::All));
        let end = NOW + LOGINS_KNOWN_FOR;
        assert_eq!(begin(&mut logins, 1, "right", end), Err(TooMany::All));
        begin(&mut logins, 1, "right", end - Duration::from_nanos(1)).unwrap();
    }

    #[test]
    fn a_login_whose_connection_is_gone_is_not_checked_and_counts_nowhere() {
        let mut logins = Logins::default();
        let is_over = Arc::<AtomicBool>::default();
        logins.over.insert(7, Arc::clone(&is_over));
        logins.closed(7);
        let password = Zeroizing::new(b"right".to_vec());
        let login = Login { user: "alice".to_owned(), password };
        let job = Job {
            connection: 7,
            address: address(1),
            login,
            hash: hash(),
            is_known: true,
            is_over,
        };
        logins.done.push(job.run());
        logins.count = 1;
        assert!(logins.next(NOW).is_none());
        assert!(logins.failures.is_empty() && logins.known.is_empty() && logins.over.is_empty());
    }

    #[test]
    fn addresses_of_one_network_of_64_bits_have_one_share() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
