"""A client for the interop matrix, of pyzmq. The commands are described in docs/interop.md."""

import json
import sys

import zmq
import zmq.auth

TYPES = {"REQ": zmq.REQ, "DEALER": zmq.DEALER, "SUB": zmq.SUB}

context = zmq.Context()
sockets = {}


def open_socket(kind, endpoint, options):
    socket = context.socket(TYPES[kind])
    socket.setsockopt(zmq.LINGER, 0)
    for option in options:
        key, _, value = option.partition("=")
        if key == "heartbeat":
            socket.setsockopt(zmq.HEARTBEAT_IVL, int(value))
            socket.setsockopt(zmq.HEARTBEAT_TTL, 10 * int(value))
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10 * int(value))
        elif key == "correlate":
            socket.setsockopt(zmq.REQ_CORRELATE, 1)
            socket.setsockopt(zmq.REQ_RELAXED, 1)
        elif key == "identity":
            socket.setsockopt(zmq.IDENTITY, value.encode("ascii"))
        elif key == "curve":
            own, server = value.split(",")
            socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(own)
            socket.curve_serverkey, _ = zmq.auth.load_certificate(server)
        else:
            raise ValueError("unknown option %s" % key)
    socket.connect(endpoint)
    return socket


def read(path):
    with open(path, "rb") as file:
        return file.read()


def receive(socket, timeout_ms, directory):
    if not socket.poll(timeout_ms):
        return 0
    parts = socket.recv_multipart()
    for number, part in enumerate(parts):
        with open("%s/%d" % (directory, number), "wb") as file:
            file.write(part)
    return len(parts)


def run(command, words):
    if command == "version":
        return {"detail": "pyzmq %s, libzmq %s" % (zmq.__version__, zmq.zmq_version())}
    name = words[0]
    if command == "open":
        sockets[name] = open_socket(words[1], words[2], words[3:])
    elif command == "subscribe":
        sockets[name].setsockopt(zmq.SUBSCRIBE, words[1].encode("ascii"))
    elif command == "unsubscribe":
        sockets[name].setsockopt(zmq.UNSUBSCRIBE, words[1].encode("ascii"))
    elif command == "send":
        sockets[name].send_multipart([read(path) for path in words[1:]])
    elif command == "receive":
        return {"frames": receive(sockets[name], int(words[1]), words[2])}
    elif command == "close":
        sockets.pop(name).close()
    else:
        raise ValueError("unknown command %s" % command)
    return {}


for line in sys.stdin:
    step, *arguments = line.split()
    try:
        answer = {"step": step, "ok": True, **run(step, arguments)}
    except Exception as error:
        answer = {"step": step, "ok": False, "detail": repr(error)}
    print(json.dumps(answer), flush=True)
