//! Every fixed bound in one place, units last in each name. Bounds that users set have their defaults in [`crate::config`].

use std::time::Duration;

/// Longest name of a message, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;

/// Most bytes of a client's name: it is kept for each connection, and stands in lines of the log.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;

/// Bytes of a message's properties: headers, and where answers go.
pub const PROPERTIES_BYTES_MAX: usize = 64 * 1024;

/// Most frames before a request's body, its empty delimiter included, and so the most that a reply repeats.
pub const ENVELOPE_FRAMES_MAX: usize = 7;

/// Bytes of a request's envelope, which its reply repeats.
pub const ENVELOPE_BYTES_MAX: usize = 2048;

/// Frames of one request, beyond which its connection is closed.
pub const FRAMES_PER_REQUEST_MAX: usize = 64;

/// Bytes of the identity that a peer may choose in its handshake.
pub const IDENTITY_BYTES_MAX: usize = 255;

/// Bytes of the command that ends a handshake.
pub const HANDSHAKE_BYTES_MAX: usize = 4096;

/// Bytes of a command after the handshake.
pub const COMMAND_BYTES_MAX: usize = 2048;

/// Bytes of one subscription: more than the longest name takes.
pub const SUBSCRIPTION_BYTES_MAX: usize = 1024;

/// Bytes of a native request that holds several records or acknowledgements. A longer one holds one
/// message alone, so that no request takes the broker more than some milliseconds.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a request that is always checked on the broker's thread: 64 KiB of payload, and what a dict holds beside it. A
/// larger one has another thread if it may take milliseconds (a dict up to 60 ms a MiB, a record 2.5 ms a MiB), or holds several
/// messages whose checksums are checked, which take a fifth of the broker's time otherwise.
pub const CHECKED_AT_ONCE_BYTES_MAX: usize = 65 * 1024;

/// Bytes of a request, or of a message to be carried over, of which one thread takes care; another one does of those
/// beyond, so that they keep nobody waiting for seconds.
pub const CHECKED_BESIDE_BYTES_MAX: usize = 1024 * 1024 + REQUEST_OVERHEAD_BYTES;

/// Bytes and number of the requests that are being checked on each of those threads, or wait for it; the first of them
/// may have more bytes. Further ones that take long wait with their connections.
pub const CHECKING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// See [`CHECKING_BYTES_MAX`].
pub const CHECKING_MAX: usize = 64;

/// Number and bytes of the large messages that are carried over on that thread at a time, to be sent again; the
/// first of them may have more bytes. So may those that came for later, and are published once they are carried over.
pub const CARRYING_MAX: usize = 8;
/// See [`CARRYING_MAX`].
pub const CARRYING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of native frames of messages in the original format that are kept to be delivered again, all that may be
/// in flight and as many more; the last one may have more by itself.
pub const CARRIED_KEPT_BYTES_MAX: usize = 2 * CARRYING_BYTES_MAX;
/// Bytes that keeping such a frame takes besides it.
pub const CARRIED_KEPT_OVERHEAD_BYTES: usize = 128;

/// Bytes of the ids in one acknowledgement, for the same reason. Clients send as many.
pub const ACK_BYTES_MAX: usize = 512 * 1024;

/// Messages up to this size are copied when they become pending: one that stays in the buffer it was
/// received in pins all of that buffer, and only the message counts.
pub const PENDING_COPY_BYTES_MAX: usize = 32 * 1024;

/// Times the size of a pending message that the frame may have whose buffer it shares, and so the times its
/// counted size that it may pin. Clients close their frames earlier; what comes in a larger one is copied.
pub const KEPT_FRAME_SHARE_MAX: usize = 4;

/// Publishers whose sequences the server remembers, to recognise a re-sent record.
pub const PUBLISHERS_REMEMBERED_MAX: usize = 65_536;

/// Runs of sequence numbers remembered for one publisher. Only a rejected frame splits a run.
pub const SEQUENCE_RUNS_MAX: usize = 64;

/// Numbers of one publisher, up to its highest, of which the server remembers the content, in 4 bytes each, to tell a message that is sent
/// again from another one under its number: as many as the 4 MiB hold that a client has in flight, also of messages without a payload.
pub const NUMBERS_REMEMBERED_MAX: usize = 68 * 1024;
/// The same of all publishers together: 32 MiB. Those who were silent longest are forgotten first.
pub const NUMBERS_REMEMBERED_MAX_ALL: usize = 8 * 1024 * 1024;

/// Names whose subscription state the broker caches.
pub const NAMES_CACHED_MAX: usize = 65_536;

