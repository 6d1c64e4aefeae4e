"""Outcomes by cause: how trials and confirm runs ended, what each cause means, and an example of each."""

from bench.report import evidence
from bench.report.page import Block, Findings, Listing, Note, Section, Table, question_of, rows_of
from bench.results.record import RunRecord, outcome
from bench.wording import count, shortened, was_or_were

CAUSES = {
    "complete": "The run trained to its end, or until it had solved the task.",
    "dropped": "Successive halving paused the run, and others were better at the same point, so it did not continue.",
    "pruned": "The pruner ended the run early, because others were better at the same point.",
    "over the limit": "The configuration exceeds a limit of the sweep, so it was not trained or not chosen.",
    "non_finite": "The loss or the score became infinite or not a number. The usual cause is too high a learning rate.",
    "diverged": "The loss was more than twice its best for three epochs, and half of its gain was lost.",
    "out_of_memory": "The device or the machine ran out of memory.",
    "timeout": "Training took longer than --max-run-seconds allows.",
    "stall": "The run made no step for --stall-seconds and was ended.",
    "node_lost": "The machine of the cluster that carried the run out was lost, four times.",
    "killed": "The process was killed from outside, usually by the kernel because memory ran out.",
    "error": "The code raised an exception. See the end of the log.",
    "bad_result": "The run ended without a usable score.",
}


def make(findings: Findings) -> Section:
    frame = evidence.outcomes(findings.runs)
    title = "Outcomes by cause"
    if frame.empty:
        return Section("outcomes", title, reason="no trial has ended yet.")
    causes = list(frame.columns[4:])
    totals = {name: int(frame[name].sum()) for name in ["runs", *causes]}
    is_all_well = totals["complete"] == totals["runs"]
    rows = [
        [question_of(row), row["model"], *(f"{row[name]:,}" for name in ["runs", *causes])] for row in rows_of(frame)
    ]
    rows.append(["all", "", *(f"{total:,}" for total in totals.values())])
    head = ["question", "model", "runs", *(name.replace("_", " ") for name in causes)]
    table = Table("How the trials and confirm runs of each cell ended", head, rows, total=True)
    blocks: list[Block] = [Note(_lead(findings, totals), "lead"), table.folded(always=is_all_well)]
    meanings = [(name.replace("_", " "), _meaning(name)) for name in causes if name != "complete" and totals[name]]
    if meanings:
        blocks.append(Listing(meanings))
    if findings.spec["not_applicable"]:
        rows = [[cell_id, reason] for cell_id, reason in findings.spec["not_applicable"].items()]
        blocks.append(Table("Cells that are not applicable, and why", ["cell", "reason"], rows).folded())
    return Section("outcomes", title, [*blocks, *_examples(findings.runs)])


def _lead(findings: Findings, totals: dict[str, int]) -> str:
    runs = count(totals["runs"], "trial and confirm run", "trials and confirm runs")
    over = totals.get("over the limit", 0)
    dropped = totals.get("dropped", 0)
    failed = totals["runs"] - totals["complete"] - totals["pruned"] - over - dropped
    if totals["complete"] == totals["runs"]:
        lead = f"All {runs} are complete; none was pruned and none failed."
    else:
        limit = f"{over:,} {was_or_were(over)} over a limit, " if over else ""
        pruned = f"{totals['pruned']:,} {was_or_were(totals['pruned'])} pruned"
        if dropped:
            pruned += f", {dropped:,} {was_or_were(dropped)} dropped by successive halving"
        lead = f"Of {runs}, {totals['complete']:,} ended complete, {pruned}, {limit}and {failed:,} failed."
    crashes = sum(len(run.crashes) for run in findings.runs)
    if crashes:
        lead += f" {count(crashes, 'attempt')} died and {was_or_were(crashes)} retried or given up; their time counts."
    divided = sum((run.accumulate_grad_batches or 1) > 1 for run in findings.runs)
    if divided:
        lead += f" Memory ran out in {count(divided, 'run')}, whose batches were then divided into micro-batches."
    return lead


def _examples(runs: list[RunRecord]) -> list[Block]:
    """Return a table with the first failure of each cause."""
    first: dict[str, RunRecord] = {}
    for run in runs:
        if run.state == "failed" and run.config.phase in ("screen", "confirm"):
            first.setdefault(outcome(run), run)
    rows = [
        [name.replace("_", " "), f"runs/{run.config.run}/log.txt", shortened(run.message or "no message", 160)]
        for name, run in sorted(first.items())
    ]
    caption = "The first failure of each cause; the path of its log is relative to the sweep's folder"
    return [Table(caption, ["cause", "log", "message"], rows)] if rows else []


def _meaning(cause: str) -> str:
    if cause.startswith("signal"):
        return f"The process died of {cause}."
    if cause.startswith("exit"):
        return f"The process ended with code {cause.removeprefix('exit ')} and left no record."
    return CAUSES.get(cause, "This cause has no description; see the log.")
