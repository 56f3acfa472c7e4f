//! Every fixed limit, in one place; each name ends with its unit. Limits that users set have their defaults in [`crate::config`].

use std::time::Duration;

/// Longest name of a message, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 255;

/// Longest name of a client, in bytes of UTF-8: each connection keeps it, and log lines show it.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;

/// Bytes of a message's properties: its headers and its reply address.
pub const PROPERTIES_BYTES_MAX: usize = 64 * 1024;

/// Most frames before a request's body, including the empty delimiter; a reply repeats them.
pub const ENVELOPE_FRAMES_MAX: usize = 7;

/// Bytes of a request's envelope, which its reply repeats.
pub const ENVELOPE_BYTES_MAX: usize = 2048;

/// Frames of one request. A connection that sends more is closed.
pub const FRAMES_PER_REQUEST_MAX: usize = 64;

/// Bytes of the identity that a peer may announce in its handshake.
pub const IDENTITY_BYTES_MAX: usize = 255;

/// Bytes of the command that ends a handshake.
pub const HANDSHAKE_BYTES_MAX: usize = 4096;

/// Bytes of a command after the handshake.
pub const COMMAND_BYTES_MAX: usize = 2048;

/// Bytes of one subscription: more than the longest name takes.
pub const SUBSCRIPTION_BYTES_MAX: usize = 1024;

/// Bytes of a native request with several records or acknowledgements. A longer request must hold a single message, so that
/// no request keeps the broker for more than a few milliseconds.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a request up to which the broker's thread checks it: a payload of 64 KiB, and the rest of its dict. A larger one
/// goes to another thread if checking may take milliseconds (a dict takes up to 60 ms/MiB, a record 2.5 ms/MiB), or if it holds
/// several messages with checksums, which would take a fifth of the broker's time.
pub const CHECKED_AT_ONCE_BYTES_MAX: usize = 65 * 1024;

/// Bytes of a request, or of a message to convert, up to which the first of two threads does the work. The second one takes
/// what is larger, so that small ones never wait seconds behind it.
pub const CHECKED_BESIDE_BYTES_MAX: usize = 1024 * 1024 + REQUEST_OVERHEAD_BYTES;

/// Bytes of the requests that each of those threads checks or has queued; a single one may be larger. Beyond it, further
/// requests for that thread wait in their connections.
pub const CHECKING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The number of those requests.
pub const CHECKING_MAX: usize = 64;

/// Large messages that are being converted on that thread at a time, to be redelivered or because their delay is over.
pub const CARRYING_MAX: usize = 8;
/// The bytes of those messages; a single one may be larger.
pub const CARRYING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of converted frames that are kept for the next redelivery of their messages: twice what may be in conversion. A
/// single one may be larger.
pub const CARRIED_KEPT_BYTES_MAX: usize = 2 * CARRYING_BYTES_MAX;
/// Bytes that keeping such a frame takes in addition.
pub const CARRIED_KEPT_OVERHEAD_BYTES: usize = 128;

/// Bytes of the ids in one acknowledgement request. Clients send up to as many.
pub const ACK_BYTES_MAX: usize = 512 * 1024;

/// Messages up to this size are copied when they become pending: a message that stays in its receive buffer pins the whole
/// buffer, while only the message is counted.
pub const PENDING_COPY_BYTES_MAX: usize = 32 * 1024;

/// How many times larger than a pending message the frame may be whose buffer the message shares, and so how much more than
/// its counted size it may pin. Clients send smaller frames; a message from a larger one is copied.
pub const KEPT_FRAME_SHARE_MAX: usize = 4;

/// Publishers whose sequence numbers the server remembers, to recognise a record that is sent again.
pub const PUBLISHERS_REMEMBERED_MAX: usize = 65_536;

/// Runs of sequence numbers remembered for one publisher. Only a rejected frame splits a run.
pub const SEQUENCE_RUNS_MAX: usize = 64;