/// Names of which the broker counts what is published under each, once somebody looks: some 1 MiB. Those that come later are
/// counted together.
pub const NAMES_COUNTED_MAX: usize = 10_000;

/// Questions about the server that wait for the broker's thread, which answers one a turn.
pub const QUESTIONS_MAX: usize = 64;

/// What one answer about the server lists.
pub const INSPECTED_MAX: usize = 256;

/// Places that are looked at for one answer: most of a table may be empty.
pub const INSPECTED_LOOKS_MAX: usize = 4096;

/// Due messages that one turn resends.
pub const RESENDS_PER_TURN_MAX: usize = 4096;

/// Bytes of due messages that one turn resends; the last one may go beyond it.
pub const RESEND_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;

/// Names of the due messages that one turn resends: after a change of the subscriptions, who wants a name
/// takes a look-up for each length that a subscribed prefix has.
pub const RESEND_NAMES_PER_TURN_MAX: usize = 512;

/// Size at which a frame of several records is closed, in bytes: large, because every frame costs each subscriber some thread switches.
pub const FRAME_BYTES_TARGET: usize = 512 * 1024;

/// After how long a group without delays gets a message again for which a callback failed: a poison message must not keep all members busy.
pub const CLIENT_CALLBACK_RETRY: Duration = Duration::from_secs(1);

/// Bytes of a publisher's own key for a message.
pub const KEY_BYTES_MAX: usize = 255;

/// Bytes of the name of a payload's type. Each message of the type carries it.
pub const TYPE_NAME_BYTES_MAX: usize = 255;

/// Keys that are remembered, those of all publishers together.
pub const KEYS_MAX: usize = 500_000;

/// Bytes of remembered keys, each counted with its name and [`KEY_OVERHEAD_BYTES`].
pub const KEYS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a remembered key takes beyond its name and itself: its places in two tables.
pub const KEY_OVERHEAD_BYTES: usize = 192;

/// Keys that count no longer, and which one turn forgets.
pub const KEYS_FORGOTTEN_PER_TURN_MAX: usize = 4096;

/// Names of which a message is retained.
pub const RETAINED_NAMES_MAX: usize = 100_000;

/// Bytes of retained messages, each counted with its name and [`RETAINED_OVERHEAD_BYTES`].
pub const RETAINED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a retained message takes beyond its name and itself: its places in two tables.
pub const RETAINED_OVERHEAD_BYTES: usize = 256;

/// Retained messages in one answer that lists them.
pub const RETAINED_LISTED_MAX: usize = 256;

/// Retained messages that one turn looks at for subscriptions with the last values, or one request that lists them: a look
/// takes less than a microsecond.
pub const RETAINED_LOOKS_PER_TURN_MAX: usize = 4096;

/// Names whose last values one subscription may get before their turn, because something is published under them meanwhile;
/// those of further names may come behind that. As no other limit counts them, they are few.
pub const RETAINED_EARLY_MAX: usize = 64;

/// Days that a message may be delivered later than it is published. A longer delay is likely a wrong unit, and is rejected.
pub const DELAY_DAYS_MAX: u64 = 3650;

/// Messages whose time has come and which one turn delivers.
pub const DELAYED_PER_TURN_MAX: usize = 4096;

/// Messages whose time is over and which one turn gives up, and the groups of each; the last one may have more of them.
pub const EXPIRED_PER_TURN_MAX: usize = 4096;

/// How often the clock on the wall is looked at as long as a message waits for a time of the day: it may be set, and
/// stands ahead after a machine slept.
pub const CLOCK_LOOKED_AT: Duration = Duration::from_secs(1);

/// Names that one turn looks at because somebody subscribed to a prefix of them.
pub const NAMES_WOKEN_PER_TURN_MAX: usize = 1024;

/// Bytes of a request beyond its message: name, separator, version, the length of a record.
pub const REQUEST_OVERHEAD_BYTES: usize = NAME_BYTES_MAX + 64;

/// Bytes that stay queued for a slow subscriber whose oldest frames are dropped.
pub const DROP_KEEP_BYTES: usize = 256 * 1024;

/// How long a connection may take to say what it is.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Connections that have not said what they are, beyond which the oldest of them is closed.
pub const HANDSHAKES_MAX: usize = 4096;

/// How often a request that is not whole is looked at, and how many bytes of it must have come in meanwhile.
pub const PARTIAL_CHECKED: Duration = Duration::from_secs(10);
/// See [`PARTIAL_CHECKED`].
pub const PARTIAL_BYTES_MIN: u64 = 64 * 1024;

