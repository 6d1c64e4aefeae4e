"""The bill: what each model cost over the whole study, and what reaching a score costs."""

import math
from typing import Any

import pandas as pd

from bench.report import evidence
from bench.report.page import Block, Findings, Note, Section, Table, metrics_of, question_of, rows_of
from bench.results import bill
from bench.wording import DASH, count, duration, is_known, number, percent, score, time_unit, usd


def make(findings: Findings) -> Section:
    watts = findings.spec.get("cpu_watts")
    frame = evidence.study_bill(findings.runs, watts)
    title = "The bill"
    if frame.empty:
        return Section("bill", title, reason="no run has ended yet.")
    mine = [run for run in findings.runs if run.config.phase != "baselines"]
    kwh, energy_is = bill.energy(mine, watts)
    money = bill.usd(mine)
    total = {name: frame[name].sum() for name in ("runs", "failed", "pruned", "device_hours", "screening_hours")}
    total |= {name: frame[name].sum() for name in ("confirming_hours", "cpu_hours", "train_sequences")}
    total |= {"model": "all", "kwh": kwh, "energy_is": energy_is, "usd": money}
    unit, hours = time_unit(3600 * total["device_hours"])
    unit_of_energy, kwh_a_unit = ("kWh", 1.0) if (kwh or 0) >= 1 else ("Wh", 1e-3)

    def cells(row: dict[str, Any]) -> list[str]:
        device = row["device_hours"]
        energy = "not measured" if not is_known(row["kwh"]) else number(row["kwh"] / kwh_a_unit)
        return [
            row["model"],
            *(f"{int(row[name]):,}" for name in ("runs", "failed", "pruned")),
            number(device / hours),
            *(percent(row[name] / device if device else math.nan) for name in ("screening_hours", "confirming_hours")),
            number(row["cpu_hours"] / hours),
            energy,
            "no price given" if not is_known(row["usd"]) else usd(row["usd"]),
            f"{int(row['train_sequences']):,}",
        ]

    head = ["model", "runs", "failed", "ended early", f"device time ({unit})", "screening", "confirming"]
    head += [f"CPU time ({unit})", f"energy ({unit_of_energy})", "money (USD)", "training sequences"]
    wall = bill.wall_seconds(findings.runs)
    device_seconds = 3600 * total["device_hours"]
    lead = f"The whole study took {duration(device_seconds)} of device time in {duration(wall)} of wall time"
    lead += (
        f", {number(kwh / kwh_a_unit)} {unit_of_energy} of energy ({energy_is})"
        if kwh is not None
        else "; energy: not measured"
    )
    lead += f", and {usd(money)} USD." if money is not None else "; money: no price given (--price-per-hour)."
    blocks: list[Block] = [
        Note(lead, "lead"),
        Table(
            "What each model cost over the whole study", head, [*map(cells, rows_of(frame)), cells(total)], total=True
        ),
        Note(
            "Everything is on the bill: what failed, what was ended early (pruned, or over a limit), attempts that "
            "died, confirm and test runs. "
            "Device time is wall time times devices; what screening and confirming leave is the exclusive timing pass. "
            + _energy_note(energy_is)
        ),
    ]
    reach = evidence.cost_to_reach(findings.runs, findings.quality)
    if not reach.empty:
        blocks.append(_reach_table(findings, reach))
        blocks.append(
            Note(
                "Reaching a score with tuning takes 1 / p trials on average, where p is the share of the trials made "
                "that reach it: the cost is that of a mean trial over p."
                + (
                    ""
                    if findings.is_independent
                    else " The sampler chose by earlier scores, so this is what it was, not what to expect."
                )
            )
        )
    return Section("bill", title, blocks)


def _energy_note(energy_is: str) -> str:
    if "not measured" in energy_is:
        return "Energy is not measured where no meter of the device can be read; --cpu-watts would estimate it."
    if "estimated" in energy_is:
        return f"Energy is {energy_is}: time in disguise, and no evidence of its own."
    return f"Energy is {energy_is}."


def _reach_table(findings: Findings, reach: pd.DataFrame) -> Table:
    metrics = metrics_of(findings.runs)
    unit, hours = time_unit(reach["device_seconds"].max())
    rows = []
    for row in rows_of(reach):
        known = is_known(row["device_seconds"])
        missed = f"not reached in {count(int(row['trials']), 'trial')}"
        rows.append(
            [
                question_of(row),
                row["model"],
                f"{metrics[row['dataset'], row['length']]} {score(row['quality'])}",
                f"{row['reached']} of {row['trials']}",
                number(row["device_seconds"] / 3600 / hours) if known else missed,
                usd(row["usd"]) if is_known(row["usd"]) else DASH if not known else "no price given",
            ]
        )
    head = ["question", "model", "validation score", "reached", f"device time ({unit})", "money (USD)"]
    return Table("Cost to reach a validation score, tuning included", head, rows).folded()
