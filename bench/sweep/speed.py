"""Speed by length: training step, batch inference, one sequence, one step of a stream, and memory, a model at a time.

Each measurement is a run of its own process with nothing else running, at the default configuration. It answers where
attention becomes slower than a recurrence on this machine, and refuses to say so across machines.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pandas as pd

from bench.config.settings import RunConfig, SweepConfig
from bench.errors import DeclarationError, HardwareError
from bench.report import figures
from bench.results.record import RunRecord, write_atomically, write_json
from bench.sweep.engines.local import Job, LocalEngine, check_gpus
from bench.sweep.prepare import Cell, Plan, run_config
from bench.sweep.prepare import make as make_plan

LENGTHS = [32, 64, 128, 256, 512, 1024]

QUANTITIES = {
    "train_step_milliseconds": ("training step", "ms a batch"),
    "inference_step_milliseconds": ("inference", "ms a batch"),
    "latency_p50_milliseconds": ("one sequence", "ms, median"),
    "streaming_p50_milliseconds": ("one step of a stream", "ms, median"),
    "peak_memory_mib": ("memory of training", "MiB"),
}
"""What is shown, and its unit."""

SPREADS = {"train_step_milliseconds": "train_spread", "inference_step_milliseconds": "inference_spread"}
"""Between the quartiles of the repeats, over their median."""

CONDITIONS = ("hardware", "device", "precision", "threads", "dataset", "batch_size")
"""Times are compared only where all of these are the same."""

Say = Callable[[str], None]


def measure(config: SweepConfig, batch_size: int, say: Say) -> tuple[pd.DataFrame, Path]:
    """Time every model at every length, one run at a time; return a row each, and the folder of the records.

    A failure, out of memory say, is a row with its cause. The records stay below the folder, which is named after the
    conditions: what is measured on another machine, or in another precision, does not replace them. Raises
    HardwareError where torch does not see the GPU.
    """
    plan = make_plan(config.model_copy(update={"workers": 1, "budget": "smoke", "name": "speed"}))
    if plan.device == "cuda":
        check_gpus(plan.slots[:1])
    engine = LocalEngine(plan.slots[:1], stall_seconds=config.stall_seconds)
    rows = []
    try:
        engine.start_server()
        from bench.training.ledger import environment  # loads torch, which reading and comparing need not

        machine = environment(plan.device)
        what = f"{plan.cells[0].dataset.name}-b{batch_size}-{config.precision}"
        folder = config.results / "speed" / slug(machine["hardware"]) / what
        for cell in plan.cells:
            record, path = _run(plan, cell, batch_size, folder, engine)
            rows.append(_row(cell, record, path, machine))
            found = rows[-1].get("train_step_milliseconds")
            say(f"{cell.id}: {f'{found:.2f} ms a training step' if found else rows[-1]['state']}")
    finally:
        engine.close()
    return pd.DataFrame(rows), folder


def _run(plan: Plan, cell: Cell, batch_size: int, folder: Path, engine: LocalEngine) -> tuple[RunRecord, Path]:
    config = run_config(plan, cell, cell.id, "speed", cell.space.default)
    settings = config.train.model_copy(update={"batch_size": batch_size})
    config = config.model_copy(update={"sweep": "speed", "threads": 1, "train": settings})
    path = folder / f"L{cell.length}" / cell.space.name
    path.mkdir(parents=True, exist_ok=True)
    (path / "record.json").unlink(missing_ok=True)
    write_json(path / "config.json", config.model_dump(mode="json"))
    engine.submit(Job(cell.id, path))
    cause: str | None = None
    while engine.busy:
        for event in engine.wait(0.25):
            if event.kind == "ended":
                cause = event.cause
    record = RunRecord.read(path)
    if record is None:
        record = _died(config, cell, cause or "no record")
    return record, path


def slug(text: str) -> str:
    """Return a name fit for a folder."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _died(config: RunConfig, cell: Cell, cause: str) -> RunRecord:
    asked = {name: getattr(cell.task, name) for name in ("metric", "goal", "chance", "solved", "num_steps")}
    return RunRecord.model_validate({"config": config, "asked": asked, "state": "failed", "cause": cause})