/// Bytes of requests that are not whole, of all connections together, beyond which the one that takes most is closed.
pub const PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of answers that wait for all connections together, beyond which of those that take none the one with most of them is closed.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of answers (to PINGs, and to subscriptions that ask for one) that wait for a subscriber, beyond which
/// it is not read before it takes some.
pub const SUBSCRIBER_OWN_BYTES_MAX: usize = 64 * 1024;

/// Bytes of answers that wait for a requester, beyond which it is not read before it takes some: a small request can ask
/// for a large answer.
pub const REQUESTER_OWN_BYTES_MAX: usize = 1024 * 1024;

/// Age of a subscriber's oldest frame at which its queue begins to stand.
pub const SOJOURN_TARGET: Duration = Duration::from_millis(10);
/// How long a queue must stand before its publishers are held back.
pub const SOJOURN_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes that the broker reads from one connection before it looks at the others.
pub const READ_BYTES_PER_TURN_MAX: usize = 256 * 1024;

/// Bytes that one turn queues for subscribers, each frame counted for each of them, before it writes: what
/// the system copies in about a millisecond.
pub const QUEUED_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;

/// Bytes for each subscriber, of whom the frame with the most in this turn counts; if that is more than
/// [`QUEUED_BYTES_PER_TURN_MAX`], and no more than a quarter of what may wait for all subscribers. To write them takes about as long as the call and the wake-up that each write
/// costs, so that with many subscribers a turn is not all calls.
pub const QUEUED_BYTES_EACH_PER_TURN_MAX: usize = 32 * 1024;

/// Requests or subscriptions that the broker takes from one connection before it looks at the others.
pub const EVENTS_PER_TURN_MAX: usize = 256;

/// How long what a connection sent may take in a turn, on average, before the connection counts as costly, and comes
/// behind all that are not.
pub const COSTLY_READ_TIME: Duration = Duration::from_millis(1);

/// What one turn may add to that average, so that a single one, in which the system may have taken the processor
/// away, does not make a connection costly that was quick before.
pub const COSTLY_READ_TIME_EACH_MAX: Duration = Duration::from_millis(7);

/// Bytes of a request after which the broker looks at the clock: smaller ones cost little, but for those that look at many
/// dead letters, groups or retained messages.
pub const COSTLY_REQUEST_BYTES: usize = 8 * 1024;

/// How long the broker reads before it writes what that caused.
pub const READ_TIME_PER_TURN_MAX: Duration = Duration::from_millis(5);

/// How long the broker reads from connections in their handshake after it read from the others.
pub const HANDSHAKE_TIME_PER_TURN_MAX: Duration = Duration::from_millis(1);

/// Connections that one turn takes from a listener.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;

/// Bytes that are sealed at a time for a connection with CURVE, as long as no single frame has more.
pub const SEALED_AT_ONCE_BYTES: usize = 64 * 1024;
/// Bytes that are sealed for one connection before the others have their turn: some milliseconds.
pub const SEALED_PER_CALL_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are sealed in one turn for all connections; the last frame may go beyond it.
pub const SEALED_PER_TURN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Stall graces in which a connection takes a sealed frame over [`SEALED_AT_ONCE_BYTES`] while others wait for its room.
pub const SEALED_TAKEN_WITHIN_GRACES: u32 = 10;

/// How long a listener pauses when the system has no descriptor left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Records that one turn carries over to the original format.
pub const TRANSCODED_PER_TURN_MAX: usize = 512;

/// Bytes of records that one turn carries over to the original format; the last one may go beyond it. Carrying
/// over takes up to 12 ms a MiB.
pub const TRANSCODED_BYTES_PER_TURN_MAX: usize = 384 * 1024;

/// Bytes of frames that wait to be carried over, beyond which the broker reads no further requests.
pub const TRANSCODING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_MAX_EACH: usize = 1_000_000;

/// Bytes of one connection's subscriptions, each counted with what it costs beyond its own.
pub const SUBSCRIPTION_BYTES_MAX_EACH: usize = 256 * 1024 * 1024;

/// Subscriptions of all connections together.
pub const SUBSCRIPTIONS_MAX_ALL: usize = 4_000_000;

/// Bytes of all connections' subscriptions, counted likewise.
pub const SUBSCRIPTION_BYTES_MAX_ALL: usize = 1024 * 1024 * 1024;

/// What a subscription costs beyond its own bytes: its places in two tables, and what its memory rounds up.
pub const SUBSCRIPTION_OVERHEAD_BYTES: usize = 128;

/// Subscriptions of one connection on the request port to prefixes and patterns: a message may fit all of them, and is
/// looked at for each, and delivered.
pub const WIDE_SUBSCRIPTIONS_MAX_EACH: usize = 1024;

