"""LocalStack as the emulator wants it: on the loopback, offline, quick to start, gone with whoever started it.

Run as ``python -I localstack_main.py SERVICE…`` by the Python that has LocalStack; it imports nothing of cloudml. Its
exit code is `ABSENT` if LocalStack is not there.
"""

from __future__ import annotations

import functools
import importlib
import os
import runpy
import socket
import sys
import threading
from typing import Any

ABSENT = 69  # sysexits.h: EX_UNAVAILABLE
LOCAL = ("", "localhost", "::1")
ADDRESSED = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")  # audit events, see the Python docs
LOOKED_UP = ("socket.getaddrinfo", "socket.gethostbyname")


def is_local(host: object) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host or "")
    return text in LOCAL or text.startswith("127.")


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: whatever would leave the loopback fails as if there were no network, and is told to the log."""
    if event in ADDRESSED and arguments[1] is not None:
        address = arguments[1]
        if not (isinstance(address, tuple) and address[0] and is_local(address[0])):
            tell(event, address)
            raise ConnectionRefusedError(f"outside of this machine: {address}")
    elif event in LOOKED_UP and not is_local(arguments[0]):
        tell(event, arguments[0])
        raise socket.gaierror(socket.EAI_NONAME, f"outside of this machine: {arguments[0]}")


def tell(event: str, where: object) -> None:
    sys.stdout.write(f"refused {event} {where}\n")
    sys.stdout.flush()


def end_with_parent() -> None:
    """Standard input ends when whoever started this has gone, or wants the end."""
    while os.read(0, 1024):
        pass
    os._exit(0)


def keep_in_tmpdir(store: Any) -> None:
    """S3 keeps its objects in one folder of /tmp, whoever runs it; not told of a folder, it makes one in TMPDIR."""
    make = store.__init__

    def in_tmpdir(self: Any, *_: str) -> None:
        make(self)

    store.__init__ = in_tmpdir


def main(services: list[str]) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.addaudithook(refuse)
    try:
        endpoints: Any = importlib.import_module("twisted.internet.endpoints")
        spec: Any = importlib.import_module("localstack.aws.spec")
        ephemeral: Any = importlib.import_module("localstack.services.s3.storage.ephemeral")
    except ModuleNotFoundError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(ABSENT)
    # Its server takes only the port of GATEWAY_LISTEN, and listens on every interface.
    endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
    # The models of all services take it ten seconds to read.
    spec.loader.list_available_services = lambda type_name: services
    keep_in_tmpdir(ephemeral.EphemeralS3ObjectStore)
    sys.argv = ["localstack"]
    runpy.run_module("localstack.runtime.main", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