/// Sequence numbers of one publisher, up to its highest, for which the server remembers a digest of 4 bytes, to tell a message that is
/// sent again from another one with its number: as many empty messages as a client has in flight, which are 4 MiB.
pub const NUMBERS_REMEMBERED_MAX: usize = 68 * 1024;
/// The same for all publishers together: 32 MiB. Those that have been silent longest are forgotten first.
pub const NUMBERS_REMEMBERED_MAX_ALL: usize = 8 * 1024 * 1024;

/// Names for which the broker caches who subscribes to them.
pub const NAMES_CACHED_MAX: usize = 65_536;

/// Names for which the broker counts messages separately, once somebody has asked for such counts: some 1 MiB. Later names are
/// counted together.
pub const NAMES_COUNTED_MAX: usize = 10_000;

/// Questions about the server that wait for the broker's thread, which answers one per turn.
pub const QUESTIONS_MAX: usize = 64;

/// Entries in one answer about the server.
pub const INSPECTED_MAX: usize = 256;

/// Table slots that one answer looks at: most of them may be empty.
pub const INSPECTED_LOOKS_MAX: usize = 4096;

/// Due messages that one turn resends.
pub const RESENDS_PER_TURN_MAX: usize = 4096;

/// Bytes of due messages that one turn resends; the last message may exceed it.
pub const RESEND_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;

/// Different names of the due messages that one turn resends: after a change of the subscriptions, each name needs a look-up
/// for each length of the subscribed prefixes.
pub const RESEND_NAMES_PER_TURN_MAX: usize = 512;

/// Size at which a frame of several records is closed, in bytes: large, because every frame costs each subscriber several thread switches.
pub const FRAME_BYTES_TARGET: usize = 512 * 1024;

/// How long a message waits after a failed callback, in a group without backoff: a poison message must not keep all members busy.
pub const CLIENT_CALLBACK_RETRY: Duration = Duration::from_secs(1);

/// Bytes of a publisher's own key for a message.
pub const KEY_BYTES_MAX: usize = 255;

/// Bytes of the name of a payload's type. Each message of the type carries it.
pub const TYPE_NAME_BYTES_MAX: usize = 255;

/// Idempotency keys that are remembered, of all publishers together.
pub const KEYS_MAX: usize = 500_000;

/// Bytes of remembered keys, each counted with its name and [`KEY_OVERHEAD_BYTES`].
pub const KEYS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a remembered key takes in addition to itself and its name: its entries in two tables.
pub const KEY_OVERHEAD_BYTES: usize = 192;

/// Expired keys that one turn forgets.
pub const KEYS_FORGOTTEN_PER_TURN_MAX: usize = 4096;

/// Names with a retained message.
pub const RETAINED_NAMES_MAX: usize = 100_000;

/// Bytes of retained messages, each counted with its name and [`RETAINED_OVERHEAD_BYTES`].
pub const RETAINED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a retained message takes in addition to itself and its name: its entries in two tables.
pub const RETAINED_OVERHEAD_BYTES: usize = 256;

/// Retained messages in one answer that lists them.
pub const RETAINED_LISTED_MAX: usize = 256;

/// Retained messages that one turn looks at for subscriptions that ask for last values, or that one request looks at to list
/// them: less than a microsecond each.
pub const RETAINED_LOOKS_PER_TURN_MAX: usize = 4096;

/// Last values that one subscription gets out of turn, because their names are published under meanwhile; of further names,
/// the last value may arrive after a newer message. No other limit counts these messages, so they are few.
pub const RETAINED_EARLY_MAX: usize = 64;

/// Longest delay of a message, in days. A longer one is rejected: its unit is probably wrong.
pub const DELAY_DAYS_MAX: u64 = 3650;

/// Delayed messages that become due and that one turn delivers.
pub const DELAYED_PER_TURN_MAX: usize = 4096;

/// Expired messages that one turn removes, each counted for each of its groups; the last message may exceed it.
pub const EXPIRED_PER_TURN_MAX: usize = 4096;

