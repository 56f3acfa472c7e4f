"""The original's server module: the Mezzenger server with the original's arguments. `mezzenger-server` has more of them."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from mezzenger import _core

DEFAULT_SERVER = "127.0.0.1"
DEFAULT_PUB_PORT = 7201
DEFAULT_RECV_PORT = 7202


class MezzengerServerException(Exception):
    """The server could not be started; what it wrote to stderr says why."""


class MezzengerServer:
    """Runs a server until SIGINT or SIGTERM."""

    def __init__(
        self,
        bind_address: str | None = None,
        pub_port: int | None = None,
        recv_port: int | None = None,
        persist_file: str | None = None,
        verbose: bool = False,
        insecure: bool = False,
    ) -> None:
        """Runs the server.

        Args:
        - bind_address: The IP address to listen on. One that other machines reach needs insecure=True.
        - pub_port: The port for original subscribers.
        - recv_port: The port for everything else.
        - persist_file: The file that messages are kept in until they are acknowledged. One of the original's own is not read.
        - verbose: Log every request.
        """
        arguments = ["mezzenger_server", "--bind", bind_address or DEFAULT_SERVER]
        arguments += ["--pub-port", str(pub_port or DEFAULT_PUB_PORT)]
        arguments += ["--recv-port", str(recv_port or DEFAULT_RECV_PORT)]
        arguments += ["--persist-file", persist_file] if persist_file else []
        arguments += ["--verbose"] * bool(verbose) + ["--insecure"] * bool(insecure)
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            code = _core.run_server(arguments)
        finally:
            signal.signal(signal.SIGINT, before)
        if code:
            raise MezzengerServerException(f"the server ended with code {code}")


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m mezzenger_server`"""
    parser = argparse.ArgumentParser(prog="mezzenger_server", description="Mezzenger server")
    parser.add_argument("--bind", dest="bind_address", help=f"Address to bind server on. Default is {DEFAULT_SERVER}.")
    parser.add_argument("--pub-port", type=int, help=f"Port for outgoing messages. Default is {DEFAULT_PUB_PORT}.")
    parser.add_argument("--recv-port", type=int, help=f"Port for incoming messages. Default is {DEFAULT_RECV_PORT}.")
    parser.add_argument("--persist-file", help="Path to file where to save messages that wait for an acknowledgement.")
    parser.add_argument("--verbose", action="store_true", help="Log every request.")
    parser.add_argument("--insecure", action="store_true", help="Allow an address that other machines can reach.")
    said = parser.parse_args(arguments)
    sys.stdout.flush()
    try:
        MezzengerServer(**vars(said))
    except MezzengerServerException:
        return 1
    return 0


__all__ = ["MezzengerServer", "MezzengerServerException", "main"]