def _row(cell: Cell, record: RunRecord, path: Path, machine: dict[str, Any]) -> dict[str, Any]:
    memory, machine = record.peak_memory_bytes, record.environment or machine
    return {
        "dataset": cell.dataset.name,
        "length": cell.length,
        "steps": record.asked.num_steps,
        "model": cell.space.name,
        "state": record.state if record.state != "failed" else f"failed: {record.cause}",
        **(record.speed or {}),
        "batch_size": record.config.train.batch_size,
        "peak_memory_mib": None if memory is None or record.speed is None else memory / 2**20,
        "parameters": record.num_parameters or None,
        "state_size": record.state_size,
        "kernels": ", ".join(record.kernels),
        "device": record.config.device,
        "precision": record.config.precision,
        "threads": record.config.threads,
        "hardware": machine["hardware"],
        "torch": machine["torch"],
        "measured_at": record.started_at or datetime.now(UTC).isoformat(timespec="seconds"),
        "record": str(path / "record.json"),
    }


def write(frame: pd.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Write the rows as speed.csv and the charts as speed.svg; return their paths."""
    csv, svg = folder / "speed.csv", folder / "speed.svg"
    write_atomically(csv, frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(svg, chart(frame))
    return csv, svg


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of speed.csv files; of what was measured twice, those of the later file.

    Raises DeclarationError, and HardwareError where their conditions differ.
    """
    frames = []
    for path in paths:
        try:
            frame = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise DeclarationError(f"{path}: not a speed.csv: {error}") from None
        missing = {"model", "steps", *CONDITIONS} - set(frame.columns)
        if missing:
            raise DeclarationError(f"{path}: not a speed.csv: column {min(missing)} is missing")
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True)
    same_conditions(frame)
    return frame.drop_duplicates(["model", "steps"], keep="last", ignore_index=True)


def crossover(frame: pd.DataFrame, slow: str, fast: str, column: str) -> str:
    """Return where `slow` becomes slower than `fast` as sequences grow, in words.

    Between the two lengths where the order changes the place is interpolated, both axes logarithmic. Raises
    HardwareError where the rows were measured under different conditions.
    """
    same_conditions(frame)
    pairs = frame[frame["model"].isin((slow, fast))].pivot_table(index="steps", columns="model", values=column)
    if slow not in pairs or fast not in pairs or pairs.dropna().empty:
        return f"{slow} and {fast} were not both measured"
    pairs = pairs.dropna().sort_index()
    steps = [int(step) for step in pairs.index]
    ratios = [math.log(pairs[slow][step] / pairs[fast][step]) for step in pairs.index]
    if all(ratio > 0 for ratio in ratios):
        return f"{slow} is slower than {fast} at every length measured ({steps[0]} to {steps[-1]} steps)"
    if all(ratio <= 0 for ratio in ratios):
        return f"{slow} is not slower than {fast} at any length measured ({steps[0]} to {steps[-1]} steps)"
    changes = []
    for i in range(1, len(ratios)):
        before, after = ratios[i - 1], ratios[i]
        if (before <= 0) != (after <= 0):
            place = steps[i - 1] * (steps[i] / steps[i - 1]) ** (before / (before - after))
            word, about = "slower" if after > 0 else "faster", float(f"{place:.2g}")
            changes.append(f"{word} than {fast} between {steps[i - 1]} and {steps[i]} steps (about {about:.0f})")
    return f"{slow} becomes {', then '.join(changes)}"


def same_conditions(frame: pd.DataFrame) -> None:
    """Raise HardwareError unless all rows were measured on the same hardware, device, precision and threads."""
    for name in CONDITIONS:
        found = sorted({str(value) for value in frame[name].dropna()})
        if len(found) > 1:
            raise HardwareError(f"rows of different {name} are not compared by time: {'; '.join(found)}")


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return where attention becomes slower than an LSTM, for each quantity in milliseconds."""
    return [
        f"{title}: {crossover(frame, 'transformer', 'lstm', column)}"
        for column, (title, _) in QUANTITIES.items()
        if column.endswith("milliseconds") and column in frame
    ]


def tables(frame: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Return a table of text cells for each quantity: rows are models, columns the steps."""
    steps = sorted(frame["steps"].unique())
    found = {}
    for column, (title, unit) in QUANTITIES.items():
        if column not in frame:
            continue
        rows = []
        for model in dict.fromkeys(frame["model"]):
            mine = frame[frame["model"] == model].set_index("steps")
            rows.append([model, *(_cell(mine, step, column) for step in steps)])
        found[f"{title} ({unit})"] = rows
    return found


