"""The exceptions. Each says in its text what happened, the value that decided, and what to do next.

All that this package raises is an `Error`, and besides what Python has for it: a ValueError for a value that cannot work, a TimeoutError when time is
over. Only two mistakes in a program are Python's own exceptions, as everywhere: TypeError, for an argument of another type or an option that does
not exist, and what the program's own code raises, such as Ctrl-C in a wait.
"""

from __future__ import annotations

__all__ = [
    "AckRefusedFailure", "AcksDroppedFailure", "AdminError", "AdminNotAllowed", "AdminRefused", "AdminTimedOut", "AlreadySettled",
    "BadFrameFailure", "CallbackFailure", "ChecksumFailure", "CloseTimedOut", "ConnectError", "ConnectNoAnswer", "ConnectNoSuchHost",
    "ConnectNotAHost", "ConnectNotMezzenger", "ConnectRefused", "ConnectRejected", "ConnectSecurity", "ConnectSystem", "ConnectThread",
    "ConnectUnreachable", "ConnectWrongSocket", "Error", "EventsDroppedFailure", "Failure", "Forked", "InvalidFilter", "InvalidName",
    "InvalidOption", "InvalidProperties", "InvalidText", "MissingPackage", "NoReplyWanted", "NoSubscriber", "NotConnected", "NotContiguous",
    "NotSubscribed", "PayloadError", "PingTimedOut", "PublishFailure", "ReceiveError", "ReceiveRefused", "ReceiveTimedOut", "RequestError",
    "RequestFailed", "RequestTimedOut", "SendChecksumMismatch", "SendError", "SendFull", "SendJournalFailed", "SendMalformed",
    "SendNotAllowed", "SendNotYours", "SendPendingFull", "SendRefusedAsTooLarge", "SendShuttingDown", "SendTimedOut", "SendTooLarge",
    "SendTooLargeForServer", "SendUnknown", "SendUnsupportedVersion", "ServerConfigError", "ServerError", "ServerJournalError",
    "ServerListenError", "Stopped", "SubscribeError", "SubscribeNotAllowed", "SubscribeNotConfirmed", "SubscribeRefused",
    "SubscriptionClosed", "SubscriptionFailure", "Unserializable", "UntrustedPickle", "WouldBlock", "WrongEventLoop",
]  # fmt: skip


class Error(Exception):
    """The base of all exceptions of this package."""


# What each family of calls raises.


class ConnectError(Error):
    """A client could not be connected."""


class SendError(Error):
    """A message was not published, or that is not known."""


class RequestError(Error):
    """A request has no answer."""


class SubscribeError(Error):
    """A subscription could not be made or ended."""


class ReceiveError(Error):
    """There is no message."""


class AdminError(Error):
    """Groups, dead letters or retained messages could not be looked at or changed."""


class PayloadError(Error):
    """A payload could not be written or read."""


class ServerError(Error):
    """A server could not be started, or ended badly."""


class Failure(Error):
    """Something failed that no call was told of: what `on_error` is called with."""


# What several families have in common.


class InvalidName(SendError, RequestError, SubscribeError, AdminError, ValueError):
    """A name breaks a rule: 1 to 255 bytes of UTF-8 without "|" and control characters."""


class InvalidFilter(SubscribeError, AdminError, ValueError):
    """A prefix or a pattern breaks a rule, or a name looks like a pattern."""


class InvalidOption(ConnectError, SendError, RequestError, SubscribeError, ReceiveError, AdminError, PayloadError, ValueError):
    """An option has a value that cannot work. The text names both."""


class Stopped(ConnectError, SendError, RequestError, SubscribeError, AdminError):
    """The client was closed, or its thread has ended."""


class Forked(SendError, RequestError, SubscribeError, ReceiveError, AdminError, ServerError):
    """This process was forked from the one that made the client or the server: make a new one here."""


class NotConnected(SendError, RequestError, SubscribeError, AdminError):
    """The client of an event loop is used before it was connected."""


class WrongEventLoop(ConnectError, SendError, RequestError, SubscribeError, ReceiveError, AdminError):
    """The client belongs to another event loop."""


class WouldBlock(SendError):
    """The receipt of an event loop's client is to be awaited, as a wait would block the loop."""


class PingTimedOut(Error, TimeoutError):
    """The server did not answer a ping in time."""


class CloseTimedOut(SendError, TimeoutError):
    """A client was closed, and the server did not answer all its messages in time. It may or may not have published them."""


# Connecting.


class ConnectNoAnswer(ConnectError, TimeoutError):
    """The server did not answer in time. A later attempt may succeed."""


class ConnectRefused(ConnectError):
    """Nothing listens at this port."""


class ConnectUnreachable(ConnectError, TimeoutError):
    """There is no way to the host. Tried until time was over."""


class ConnectNoSuchHost(ConnectError):
    """There is no such host."""


class ConnectNotAHost(ConnectError, ValueError):
    """The address is neither a host nor a URL, or its port does not exist."""


class ConnectNotMezzenger(ConnectError):
    """What answers speaks another protocol."""


