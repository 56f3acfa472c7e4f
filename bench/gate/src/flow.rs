//! What is measured: the ways a message takes, and whose part of each is counted.

/// Who does the work that is counted. Each is the function of this name in [`crate::side`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `publish`, and the turns of the publisher's request thread.
    Publisher,
    /// The turns of the broker's thread and of the journal's.
    Server,
    /// The turns of the subscriber's receiving thread and of its request thread, which acknowledges.
    Subscriber,
}

impl Side {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Publisher, Self::Server, Self::Subscriber];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Server => "server",
            Self::Subscriber => "subscriber",
        }
    }

    /// The function in [`crate::side`] within which this side works, as it stands in symbols.
    pub fn function(self) -> &'static str {
        match self {
            Self::Publisher => "publisher_side",
            Self::Server => "server_side",
            Self::Subscriber => "subscriber_side",
        }
    }
}

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Records in frames, as the client library has them.
    Native,
    /// The original's pickles, one a request.
    V1,
}

/// What becomes of a message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is delivered and forgotten (ack=0).
    Nothing,
    /// It is kept in memory, delivered, acknowledged, forgotten (ack=1).
    Memory,
    /// The same, and the journal holds it meanwhile (ack=1).
    Journal,
}

/// One way that messages take from publisher to subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Its name in reports.
    pub name: &'static str,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// By how many bytes payloads are larger when copies of them are counted: what is copied more is
    /// the payload. A multiple of MD5's block (64), and for long ones of XXH3's (256): a last block is
    /// copied, and must not grow. So few that the larger payload takes the same way.
    pub extra_bytes: usize,
    /// What becomes of each message.
    pub keep: Keep,
    /// The format of what publishers send.
    pub from: Dialect,
    /// The format that the subscriber asks for.
    pub to: Dialect,
    /// Whether the subscriber checks checksums.
    pub verify: bool,
    /// Publishers, each with its own connection.
    pub publishers: usize,
    /// Messages of each publisher in one round.
    pub messages: usize,
    /// Whose work is counted.
    pub sides: &'static [Side],
}

const ALL_SIDES: &[Side] = &Side::ALL;
const SETTLING: &[Side] = &[Side::Server, Side::Subscriber];
const SERVER: &[Side] = &[Side::Server];
const SUBSCRIBER: &[Side] = &[Side::Subscriber];

const KIB: usize = 1024;

const NATIVE: Flow = Flow {
    name: "",
    payload_bytes: 128,
    extra_bytes: 64,
    keep: Keep::Nothing,
    from: Dialect::Native,
    to: Dialect::Native,
    verify: false,
    publishers: 1,
    messages: 0,
    sides: &[],
};

/// Messages that mostly share a frame.
const fn small(name: &'static str, keep: Keep, sides: &'static [Side]) -> Flow {
    Flow { name, keep, messages: 256, sides, ..NATIVE }
}

/// So many messages that, kept, they fill a frame: each is then as little of it as may stay in it.
const fn medium(name: &'static str, keep: Keep, sides: &'static [Side]) -> Flow {
    Flow { name, keep, payload_bytes: 4 * KIB, extra_bytes: 256, messages: 48, sides, ..NATIVE }
}

/// Few enough messages to be hashed under valgrind, and enough to fill a frame.
const fn large(name: &'static str, keep: Keep, sides: &'static [Side]) -> Flow {
    Flow { name, keep, payload_bytes: 64 * KIB, extra_bytes: 256, messages: 12, sides, ..NATIVE }
}

/// Messages that cross from one format to the other, or stay in the original one: one a request.
const fn v1(name: &'static str, from: Dialect, to: Dialect) -> Flow {
    Flow { name, from, to, messages: 32, sides: SERVER, ..NATIVE }
}

/// The plainest acknowledged messages. Left pending, they also show what memory each takes.
pub const ACKNOWLEDGED: Flow = small("native-128B-ack1", Keep::Memory, SETTLING);

/// Journalled messages of several publishers, whose groups queue up for each sync.
pub const JOURNALLED: Flow = Flow {
    publishers: 4,
    messages: 64,
    ..small("native-128B-ack1-journal", Keep::Journal, SERVER)
};

/// All that is measured.
pub const FLOWS: &[Flow] = &[
    small("native-128B-ack0", Keep::Nothing, ALL_SIDES),
    ACKNOWLEDGED,
    JOURNALLED,
    medium("native-4KiB-ack0", Keep::Nothing, ALL_SIDES),
    medium("native-4KiB-ack1", Keep::Memory, SETTLING),
    medium("native-4KiB-ack1-journal", Keep::Journal, SERVER),
    large("native-64KiB-ack0", Keep::Nothing, ALL_SIDES),
    // Answers to a subscriber's acknowledgements come between its deliveries. How much of the next one a read finds
    // behind them depends on its length.
    large("native-64KiB-ack1", Keep::Memory, SERVER),
    large("native-64KiB-ack1-journal", Keep::Journal, SERVER),
    Flow { verify: true, ..small("native-128B-verified", Keep::Nothing, SUBSCRIBER) },
    Flow { verify: true, ..large("native-64KiB-verified", Keep::Nothing, SUBSCRIBER) },
    v1("v1-128B-to-v1", Dialect::V1, Dialect::V1),
    v1("v1-128B-to-native", Dialect::V1, Dialect::Native),
    v1("native-128B-to-v1", Dialect::Native, Dialect::V1),
];

impl Flow {
    /// The flow of this name.
    pub fn named(name: &str) -> Option<Self> {
        FLOWS.iter().find(|flow| flow.name == name).copied()
    }

    /// Messages in one round.
    pub fn round_messages(&self) -> usize {
        self.publishers * self.messages
    }

    /// Rounds in the shorter of the two runs that make a slope; the longer has eleven times as many.
    pub fn rounds(&self) -> usize {
        // Hashing is most of the work with large payloads, and repeats itself.
        if self.payload_bytes >= 64 * KIB { 2 } else { 4 }
    }

    /// The scenario that one side of this flow is.
    pub fn scenario(&self, side: Side) -> String {
        format!("{}/{}", self.name, side.name())
    }

    /// Whether the server promises not to copy these payloads. Kept ones of 32 KiB and less are copied, so that
    /// they hold nothing else in memory.
    pub fn is_promised(&self) -> bool {
        let from_bytes = if self.keep == Keep::Nothing { 4 * KIB } else { 32 * KIB + 1 };
        self.from == Dialect::Native
            && self.to == Dialect::Native
            && self.payload_bytes >= from_bytes
    }
}
