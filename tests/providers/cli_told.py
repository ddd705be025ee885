"""The command line on an emulated cloud, for tests of what somebody is told who asks for what cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from cloudml.cli import main

JOB = 'jobs: {train: {command: "true"}}'
SERVED = "models: {fraud: {path: model}}\nendpoints: {shop-api: {model: fraud}}"


@dataclass(frozen=True)
class CommandLine:
    """`cloudml` in the current folder, with an environment of the provider; it never says a word of ``never``."""

    provider: str
    never: tuple[str, ...] = ("Traceback", "\t")

    def ended(self, code: int, *arguments: str, file: str = JOB, **settings: str) -> str:
        """All that a command (``apply``) says that ends with this code."""
        rest = "".join(f", {name}: {value}" for name, value in settings.items())
        place = f"environments: {{cloud: {{provider: {self.provider}{rest}}}}}"
        Path("cloudml.yaml").write_text(f"version: 1\nproject: shop\n{file}\n{place}\n")
        answer = CliRunner().invoke(main, [*(arguments or ("apply",)), "-e", "cloud"])
        assert answer.exit_code == code, answer.output
        assert not [word for word in self.never if word in answer.output], answer.output
        return answer.output

    def told(self, code: int, *arguments: str, file: str = JOB, **settings: str) -> str:
        """The same of one that ends with an error, which is told once."""
        said = self.ended(code, *arguments, file=file, **settings)
        assert said.count("error: ") == 1, said
        return said