/// Subscriptions of all connections to patterns: each may have to be looked at for a name that was not seen before.
pub const PATTERNS_MAX_ALL: usize = 100_000;

/// Bytes of credit that one subscription may have.
pub const CREDIT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Bytes that a subscription which holds publishers up may get without credit: what they send before they are held.
pub const OVERDRAFT_BYTES_MAX: i64 = 8 * 1024 * 1024;

/// Bytes that a connection with subscriptions may send while it is held back before it is not read: twice what a client
/// has in flight by default. Behind them is credit that others may wait for.
pub const ASIDE_BYTES_MAX_EACH: usize = 8 * 1024 * 1024;
/// The same for all connections.
pub const ASIDE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Groups.
pub const GROUPS_MAX: usize = 100_000;
/// Durable groups, which stay without members: a message is a job of each that it fits, and compaction remembers all.
pub const DURABLE_GROUPS_MAX: usize = 10_000;
/// Requests that wait for the end of one durable group's deletion.
pub const DELETING_MAX: usize = 16;
/// Groups in one answer that lists them.
pub const GROUPS_LISTED_MAX: usize = 256;

/// Subscriptions of one connection that belong to groups: all of them give back what they have when it ends.
pub const MEMBERSHIPS_MAX_EACH: usize = 1000;

/// Messages that one member of a group may have without having acknowledged them.
pub const IN_FLIGHT_MAX: u32 = 8192;

/// Delays of a group before further attempts.
pub const BACKOFF_DELAYS_MAX: usize = 16;

/// Of the limits on pending messages and their bytes, dead letters have one part in this many.
pub const LETTERS_SHARE: usize = 2;

/// Bytes that a dead letter counts for beyond its message and its reason: its places in three tables.
pub const LETTER_OVERHEAD_BYTES: usize = 256;

/// Dead letters in one answer that lists them.
pub const LETTERS_LISTED_MAX: usize = 256;

/// Dead letters that one request replays or purges, or looks at for the name of their messages.
pub const LETTERS_CHANGED_MAX: usize = 1024;

/// Groups that one request to replay or purge dead letters tells of them, those of each letter together; the last letter may have
/// more. A message that was done for many durable groups has the journal say so for each.
pub const LETTERS_TOLD_MAX: usize = 16 * 1024;

/// Messages whose last attempt failed, and which one turn makes dead letters.
pub const LETTERS_MADE_PER_TURN_MAX: usize = 4096;

/// Jobs of messages that fit several groups, which one turn adds or makes ready. A job takes about a microsecond.
pub const JOBS_CHANGED_PER_TURN_MAX: usize = 4096;

/// Messages that members who are gone had, and which one turn takes back.
pub const JOBS_TAKEN_BACK_PER_TURN_MAX: usize = 8192;

/// Messages that wait for one subscription's credit in their order; more are delivered again after their interval.
pub const OWED_MESSAGES_MAX_EACH: usize = 65_536;
/// The same of all subscriptions together, each message counted for each of them.
pub const OWED_MESSAGES_MAX_ALL: usize = 4_000_000;

/// Messages that waited for credit, or of groups, which one turn delivers.
pub const OWED_PER_TURN_MAX: usize = 4096;

/// Subscriptions of a connection that is gone which one turn ends.
pub const SUBSCRIPTIONS_ENDED_PER_TURN_MAX: usize = 4096;

/// Requests that wait for the journal, beyond which the broker reads no further ones.
pub const PARKED_REQUESTS_MAX: usize = 65_536;

/// Bytes of requests that wait for the journal, beyond which the broker reads no further ones.
pub const PARKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Descriptors that connections leave free: for the journal, and for connections that are accepted to be
/// closed. Where the system allows few, it is a quarter of those.
pub const DESCRIPTORS_SPARE: u64 = 64;

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

/// How long a client that got a request may answer it, at least half of this time; a request that is delivered again renews it.
/// As long as jobs take that somebody still waits for.
pub const ANSWERS_ALLOWED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an answer may be sent again once it was given, by a client that lost its connection meanwhile.
pub const ANSWER_REPEATED_FOR: Duration = Duration::from_secs(60);

/// Requests that wait for an answer by a client that may publish nothing else under its name, of all clients together; beyond,
/// the oldest may be answered no longer. With a name of 255 bytes each they take some 50 MiB.
pub const ANSWERS_ALLOWED_MAX: usize = 65_536;
/// The same of those whose answers go to one name; beyond, further ones may not be answered.
pub const ANSWERS_ALLOWED_MAX_EACH: usize = 8192;

/// Names for which it is kept who may publish under them, of all clients together. They are looked up again when there are more.
pub const DECISIONS_KEPT_MAX: usize = 65_536;

