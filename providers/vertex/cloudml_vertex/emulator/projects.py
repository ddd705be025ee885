"""The account's one project as Resource Manager knows it: the id for its number, and the reverse."""

from __future__ import annotations

import re
from typing import Any

from google.cloud.resourcemanager_v3.types import Project

from cloudml.emulation.http import Answer, Request
from cloudml_vertex.emulator.problems import Problem

NUMBER = "1234"
PATH = re.compile(r"/v[13]/projects/([^/:]+)")


class Projects:
    """``project`` is the id that goes with the number; any other id is taken for a project of the same number."""

    def __init__(self, project: str) -> None:
        self._project = project

    def get_project(self, ask: Any) -> Any:
        """``GetProject`` of gRPC: what ``aiplatform`` asks before its first call."""
        name = str(ask.name).removeprefix("projects/")
        fields = {"name": f"projects/{NUMBER}", "project_id": self._id(name), "state": Project.State.ACTIVE}
        return Project.pb(Project(**fields))

    def respond(self, request: Request) -> Answer:
        """The same by REST, in the words of both versions."""
        match = PATH.fullmatch(request.path)
        if match is None:
            raise Problem("UNIMPLEMENTED", f"{request.method} {request.path} is not emulated.")
        document = {"projectId": self._id(match[1]), "projectNumber": NUMBER, "name": f"projects/{NUMBER}"}
        return Answer(200, {**document, "state": "ACTIVE"})

    def _id(self, name: str) -> str:
        return self._project if name == NUMBER else name
