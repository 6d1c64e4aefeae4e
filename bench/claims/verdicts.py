"""The verdicts on sub-claims and claims: a pure function of the claim file and the records of its experiments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.claims import evidence, experiments, gates, measures, rules
from bench.claims.declaration import CHEAP, LONG_SECONDS, RATIOS, Claim, SubClaim
from bench.claims.evidence import Evidence
from bench.claims.gates import Gate
from bench.claims.measures import Unit
from bench.claims.rules import Decision, Verdict
from bench.results.across import holm
from bench.results.stats import ALPHA
from bench.wording import duration

LEARNED = ("score", "growth", "solved", "seconds_to_target")
"""Measures that say nothing about a task that neither arm learns."""


@dataclass(frozen=True)
class TaskVerdict:
    """What one task says of a sub-claim."""

    task: str
    decision: Decision


@dataclass(frozen=True)
class SubVerdict:
    """What became of a sub-claim."""

    sub: SubClaim
    verdict: Verdict
    tasks: tuple[TaskVerdict, ...]
    gates: tuple[Gate, ...]
    reason: str  # why it is undecided; empty otherwise

    @property
    def quorum(self) -> int:
        """How many tasks must support the sub-claim."""
        return self.sub.quorum or len(self.tasks)

    @property
    def leading(self) -> Decision:
        """The task that the verdict hinges on: the weakest of those that the quorum needs."""
        order = {Verdict.SUPPORTED: 2, Verdict.UNDECIDED: 1, Verdict.REFUTED: 0}
        by_strength = sorted(self.tasks, key=lambda task: order[task.decision.verdict], reverse=True)
        return by_strength[min(self.quorum, len(by_strength)) - 1].decision


@dataclass(frozen=True)
class ClaimVerdict:
    """What became of a claim."""

    claim: Claim
    verdict: Verdict
    subs: tuple[SubVerdict, ...]
    evidence: Mapping[str, Evidence]

    @property
    def seconds(self) -> float:
        """The wall time of the experiments."""
        return sum(found.seconds for found in self.evidence.values())


def decide_all(claims: Sequence[Claim], seconds: float, results: Path) -> list[ClaimVerdict]:
    """Decide claims from what their experiments left within a budget. Raises StoreError if a record is damaged."""
    found: dict[str, dict[str, Evidence]] = {}
    for claim in claims:
        found[claim.name] = {name: Evidence(part, "", is_left_out=True) for name, part in claim.experiments.items()}
    for task in experiments.tasks(claims, seconds):
        found[task.claim.name][task.name] = evidence.read(results, task.experiment, task.key)
    return [decide(claim, found[claim.name]) for claim in claims]


def decide(claim: Claim, left: Mapping[str, Evidence]) -> ClaimVerdict:
    """Decide a claim: its sub-claims by their rules and gates, then all core ones together.

    The p values of all tasks of the core sub-claims are corrected by Holm: what is not significant any more is
    undecided. Context sub-claims are printed and decide nothing.
    """
    found = [_tasks(sub, left[sub.experiment], claim.search_spaces) for sub in claim.subclaims]
    corrected = _corrected([tasks if sub.core else [] for sub, tasks in zip(claim.subclaims, found, strict=True)])
    subs = tuple(
        _sub_verdict(sub, kept if sub.core else tasks, left[sub.experiment], claim.search_spaces)
        for sub, tasks, kept in zip(claim.subclaims, found, corrected, strict=True)
    )
    return ClaimVerdict(claim, rules.conjunction([sub.verdict for sub in subs if sub.sub.core]), subs, left)


def _tasks(sub: SubClaim, found: Evidence, spaces: Path | None) -> list[TaskVerdict]:
    """Return the decision of each task by the rule of the sub-claim."""
    margin = rules.on_scale(sub.margin) if sub.measure in (*RATIOS, "half_life") else sub.margin
    return [TaskVerdict(unit.task, _decided(sub, found, unit, margin, spaces)) for unit in measures.units(sub, found)]


def _decided(sub: SubClaim, found: Evidence, unit: Unit, margin: float, spaces: Path | None) -> Decision:
    """Return the decision on a task by the rule.

    It is undecided if neither arm learns the task, since then both are at chance, or if an arm was not tuned well.
    """
    decision = rules.decide(sub.rule, margin, unit.sample)
    arms = [sub.arm, *([sub.against] if sub.against and sub.against not in CHEAP else [])]
    if sub.measure in LEARNED and not any(measures.is_learned(found, question, arms) for question in unit.questions):
        reason = "no arm learns it" if decision.n else decision.reason
        return replace(decision, verdict=Verdict.UNDECIDED, p=None, reason=reason)
    failed = [gate for gate in gates.tuning(sub, found, unit, spaces) if not gate.holds]
    if failed and decision.n:
        return replace(decision, verdict=Verdict.UNDECIDED, p=None, reason=f"gate {failed[0].id}: {failed[0].text}")
    return decision


def _corrected(groups: Sequence[Sequence[TaskVerdict]]) -> list[list[TaskVerdict]]:
    """Return tasks with p values corrected for their number; a supported one above ALPHA becomes undecided."""
    tested = [task for tasks in groups for task in tasks if task.decision.p is not None]
    p_values = dict(zip(map(id, tested), holm([task.decision.p or 0.0 for task in tested]), strict=True))

    def correct(task: TaskVerdict) -> TaskVerdict:
        p = p_values.get(id(task))
        if p is None:
            return task
        decision = replace(task.decision, p=p)
        if decision.verdict is Verdict.SUPPORTED and p > ALPHA:
            reason = f"p = {p:.2g} after the correction for {len(tested)} tests"
            decision = replace(decision, verdict=Verdict.UNDECIDED, reason=reason)
        return replace(task, decision=decision)

    return [[correct(task) for task in tasks] for tasks in groups]


def _sub_verdict(sub: SubClaim, tasks: Sequence[TaskVerdict], found: Evidence, spaces: Path | None) -> SubVerdict:
    checked = tuple(gates.check(sub, found, measures.units(sub, found), spaces))
    failed = [gate for gate in checked if not gate.holds]
    needed = sub.quorum or len(tasks)
    verdict, reason = rules.quorum([task.decision.verdict for task in tasks], needed), ""
    if found.is_left_out:
        verdict, reason = Verdict.UNDECIDED, f"left out: needs a budget of {duration(LONG_SECONDS)} or more"
    elif not found.has_records:
        verdict, reason = Verdict.UNDECIDED, "no run of its experiment yet"
    elif failed:
        verdict, reason = Verdict.UNDECIDED, f"gate {failed[0].id}: {failed[0].text}"
    elif verdict is Verdict.UNDECIDED:
        reason = "; ".join(f"{task.task}: {task.decision.reason}" for task in tasks if task.decision.reason)
    return SubVerdict(sub, verdict, tuple(tasks), checked, reason)
