"""The network of one emulation: its proxy, its authority, and the variables and namespaces that lead to them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cloudml.emulation import Route
from cloudml.emulation.network import variables
from cloudml.emulation.network.authority import Authority
from cloudml.emulation.network.directory import Directory, Refused
from cloudml.emulation.network.namespace import Handover
from cloudml.emulation.network.proxy import Proxy
from cloudml.errors import Unavailable

METADATA = "169.254.169.254"
BUNDLES = (  # where systems keep the roots that programs trust which no variable reaches
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Network:
    """The proxy and its authority, up until `close`. ``folder`` takes the certificate and the handover's socket."""

    def __init__(self, routes: Iterable[Route], folder: Path, allowed: Iterable[str] = ()) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = Directory(routes, allowed)
        self._lock = threading.Lock()
        patterns = [*(route.host for route in self._directory.routes), *self._directory.allowed]
        authority = Authority(patterns)
        trust = folder / "trust"  # apart, because containers of any user get to see it
        trust.mkdir(mode=0o755, exist_ok=True)
        self.certificate, wgetrc = trust / "ca.pem", trust / "wgetrc"
        self.certificate.write_bytes(authority.pem)
        wgetrc.write_text(f"ca_certificate={self.certificate}\n")
        self._proxy = Proxy(self._directory, authority)
        self._folder = folder
        self._handover: Handover | None = None
        self._ended = False
        metadata = any(route.host == METADATA for route in self._directory.routes)
        settings = folder / "settings"
        for name in ("aws", "azure", "gcloud"):
            (settings / name).mkdir(parents=True, exist_ok=True)
        self._always = variables.trust(self.certificate, wgetrc) | variables.settings(settings)
        self._always |= {} if metadata else variables.NO_METADATA

    @property
    def by_proxy(self) -> Mapping[str, str]:
        """The variables of a program on this machine's own network."""
        return self._always | variables.through_proxy(self._proxy.port)

    @property
    def by_namespace(self) -> Mapping[str, str]:
        """The variables of a program in a namespace: it needs no proxy."""
        return self._always

    def namespace(self) -> Mapping[str, Any]:
        """What a `cloudml.emulation.box.Box` needs to make such a namespace. Raises Unavailable once it has ended."""
        with self._lock:
            if self._ended:
                raise Unavailable("the emulated network has ended")
            if self._handover is None:
                self._handover = Handover(self._proxy, self._directory, self._folder / "handover")
            return self._handover.network()

    def covers(self) -> Mapping[Path, tuple[str, ...]]:
        """Files that are to lie over those of the machine there."""
        return {self.certificate: BUNDLES}

    @property
    def refused(self) -> list[Refused]:
        return self._directory.refused

    def close(self) -> None:
        with self._lock:  # no emulator begins a container in it from now on
            self._ended = True
            if self._handover:
                self._handover.close()
        self._proxy.close()
