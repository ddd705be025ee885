"""The certificate authority of one emulation: its key never leaves memory, and its certificate ends with the run.

It may vouch for the emulated hosts alone (NameConstraints), so a program trusts it with nothing else.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
import threading
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROTOCOLS = (
    "http/1.1",
    "h2",
)  # the server's order counts: who offers both gets the first, gRPC offers the second alone
VALID = datetime.timedelta(days=30)
SLACK = datetime.timedelta(days=1)  # for clocks that are not right
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class HostContext(ssl.SSLContext):
    """What ends TLS for one host, which it remembers."""

    host: str


class Authority:
    """Signs a certificate for each host when it is first asked for. ``hosts`` are patterns of fnmatch."""

    def __init__(self, hosts: Iterable[str]) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._valid = (now - SLACK, now + VALID)
        self._key, self._leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self._name = _name("cloudml emulation")
        permitted = [x509.DNSName(domain) for domain in sorted({*map(domain_of, hosts)})]
        builder = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.NameConstraints([*permitted, x509.IPAddress(LOOPBACK)], None), critical=True)
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        self._contexts: dict[str, HostContext] = {}
        self._lock = threading.Lock()

    def context(self, host: str) -> HostContext:
        """What ends TLS for a host."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._context(host)
            return self._contexts[host]

    def _context(self, host: str) -> HostContext:
        context = HostContext(ssl.PROTOCOL_TLS_SERVER)
        context.host = host
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([*PROTOCOLS])
        key = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        handle, path = tempfile.mkstemp(prefix="cloudml-leaf-")  # ssl reads keys from files only; this is a leaf's
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(key + self._leaf(host) + self.pem)
            context.load_cert_chain(path)
        finally:
            os.unlink(path)
        return context

    def _leaf(self, host: str) -> bytes:
        """A certificate for one host, in PEM."""
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        public = self._leaf_key.public_key()
        builder = (
            self._builder(_name("cloudml emulated host"), public)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._valid[0])
            .not_valid_after(self._valid[1])
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def domain_of(pattern: str) -> str:
    """The domain that covers every host of a pattern: the labels after the last one that has a wildcard."""
    labels = pattern.split(".")
    wild = [at for at, label in enumerate(labels) if set("*?[") & set(label)]
    return ".".join(labels[wild[-1] + 1 :] if wild else labels)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text)])


def _usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in wanted for name in USAGES})
