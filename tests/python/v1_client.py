"""An original-format (v1) Mezzenger client, written from docs/wire-format.md alone.

It is driven line by line: each line on stdin is a JSON object with an "op", and is answered by one
JSON object on stdout. Bytes travel as hexadecimal text. The script ends when stdin does.

It knows nothing of the native format, as the clients that it stands for.
"""

import hashlib
import json
import pickle
import sys
import time
import uuid

import zmq


class Point:
    """What programs send that pickle instances of their own classes."""

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __repr__(self):
        return "Point(%r, %r)" % (self.x, self.y)


def shared():
    """A payload in which the pickle's memo refers to one object from three places."""
    inner = ["shared", 1]
    return [inner, {"again": inner}, (inner, inner)]


def checksum(name, payload, timestamp):
    return hashlib.md5((name + str(payload) + str(timestamp)).encode("utf-8")).hexdigest()


def remaining_ms(deadline):
    return max(0, int((deadline - time.monotonic()) * 1000))


class Client:
    def __init__(self, host, send_port, sub_port, keys=None):
        """With keys (the server's public one, this client's public and secret one) it speaks CURVE."""
        self.keys = keys
        self.context = zmq.Context()
        self.send_endpoint = "tcp://%s:%d" % (host, send_port)
        self.request = None
        self.subscriber = self.context.socket(zmq.SUB)
        self.subscriber.setsockopt(zmq.LINGER, 0)
        self.secure(self.subscriber)
        self.subscriber.connect("tcp://%s:%d" % (host, sub_port))
        self.names = set()
        # Frames that arrived while something else was waited for.
        self.early = []
        self.dropped = 0

    def secure(self, socket):
        if self.keys is not None:
            keys = [key.encode("ascii") for key in self.keys]
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = keys
            # PING and PONG travel as all else.
            socket.setsockopt(zmq.HEARTBEAT_IVL, 50)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)

    def exchange(self, frame, timeout_ms):
        """Sends one request and returns the frames of its reply; None when none came."""
        if self.request is None:
            self.request = self.context.socket(zmq.REQ)
            self.request.setsockopt(zmq.LINGER, 0)
            self.secure(self.request)
            self.request.connect(self.send_endpoint)
        self.request.send(frame)
        if not self.request.poll(timeout_ms):
            # A REQ socket that waits for a reply can do nothing else.
            self.request.close()
            self.request = None
            return None
        return self.request.recv_multipart()

    def frame(self, name, payload, ack, protocol, timestamp=None):
        timestamp = time.time() if timestamp is None else timestamp
        fields = {
            "name": name,
            "payload": payload,
            "ack": ack,
            "timestamp": timestamp,
            "checksum": checksum(name, payload, timestamp),
        }
        return name.encode("utf-8") + b"|" + pickle.dumps(fields, protocol), fields

    def subscribe(self, name):
        self.names.add(name)
        self.subscriber.setsockopt(zmq.SUBSCRIBE, name.encode("utf-8"))

    def settle_subscriptions(self, timeout_ms):
        """Waits until the server has all subscriptions made so far.

        They travel in order on one connection, so when a later one is heard, earlier ones are live.
        """
        deadline = time.monotonic() + timeout_ms / 1000
        probe = "probe-" + uuid.uuid4().hex
        self.subscriber.setsockopt(zmq.SUBSCRIBE, probe.encode("ascii"))
        while True:
            if self.exchange(self.frame(probe, "", 0, 2)[0], remaining_ms(deadline)) != [b"OK"]:
                raise RuntimeError("a probe was not answered OK")
            while self.subscriber.poll(20):
                frame = self.next_frame()
                if frame.startswith(probe.encode("ascii") + b"|"):
                    self.subscriber.setsockopt(zmq.UNSUBSCRIBE, probe.encode("ascii"))
                    return
                self.early.append(frame)
            if time.monotonic() > deadline:
                raise RuntimeError("the subscriptions did not become live")

    def receive(self, timeout_ms):
        """The next message of a subscribed name; None when none came."""
        deadline = time.monotonic() + timeout_ms / 1000
        while self.early or self.subscriber.poll(remaining_ms(deadline)):
            frame = self.early.pop(0) if self.early else self.next_frame()
            name, body = frame.split(b"|", 1)
            # The filter is a prefix; the name decides.
            if name.decode("utf-8") not in self.names:
                self.dropped += 1
                continue
            return frame, pickle.loads(body)
        return None

    def next_frame(self):
        parts = self.subscriber.recv_multipart()
        assert len(parts) == 1, "a published message has one frame"
        return parts[0]


def evaluate(expression):
    return eval(expression, {"Point": Point, "shared": shared})


def reply_of(parts):
    return {"reply": None if parts is None else [part.hex() for part in parts]}


def run(client, command):
    op = command["op"]
    timeout_ms = command.get("timeout_ms", 30000)
    if op == "publish":
        payload = evaluate(command["payload"])
        frame, fields = client.frame(
            command["name"],
            payload,
            command["ack"],
            command["protocol"],
            command.get("timestamp"),
        )
        answer = reply_of(client.exchange(frame, timeout_ms))
        answer.update(frame=frame.hex(), checksum=fields["checksum"], payload=repr(payload))
        return answer
    if op == "request":
        return reply_of(client.exchange(bytes.fromhex(command["frame"]), timeout_ms))
    if op == "ack":
        frame, _ = client.frame("ack", command["checksum"], 0, 2)
        return reply_of(client.exchange(frame, timeout_ms))
    if op == "ping":
        frame, _ = client.frame("ping", "", 0, 2)
        return reply_of(client.exchange(frame, timeout_ms))
    if op == "subscribe":
        client.subscribe(command["name"])
        if command["settle"]:
            client.settle_subscriptions(timeout_ms)
        return {}
    if op == "receive":
        received = client.receive(timeout_ms)
        if received is None:
            return {"message": None, "dropped": client.dropped}
        frame, fields = received
        payload = fields["payload"]
        return {
            "message": {
                "frame": frame.hex(),
                "keys": sorted(fields),
                "name": fields["name"],
                "payload": repr(payload),
                "type": type(payload).__name__,
                "ack": fields["ack"],
                "timestamp": fields["timestamp"],
                "checksum": fields["checksum"],
                "expected_checksum": checksum(fields["name"], payload, fields["timestamp"]),
            },
            "dropped": client.dropped,
        }
    raise ValueError("unknown op %r" % op)


def main():
    host, send_port, sub_port, *keys = sys.argv[1:]
    client = Client(host, int(send_port), int(sub_port), keys or None)
    for line in sys.stdin:
        print(json.dumps(run(client, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