/// Logins with a password that wait to be checked, which takes some 30 ms for each: those that wait longest are checked before
/// their handshakes have taken too long.
pub const LOGINS_WAITING_MAX: usize = 256;

/// Those of them that are kept for addresses from which a right login came lately, so that strangers do not keep them out.
pub const LOGINS_WAITING_KNOWN: usize = 64;

/// Addresses from which a right login came lately.
pub const LOGINS_KNOWN_MAX: usize = 4096;

/// How long after a right login its address has its place before others.
pub const LOGINS_KNOWN_FOR: Duration = Duration::from_secs(60 * 60);
/// The same of one address, which is not to keep others waiting for more than about a second.
pub const LOGINS_WAITING_EACH_MAX: usize = 32;

/// Wrong logins of one address after which no further one is checked until [`LOGIN_FAILURES_FOR`] after the first of them.
pub const LOGIN_FAILURES_MAX: u32 = 20;

/// How long wrong logins of an address count.
pub const LOGIN_FAILURES_FOR: Duration = Duration::from_secs(60);

/// Addresses whose wrong logins are counted.
pub const LOGIN_FAILURES_REMEMBERED_MAX: usize = 16_384;

/// Most opcodes read from a v1 pickle.
pub const PICKLE_OPCODES_MAX: usize = 1_000_000;

/// Most nodes of the value tree that a v1 payload expands to.
pub const PICKLE_NODES_MAX: usize = 1_000_000;

/// Numbers of memo entries in a v1 pickle lie below this. A pickler numbers no more objects than it writes opcodes.
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

/// Bytes of a received frame beyond a client's `max_message_size`: frames of several messages, and servers whose limit is a little larger.
pub const CLIENT_FRAME_SLACK_BYTES: usize = 1024 * 1024;

/// With fewer in-flight frames per name than this, a partial frame is sent immediately; otherwise messages gather in
/// larger frames.
pub const CLIENT_EARLY_FRAMES_MAX: usize = 4;

/// Frames that a client may have in flight however long they take: while one is answered, the next is in flight.
pub const CLIENT_FRAMES_IN_FLIGHT_MIN: usize = 2;

/// Size at which a frame is closed when the server is at its slowest, in bytes.
pub const CLIENT_FRAME_BYTES_MIN: usize = 4096;

/// How long a client believes in the shortest round trip that it saw, at least; twice as long at most. Longer where the
/// target delay is more than an eighth of it.
pub const CLIENT_ROUND_TRIP_KEPT: Duration = Duration::from_secs(5);

/// What a frame that waits in a client counts for beyond its bytes.
pub const CLIENT_BATCH_OVERHEAD_BYTES: usize = 256;

/// Waiting frames of a client that get at once what room they will probably need; more of them (many names) grow theirs.
pub const CLIENT_ROOMY_BATCHES_MAX: usize = 4;

/// How long a call that publishes waits for room before that is reported.
pub const CLIENT_BLOCKED_TOLD: Duration = Duration::from_millis(100);

/// Names whose messages a publisher counts, so that subscribers can see gaps; further names are not counted.
pub const CLIENT_NAMES_COUNTED_MAX: usize = 65_536;

/// Acknowledgements in one frame, of 16 bytes each, as many as its bytes allow: the server reads a frame
/// from each of its peers in turn, and acknowledgements must not fall behind the messages.
pub const CLIENT_ACKS_PER_FRAME: usize = ACK_BYTES_MAX / 16;

/// Frames of acknowledgements in flight. The first leaves at once, further ones when they are full.
pub const CLIENT_ACK_FRAMES_MAX: usize = 4;

/// Acknowledgements that wait in a client; further ones are dropped, and the server delivers again.
pub const CLIENT_ACKS_WAITING_MAX: usize = 1 << 20;

/// Runs (a publisher under a name) in which a subscriber looks for gaps.
pub const CLIENT_RUNS_TRACKED_MAX: usize = 65_536;

/// Frames received in one turn before a client looks at anything else, and those that a callback is called for before another one's turn.
pub const CLIENT_FRAMES_PER_TURN: usize = 64;

/// Messages of a callback that were acknowledged late, and of which copies are acknowledged without calling it again.
pub const CLIENT_COPIES_KNOWN_MAX: usize = 8192;

/// Bytes of messages that a subscription may have and not have dealt with, unless it says otherwise.
pub const CLIENT_CREDIT_BYTES: u64 = 4 * 1024 * 1024;
/// The same for a member of a group: what one member has, others do not get.
pub const CLIENT_GROUP_CREDIT_BYTES: u64 = 256 * 1024;
