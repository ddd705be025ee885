"""All formatting: tables, JSON, YAML and names on stdout; errors. Imports nothing heavy before it is needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cloudml.cli.columns import COLUMNS, EMPTY, details, judged, metrics, moment, said, short, table
from cloudml.cli.documents import (
    VERBS,
    as_json,
    as_yaml,
    error_document,
    key_document,
    plain,
    state_document,
    step_document,
    unsigned,
    version_document,
    versioned,
    whole_version_document,
)

if TYPE_CHECKING:
    from cloudml.handles import ModelVersion
    from cloudml.monitoring import Report
    from cloudml.plan import Outcome, Plan, Step
    from cloudml.spi import Plugin
    from cloudml.states import Key, Sample, State

FEATURES_SHOWN = 10
SHORT_EVIDENCE = 20  # letters that have room in a column of the matrix
COLORS = {"+": "green", "~": "yellow", "-": "red"}


@dataclass(frozen=True)
class Printer:
    """Writes data in the form that ``-o`` names; ``documents`` adds native documents to a plan's text."""

    form: str = "table"
    documents: bool = False
    color: bool = False

    def item(self, name: str, document: Mapping[str, Any], text: str) -> None:
        """One thing: its name, its document, or text for people."""
        self._write(document, name, text)

    def listing(
        self, noun: str, headings: Sequence[str], rows: Sequence[Sequence[str]], documents: Sequence[Any]
    ) -> None:
        """Several things: a table, whose first column is their names, or a document with a list under ``noun``."""
        names = "\n".join(row[0] for row in rows)
        self._write({noun: documents}, names, table(headings, rows) if rows else "")
        if not rows and self.form == "table":
            click.echo(f"no {noun}", err=True)

    def samples(self, samples: Sequence[Sample]) -> None:
        """A line for each second and deployment, a column for each metric; a document has the samples as they are."""
        names = list(dict.fromkeys(sample.name for sample in samples))
        lines: dict[tuple[str, str], dict[str, str]] = {}
        for each in samples:
            line = lines.setdefault((moment(each.time), each.labels.get("deployment", "-")), {})
            line[each.name] = f"{each.value:.4g}"
        headings = ("TIME", "DEPLOYMENT", *map(str.upper, names))
        rows = [[at, who, *(of.get(name, "") for name in names)] for (at, who), of in lines.items()]
        documents = [
            {"name": each.name, "value": each.value, "time": moment(each.time), "labels": dict(each.labels)}
            for each in samples
        ]
        self.listing("metrics", headings, rows, documents)

    def states(self, noun: str, states: Sequence[State]) -> None:
        columns = COLUMNS[noun]
        rows = [[of(state) for of in columns.values()] for state in states]
        self.listing(noun, list(columns), rows, [state_document(state) for state in states])

    def state(self, noun: str, state: State, models: Mapping[str, str] = EMPTY) -> None:
        """One resource, whole; with the models that an endpoint serves."""
        more = details(state, models)
        width = max(map(len, (*COLUMNS[noun], *more)))
        lines = [f"{heading:{width}}  {of(state)}".rstrip() for heading, of in COLUMNS[noun].items()]
        lines += [f"{'FAILURE':{width}}  {state.failure.reason}"] if state.failure else []
        lines += [f"{name:{width}}  {value}" for name, value in more.items()]
        self.item(state.key.name, state_document(state, models), "\n".join(lines))

    def versions(self, versions: Sequence[ModelVersion]) -> None:
        rows = [
            [
                str(each),
                " ".join(each.aliases),
                judged(each),
                metrics(each.metrics),
                each.hash,
            ]
            for each in versions
        ]
        headings = ("VERSION", "ALIASES", "APPROVAL", "METRICS", "HASH")
        self.listing("versions", headings, rows, [*map(version_document, versions)])

    def plan(self, plan: Plan) -> None:
        """A plan: its calls with what asks for them, and a last line that counts them."""
        count = counts(plan)
        lines = [line for step in plan.steps if step.calls for line in self._step(step)]
        total = ", ".join(f"{count[effect]} to {verb}" for effect, verb in VERBS.items())
        document = {
            "changes": plan.changes,
            "summary": {verb: count[effect] for effect, verb in VERBS.items()},
            "steps": [step_document(step) for step in plan.steps],
        }
        names = "\n".join(str(step.key) for step in plan.steps if step.calls)
        self._write(document, names, "\n".join([*lines, f"Plan: {total}."]))

    def question(self, plan: Plan) -> None:
        """What somebody is about to be asked about, on stderr."""
        lines = [line for step in plan.steps if step.calls for line in self._step(step)]
        click.echo("\n".join(lines), err=True)

    def outcome(self, outcome: Outcome) -> None:
        """What apply reached, and what is there that the file does not name."""
        rows = [[str(key), state.phase.value if state else "-"] for key, state in _shown(outcome.states)]
        document = {
            "resources": [state_document(state) for _, state in _shown(outcome.states) if state],
            "left": [key_document(key) for key in outcome.left],
        }
        lines = [f"not in the file, --prune deletes it: {key}" for key in outcome.left]
        names = "\n".join(key.name for key, _ in _shown(outcome.states))
        self._write(document, names, "\n".join([table(("RESOURCE", "PHASE"), rows), *lines]) if rows else "")

    def stack(
        self,
        provider: str,
        stack: str,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        documents: Sequence[Any],
    ) -> None:
        """All of a stack, one line each."""
        document = {"provider": provider, "stack": stack, "resources": documents}
        text = table(headings, rows) if rows else f"stack {stack} at provider {provider} has nothing"
        self._write(document, "\n".join(f"{kind} {name}" for kind, name, *_ in rows), text)

    def removed(self, keys: Iterable[Key]) -> None:
        gone = list(keys)
        names = "\n".join(key.name for key in gone)
        text = "\n".join(f"removed {key}" for key in gone) or "nothing is left to remove"
        self._write({"removed": [key_document(key) for key in gone]}, names, text)

    def version(self, version: ModelVersion) -> None:
        aliases = "".join(f" @{alias}" for alias in version.aliases)
        sidecar = version.sidecar
        rows = {
            "hash": version.hash,
            "files": unsigned(version.uri),
            "approval": version.approval,
            "archived": "yes" if version.archived else None,
            "metrics": metrics(sidecar.get("metrics", {})),
            "features": ", ".join(each["name"] for each in sidecar.get("inputs") or ()),
            **{name: said(value) for name, value in plain(sidecar.get("lineage", {})).items()},
            "registered": moment(version.created),
        }
        known = {name: short(value) for name, value in rows.items() if value}
        width = max(map(len, known))
        lines = [f"{version}{aliases}", *(f"  {name:{width}}  {value}" for name, value in known.items())]
        self.item(str(version), whole_version_document(version, sidecar), "\n".join(lines))

    def predictions(self, predictions: Any) -> None:
        text = json.dumps(predictions, ensure_ascii=False)
        self.item(text, {"predictions": predictions}, text)

    def lines(self, lines: Iterable[str]) -> None:
        """A log as it comes, whatever the form: one line each, in JSON one document each."""
        for line in lines:
            click.echo(json.dumps(versioned({"text": line}), ensure_ascii=False) if self.form == "json" else line)

    def report(self, endpoint: str, report: Report, **more: str | None) -> None:
        """A monitor's report; ``more`` goes into its document."""
        from cloudml.monitoring.table import table as drawn

        text = drawn(report, None if self.documents else FEATURES_SHOWN)
        self.item(str(report.verdict), {"endpoint": endpoint, **report.to_json(), **more}, text)

    def matrix(self, plugins: Sequence[Plugin]) -> None:
        """Capabilities by provider: the evidence of a yes; below it what is too long, and the reasons of each no."""
        from cloudml.spi import Capability, No

        answers = {plugin.name: plugin.capabilities for plugin in plugins}
        rows = [[each.value, *(_answer(can[each]) for can in answers.values())] for each in Capability]
        reasons = [
            f"{name}: no {each.value}: {answer.reason}"
            if isinstance(answer, No)
            else f"{name}: {each.value} by {answer.evidence}"
            for name, can in answers.items()
            for each, answer in can.items()
            if isinstance(answer, No) or len(answer.evidence) > SHORT_EVIDENCE
        ]
        documents = [
            {"provider": name, "capabilities": {each.value: {"can": not isinstance(answer, No), **plain(answer)}
             for each, answer in can.items()}}
            for name, can in answers.items()
        ]  # fmt: skip
        text = "\n".join([table(("CAPABILITY", *map(str.upper, answers)), rows), "", *reasons]).rstrip()
        self._write({"providers": documents}, "\n".join(answers), text)

    def _step(self, step: Step) -> list[str]:
        key = short(str(step.key))
        lines = [f"{key}   ({step.note})" if step.note else key]
        for call in step.calls:
            sign = call.effect.value
            target = "" if call.operation.endswith(call.target) else f" {call.target}"
            text = short(f"  {sign} {call.operation}{target}")
            lines.append((click.style(text, fg=COLORS[sign]) if self.color else text) + f"   ({call.why})")
            if self.documents:
                inner = json.dumps(plain(call.document), indent=2, ensure_ascii=False)
                lines += [f"      {line}" for line in inner.splitlines()]
        return lines

    def _write(self, document: Mapping[str, Any], name: str, text: str) -> None:
        match self.form:
            case "json":
                click.echo(as_json(document))
            case "yaml":
                click.echo(as_yaml(document))
            case "name":
                click.echo(name) if name else None
            case _:
                click.echo(text) if text else None


def _shown(states: Mapping[Key, State | None]) -> list[tuple[Key, State | None]]:
    """Resources, without the contents that they are made of."""
    return [(key, state) for key, state in states.items() if key.kind in ("job", "model", "endpoint", "monitor")]


def _answer(answer: Any) -> str:
    evidence = getattr(answer, "evidence", None)
    if evidence and len(evidence) > SHORT_EVIDENCE:
        return "yes (below)"
    return f"yes ({evidence})" if evidence else "planned" if answer.planned else "no"


def counts(plan: Plan) -> dict[str, int]:
    signs = [call.effect.value for step in plan.steps for call in step.calls]
    return {sign: signs.count(sign) for sign in VERBS}


# -- errors ----------------------------------------------------------------------------------------------------------


def error_text(message: str, hint: str | None) -> str:
    return f"error: {message}" + (f"\n  hint: {hint}" if hint else "")


def error(form: str, raised: BaseException, message: str, hint: str | None, code: int) -> str:
    """An error as a document: JSON or YAML."""
    document = error_document(raised, message, hint, code)
    return as_json(document) if form == "json" else as_yaml(document)
