"""The page of the claims: verdicts with effects, intervals, gates, evidence and cost, as text, Markdown and rows."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from bench.claims.declaration import LONG_SECONDS, MEMORY, RATIOS
from bench.claims.evidence import Evidence
from bench.claims.rules import Decision, Verdict
from bench.claims.verdicts import ClaimVerdict, SubVerdict
from bench.results.record import RunRecord
from bench.wording import DASH, count, duration, enumeration, is_known, number, percent, signed

COLUMNS = (
    "claim", "verdict_of_claim", "subclaim", "core", "verdict", "sentence", "measure", "arm", "against", "rule",
    "margin", "tasks", "quorum", "effect", "low", "high", "seeds", "p", "gates", "gates_passed", "reason", "records",
    "seconds",
)  # fmt: skip
SHARES = ("solved", "solve_rate")


def effect(sub: SubVerdict, decision: Decision) -> str:
    """Return an effect with its interval, in the unit of its measure."""
    if not is_known(decision.value):
        return DASH
    value, low, high = (_in_unit(sub.sub.measure, x) for x in (decision.value, decision.low, decision.high))
    if decision.low == decision.high and decision.n == 1:
        return f"{value}, exact"
    interval = "" if not is_known(decision.low) else f" [{low}, {high}]"
    return f"{decision.bound} {value}{interval}".strip()


def _in_unit(measure: str, value: float) -> str:
    if not is_known(value):
        return DASH
    if measure in RATIOS:
        return f"×{number(math.exp(value))}"
    if measure == "horizon":
        return f"×{number(2**value)} in length"
    if measure == "half_life":
        return f"{number(math.exp(value))} steps"
    if measure in SHARES:
        return f"{percent(value)} of seeds".replace("-", "−")
    if measure == "guessed":
        return f"{percent(value)} of the way from chance".replace("-", "−")
    return number(value) if measure in MEMORY else signed(value)


def holds(found: ClaimVerdict) -> list[str]:
    """Return what the core sub-claims say: what holds, what does not, and what is undecided, as sentences."""
    core = [sub for sub in found.subs if sub.sub.core]
    sentences = [f"Holds: {sub.sub.says}" for sub in core if sub.verdict is Verdict.SUPPORTED]
    sentences += [f"Does not hold: {sub.sub.otherwise}" for sub in core if sub.verdict is Verdict.REFUTED]
    return sentences + [f"Undecided: {sub.sub.says} ({sub.reason})" for sub in core if sub.verdict is Verdict.UNDECIDED]


def scope(found: ClaimVerdict) -> str:
    """Return what the experiments covered, as a sentence: no verdict goes beyond it."""
    sweeps = [other for other in found.evidence.values() if other.experiment.is_sweep and other.has_records]
    parts = [_scope_of(other) for other in sweeps]
    what = "networks trained from scratch" if sweeps else "untrained networks or times alone"
    return f"Scope: {'; '.join([what, *dict.fromkeys(parts)])}."


def left_out(found: ClaimVerdict) -> str:
    """Return which parts have no evidence since time or data were missing, as a sentence; empty if all have."""
    names: dict[str, list[str]] = {}
    for sub in found.subs:
        other = found.evidence[sub.sub.experiment]
        if other.is_left_out or not other.has_records:
            why = f"need a budget of {duration(LONG_SECONDS)} or more" if other.is_left_out else "were not run"
            names.setdefault(why, []).append(sub.sub.id)
    parts = [f"{enumeration(ids)}, whose experiments {why}" for why, ids in names.items()]
    return f"Left out for lack of time or data: {'; '.join(parts)}." if parts else ""


def _scope_of(found: Evidence) -> str:
    experiment = found.experiment
    match = f", {experiment.match}" if experiment.match else ""
    if experiment.max_sequences is None:
        how = "searched within the time"
    else:
        tuning = "defaults, not tuned" if experiment.trials == 1 else count(experiment.trials, "trial")
        how = f"{tuning}, up to {experiment.max_sequences:,} sequences a run"
    return f"{enumeration(experiment.datasets)} ({how}{match}, up to {count(experiment.seeds, 'seed')})"


def text(verdicts: Sequence[ClaimVerdict]) -> str:
    """Return the page for a terminal."""
    lines: list[str] = []
    for found in verdicts:
        lines += ["", f"{found.claim.name}: {found.claim.title}", f"  {headline(found)}"]
        lines += [f"  {sentence}" for sentence in holds(found)]
        for sub in found.subs:
            mark = "" if sub.sub.core else "  (context)"
            contrast = _contrast(sub)
            lines.append(f"    {sub.sub.id:13} {sub.verdict:10} {contrast}{mark}")
            lines += [f"      {line}" for line in task_lines(sub)]
        lines += [f"  {line}" for line in (scope(found), left_out(found)) if line]
        lines += [f"  Evidence: {_places(found)}. Cost: {duration(found.seconds)}."]
        lines.append(f"  What would change it: {found.claim.changes}")
    decided = sum(found.verdict is not Verdict.UNDECIDED for found in verdicts)
    return "\n".join([*lines, "", f"{decided} of {count(len(verdicts), 'claim')} decided."])


def headline(found: ClaimVerdict) -> str:
    """Return the verdict on a claim with what it rests on."""
    core = [sub for sub in found.subs if sub.sub.core]
    supported = sum(sub.verdict is Verdict.SUPPORTED for sub in core)
    refuted = sum(sub.verdict is Verdict.REFUTED for sub in core)
    parts = f"{supported} of {count(len(core), 'core part')} supported, {refuted} refuted"
    gates = [gate for sub in found.subs for gate in sub.gates]
    word = found.verdict.upper() + (" as worded" if found.verdict is Verdict.REFUTED else "")
    return f"{word}: {parts}; gates {sum(gate.holds for gate in gates)} of {len(gates)}"


def task_lines(sub: SubVerdict) -> Iterator[str]:
    """Yield the effect on each task of a sub-claim, and the gates that failed."""
    for task in sub.tasks:
        decision = task.decision
        p = "" if decision.p is None else f", p = {decision.p:.2g}"
        seeds = "" if not decision.n or effect(sub, decision).endswith("exact") else f", n = {decision.n}{p}"
        why = f" ({decision.reason})" if decision.reason else ""
        yield f"{task.task}: {effect(sub, decision)}{seeds}: {decision.verdict}{why}"
    for gate in sub.gates:
        if not gate.holds:
            yield f"gate {gate.id} fails: {gate.text}"


def _contrast(sub: SubVerdict) -> str:
    declared = sub.sub
    against = f" against {declared.against}" if declared.against else ""
    quorum = f", on {sub.quorum} of {len(sub.tasks)} tasks" if len(sub.tasks) > 1 else ""
    measure = declared.measure.replace("_", " ") + (f" at {declared.test_length:,}" if declared.test_length else "")
    return f"{measure} of {declared.arm}{against}: {declared.rule} {declared.margin:g}{quorum}"


def _places(found: ClaimVerdict) -> str:
    return ", ".join(other.place for other in found.evidence.values() if other.has_records) or "none yet"


def markdown(verdicts: Sequence[ClaimVerdict], command: str) -> str:
    """Return the page as Markdown; `command` is what measured it."""
    lines = ["# Claims, decided", "", f"`{command}`. {_machine(verdicts)}", ""]
    lines += ["| claim | verdict | result | cost |", "|---|---|---|---|"]
    for found in verdicts:
        what = " ".join(holds(found)).replace("|", "\\|")
        lines.append(f"| {found.claim.title} | {found.verdict} | {what} | {duration(found.seconds)} |")
    for found in verdicts:
        claim = found.claim
        lines += [
            "",
            f"## {claim.title}",
            "",
            f"> {claim.belief}",
            "",
            claim.question,
            "",
            f"**{headline(found)}.**",
            "",
        ]
        lines += [f"- {sentence}" for sentence in holds(found)]
        lines += ["", "| part | verdict | measured | rule | by task |", "|---|---|---|---|---|"]
        for sub in found.subs:
            contrast, _, rule = _contrast(sub).partition(": ")
            name = sub.sub.id if sub.sub.core else f"{sub.sub.id} (context)"
            lines.append(f"| {name} | {sub.verdict} | {contrast} | {rule} | {'<br>'.join(task_lines(sub))} |")
        lines += [
            "",
            " ".join(filter(None, (scope(found), left_out(found)))),
            "",
            f"Why it matters: {claim.why}",
            "",
            f"What would change it: {claim.changes}",
            "",
        ]
        lines.append(f"Evidence: {_places(found)}.")
    return "\n".join(lines) + "\n"


def _machine(verdicts: Sequence[ClaimVerdict]) -> str:
    """Return the machine, the versions and the commit of the newest run, as a sentence."""
    newest = max(_records(verdicts), key=lambda run: run.started_at, default=None)
    if newest is None:
        return "Nothing has been measured yet."
    facts = newest.environment
    versions = (
        f"torch {facts.get('torch', DASH)}, bench {facts.get('bench', DASH)}, commit {newest.config.commit or DASH}"
    )
    return f"Measured on {facts.get('hardware', 'unknown hardware')}, {versions}."


def _records(verdicts: Sequence[ClaimVerdict]) -> Iterator[RunRecord]:
    for found in (other for verdict in verdicts for other in verdict.evidence.values()):
        yield from (run for cell in found.cells.values() for run in cell.records)
        yield from (run for runs in found.speed.values() for run in runs)


def rows(verdicts: Sequence[ClaimVerdict]) -> list[dict[str, Any]]:
    """Return a row for each sub-claim, with the columns of COLUMNS; effects are of the task that decides."""
    return [_row(found, sub) for found in verdicts for sub in found.subs]


def _row(found: ClaimVerdict, sub: SubVerdict) -> dict[str, Any]:
    declared, decision = sub.sub, sub.leading
    values = [decision.value, decision.low, decision.high]
    if declared.measure in (*RATIOS, "half_life"):
        values = [math.exp(value) for value in values]
    effect, low, high = (value if math.isfinite(value) else None for value in values)
    facts = {
        "claim": found.claim.name, "verdict_of_claim": str(found.verdict), "subclaim": declared.id,
        "core": declared.core, "verdict": str(sub.verdict),
        "sentence": declared.otherwise if sub.verdict is Verdict.REFUTED else declared.says,
        "effect": effect, "low": low, "high": high, "seeds": decision.n, "p": decision.p,
        "tasks": ", ".join(task.task for task in sub.tasks), "quorum": sub.quorum,
        "gates": len(sub.gates), "gates_passed": sum(gate.holds for gate in sub.gates), "reason": sub.reason,
        "records": found.evidence[declared.experiment].place,
        "seconds": round(found.evidence[declared.experiment].seconds, 1),
    }  # fmt: skip
    facts |= {key: getattr(declared, key) for key in ("measure", "arm", "against", "rule", "margin")}
    return {key: facts[key] for key in COLUMNS}


def as_csv(verdicts: Sequence[ClaimVerdict]) -> str:
    """Return the rows as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(verdicts))
    return out.getvalue()