/// How often the wall clock is read while a message waits for a time of day: the clock can be set, and jumps ahead when a
/// machine wakes from sleep.
pub const CLOCK_LOOKED_AT: Duration = Duration::from_secs(1);

/// Names with pending messages that one turn looks at after somebody subscribed to a prefix of them.
pub const NAMES_WOKEN_PER_TURN_MAX: usize = 1024;

/// Bytes of a request in addition to its message: name, separator, version, the length of a record.
pub const REQUEST_OVERHEAD_BYTES: usize = NAME_BYTES_MAX + 64;

/// Bytes that stay queued for a slow subscriber whose oldest frames are dropped.
pub const DROP_KEEP_BYTES: usize = 256 * 1024;

/// How long a connection may take to say what it is.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Connections that have not said what they are. Beyond it, the oldest of them is closed.
pub const HANDSHAKES_MAX: usize = 4096;

/// How often an incomplete request is checked for progress, which is [`PARTIAL_BYTES_MIN`].
pub const PARTIAL_CHECKED: Duration = Duration::from_secs(10);
/// Bytes of an incomplete request that must arrive within [`PARTIAL_CHECKED`].
pub const PARTIAL_BYTES_MIN: u64 = 64 * 1024;

/// Bytes of incomplete requests, of all connections together. Beyond it, the connection that holds most is closed.
pub const PARTIAL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of answers that wait, of all connections together. Beyond it, of the connections that do not read, the one with most is closed.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of answers (to PINGs, and to subscriptions that ask for one) that wait for a subscriber. Beyond it, the server reads
/// nothing from it until it takes some.
pub const SUBSCRIBER_OWN_BYTES_MAX: usize = 64 * 1024;

/// Bytes of answers that wait for a requester. Beyond it, the server reads nothing from it until it takes some: a small request
/// can ask for a large answer.
pub const REQUESTER_OWN_BYTES_MAX: usize = 1024 * 1024;

/// Age of a subscriber's oldest frame at which its queue begins to stand.
pub const SOJOURN_TARGET: Duration = Duration::from_millis(10);
/// How long a queue must stand before its publishers are held back.
pub const SOJOURN_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes that the broker reads from one connection before it looks at the others.
pub const READ_BYTES_PER_TURN_MAX: usize = 256 * 1024;

/// Bytes that one turn queues for subscribers before it writes, each frame counted for each of them: what the system copies in
/// about a millisecond.
pub const QUEUED_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;

/// With many subscribers one turn may queue more than [`QUEUED_BYTES_PER_TURN_MAX`]: this many bytes for each subscriber of this turn's most subscribed frame, but no
/// more than a quarter of what may wait for all. Writing that much takes about as long as the call and the wake-up of the write, so
/// that a turn is not all calls.
pub const QUEUED_BYTES_EACH_PER_TURN_MAX: usize = 32 * 1024;

/// Requests or subscriptions that the broker takes from one connection before it looks at the others.
pub const EVENTS_PER_TURN_MAX: usize = 256;

/// Average time that a connection's requests may take in a turn. Beyond it the connection counts as costly, and is served after
/// all others.
pub const COSTLY_READ_TIME: Duration = Duration::from_millis(1);

/// The most that one turn adds to that average: a single slow turn, in which the system may have taken the processor away, does
/// not make a quick connection costly.
pub const COSTLY_READ_TIME_EACH_MAX: Duration = Duration::from_millis(7);

/// Bytes of a request from which on the broker measures its time: smaller ones are cheap, except those that look at many dead
/// letters, groups or retained messages.
pub const COSTLY_REQUEST_BYTES: usize = 8 * 1024;

/// How long the broker reads before it writes what it has read led to.
pub const READ_TIME_PER_TURN_MAX: Duration = Duration::from_millis(5);

/// How long the broker reads from connections that are in their handshake, after the others.
pub const HANDSHAKE_TIME_PER_TURN_MAX: Duration = Duration::from_millis(1);

/// Connections that one turn accepts from a listener.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;

