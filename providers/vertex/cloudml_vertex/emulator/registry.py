"""The hosts of Artifact Registry, ``LOCATION-docker.pkg.dev``: the kit's registry with Google's logins.

Whoever comes without a token is told where to get one (``/v2/token``), for a user ``oauth2accesstoken`` with a token of
Google's, or ``_json_key`` with a service account's file; a token of Google's is taken as it is too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from cloudml.emulation.http import Answer, Read, Request
from cloudml.emulation.ports import LOOPBACK
from cloudml.emulation.registry import Asked, Image, error, greeting, inside
from cloudml_vertex.emulator.repositories import Repositories
from cloudml_vertex.emulator.signin import Directory

HOST = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev")
TOKEN = "/v2/token"
LEAST = 3  # parts of an image's name: PROJECT/REPOSITORY/IMAGE


class Registry:
    """Answers requests to every location's registry, and to an engine of this machine that fetches from it."""

    def __init__(self, directory: Directory, repositories: Repositories) -> None:
        self._directory = directory
        self._repositories = repositories

    def streamed(self, request: Request) -> Read | None:
        """Who reads a request's body, if it is for a registry."""
        if not HOST.fullmatch(request.host) and not (request.host == LOOPBACK and request.path.startswith("/v2")):
            return None
        return lambda body: self._answer(request, body)

    def local(self, image: str, port: int) -> str:
        """The name under which an engine of this machine gets an image that was pushed; any other stays as it is."""
        named = Image.parse(image)
        host = HOST.fullmatch(named.host) if named else None
        if not named or not host or named.repository.count("/") < LEAST - 1:
            return image
        shelf = self._repositories.shelf(host[1], named.repository)
        return named.fetched(port) if shelf and shelf.get(named.reference) else image

    def _answer(self, request: Request, body: Iterator[bytes]) -> Answer:
        fetched = inside(request)
        name, path = fetched or (request.host, request.path)
        host, asked = HOST.fullmatch(name), Asked.parse(path)
        if host and path == TOKEN:
            return self._token(request)
        if host and not fetched and (refused := self._refused(request, asked)):
            return refused
        if path in ("/v2", "/v2/"):
            return greeting()
        if not host or not asked:
            return error(404, "UNSUPPORTED", f"{name}{path} is nothing that a registry has")
        if asked.repository.count("/") < LEAST - 1:
            return error(400, "NAME_INVALID", f"Missing image name: {name}/PROJECT/REPOSITORY/IMAGE is needed")
        shelf = self._repositories.shelf(host[1], asked.repository)
        if shelf is None:
            return error(404, "NAME_UNKNOWN", f'Repository "{asked.repository.split("/")[1]}" not found')
        return shelf.answer(request, asked, body)

    def _token(self, request: Request) -> Answer:
        """A token of the registry for a login; it is a token of Google's here."""
        email = self._login(request.headers.get("authorization", ""))
        if not email:
            return error(401, "UNAUTHORIZED", "authentication failed")
        found = self._directory.token(email)
        return Answer(200, {"token": found["access_token"], "expires_in": found["expires_in"]})

    def _login(self, authorization: str) -> str:
        """Whose login that is; empty if nobody's."""
        try:
            user, _, password = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
            if user == "_json_key_base64":
                user, password = "_json_key", base64.b64decode(password).decode()
        except ValueError:
            return ""
        if user == "_json_key":
            return self._directory.of_file(password)
        return self._directory.whose(password) if user == "oauth2accesstoken" else ""

    def _refused(self, request: Request, asked: Asked | None) -> Answer | None:
        """What nobody, and what somebody without a role, is told."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        email = self._directory.whose(token) if scheme.lower() == "bearer" else ""
        if not email:
            challenge = f'Bearer realm="https://{request.host}{TOKEN}"'
            if asked:  # the service names itself there alone (seen in public issues)
                challenge += f',service="{request.host}",scope="repository:{asked.repository}:pull,push"'
            return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        if asked and email == self._directory.powerless:
            act = "downloadArtifacts" if request.method in ("GET", "HEAD") else "uploadArtifacts"
            text = (
                f'Permission "artifactregistry.repositories.{act}" denied on {asked.repository} (or it may not exist)'
            )
            return error(403, "DENIED", text)
        return None
