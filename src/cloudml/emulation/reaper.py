"""The program that removes an emulation's Docker containers once its process is gone, however it went.

Run as ``python -I -S reaper.py OWNER SOCKET LABEL``, by path, and with little imported. It goes on alone; while
OWNER is locked it waits.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import socket
import sys
from urllib.parse import quote

PATIENCE = 60.0  # seconds


class Connection(http.client.HTTPConnection):
    """HTTP to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


def call(path: str, method: str, target: str) -> bytes:
    connection = Connection(path)
    connection.request(method, target)
    said = connection.getresponse().read()
    connection.close()
    return said


def main(owner: str, path: str, label: str) -> None:
    if os.fork():
        os._exit(0)  # whoever started this need not wait
    try:
        with open(owner) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        pass  # gone altogether
    filters = quote(json.dumps({"label": [label]}))
    for each in json.loads(call(path, "GET", f"/containers/json?all=1&filters={filters}")):
        call(path, "DELETE", f"/containers/{each['Id']}?force=1&v=1")


if __name__ == "__main__":
    main(*sys.argv[1:])