/// Bytes that are sealed at once for a connection with CURVE, unless a single frame has more.
pub const SEALED_AT_ONCE_BYTES: usize = 64 * 1024;
/// Bytes that are sealed for one connection before the others have their turn: some milliseconds.
pub const SEALED_PER_CALL_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that are sealed in one turn for all connections; the last frame may exceed it.
pub const SEALED_PER_TURN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Stall graces within which a connection must take a sealed frame over [`SEALED_AT_ONCE_BYTES`] while others wait for its memory.
pub const SEALED_TAKEN_WITHIN_GRACES: u32 = 10;

/// How long a listener pauses when the system has no descriptor left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Records that one turn converts to the original format.
pub const TRANSCODED_PER_TURN_MAX: usize = 512;

/// Bytes of records that one turn converts to the original format; the last record may exceed it. Converting takes up to
/// 12 ms/MiB.
pub const TRANSCODED_BYTES_PER_TURN_MAX: usize = 384 * 1024;

/// Bytes of frames that wait to be converted. Beyond it, the broker reads no further requests.
pub const TRANSCODING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_MAX_EACH: usize = 1_000_000;

/// Bytes of one connection's subscriptions, each counted with [`SUBSCRIPTION_OVERHEAD_BYTES`].
pub const SUBSCRIPTION_BYTES_MAX_EACH: usize = 256 * 1024 * 1024;

/// Subscriptions of all connections together.
pub const SUBSCRIPTIONS_MAX_ALL: usize = 4_000_000;

/// Bytes of all connections' subscriptions, counted likewise.
pub const SUBSCRIPTION_BYTES_MAX_ALL: usize = 1024 * 1024 * 1024;

/// What a subscription takes in addition to its own bytes: its entries in two tables, and what the allocator rounds up.
pub const SUBSCRIPTION_OVERHEAD_BYTES: usize = 128;

/// Subscriptions of one connection on the request port to prefixes and patterns: a message may match all of them, and is then
/// delivered for each.
pub const WIDE_SUBSCRIPTIONS_MAX_EACH: usize = 1024;

/// Subscriptions of all connections to patterns: a name that was not seen before may have to be matched against each.
pub const PATTERNS_MAX_ALL: usize = 100_000;

/// Bytes of credit that one subscription may have.
pub const CREDIT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Bytes that a subscription which holds publishers back may get beyond its credit: what they send before they are held back.
pub const OVERDRAFT_BYTES_MAX: i64 = 8 * 1024 * 1024;

/// Bytes that the server puts aside from a connection with subscriptions that is held back, before it stops reading it: twice what
/// a client has in flight by default. Behind them may come credit that others wait for.
pub const ASIDE_BYTES_MAX_EACH: usize = 8 * 1024 * 1024;
/// The same for all connections.
pub const ASIDE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Groups, durable or not.
pub const GROUPS_MAX: usize = 100_000;
/// Durable groups, which stay without members: a message is a job of each group that it matches, and compaction keeps them all in memory.
pub const DURABLE_GROUPS_MAX: usize = 10_000;
/// Requests that wait for the end of one durable group's deletion.
pub const DELETING_MAX: usize = 16;
/// Groups in one answer that lists them.
pub const GROUPS_LISTED_MAX: usize = 256;

/// Subscriptions of one connection that belong to groups: all of them give back what they have when it ends.
pub const MEMBERSHIPS_MAX_EACH: usize = 1000;

/// Unacknowledged messages that one member of a group may have.
pub const IN_FLIGHT_MAX: u32 = 8192;

/// Delays of a group before further attempts.
pub const BACKOFF_DELAYS_MAX: usize = 16;

/// Dead letters may take the limits on pending messages and their bytes, divided by this.
pub const LETTERS_SHARE: usize = 2;

/// Bytes that a dead letter counts for in addition to its message and its reason: its entries in three tables.
pub const LETTER_OVERHEAD_BYTES: usize = 256;

/// Dead letters in one answer that lists them.
pub const LETTERS_LISTED_MAX: usize = 256;

/// Dead letters that one request replays, purges, or looks at to find those of a name.
pub const LETTERS_CHANGED_MAX: usize = 1024;

