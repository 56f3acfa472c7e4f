//! Every bound of the system in one place. Units stand last in each name.
//!
//! The bounds a user may move (pending messages and bytes, message size, connections, bytes unsent) have
//! their defaults in [`crate::config`]; these here are fixed.

use std::time::Duration;

/// Longest name of a message, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;

/// Most frames a request may carry before its empty delimiter (routing id included), and so the
/// most that a reply repeats.
pub const ENVELOPE_PARTS_MAX: usize = 8;

/// Bytes of a request beyond `max_message_size` that the server still reads, so that it can answer
/// "too large" instead of cutting the connection.
pub const OVERSIZE_ANSWERED_BYTES: usize = 1024 * 1024;

/// Payloads up to this size are copied when they become pending: a small message that stays in the
/// buffer it was received in would pin all of that buffer.
pub const PENDING_COPY_BYTES_MAX: usize = 2048;

/// Times the size of a pending message that the frame may have whose buffer it shares. Clients close
/// their frames earlier; what comes in a larger one is copied.
pub const KEPT_FRAME_SHARE_MAX: usize = 32;

/// Publishers whose sequences the server remembers, to recognise a re-sent record.
pub const PUBLISHERS_REMEMBERED_MAX: usize = 65_536;

/// Runs of sequence numbers remembered for one publisher. Only a refused frame splits a run.
pub const SEQUENCE_RUNS_MAX: usize = 64;

/// Names whose subscription state the broker caches.
pub const NAMES_CACHED_MAX: usize = 65_536;

/// Requests the broker takes from its socket before it looks at anything else.
pub const REQUESTS_PER_TURN_MAX: usize = 256;

/// Due messages that one turn resends.
pub const RESENDS_PER_TURN_MAX: usize = 4096;

/// Bytes of due messages that one turn resends; the last one may go beyond it.
pub const RESEND_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;

/// Size at which a frame of several records is closed, in bytes: large, because every frame costs
/// each subscriber some thread switches.
pub const FRAME_BYTES_TARGET: usize = 512 * 1024;

/// How long a cancelled subscription still counts: a peer can cancel what others want.
pub const CANCEL_DOUBTED: Duration = Duration::from_secs(600);

/// How often messages that seem to be wanted by nobody are sent in case they are.
pub const WAITING_RETRIED: Duration = Duration::from_secs(600);

/// Subscriptions that the broker notes, to know which names are wanted in which format.
pub const SUBSCRIPTIONS_NOTED_MAX: usize = 1_000_000;

/// Requests that wait for the journal, beyond which the broker reads no further ones.
pub const PARKED_REQUESTS_MAX: usize = 65_536;

/// Bytes of requests that wait for the journal, beyond which the broker reads no further ones.
pub const PARKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests that libzmq queues from one requester before it stops reading from the connection.
pub const REQUESTER_QUEUE: i32 = 64;

/// Replies that libzmq queues for one requester before it drops them.
pub const REPLY_QUEUE: i32 = 16_384;

/// Frames that libzmq queues for one subscriber before the broker holds publishers back.
pub const SUBSCRIBER_QUEUE_FRAMES: i32 = 1000;

/// Descriptors that connections leave free: for the journal, for looks at /proc, and for connections that
/// are accepted to be refused. Where the system allows few, it is a quarter of those.
pub const DESCRIPTORS_SPARE: u64 = 64;

/// Subscription changes that libzmq queues from one subscriber. Few: it takes all that are there before it
/// lets the broker's thread go on, with those that come meanwhile.
pub const SUBSCRIPTION_QUEUE: i32 = 16;

/// Effects that wait to be carried out, beyond which a subscriber's question whether its subscriptions are
/// live is dropped.
pub const CONFIRMATIONS_WAITING_MAX: usize = 65_536;

/// Subscription changes the broker takes from its socket before it looks at anything else.
pub const SUBSCRIPTIONS_PER_TURN_MAX: usize = 4096;

/// Groups of messages that wait for the journal before the broker stops reading requests.
pub const JOURNAL_QUEUE_BATCHES: usize = 1024;

/// Bytes at which the journal stops gathering queued groups for one write, in bytes.
pub const JOURNAL_COMMIT_BYTES_TARGET: usize = 8 * 1024 * 1024;

/// Bodies from this size on go from their shared buffer to the journal's file without a copy, in bytes.
pub const JOURNAL_VECTORED_BYTES_MIN: usize = 4096;

