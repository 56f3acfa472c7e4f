"""A ROUTER of libzmq with CURVE in front of a server without: what comes in goes there, and the answers back.

Arguments: the server's endpoint. Prints the port it listens on and its public key. It ends when stdin does.
"""

import sys
import threading

import zmq


def main():
    context = zmq.Context()
    front = context.socket(zmq.ROUTER)
    public, secret = zmq.curve_keypair()
    front.curve_server = True
    front.curve_publickey, front.curve_secretkey = public, secret
    port = front.bind_to_random_port("tcp://127.0.0.1")
    back = context.socket(zmq.DEALER)
    back.connect(sys.argv[1])
    threading.Thread(target=zmq.proxy, args=(front, back), daemon=True).start()
    print(port, public.decode("ascii"), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
