"""Sockets that listen inside a new network namespace and are served outside: they keep the one they were made in.

Part of the box's program, so it imports little.
"""

from __future__ import annotations

import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

if TYPE_CHECKING or __package__:
    from cloudml.emulation.box import kernel
else:
    import kernel

READY = b"ready"


def open_network(network: dict[str, Any]) -> socket.socket | None:
    """Start the loopback of this namespace, and hand what listens on it to the proxy.

    ``network`` has ``addresses`` (more of the loopback's), ``listen`` (kind, address and port of each socket; kind
    ``dns`` is UDP) and ``control``, the proxy's unix socket, if there is one. The proxy serves until the connection
    that is returned ends. Raises OSError.
    """
    kernel.loopback_up(network["addresses"])
    if not network["control"]:
        return None
    made = [_listen(*each) for each in network["listen"]]
    connection = socket.socket(socket.AF_UNIX)
    folder, name = os.path.split(network["control"])
    os.chdir(folder)  # the whole path may be longer than the address of a socket can be
    connection.connect(name)
    kinds = json.dumps([kind for kind, _, _ in network["listen"]]).encode()
    socket.send_fds(connection, [kinds], [each.fileno() for each in made])
    for each in made:
        each.close()
    if connection.recv(len(READY)) != READY:
        raise ConnectionError("the proxy did not take the network")
    return connection


def _listen(kind: str, address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "dns" else socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    if kind != "dns":
        made.listen(256)
    return made