class ConnectWrongSocket(ConnectError):
    """A ZeroMQ socket of another kind answers, as when the ports are swapped."""


class ConnectRejected(ConnectError):
    """The server answered with an error."""


class ConnectSecurity(ConnectError, PermissionError):
    """The server and this client do not agree about keys (CURVE): one has none, or has not those of the other; or about a
    user and a password (PLAIN)."""


class ConnectSystem(ConnectError):
    """The system has no descriptors left."""


class ConnectThread(ConnectError):
    """A thread could not be started."""


# Publishing.


class SendTooLarge(SendError):
    """The message is larger than this client sends (max_message_size)."""


class SendTooLargeForServer(SendError):
    """The message is larger than the server takes. It was not sent."""


class SendRefusedAsTooLarge(SendError):
    """The server says that the message is larger than it takes."""


class InvalidProperties(SendError, ValueError):
    """Headers, the content type or another property break a rule."""


class NoReplyWanted(SendError):
    """The message does not say where an answer goes."""


class SendFull(SendError, TimeoutError):
    """The server does not keep up, or is away, and there was no room in time. The message was not sent."""


class SendTimedOut(SendError, TimeoutError):
    """The server did not answer. It may or may not have published the message."""


class SendMalformed(SendError):
    """The server says that the request breaks a rule of the format."""


class SendNotYours(SendError):
    """The server rejected the publisher id."""


class SendNotAllowed(SendError, PermissionError):
    """The server does not allow this client to publish under this name."""


class SendUnsupportedVersion(SendError):
    """The server does not speak this client's format."""


class SendPendingFull(SendError):
    """The server holds as many unacknowledged messages as it may."""


class SendJournalFailed(SendError):
    """The server can no longer store messages durably."""


class SendShuttingDown(SendError):
    """The server is ending."""


class SendChecksumMismatch(SendError):
    """The message was damaged in transit."""


class SendUnknown(SendError):
    """The server rejected with a code that this client does not know."""


# Requests.


class NoSubscriber(RequestError):
    """Nobody takes requests under this name now."""


class RequestFailed(RequestError):
    """Whoever took the request says that it failed, with `reply_error()`."""


class RequestTimedOut(RequestError, TimeoutError):
    """No answer came in time. The request may have been dealt with."""


# Subscribing and receiving.


class SubscribeRefused(SubscribeError):
    """The server rejected the subscription."""


class SubscribeNotAllowed(SubscribeError, PermissionError):
    """The server does not allow this subscription to this client."""


class NotSubscribed(SubscribeError):
    """There is no such subscription."""


class SubscribeNotConfirmed(SubscribeError, TimeoutError):
    """The server did not confirm in time; or a callback that ends still runs."""


class ReceiveTimedOut(ReceiveError, TimeoutError):
    """No message came in time."""


class SubscriptionClosed(ReceiveError):
    """The subscription has ended, and all its messages were read."""


class ReceiveRefused(ReceiveError):
    """The server rejected the subscription on a new connection."""


class AlreadySettled(Error):
    """ack(), nak() or reject() was called before."""


# Groups, dead letters and retained messages.


class AdminRefused(AdminError):
    """The server rejected it, or cannot do it now."""


class AdminTimedOut(AdminError, TimeoutError):
    """The server did not answer in time. It may or may not have done what was asked."""


class AdminNotAllowed(AdminError, PermissionError):
    """The server does not allow it to this client."""


# Payloads.


class Unserializable(PayloadError, TypeError):
    """A value is neither bytes nor text nor a buffer, and the format cannot write it."""


class InvalidText(PayloadError, UnicodeError):
    """A payload is no text: not UTF-8, or a str with half a surrogate pair."""


class MissingPackage(PayloadError, ImportError):
    """A format needs a package that is not installed."""


class NotContiguous(PayloadError, ValueError):
    """A buffer is not contiguous."""


class UntrustedPickle(PayloadError):
    """A pickle has a class or a function that is not allowed. It was not loaded."""


# The server in this process.


class ServerConfigError(ServerError, ValueError):
    """A setting cannot be used."""


class ServerListenError(ServerError):
    """A port cannot be listened on."""


class ServerJournalError(ServerError):
    """The journal could not be opened, or failed."""


# What `on_error` is called with.


class CallbackFailure(Failure):
    """A callback raised; `__cause__` is its exception. The message stays unacknowledged, or goes back to its group."""


class PublishFailure(Failure):
    """Published messages were rejected or not answered; `__cause__` says why."""


class ChecksumFailure(Failure):
    """A checksum did not match (with verify_checksums); the message was not delivered."""


class BadFrameFailure(Failure):
    """The server sent bytes that are not a native frame; they were dropped."""


class AckRefusedFailure(Failure):
    """The server rejected acknowledgements of a group's messages: they came too late."""


class SubscriptionFailure(Failure):
    """A subscription could not be made again on a new connection, and has ended; `__cause__` says why."""


class AcksDroppedFailure(Failure):
    """Acknowledgements were dropped. The server will deliver those messages again."""


class EventsDroppedFailure(Failure):
    """Events came faster than callbacks took them; some were not told."""
