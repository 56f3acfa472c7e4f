//! In what the server is allowed to differ from libzmq 4.3.4, and why.

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is closed.
    Closed,
    /// What follows is answered.
    Kept,
}

use Fate::{Closed, Kept};

/// An allowed difference: what a peer says, and what either end makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) ours: Fate,
    pub(super) libzmq: Fate,
    pub(super) why: &'static str,
}

macro_rules! differences {
    ($($name:ident: $what:literal, $ours:ident, $libzmq:ident, $why:literal;)*) => {
        $(pub(super) const $name: Difference =
            Difference { what: $what, ours: $ours, libzmq: $libzmq, why: $why };)*
        /// All of them.
        pub(super) const ALL: &[Difference] = &[$($name),*];
    };
}

// What is said is the same otherwise, but for these, which the comparison knows:
// - The server says its major version with its signature, and its (empty) ZMTP 2.0 identity with its socket
//   type; libzmq waits for the peer's next byte. Every peer takes both.
// - READY: the order of its properties, and an Identity that is empty, mean nothing.
// - PONGs may overtake answers, or be overtaken: libzmq answers PINGs in another thread than requests.
// - Before the end of a connection, what was not sent yet may be lost, by either end.
differences! {
    ZMTP_1: "ZMTP 1.0: no signature, or revision 0", Closed, Kept,
        "libzmq before 3.2 is beyond support, and its subscribers filter for themselves: each would get everything.";
    REVISION_2: "revision 2", Kept, Kept,
        "The specification counts revisions 1 and 2 as ZMTP 2.0; libzmq takes 2 for 3.1, and no library is known to say it.";
    SOCKET_TYPE_V2: "a wrong socket type, by ZMTP 2.0", Closed, Kept,
        "A socket on the wrong port would wait for ever; libzmq does not look at the byte.";
    IDENTITY_V2: "an identity by ZMTP 2.0 as a command, or with more behind it", Closed, Kept,
        "It is one frame of a message by the specification; libzmq takes the first frame, or what follows a command.";
    COMMAND_V2: "a command, by ZMTP 2.0", Closed, Kept,
        "ZMTP 2.0 has none; libzmq drops what has the bit.";
    FLAGS: "a frame with reserved flags, or a command with more behind it", Closed, Kept,
        "The specification forbids both; whoever sends them speaks something else, or is out of step.";
    READY_AS_MESSAGE: "READY as a message", Closed, Kept,
        "It is a command by the specification; libzmq does not look at its flags.";
    PROPERTY_NAMES: "a wrong socket type, under a name in other letters", Closed, Kept,
        "Names of properties have no case by the specification; libzmq compares it.";
    PROPERTY_CUT: "a property that ends with its name or length", Closed, Kept,
        "It overruns its command; libzmq overlooks it when nothing at all is left.";
    WRONG_SOCKET: "a wrong socket type", Closed, Closed,
        "The server says ERROR first, so that the peer's library gives up and can say why.";
    LIMITS: "an identity, handshake, command or subscription that is too long, or a request of 65 frames", Closed, Kept,
        "What grows with input has a limit.";
    COMMAND_CUT: "a command that overruns its frame", Closed, Kept,
        "Its sender is out of step; libzmq drops it.";
    SHORT_PING: "a PING of less than 2 bytes", Closed, Kept,
        "libzmq answers with memory that lies behind it.";
    TIME_TO_LIVE: "a PING with a time to live over 65.5 s", Kept, Closed,
        "libzmq counts its milliseconds in 16 bits.";
    SUBSCRIBE_FOR_ROUTER: "SUBSCRIBE or CANCEL on the port for requests", Kept, Kept,
        "Unknown commands are ignored; libzmq hands these to the application, as a message.";
    SUBSCRIPTION_IN_PARTS: "a subscription as a part of a message of several frames", Kept, Kept,
        "It is a message of one frame by the specification; libzmq looks at every part.";
    BEHIND_THE_NAME: "a subscription that says more than a name and its |", Kept, Kept,
        "It counts up to its |, see wire-format.md: what a SUB socket does not want of that it drops itself.";
}
