"""The bill: what each model cost over the whole study, and what reaching a score costs."""

import math
from typing import Any

import pandas as pd

from bench.report import evidence
from bench.report.page import Block, Findings, Note, Section, Table, question_of, rows_of
from bench.results import bill
from bench.wording import DASH, count, duration, is_known, number, percent, score, time_unit, usd


def make(findings: Findings) -> Section:
    watts, title = findings.spec.get("cpu_watts"), "The bill"
    frame = evidence.study_bill(findings.runs, watts)
    if frame.empty:
        return Section("bill", title, reason="no run has ended yet.")
    total = {"model": "all"}
    total |= evidence.cost([run for run in findings.runs if run.config.phase != "baselines"], watts)
    note = (
        "The bill includes everything: failed runs, runs that ended early (pruned, or over a limit), crashed attempts, "
        "confirm and test runs. Device time is wall time times devices. The share that screening and confirming leave "
        "is the exclusive timing pass. "
    )
    blocks: list[Block] = [
        Note(_lead(total, bill.wall_seconds(findings.runs)), "lead"),
        _table(rows_of(frame), total),
        Note(note + _energy_note(total["energy_is"]) + _co2_note(total, findings.spec.get("grid"))),
    ]
    blocks += _work(findings)
    reach = evidence.cost_to_reach(findings.runs, findings.quality)
    if not reach.empty:
        text = "Reaching a score with tuning takes 1 / p trials on average, where p is the share of the trials that "
        text += "reached it, so the cost is that of a mean trial divided by p."
        if not findings.is_independent:
            text += " The sampler chose by earlier scores, so this is what it took here, not what to expect."
        blocks += [_reach_table(findings, reach), Note(text)]
    return Section("bill", title, blocks)


def _work(findings: Findings) -> list[Block]:
    """Return the table of what a run of each cell is given."""
    rows = [
        [
            question_of(row),
            row["model"],
            *(f"{int(row[name]):,}" for name in ("steps", "batch_size", "validations", "sequences")),
            f"{row['passes']:.3g}" if is_known(row["passes"]) else "drawn at random",
        ]
        for row in rows_of(evidence.work_of_a_run(findings.runs))
    ]
    head = ["question", "model", "steps", "batch", "validations", "training sequences", "passes over the data"]
    return [Table("What a run of each cell is given, if it is not ended early", head, rows).folded()] if rows else []


def _energy_unit(kwh: float | None) -> tuple[str, float]:
    """Return the unit that suits an energy, and its size in kWh."""
    return ("kWh", 1.0) if (kwh or 0) >= 1 else ("Wh", 1e-3)


def _lead(total: dict[str, Any], wall_seconds: float) -> str:
    unit, size = _energy_unit(total["kwh"])
    study = f"The whole study took {duration(3600 * total['device_hours'])} of device time in {duration(wall_seconds)} "
    energy = "Energy was not measured."
    if total["kwh"] is not None:
        energy = f"It used {number(total['kwh'] / size)} {unit} of energy ({total['energy_is']})."
    money = "No price was given (--price-per-hour)."
    if total["usd"] is not None:
        money = f"It cost {usd(total['usd'])} USD."
    return f"{study}of wall time. {energy} {money}"


def _table(rows: list[dict[str, Any]], total: dict[str, Any]) -> Table:
    unit, hours = time_unit(3600 * total["device_hours"])
    energy_unit, size = _energy_unit(total["kwh"])

    def cells(row: dict[str, Any]) -> list[str]:
        device = row["device_hours"]
        return [
            row["model"],
            *(f"{int(row[name]):,}" for name in ("runs", "failed", "pruned")),
            number(device / hours),
            *(percent(row[name] / device if device else math.nan) for name in ("screening_hours", "confirming_hours")),
            number(row["cpu_hours"] / hours),
            number(row["kwh"] / size) if is_known(row["kwh"]) else "not measured",
            usd(row["usd"]) if is_known(row["usd"]) else "no price given",
            f"{int(row['train_sequences']):,}",
        ]

    head = ["model", "runs", "failed", "ended early", f"device time ({unit})", "screening", "confirming"]
    head += [f"CPU time ({unit})", f"energy ({energy_unit})", "money (USD)", "training sequences"]
    return Table("Cost of each model over the whole study", head, [*map(cells, rows), cells(total)], total=True)


def _energy_note(energy_is: str) -> str:
    if "not measured" in energy_is:
        return "Energy is measured only if a meter of the device can be read; --cpu-watts estimates it."
    if "estimated" in energy_is:
        return f"Energy is {energy_is}: it is CPU time in another unit, and no evidence of its own."
    return f"Energy is {energy_is}."


def _co2_note(total: dict[str, Any], grid: dict[str, Any] | None) -> str:
    """Return the CO2 of the study, if a grid was given, as an estimate with its sources."""
    grams, source = bill.co2(total["kwh"], total["energy_is"], grid)
    return "" if grams is None else f" An estimate of its CO2 is {number(grams)} g: {source}."


def _reach_table(findings: Findings, reach: pd.DataFrame) -> Table:
    unit, hours = time_unit(reach["device_seconds"].max())
    rows = []
    for row in rows_of(reach):
        known = is_known(row["device_seconds"])
        missed = f"not reached in {count(int(row['trials']), 'trial')}"
        rows.append(
            [
                question_of(row),
                row["model"],
                f"{findings.metrics[row['dataset'], row['length']]} {score(row['quality'])}",
                f"{row['reached']} of {row['trials']}",
                number(row["device_seconds"] / 3600 / hours) if known else missed,
                usd(row["usd"]) if is_known(row["usd"]) else DASH if not known else "no price given",
            ]
        )
    head = ["question", "model", "validation score", "reached", f"device time ({unit})", "money (USD)"]
    return Table("Cost to reach a validation score, tuning included", head, rows).folded()