/// Groups that one request to replay or purge dead letters notifies, those of each letter added up: its own group, and each durable group that had
/// settled the message, for which the journal gets an entry. The last letter may exceed it.
pub const LETTERS_TOLD_MAX: usize = 16 * 1024;

/// Messages after their last attempt that one turn makes dead letters.
pub const LETTERS_MADE_PER_TURN_MAX: usize = 4096;

/// Jobs of messages that match several groups which one turn adds or makes ready: about a microsecond each.
pub const JOBS_CHANGED_PER_TURN_MAX: usize = 4096;

/// Messages that one turn takes back from members that are gone.
pub const JOBS_TAKEN_BACK_PER_TURN_MAX: usize = 8192;

/// Messages that wait for one subscription's credit in their order; more are delivered again after their interval.
pub const OWED_MESSAGES_MAX_EACH: usize = 65_536;
/// The same for all subscriptions together, each message counted for each of them.
pub const OWED_MESSAGES_MAX_ALL: usize = 4_000_000;

/// Messages that waited for credit or for a member of a group, which one turn delivers.
pub const OWED_PER_TURN_MAX: usize = 4096;

/// Subscriptions of gone connections that one turn ends.
pub const SUBSCRIPTIONS_ENDED_PER_TURN_MAX: usize = 4096;

/// Requests that wait for the journal. Beyond it, the broker reads no further ones.
pub const PARKED_REQUESTS_MAX: usize = 65_536;

/// Bytes of requests that wait for the journal. Beyond it, the broker reads no further ones.
pub const PARKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Descriptors that connections leave free, for the journal and for connections that are accepted only to be closed. Where the
/// system allows few descriptors, a quarter of them.
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

/// How long a client may answer a request that it got: at least half of this time, counted from the last delivery. It covers the
/// longest job that somebody would still wait for.
pub const ANSWERS_ALLOWED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after an answer it may be sent again, by a client that lost its connection meanwhile.
pub const ANSWER_REPEATED_FOR: Duration = Duration::from_secs(60);

/// Requests whose answers are permitted although their client may not publish under the reply name otherwise, of all clients together.
/// Beyond it, the oldest permission ends. With names of 255 bytes they take some 50 MiB.
pub const ANSWERS_ALLOWED_MAX: usize = 65_536;
/// The same for those whose answers go to one name; beyond it, further ones may not be answered.
pub const ANSWERS_ALLOWED_MAX_EACH: usize = 8192;

/// Cached decisions on who may publish under which name, of all clients together. The cache is emptied when it is full.
pub const DECISIONS_KEPT_MAX: usize = 65_536;

/// Logins with a password that wait to be checked, which takes some 30 ms each, so that all of them are checked within the time of a
/// handshake.
pub const LOGINS_WAITING_MAX: usize = 256;

/// How many of those places are reserved for addresses with a recent successful login, so that strangers do not keep them out.
pub const LOGINS_WAITING_KNOWN: usize = 64;

/// Addresses with a recent successful login.
pub const LOGINS_KNOWN_MAX: usize = 4096;

/// How long after a successful login its address has a reserved place.
pub const LOGINS_KNOWN_FOR: Duration = Duration::from_secs(60 * 60);
/// Waiting logins of one address: it must not keep others waiting for more than about a second.
pub const LOGINS_WAITING_EACH_MAX: usize = 32;

/// Failed logins of one address, after which no further one is checked until [`LOGIN_FAILURES_FOR`] after the first of them.
pub const LOGIN_FAILURES_MAX: u32 = 20;

/// How long failed logins of an address count.
pub const LOGIN_FAILURES_FOR: Duration = Duration::from_secs(60);

/// Addresses whose failed logins are counted.
pub const LOGIN_FAILURES_REMEMBERED_MAX: usize = 16_384;

/// Most opcodes read from a v1 pickle.
pub const PICKLE_OPCODES_MAX: usize = 1_000_000;

