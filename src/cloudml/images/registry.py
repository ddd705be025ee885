"""A client of any registry that follows the OCI distribution specification, over the standard library.

It runs in this process, so proxies (``HTTPS_PROXY``, ``NO_PROXY``) and authorities (``SSL_CERT_FILE``,
``REQUESTS_CA_BUNDLE``) of the environment count, where those of a Docker engine would not.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any

from cloudml.errors import (
    ConfigError,
    Denied,
    Invalid,
    NotFound,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Transient,
    Unauthenticated,
    Unavailable,
)

REFERENCE = re.compile(r"(?P<host>[^/\s]+)/(?P<name>[a-z0-9][a-z0-9._/-]*?)(?::(?P<tag>[\w][\w.-]{0,127}))?")
LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")
ELSEWHERE = {"docker.io": "registry-1.docker.io"}  # where a registry's name is not its host
TIMEOUT = 120.0  # seconds without a byte
TRIES, ASKED_AGAIN = 6, 2  # of an upload that breaks; of a question without an answer
Login = tuple[str, str]
Logins = Callable[[str], Login | None]
KINDS: Mapping[int, type[ProviderError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Denied,
    404: NotFound,
    413: QuotaExceeded,
    429: Throttled,
    507: QuotaExceeded,
}


@dataclass(frozen=True)
class Place:
    """Where an image goes: ``host/name:tag``."""

    host: str
    name: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Place:
        """``latest`` where no tag is given. Raises ConfigError."""
        match = REFERENCE.fullmatch(text)
        if match is None or not ("." in match["host"] or ":" in match["host"] or match["host"] == "localhost"):
            raise ConfigError(f"{text!r} is no place in a registry", hint="REGISTRY/NAME:TAG, as in ghcr.io/me/fraud:1")
        return cls(match["host"], match["name"], match["tag"] or "latest")

    def __str__(self) -> str:
        return f"{self.host}/{self.name}:{self.tag}"


@dataclass(frozen=True)
class Blob:
    """Bytes to upload: ``open_at`` opens them from an offset on."""

    digest: str
    size: int
    open_at: Callable[[int], IO[bytes]]


@dataclass(frozen=True)
class Answer:
    """``used`` is the authorization that the request carried."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    used: str | None = None


@dataclass(frozen=True)
class Body:
    """What a request carries: ``size`` bytes from an offset of a blob; ``seen`` hears how many went."""

    blob: Blob
    offset: int
    seen: Callable[[int], None]


