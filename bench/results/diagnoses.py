"""Diagnoses of networks as tables: what `bench diagnose` found, one CSV for each dataset, length and model."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.config.ids import CellId
from bench.results.record import write_atomically
from bench.wording import number

FOLDER = "diagnoses"  # of a sweep


class Row(NamedTuple):
    """One number of a network, with its range."""

    at: str  # start or end of training, or its middle: the validation nearest to half way to the best one
    # Gradient of the state or of the input, a gate, survives, attention distance, training steps; on flip_flop, bit in
    # the cell state or in the hidden state: the area under the ROC curve of a probe.
    quantity: str
    part: str  # the layer; or half-life, zeros in float32, subnormal in float32
    step: int  # lag for gradients and `survives`, step of the sequence for gates, steps after the write for a bit
    mean: float
    low: float  # the least unit, sequence or head
    high: float


def path_of(sweep: Path, cell: CellId) -> Path:
    """Return the file of a cell's diagnosis."""
    return sweep / FOLDER / f"{cell.dataset}-L{cell.length}-{cell.space.replace('/', '_')}.csv"


def write(rows: Iterable[Row], path: Path) -> pd.DataFrame:
    """Write a diagnosis as CSV and return it."""
    table = pd.DataFrame(rows, columns=Row._fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, table.to_csv(index=False, lineterminator="\n"))
    return table


def read(sweep: Path) -> dict[str, pd.DataFrame]:
    """Return the diagnoses of a sweep by the names of their files."""
    files = sorted((sweep / FOLDER).glob("*.csv"))
    return {
        path.stem: pd.read_csv(path, keep_default_na=False, na_values=["nan", ""]).fillna({"part": ""})
        for path in files
    }


def lines(table: pd.DataFrame) -> list[str]:
    """Return what a diagnosis says, as sentences."""
    sentences = []
    for quantity in ("gradient of the state", "gradient of the input"):
        own = table[(table["quantity"] == quantity) & (table["part"] == "half-life")]
        if len(own):
            lives = {row.at: _steps(row.mean) for row in own.itertuples()}
            half_way = f", {lives['middle']} half way" if "middle" in lives else ""
            lost = table[(table["quantity"] == quantity) & (table["part"] == "zeros in float32")]
            share = {row.at: row.mean for row in lost.itertuples()}
            text = f"the {quantity} halves {lives['start']} before training{half_way} and {lives['end']} after it"
            if own["mean"].isna().any():
                text = f"half-life of the {quantity}: too few steps of it to measure one"
            if share.get("end", 0.0) >= 0.0005:
                text += f"; {share['end']:.1%} of its numbers after training are too small for single precision"
            sentences.append(text)
    end = table[table["at"] == "end"]
    for (quantity, layer), group in end[end["quantity"].str.endswith(" gate")].groupby(
        ["quantity", "part"], sort=False
    ):
        means = group["mean"]
        sentences.append(
            f"{quantity} of {layer}: open by {means.mean():.0%} on average after training; its units range from "
            f"{group['low'].min():.0%} to {group['high'].max():.0%}"
        )
    for row in end[end["quantity"] == "attention distance"].itertuples():
        sentences.append(f"attention of {row.part} looks {number(row.mean)} steps away on average "
                         f"(heads from {number(row.low)} to {number(row.high)})")  # fmt: skip
    sentences += _bits(table)
    middle = table[(table["at"] == "middle") & (table["quantity"] == "training steps")]["mean"]
    if len(middle):
        sentences.append(f"half way is after {middle.iloc[0]:,.0f} training steps")
    else:
        sentences.append("weights of the middle of training were not kept")
    return sentences


def _bits(table: pd.DataFrame) -> list[str]:
    """Return how well probes tell a written bit before and after training, at the largest lag, as sentences."""
    sentences = []
    for quantity in ("bit in the cell state", "bit in the hidden state"):
        own = table[table["quantity"] == quantity]
        if len(own):
            last = own["step"].max()
            area = {row.at: f"{row.mean:.2f}" for row in own[own["step"] == last].itertuples()}
            sentences.append(
                f"{quantity}: {last} steps after the write, a linear probe reads it with an area under the ROC curve "
                f"of {area['start']} before training and {area['end']} after it"
            )
    return sentences


def _steps(half_life: float) -> str:
    return "not at all" if math.isinf(half_life) else f"every {number(half_life)} steps"