/// Most nodes of the value tree that a v1 payload expands to.
pub const PICKLE_NODES_MAX: usize = 1_000_000;

/// Memo entries in a v1 pickle have numbers below this. A pickler numbers no more objects than it writes opcodes.
pub const PICKLE_MEMO_ENTRIES_MAX: usize = PICKLE_OPCODES_MAX;

/// Most decimal digits of an integer in a v1 pickle. It is CPython's limit, too, and bounds the conversion to decimal, whose time is
/// quadratic.
pub const PICKLE_INT_DIGITS_MAX: usize = 4300;

/// Bytes of text that a value tree may hold in addition to the length of its pickle: a text that the memo shares is in the tree
/// several times.
pub const PICKLE_SHARED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages of this size or more get a frame of their own, which the publishing thread writes while others go on. Smaller ones
/// share frames, which makes messages of 64 KiB a quarter faster.
pub const CLIENT_OWN_FRAME_BYTES: usize = 128 * 1024;

/// Bytes of a received frame beyond a client's `max_message_size`: frames of several messages, and servers whose limit is a little larger.
pub const CLIENT_FRAME_SLACK_BYTES: usize = 1024 * 1024;

/// With fewer in-flight frames per name than this, a partial frame is sent immediately; otherwise messages gather in
/// larger frames.
pub const CLIENT_EARLY_FRAMES_MAX: usize = 4;

/// Frames that a client may always have in flight, however long they take: while one is answered, the next is in flight.
pub const CLIENT_FRAMES_IN_FLIGHT_MIN: usize = 2;

/// Smallest size at which a frame is closed, when the server is slow, in bytes.
pub const CLIENT_FRAME_BYTES_MIN: usize = 4096;

/// How long a client keeps the shortest round trip that it has measured: at least this, at most twice as long; longer where the
/// target delay is more than an eighth of it.
pub const CLIENT_ROUND_TRIP_KEPT: Duration = Duration::from_secs(5);

/// What a frame that waits in a client counts for in addition to its bytes.
pub const CLIENT_BATCH_OVERHEAD_BYTES: usize = 256;

/// Waiting frames of a client that are allocated at their probable size at once; further ones (many names) grow.
pub const CLIENT_ROOMY_BATCHES_MAX: usize = 4;

/// How long a call that publishes waits for room before `on_blocked` is called.
pub const CLIENT_BLOCKED_TOLD: Duration = Duration::from_millis(100);

/// Names whose messages a publisher counts, so that subscribers can see gaps; further names are not counted.
pub const CLIENT_NAMES_COUNTED_MAX: usize = 65_536;

/// Acknowledgements in one frame, of 16 bytes each, as many as the frame's limit allows: the server reads one frame from each
/// peer in turn, and acknowledgements must not fall behind the messages.
pub const CLIENT_ACKS_PER_FRAME: usize = ACK_BYTES_MAX / 16;

/// Frames of acknowledgements in flight. The first leaves at once, further ones when they are full.
pub const CLIENT_ACK_FRAMES_MAX: usize = 4;

/// Acknowledgements that wait in a client; further ones are dropped, and the server delivers again.
pub const CLIENT_ACKS_WAITING_MAX: usize = 1 << 20;

/// Runs (the messages of one publisher under one name) in which a subscriber looks for gaps.
pub const CLIENT_RUNS_TRACKED_MAX: usize = 65_536;

/// Frames that a client receives in one turn before it does anything else, and for which it calls one callback before the next one's turn.
pub const CLIENT_FRAMES_PER_TURN: usize = 64;

/// Messages of a callback that were acknowledged late, whose copies are acknowledged without calling it again.
pub const CLIENT_COPIES_KNOWN_MAX: usize = 8192;

/// Bytes of messages that a subscription may have received without having handled them, by default.
pub const CLIENT_CREDIT_BYTES: u64 = 4 * 1024 * 1024;
/// The same for a member of a group; less, because what one member has, others do not get.
pub const CLIENT_GROUP_CREDIT_BYTES: u64 = 256 * 1024;
