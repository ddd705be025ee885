"""A registry by its real name, over TLS with an authority of one's own, through a proxy: as an emulated ECR is met."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_server import Memory, registry
from test_pushing import LAYERS, saved, unpacked

from cloudml.errors import ProviderError
from cloudml.images.pushing import OfFile, Pushed, push

pytest.importorskip("cryptography")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
TOKEN = ("AWS", "a-token-of-twelve-hours")


def certificate(folder: Path) -> Path:
    """A certificate for the host that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of one's own")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(text)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem"


class Proxy:
    """Answers CONNECT for every host by leading to one port; ``asked`` is what it was asked for."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            head = b""
            while b"\r\n\r\n" not in head and (block := client.recv(4096)):
                head += block
            if not head:
                client.close()
                return
            self.asked.append(head.split()[1].decode())
            self._threads.append(threading.Thread(target=self._tunnel, args=(client,)))
            self._threads[-1].start()

    def _tunnel(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(server, client))
            back.start()
            _pump(client, server)
            back.join()

    def close(self) -> None:
        """A connection that says nothing is the sign to end."""
        socket.create_connection(self._listener.getsockname()).close()
        for thread in list(self._threads):
            thread.join()
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Until either side ends; then both do."""
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 16):
            target.sendall(block)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Memory, Proxy, Path]]:
    authority = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, tmp_path / "key.pem")
    with registry(context) as (memory, address):
        proxy = Proxy(int(address.rpartition(":")[2]))
        memory.faults.wants = TOKEN
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.address)
        for name in ("NO_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name, raising=False)
        yield memory, proxy, authority
        proxy.close()


def send(tmp_path: Path) -> Pushed:
    image = OfFile.read(saved(tmp_path / "image.tar", LAYERS))
    place = f"{HOST}/team/fraud:1"
    cache = tmp_path / "layers.json"
    return push(image, place, lambda _: None, {HOST: TOKEN}.get, lambda _: None, cache=cache)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_it_is_pushed_through_the_proxy(
    variable: str, emulated: tuple[Memory, Proxy, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, proxy, authority = emulated
    monkeypatch.setenv(variable, str(authority))
    assert send(tmp_path).reference.startswith(f"{HOST}/team/fraud@sha256:")
    assert unpacked(memory) == list(LAYERS)
    assert set(proxy.asked) == {f"{HOST}:443"}


def test_an_authority_that_nobody_trusts_is_said(emulated: tuple[Memory, Proxy, Path], tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="certificate is not trusted") as raised:
        send(tmp_path)
    assert "SSL_CERT_FILE" in str(raised.value.hint)
    assert emulated[0].blobs == {}