/// Longest body of one journal record, in bytes: a message's id, name and body.
pub const JOURNAL_RECORD_BYTES_MAX: usize = i32::MAX as usize;

/// Ids that one settle record of the journal holds at most.
pub const JOURNAL_SETTLES_PER_RECORD_MAX: usize = 4096;

/// Damaged stretches of a journal that a report lists; the rest is only counted.
pub const JOURNAL_DAMAGES_LISTED_MAX: usize = 1000;

/// Deepest nesting of containers in a v1 pickle.
pub const PICKLE_DEPTH_MAX: usize = 1000;

/// Most opcodes read from a v1 pickle.
pub const PICKLE_OPCODES_MAX: usize = 1_000_000;

/// Most nodes of the value tree that a v1 payload expands to.
pub const PICKLE_NODES_MAX: usize = 1_000_000;

/// Numbers of memo entries in a v1 pickle lie below this. A pickler numbers no more objects than it
/// writes opcodes.
pub const PICKLE_MEMO_ENTRIES_MAX: usize = PICKLE_OPCODES_MAX;

/// Most decimal digits of an integer in a v1 pickle that is read as a number. It is CPython's limit
/// too, and keeps the quadratic conversion to decimal short.
pub const PICKLE_INT_DIGITS_MAX: usize = 4300;

/// Bytes of text that a value tree may hold beyond the length of its pickle: a text that is shared by
/// the memo stands in the tree several times.
pub const PICKLE_SHARED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages of this size or more travel in a frame of their own, which the publishing thread writes
/// without holding anybody up. Smaller ones share frames: 64 KiB messages travel a quarter faster so.
pub const CLIENT_OWN_FRAME_BYTES: usize = 128 * 1024;

/// Frames of a name on their way with which another leaves before it is full: each message at once as
/// long as few are under way, larger frames beyond.
pub const CLIENT_EARLY_FRAMES_MAX: usize = 4;

/// Frames that a client may have in flight however long they take: while one is answered, the next is on
/// its way.
pub const CLIENT_FRAMES_IN_FLIGHT_MIN: usize = 2;

/// Size at which a frame is closed when the server is at its slowest, in bytes.
pub const CLIENT_FRAME_BYTES_MIN: usize = 4096;

/// How long a client believes in the shortest round trip that it saw, at least; twice as long at most.
pub const CLIENT_ROUND_TRIP_KEPT: Duration = Duration::from_secs(5);

/// What a frame that waits in a client counts for beyond its bytes.
pub const CLIENT_BATCH_OVERHEAD_BYTES: usize = 256;

/// Waiting frames of a client that get at once what room they will probably need; more of them (many
/// names) grow theirs.
pub const CLIENT_ROOMY_BATCHES_MAX: usize = 4;

/// How long a call that publishes waits for room before that is told.
pub const CLIENT_BLOCKED_TOLD: Duration = Duration::from_millis(100);

/// Names whose messages a publisher counts, so that subscribers can see gaps; further names are not
/// counted.
pub const CLIENT_NAMES_COUNTED_MAX: usize = 65_536;

/// Acknowledgements in one frame, of 16 bytes each, as many as its bytes allow: the server reads a frame
/// from each of its peers in turn, and acknowledgements must not fall behind the messages.
pub const CLIENT_ACKS_PER_FRAME: usize = FRAME_BYTES_TARGET / 16;

/// Frames of acknowledgements on their way. The first leaves at once, further ones when they are full.
pub const CLIENT_ACK_FRAMES_MAX: usize = 4;

/// Acknowledgements that wait in a client; further ones are dropped, and the server delivers again.
pub const CLIENT_ACKS_WAITING_MAX: usize = 1 << 20;

/// Runs (a publisher under a name) in which a subscriber looks for gaps.
pub const CLIENT_RUNS_TRACKED_MAX: usize = 65_536;

/// Frames received in one turn before a client's receiving thread looks at anything else.
pub const CLIENT_FRAMES_PER_TURN: usize = 64;

/// Frames that wait in one `Subscription`.
pub const CLIENT_SUBSCRIPTION_FRAMES_MAX: usize = 256;

/// Bytes that wait in one `Subscription`, beyond a first frame.
pub const CLIENT_SUBSCRIPTION_BYTES_MAX: usize = 8 * 1024 * 1024;