def _cell(mine: pd.DataFrame, step: int, column: str) -> str:
    if step not in mine.index:
        return ""
    value = mine[column][step]
    if pd.isna(value):
        state = str(mine["state"][step])
        return "-" if state == "complete" else state.removeprefix("failed: ")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def chart(frame: pd.DataFrame) -> str:
    """Return one SVG with a chart for each quantity against the steps, both axes logarithmic."""
    drawn = []
    steps = figures.Axis("steps", log=True, ticks=[(step, f"{step:,}") for step in sorted(frame["steps"].unique())])
    for column, (title, unit) in QUANTITIES.items():
        if column not in frame or frame[column].dropna().empty:
            continue
        series = []
        for model in dict.fromkeys(frame["model"]):
            mine = frame[(frame["model"] == model) & frame[column].notna()].sort_values("steps")
            if len(mine):
                low, high = _band(mine, column)
                series.append(
                    figures.Series(model, mine["steps"].tolist(), mine[column].tolist(), low, high, band=True)
                )
        drawn.append(figures.svg(figures.Chart(title, steps, figures.Axis(unit, log=True), series)))
    where = {name: frame[name].dropna() for name in CONDITIONS}
    where = {name: values.iloc[0] if len(values) else "unknown" for name, values in where.items()}
    notes = [
        "{hardware}, {device}, {threads} thread(s), {precision}; {dataset}, {batch_size} sequences a batch".format(
            **where
        ),
        "shade: as wide as the middle half of the repeats; of one sequence and one step, up to the 95th percentile",
    ]
    return _beside(drawn, figures.legend(list(dict.fromkeys(frame["model"]))), notes)


def _band(rows: pd.DataFrame, column: str) -> tuple[list[float], list[float]]:
    """Return the ends of the shade: the width of the middle half of the repeats, or up to the 95th percentile."""
    upper = column.replace("_p50_", "_p95_")
    if upper != column:
        return rows[column].tolist(), rows[upper].tolist()
    if column not in SPREADS:
        return [], []
    half = rows[SPREADS[column]] / 2
    return (rows[column] * (1 - half).clip(lower=0.05)).tolist(), (rows[column] * (1 + half)).tolist()


def _beside(drawn: list[str], legend: list[tuple[str, str]], notes: list[str]) -> str:
    """Return charts in two columns as one SVG, under a row that names the colours, over notes."""
    width, height, top = 460, 280, 40
    names = "".join(
        mark.replace("<svg ", f'<svg x="{14 + 125 * i}" y="14" width="14" height="14" ', 1)
        + f'<text x="{34 + 125 * i}" y="26" font-size="13" fill="{figures.INKS["ink"]}">{name}</text>'
        for i, (name, mark) in enumerate(legend)
    )
    parts = [
        one.replace("<svg ", f'<svg x="{width * (i % 2)}" y="{top + height * (i // 2)}" width="432" height="270" ', 1)
        for i, one in enumerate(drawn)
    ]
    under = top + height * math.ceil(len(drawn) / 2)
    tall = under + 20 * len(notes)
    parts += [
        f'<text x="14" y="{under + 6 + 18 * i}" font-size="11.5" fill="{figures.INKS["soft"]}">{escape(note)}</text>'
        for i, note in enumerate(notes)
    ]
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width} {tall}" width="{2 * width}" height="{tall}" '
        f'role="img" font-family="sans-serif"><title>Speed by length on {escape(notes[0])}</title>'
        f'<rect width="100%" height="100%" fill="#fffffe"/>{names}{"".join(parts)}</svg>\n'
    )
    return re.sub(r"var\(--figure-\w+, (#\w+)\)", r"\1", text)  # by itself it has no page to take its inks from
