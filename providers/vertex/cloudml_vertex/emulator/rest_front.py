"""REST: paths by the published HTTP rules, bodies and queries as JSON of the same messages."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from cloudml.emulation.http import Answer, Request
from cloudml_vertex.emulator.core import LONGRUNNING, PACKAGE, ROUTES, Core
from cloudml_vertex.emulator.predictions import Predictions
from cloudml_vertex.emulator.problems import Problem, invalid

RESOURCE = r"projects/[^/]+/locations/[^/]+/(?:[^/:]+/[^/:]+)"
OPERATION = re.compile(
    rf"/(?:v1|v1beta1|ui)/({RESOURCE}(?:/[^/:]+/[^/:]+)?/operations/[^/:]+|projects/[^/]+/locations/[^/]+/operations/[^/:]+)(:wait|:cancel)?"
)
OPERATIONS = re.compile(rf"/(?:v1|v1beta1|ui)/({RESOURCE})/operations")
RAW = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/endpoints/[^/:]+):rawPredict")
VARIABLE = re.compile(r"\{([a-z_.]+)=([^}]+)\}")
MASKS = ("updateMask", "update_mask", "readMask", "read_mask")
SYSTEM = ("$alt", "alt", "key", "prettyPrint", "$prettyPrint", "fields", "quotaUser", "userProject", "access_token")


@dataclass(frozen=True)
class Rule:
    """``variable`` is the field that the path fills in, ``body`` the one that is the body (``*``: all of them)."""

    method: str
    path: str
    pattern: re.Pattern[str]
    variable: str
    body: str | None


class RestFront:
    """Raises nothing: a refusal is an answer."""

    def __init__(self, core: Core, predictions: Predictions) -> None:
        self._core = core
        self._predictions = predictions
        self._rules = [rule for path, route in ROUTES.items() for rule in _rules(path, route)]

    def respond(self, request: Request) -> Answer:
        path = urllib.parse.unquote(request.path)
        if request.method == "POST" and (raw := RAW.fullmatch(path)):
            return self._raw(raw[1], request)
        if match := OPERATION.fullmatch(path):
            return self._operation(request, match[1], match[2])
        if request.method == "GET" and (match := OPERATIONS.fullmatch(path)):
            return self._answered(request, LONGRUNNING + "ListOperations", {**_query(request), "name": match[1]})
        for rule in self._rules:
            found = rule.pattern.fullmatch(path) if rule.method == request.method else None
            if found:
                return self._answered(request, rule.path, self._asked(rule, found[1], request))
        raise Problem("NOT_FOUND", f"{request.method} {path} is not emulated.")

    def _asked(self, rule: Rule, name: str, request: Request) -> dict[str, Any]:
        """The whole message as JSON: body, path and query together."""
        body = json_format.json.loads(request.body) if request.body else {}
        if not isinstance(body, dict):
            raise invalid("The body must be a JSON object.")
        asked: dict[str, Any] = body if rule.body == "*" else {rule.body: body} if rule.body else {}
        place, _, last = rule.variable.rpartition(".")
        (asked.setdefault(place, {}) if place else asked)[last] = name
        return asked | _query(request)

    def _answered(self, request: Request, path: str, asked: Mapping[str, Any]) -> Answer:
        message = self._core.methods[path].request()
        try:
            json_format.ParseDict(asked, message)
        except json_format.ParseError as error:
            raise invalid(f"Invalid JSON payload received. {error}") from error
        answer = self._core.call(path, message)
        numbers = "enum-encoding=int" in request.query.get("$alt", "")
        text = json_format.MessageToJson(answer, use_integers_for_enums=numbers, indent=None)
        return Answer(200, text.encode(), {"Content-Type": "application/json; charset=UTF-8"})

    def _operation(self, request: Request, name: str, verb: str | None) -> Answer:
        methods = {
            ("GET", None): "GetOperation",
            ("POST", ":wait"): "WaitOperation",
            ("POST", ":cancel"): "CancelOperation",
        }
        methods["DELETE", None] = "DeleteOperation"
        method = methods.get((request.method, verb))
        if method is None:
            raise Problem("UNIMPLEMENTED", f"{request.method} {request.path} is not emulated.")
        return self._answered(request, LONGRUNNING + method, {"name": name})

    def _raw(self, endpoint: str, request: Request) -> Answer:
        """The container's own answer, with its own status: it is passed on."""
        kind = request.headers.get("content-type", "application/json")
        raw = self._core.disturbed(
            "RawPredict", endpoint.rpartition("/")[2], lambda: self._predictions.raw(endpoint, request.body, kind)
        )
        return Answer(raw.reply.status, raw.reply.body, {"Content-Type": raw.reply.kind, **raw.headers})


def _query(request: Request) -> dict[str, str]:
    """A mask may have the proto's words too (gcloud's), of which ``json_format`` takes its own alone."""
    given = {key: value for key, value in request.query.items() if key not in SYSTEM}
    return {key: _camel(value) if key in MASKS else value for key, value in given.items()}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _rules(path: str, route: Mapping[str, Any]) -> list[Rule]:
    found = []
    for rule in route["http"]:
        variable = VARIABLE.search(rule["uri"])
        if variable is None:
            continue
        inner = "/".join("[^/:]+" if part == "*" else re.escape(part) for part in variable[2].split("/"))
        before, after = rule["uri"][: variable.start()], rule["uri"][variable.end() :]
        pattern = re.compile(f"{re.escape(before)}({inner}){re.escape(after)}")
        found.append(Rule(rule["method"].upper(), PACKAGE + path, pattern, variable[1], rule.get("body")))
    return found
