"""Who may call: a service account with a key of its own, the tokens that it is given, the metadata service."""

from __future__ import annotations

import base64
import json
import secrets
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cloudml.emulation.http import Answer, Request
from cloudml_vertex.emulator.problems import Problem

POWERLESS = "without-roles"  # the account that is known and may do nothing; its file lies beside the other's
LIFETIME = 3600  # seconds of a token
REFUSED = "Request had invalid authentication credentials. Expected OAuth 2 access token."


class Directory:
    """Two service accounts, one of them without any role; every token that it was given is good until it ends."""

    def __init__(self, project: str, folder: Path) -> None:
        self.project = project
        self.email = f"emulated@{project}.iam.gserviceaccount.com"
        self._key = rsa.generate_private_key(65537, 2048)
        form = serialization.PrivateFormat.PKCS8
        pem = self._key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        self._private = pem.decode()
        self.powerless = f"{POWERLESS}@{project}.iam.gserviceaccount.com"
        self._tokens: dict[str, tuple[float, str]] = {}
        self.file = folder / "service-account.json"
        for file, email in ((self.file, self.email), (self.file.with_name(f"{POWERLESS}.json"), self.powerless)):
            file.write_text(json.dumps(self._account(email)))
            file.chmod(0o600)

    def token(self, email: str) -> dict[str, Any]:
        text = f"ya29.{secrets.token_urlsafe(24)}"
        self._tokens[text] = (time.time() + LIFETIME, email)
        return {"access_token": text, "expires_in": LIFETIME - 1, "token_type": "Bearer"}

    def admit(self, authorization: str) -> None:
        """A token of ours, or a JWT that the account signed itself. Raises Problem."""
        kind, _, text = authorization.partition(" ")
        email = self.whose(text)
        if kind.lower() != "bearer" or not email:
            raise Problem("UNAUTHENTICATED", REFUSED)
        if email == self.powerless:
            raise Problem("PERMISSION_DENIED", f"The caller {email} does not have permission.")

    def whose(self, text: str) -> str:
        """Whose token that is; empty if nobody's, or if it is over."""
        ends, email = self._tokens.get(text, (0.0, ""))
        return email if ends > time.time() else self._signed(text)

    def of_file(self, text: str) -> str:
        """Whose service account's file that is; empty if nobody's."""
        known = {self._private: (self.email, self.powerless)}
        try:
            found = json.loads(text)
            return str(found["client_email"]) if found["client_email"] in known[found["private_key"]] else ""
        except (ValueError, KeyError, TypeError):
            return ""

    def exchange(self, request: Request) -> Answer:
        """``oauth2.googleapis.com/token``: a signed assertion for a token."""
        given = dict(urllib.parse.parse_qsl(request.body.decode()))
        email = self._signed(given.get("assertion", ""))
        if not email:
            return Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        return Answer(200, self.token(email))

    def metadata(self, request: Request) -> Answer:
        """What a machine of the cloud is told of itself."""
        flavor = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
        if request.headers.get("metadata-flavor") != "Google" and request.path != "/":
            return Answer(403, b"Missing Metadata-Flavor:Google header.", flavor)
        account = {
            "email": self.email,
            "aliases": ["default"],
            "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        }
        known: Mapping[str, Any] = {
            "/": b"computeMetadata/",
            "/computeMetadata/v1/project/project-id": self.project.encode(),
            "/computeMetadata/v1/project/numeric-project-id": b"1234",
            "/computeMetadata/v1/universe/universe-domain": b"googleapis.com",
            "/computeMetadata/v1/instance/service-accounts/default/email": self.email.encode(),
            "/computeMetadata/v1/instance/service-accounts/default": account,
            f"/computeMetadata/v1/instance/service-accounts/{self.email}": account,
        }
        path = request.path.rstrip("/") or "/"
        if path.endswith("/token"):
            return Answer(200, self.token(self.email), flavor)
        return Answer(200, known[path], flavor) if path in known else Answer(404, b"", flavor)

    def _signed(self, text: str) -> str:
        """Whose JWT this is; empty if nobody's, or if it is over."""
        try:
            head, body, signature = text.split(".")
            claims = json.loads(_decoded(body))
            self._key.public_key().verify(
                _decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except (ValueError, InvalidSignature):
            return ""
        known = claims.get("iss") in (self.email, self.powerless) and float(claims.get("exp", 0)) > time.time()
        return str(claims["iss"]) if known else ""

    def _account(self, email: str) -> dict[str, str]:
        return {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": secrets.token_hex(20),
            "private_key": self._private,
            "client_email": email,
            "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
            "universe_domain": "googleapis.com",
        }


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