class Registry:
    """One repository of one registry. Safe for threads. ``pause`` is called with seconds before another try."""

    def __init__(
        self, place: Place, login: Logins, pause: Callable[[float], None], *, plain: bool | None = None
    ) -> None:
        host = ELSEWHERE.get(place.host, place.host)
        plain = bool(LOOPBACK.fullmatch(host)) if plain is None else plain  # as Docker has it
        self._place = place
        self._login = login
        self._pause = pause
        self._root = f"{'http' if plain else 'https'}://{host}"
        self._repository = f"{self._root}/v2/{place.name}"
        self._authorization: str | None = None
        self._lock = threading.Lock()
        self._opener = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=_authorities(os.environ)))

    def has(self, digest: str) -> bool:
        """Whether the repository holds a blob."""
        answer = self._tried("HEAD", f"{self._repository}/blobs/{digest}", missing_is_fine=True)
        return answer.status < 400

    def put_manifest(self, manifest: bytes, media_type: str) -> str:
        """Names the image; the digest by which the registry knows it."""
        url = f"{self._repository}/manifests/{self._place.tag}"
        answer = self._tried("PUT", url, {"Content-Type": media_type}, manifest)
        return answer.headers.get("docker-content-digest", "")

    def manifest_digest(self, media_type: str) -> str | None:
        """The digest of what has the tag now; None if nothing has."""
        url = f"{self._repository}/manifests/{self._place.tag}"
        answer = self._tried("HEAD", url, {"Accept": media_type}, missing_is_fine=True)
        return answer.headers.get("docker-content-digest") if answer.status < 400 else None

    def upload(self, blob: Blob, seen: Callable[[int], None]) -> None:
        """Send a blob; an upload that breaks goes on where the registry says that it has come to."""
        location, sent = self._begin(), 0
        for attempt in range(TRIES):
            try:
                if sent < blob.size or blob.size == 0:
                    location = self._rest(location, Body(blob, sent, seen))
                self._request("PUT", _with(location, digest=blob.digest), {"Content-Length": "0"}, b"")
                return
            except Transient:
                if attempt == TRIES - 1:
                    raise
                self._pause(min(2.0**attempt - 1, 20))
                location, sent = self._reached(location)

    def _begin(self) -> str:
        answer = self._tried("POST", f"{self._repository}/blobs/uploads/", {"Content-Length": "0"}, b"")
        return urllib.parse.urljoin(self._root, answer.headers["location"])

    def _rest(self, location: str, body: Body) -> str:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(body.blob.size - body.offset)}
        if body.offset:
            headers["Content-Range"] = f"{body.offset}-{body.blob.size - 1}"
        answer = self._request("PATCH", location, headers, body)
        return urllib.parse.urljoin(self._root, answer.headers.get("location", location))

    def _reached(self, location: str) -> tuple[str, int]:
        """Where to go on, and from which byte; from the first of another upload, if the registry has forgotten it."""
        answer = self._tried("GET", location, missing_is_fine=True)
        if answer.status >= 400:
            return self._begin(), 0
        last = answer.headers.get("range", "0-0").rpartition("-")[2]
        sent = int(last) + 1 if last.isdigit() and last != "0" else 0
        return urllib.parse.urljoin(self._root, answer.headers.get("location", location)), sent

    def _tried(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        missing_is_fine: bool = False,
    ) -> Answer:
        """A request that may be made again."""
        for attempt in range(ASKED_AGAIN):
            try:
                return self._request(method, url, headers or {}, body, missing_is_fine)
            except Transient as error:
                self._pause(min(error.retry_after or 2.0**attempt, 20))
        return self._request(method, url, headers or {}, body, missing_is_fine)

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Body | None, missing: bool = False
    ) -> Answer:
        answer = self._send(method, url, headers, body)
        if answer.status == 401 and self._authorize(answer):
            answer = self._send(method, url, headers, body)
        if answer.status < 400 or (missing and answer.status == 404):
            return answer
        if method == "HEAD":  # whose refusal has no words
            told = self._send("GET", url, headers, None)
            answer = told if told.status == answer.status else answer
        raise self._failure(method, answer)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | Body | None) -> Answer:
        with self._lock:
            used = self._authorization if url.startswith(self._root) else None
        stream = _Counted(body) if isinstance(body, Body) else None
        data: Any = stream or body
        request = urllib.request.Request(url, data, {"User-Agent": "cloudml", **headers}, method=method)
        if used:
            request.add_header("Authorization", used)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read(), used)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read(1 << 16), used)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            if stream is not None:
                stream.close()

    def _authorize(self, answer: Answer) -> bool:
        """Answers the registry's challenge, from the login if there is one; whether there is something new to say."""
        scheme, _, rest = answer.headers.get("www-authenticate", "").partition(" ")
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        login = self._login(self._place.host)
        basic = "Basic " + base64.b64encode(":".join(login).encode()).decode() if login else None
        found = self._token(said, basic) if scheme.lower() == "bearer" else basic
        with self._lock:
            self._authorization = found
        return found is not None and found != answer.used  # another thread may have answered the same challenge

    def _token(self, said: Mapping[str, str], basic: str | None) -> str | None:
        query = {"service": said.get("service", ""), "scope": f"repository:{self._place.name}:pull,push"}
        url = f"{said.get('realm', '')}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers={"Authorization": basic} if basic else {})
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                found = json.load(answer)
        except (OSError, ValueError):
            return None
        token = found.get("token") or found.get("access_token")
        return f"Bearer {token}" if token else None

    def _failure(self, method: str, answer: Answer) -> ProviderError:
        kind = KINDS.get(answer.status, Unavailable if answer.status >= 500 else ProviderError)
        code, message = _said(answer.body)
        hints = {
            401: f"'docker login {self._place.host}', or --username with --password-stdin",
            403: f"may this login push to {self._place.name}?",
            404: f"does the repository {self._place.name} exist? Some registries want it to be made first",
        }
        wait = answer.headers.get("retry-after", "")
        return kind(
            f"{answer.status} {code}: {message}" if code else f"HTTP {answer.status} {message}".strip(),
            provider=self._place.host,
            operation=f"{method} {self._place.name}",
            retry_after=float(wait) if wait.isdigit() else None,
            hint=hints.get(answer.status),
        )

    def _unreachable(self, error: OSError | HTTPException) -> ProviderError:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            hint = "SSL_CERT_FILE names the authorities to trust"
            message = f"its certificate is not trusted: {reason.verify_message}"
            return ProviderError(message, provider=self._place.host, hint=hint)
        if isinstance(reason, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(reason):
            return ProviderError(
                "it does not speak TLS", provider=self._place.host, hint="--plain-http, if that is meant"
            )
        return Unavailable(f"no connection: {reason}", provider=self._place.host)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: following it would take the credentials to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Counted:
    """A blob's bytes as http.client reads them."""

    def __init__(self, body: Body) -> None:
        self._file = body.blob.open_at(body.offset)
        self._sent = body.offset
        self._seen = body.seen

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(max(size, 1 << 18))
        self._sent += len(block)
        self._seen(self._sent)
        return block

    def close(self) -> None:
        self._file.close()


def _authorities(env: Mapping[str, str]) -> ssl.SSLContext:
    bundle = next(
        (env[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if env.get(name)), None
    )
    if bundle is None:
        return ssl.create_default_context()
    try:
        return (
            ssl.create_default_context(cafile=bundle)
            if os.path.isfile(bundle)
            else ssl.create_default_context(capath=bundle)
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the authorities in {bundle} cannot be read: {error}") from error


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _with(location: str, **query: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}{urllib.parse.urlencode(query)}"


def _said(body: bytes) -> tuple[str, str]:
    """The registry's own code and message; the beginning of what it said where it is none of its own."""
    try:
        first = json.loads(body)["errors"][0]
        return str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", body[:200].decode("utf-8", "replace").strip()
