"""Real host names lead to the emulators, by proxy and in a network of its own, and to nothing else."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_cloud import Tiny

from cloudml.emulation import Route, box, running
from cloudml.emulation.box import Box
from cloudml.emulation.network import variables
from cloudml.emulation.network.authority import Authority, domain_of
from cloudml.emulation.network.directory import Directory, Refused
from cloudml.emulation.network.resolver import Resolver
from cloudml.emulation.running import Running
from cloudml.errors import AlreadyExists, Unavailable

CLIENT = str(Path(__file__).with_name("tiny_client.py"))
GOT = {
    "requests": "api.tiny.example",
    "urllib": "/x?y=1",
    "httpx": "/x?y=1",
    "curl": "/x?y=1",
    "any host of a pattern": "a.b.wild.tiny.example",
    "grpc": "you said hi",
    "http on the host of a service": "both.tiny.example",
    "a service that is not there": "_InactiveRpcError UNIMPLEMENTED",
    "without TLS": "/plain?q=1",
    "metadata": "169.254.169.254",
    "a large body": 5_000_000,
    "small bodies are quick": True,
}
IDLE = {"requests": "api.tiny.example"}


@pytest.fixture(scope="module")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    # Deeper than the address of a unix socket may be long.
    folder = tmp_path_factory.mktemp("x" * 100) / "emulation"
    with running.start([Tiny().emulator], folder) as started:
        yield started


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made.getsockname()[1]


def by_proxy(emulation: Running, port: int, *names: str) -> Any:
    env = variables.clean(os.environ) | dict(emulation.environment)
    done = subprocess.run([sys.executable, CLIENT, str(port), *names], env=env, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def isolated(emulation: Running, folder: Path, port: int, *names: str) -> Any:
    assert box.refusal(network=True) is None, box.refusal(network=True)
    network = emulation.network
    command = Box(
        (sys.executable, CLIENT, str(port), *names),
        variables.clean(os.environ) | dict(emulation.isolated),
        "/",
        folder,
        emulation.owner,
        network=network.namespace(),
        covers=network.covers(),
    ).command()
    done = subprocess.run(command, env={}, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_clients_reach_the_cloud_by_proxy(emulation: Running, listener: int) -> None:
    got = by_proxy(emulation, listener, *GOT, "loopback", "an unknown host", "an unknown host without TLS")
    assert got == {**GOT, "loopback": "connected", "an unknown host": "ProxyError", "an unknown host without TLS": 403}
    assert Refused("unknown.example", 443, 1) in emulation.network.refused
    assert Refused("plain.example", 80, 1) in emulation.network.refused
    assert "your program also tried to reach" in emulation.reports[-1]


def test_clients_reach_the_cloud_and_nothing_else_in_a_network_of_their_own(
    emulation: Running, listener: int, tmp_path: Path
) -> None:
    got = isolated(emulation, tmp_path / "box", listener)
    refused = {"an unknown host": "ConnectionError", "an unknown host without TLS": "ConnectionError"}
    assert got == {**GOT, **refused, "no proxy": 200, "loopback": "ConnectionRefusedError"}
    assert {each.host for each in emulation.network.refused if each.port is None} == {
        "unknown.example",
        "plain.example",
    }


def test_the_kernel_lets_nothing_else_out(emulation: Running, tmp_path: Path) -> None:
    line = "import socket; socket.create_connection(('192.0.2.1', 443), 30)"
    network = emulation.network
    command = Box((sys.executable, "-c", line), {}, "/", tmp_path / "box", network=network.namespace()).command()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Network is unreachable" in done.stderr


def test_a_program_without_any_variable_trusts_the_authority_too(emulation: Running, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"]}
    network = emulation.network
    bare = ("curl", "-sS", "https://api.tiny.example/bare")
    alone = Box(bare, env, "/", tmp_path / "box", network=network.namespace(), covers=network.covers())
    done = subprocess.run(alone.command(), capture_output=True, timeout=120)
    assert json.loads(done.stdout)["path"] == "/bare", done.stderr


def test_no_daemon_of_this_machine_is_asked_for_names(emulation: Running, tmp_path: Path) -> None:
    """By its unix socket it could be reached from any network, and would know the real addresses."""
    network = emulation.network
    line = ("sh", "-c", "grep ^hosts: /etc/nsswitch.conf; cat /etc/resolv.conf")
    alone = Box(line, {"PATH": os.environ["PATH"]}, "/", tmp_path / "box", network=network.namespace())
    done = subprocess.run(alone.command(), capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[:2] == ["hosts: files dns", "nameserver 127.0.0.1"]


@pytest.mark.parametrize(
    "said", [b"nonsense\r\n\r\n", b"CONNECT x:y HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\x05hello", b""]
)
def test_what_is_no_request_harms_nobody(emulation: Running, said: bytes) -> None:
    port = int(emulation.environment["https_proxy"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert by_proxy(emulation, 1, "requests") == IDLE


def test_many_networks_at_once(emulation: Running, tmp_path: Path) -> None:
    network = emulation.network
    env = variables.clean(os.environ) | dict(emulation.isolated)
    command = ("curl", "-sS", "https://api.tiny.example/many")
    boxes = [Box(command, env, "/", tmp_path / f"box-{at}", network=network.namespace()) for at in range(4)]
    started = [subprocess.Popen(each.command(), stdout=subprocess.PIPE) for each in boxes]
    for each in started:
        said, _ = each.communicate(timeout=120)
        assert json.loads(said)["path"] == "/many"


def test_the_authority_vouches_for_emulated_hosts_alone() -> None:
    authority = Authority(["*.amazonaws.example", "*-api.google.example", "one.example"])
    trusted = ssl.create_default_context(cadata=authority.pem.decode())

    def shake(host: str) -> None:
        here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusted.wrap_bio(here, there, server_hostname=host)
        server = authority.context(host).wrap_bio(there, here, server_side=True)
        for _ in range(4):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue

    for host in ("bucket.s3.amazonaws.example", "eu-api.google.example", "one.example"):
        shake(host)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shake("bank.example")


@pytest.mark.parametrize(
    ("pattern", "domain"),
    [
        ("*.amazonaws.example", "amazonaws.example"),
        ("*.dkr.ecr.*.amazonaws.example", "amazonaws.example"),
        ("*-api.google.example", "google.example"),
        ("management.azure.example", "management.azure.example"),
    ],
)
def test_the_domain_of_a_pattern(pattern: str, domain: str) -> None:
    assert domain_of(pattern) == domain


def test_clouds_share_the_metadata_address_by_their_headers() -> None:
    google = Route("169.254.169.254", 1, header="Metadata-Flavor")
    azure = Route("169.254.169.254", 2, header="Metadata")
    amazon = Route("169.254.169.254", 3)
    directory = Directory([google, azure, amazon])
    assert directory.find("169.254.169.254", {"metadata-flavor": "Google"}) is google
    assert directory.find("169.254.169.254", {"metadata": "true"}) is azure
    assert directory.find("169.254.169.254", {"accept": "*/*"}) is amazon


def query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\x01"


def test_the_resolver_knows_emulated_hosts_alone() -> None:
    asked: list[tuple[str, bool]] = []

    def known(name: str, remember: bool) -> bool:
        asked.append((name, remember))
        return name.endswith("tiny.example")

    resolver = Resolver(known, "198.18.0.1")
    found = resolver.answer(query("API.tiny.example", 1))
    assert found
    assert found.endswith(socket.inet_aton("198.18.0.1"))
    assert found[2:4] == b"\x81\x80"
    other = resolver.answer(query("api.tiny.example", 28))
    assert other
    assert (other[2:4], other[6:8]) == (b"\x81\x80", b"\0\0")  # it exists, and has no address of that kind
    missing = resolver.answer(query("elsewhere.example", 1))
    assert missing
    assert missing[2:4] == b"\x81\x83"
    assert resolver.answer(b"\x12\x34") is None
    assert resolver.answer(query("cut.example", 1)[:-3]) is None
    assert asked == [("api.tiny.example", True), ("api.tiny.example", False), ("elsewhere.example", True)]


def test_the_environment_is_clean_of_other_accounts_and_networks() -> None:
    given = {"AWS_PROFILE": "x", "https_proxy": "y", "SSL_CERT_DIR": "z", "azure_tenant_id": "t", "PATH": "/bin"}
    assert variables.clean(given) == {"PATH": "/bin"}


def test_no_real_credentials_are_read_from_the_home_folder(emulation: Running) -> None:
    for told in (emulation.environment, emulation.isolated):
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG"):
            assert Path(told[name]).is_relative_to(emulation.folder)
            assert Path(told[name]).parent.is_dir()


def test_an_emulation_is_closed_once(tmp_path: Path) -> None:
    ends: list[str] = []
    made = running.Emulator("counts", lambda _: running.Cloud([], {}, lambda: ends.append("cloud")), dict)
    with running.start([made], tmp_path) as emulation:
        with pytest.raises(AlreadyExists, match="running"):
            running.start([made], tmp_path)
        emulation.close()
    assert ends == ["cloud"]


def test_what_was_started_ends_if_the_rest_does_not_start(tmp_path: Path) -> None:
    tiny = Tiny()

    def fails(site: Any) -> Any:
        raise ValueError("not today")

    broken = running.Emulator("broken", fails, dict)
    with pytest.raises(ValueError, match="not today"):
        running.start([tiny.emulator, broken], tmp_path)
    with running.start([tiny.emulator], tmp_path) as again:  # nobody holds the folder any more
        assert set(again.clouds) == {"tiny"}


def test_a_container_that_begins_while_all_ends_is_told_so(tmp_path: Path) -> None:
    with running.start([Tiny().emulator], tmp_path / "emulation") as started:
        network = started.network
    with pytest.raises(Unavailable, match="has ended"):
        network.namespace()
