"""Outcomes by cause: how trials and confirm runs ended, what each cause means, and an example of each."""

from bench.report import evidence
from bench.report.page import Block, Findings, Listing, Note, Section, Table, question_of, rows_of
from bench.results.record import RunRecord, outcome
from bench.wording import count, shortened, was_or_were

CAUSES = {
    "complete": "Trained to its end, or until it had solved the task.",
    "pruned": "Ended early by the pruner: others were better at the same point.",
    "over the limit": "Not trained, or not chosen: the configuration cannot keep a limit of the sweep.",
    "non_finite": "Loss or score became infinite or not a number: most often a learning rate too high.",
    "diverged": "For three epochs the loss was more than twice its best.",
    "out_of_memory": "The memory of the device or machine did not suffice.",
    "timeout": "Trained longer than --max-run-seconds allows.",
    "stall": "Made no step for --stall-seconds, and was ended.",
    "killed": "The process was killed from outside, most often by the kernel for want of memory.",
    "error": "The code raised an exception; the end of the log says which.",
    "bad_result": "The run ended without a score that can be used.",
}


def make(findings: Findings) -> Section:
    frame = evidence.outcomes(findings.runs)
    title = "Outcomes by cause"
    if frame.empty:
        return Section("outcomes", title, reason="no trial has ended yet.")
    causes = list(frame.columns[4:])
    totals = {name: int(frame[name].sum()) for name in ["runs", *causes]}
    over = totals.get("over the limit", 0)
    bad = totals["runs"] - totals["complete"] - totals["pruned"] - over
    of = count(totals["runs"], "trial and confirm run", "trials and confirm runs")
    lead = f"Of {of}, "
    lead += f"{totals['complete']:,} ended complete, {totals['pruned']:,} {was_or_were(totals['pruned'])} pruned, "
    lead += (f"{over:,} {was_or_were(over)} over a limit, " if over else "") + f"and {bad:,} failed."
    is_all_well = totals["complete"] == totals["runs"]
    if is_all_well:
        lead = f"All {of} ended complete: none was pruned, none failed."
    crashes = sum(len(run.crashes) for run in findings.runs)
    if crashes:
        lead += f" {count(crashes, 'attempt')} died and {was_or_were(crashes)} made again or given up, on the bill too."
    rows = [
        [question_of(row), row["model"], *(f"{row[name]:,}" for name in ["runs", *causes])] for row in rows_of(frame)
    ]
    rows.append(["all", "", *(f"{total:,}" for total in totals.values())])
    head = ["question", "model", "runs", *(name.replace("_", " ") for name in causes)]
    table = Table("How the trials and confirm runs of each cell ended", head, rows, total=True)
    blocks: list[Block] = [Note(lead, "lead"), table.folded(always=is_all_well)]
    shown = [(name.replace("_", " "), _meaning(name)) for name in causes if name != "complete" and totals[name]]
    if shown:
        blocks.append(Listing(shown))
    left_out = findings.spec["not_applicable"]
    if left_out:
        rows = [[cell_id, reason] for cell_id, reason in left_out.items()]
        blocks.append(Table("Not applicable: cells that are not trained, and why", ["cell", "reason"], rows).folded())
    examples: dict[str, RunRecord] = {}
    for run in findings.runs:
        if run.state == "failed" and run.config.phase in ("screen", "confirm"):
            examples.setdefault(outcome(run), run)
    if examples:
        rows = [
            [
                name.replace("_", " "),
                f"runs/{run.config.run}/log.txt",
                shortened(run.message or "no message", 160),
            ]
            for name, run in sorted(examples.items())
        ]
        blocks.append(
            Table(
                "The first failure of each cause: its log lies in the sweep's folder", ["cause", "log", "message"], rows
            )
        )
    return Section("outcomes", title, blocks)


def _meaning(cause: str) -> str:
    if cause.startswith("signal"):
        return f"The process died of {cause}."
    if cause.startswith("exit"):
        return f"The process ended with code {cause.removeprefix('exit ')} and left no record."
    return CAUSES.get(cause, "A cause without a description; the log says more.")
