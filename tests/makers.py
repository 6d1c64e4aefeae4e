"""Small runs and records, and small files of every kind that a user may bring, with something to learn in them."""

import hashlib
import json
import math
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.config.settings import RunConfig, TrainSettings
from bench.errors import DataError
from bench.results.record import Asked, RunRecord

SETTINGS = {"max_sequences": 640, "batch_size": 16, "num_epochs": 4, "num_val": 60, "num_test": 60}
ASKED = {"metric": "accuracy", "goal": "maximize", "chance": 0.5, "solved": 0.99, "num_steps": 8}


def run_config(phase: str = "screen", *, settings: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    """Return a small run of an LSTM on latch; `settings` changes its training, `changes` its other fields.

    A task is named after its dataset, and a model after its search space, unless `changes` names it too.
    """
    dataset, space = changes.get("dataset", "latch"), changes.get("space", "lstm")
    values = {
        "sweep": "s", "run": "r", "phase": phase, "number": 0, "dataset": dataset, "task": dataset, "length": 8,
        "task_arguments": {}, "space": space, "model": space, "model_arguments": {"hidden_size": 8}, "seed": 0,
        "train": TrainSettings(**SETTINGS | (settings or {})),
    }  # fmt: skip
    return RunConfig(**values | changes)


def record(
    config: RunConfig | dict[str, Any] | None = None, asked: Asked | dict[str, Any] | None = None, **facts: Any
) -> RunRecord:
    """Return the record of a complete run; dictionaries change `run_config` and ASKED."""
    if not isinstance(config, RunConfig):
        config = run_config(**(config or {}))
    if not isinstance(asked, Asked):
        asked = Asked(**ASKED | (asked or {}))
    return RunRecord(**{"config": config, "asked": asked, "state": "complete"} | facts)


def declared(path: Path) -> dict[str, Any]:
    """Return a file as the entry of a dataset card."""
    content = path.read_bytes()
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def hourly(path: Path, rows: int = 600, more: str = "", first: str = "timestamp,load") -> Path:
    lines = [first]
    for row in range(rows):
        day, hour = divmod(row, 24)
        stamp = np.datetime64("2026-01-01") + day
        lines.append(f"{stamp} {hour:02d}:00:00,{math.sin(row / 24 * 2 * math.pi) + row % 7 / 10:.3f}{more}")
    path.write_text("\n".join(lines) + "\n")
    return path


def long_table(path: Path, what: str, sequences: int = 60) -> Path:
    """Write sequences of unequal length, a row a step; their label or target is told by their slope."""
    lines = [f"id,value,{what}"]
    for number in range(sequences):
        for step in range(5 + number % 4):
            slope = number % 3
            answer = ("down", "flat", "up")[slope] if what in ("label", "class") else slope + number / 100
            lines.append(f"s{number},{(slope - 1) * step + number % 5 / 10},{answer}")
    path.write_text("\n".join(lines) + "\n")
    return path


def reviews(path: Path, rows: int = 120) -> Path:
    """Write texts of two classes as .csv, .tsv or .jsonl."""
    words = (["good", "fine", "great"], ["bad", "poor", "dull"])
    told = [
        (f"{words[row % 2][row % 3]} film " * (1 + row % 3) + str(row), ("pos", "neg")[row % 2]) for row in range(rows)
    ]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in told))
        return path
    part = "\t" if path.suffix == ".tsv" else ","
    path.write_text(f"text{part}label\n" + "".join(f"{text}{part}{label}\n" for text, label in told))
    return path


def series(path: Path, rows: int = 60) -> Path:
    """Write series of two classes as .ts, or a row each as .csv, or as .npz, or as a pair of .npy files."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 2
    x = np.sin(np.arange(12) * (1 + y[:, None])) + rng.normal(size=(rows, 12)) / 9
    if path.suffix == ".npz":
        np.savez(path, x=x, y=y)
    elif path.suffix == ".npy":
        np.save(path, x)
        np.save(path.with_name("labels.npy"), y)
    else:
        joined = [",".join(f"{value:.4f}" for value in row) for row in x]
        if path.suffix == ".ts":
            head = (
                "@problemName a\n@univariate true\n@equalLength true\n@seriesLength 12\n@classLabel true 0 1\n@data\n"
            )
            path.write_text(head + "".join(f"{row}:{label}\n" for row, label in zip(joined, y, strict=True)))
        else:
            head = ",".join(f"step{step}" for step in range(12)) + ",label\n"
            path.write_text(head + "".join(f"{row},c{label}\n" for row, label in zip(joined, y, strict=True)))
    return path


def recordings(folder: Path, count: int = 20) -> Path:
    """Write tones in a folder for each class; the second field of a name tells who is heard."""
    for number in range(count):
        tone = ("low", "high")[number % 2]
        (folder / tone).mkdir(parents=True, exist_ok=True)
        samples = 9_000 * np.sin(np.arange(1_600) * (0.1 + 0.5 * (number % 2)) + number)
        with wave.open(str(folder / tone / f"{number}_who{number // 2 % 5}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(samples.astype("<i2").tobytes())
    return folder


WORDS = {"go": 0.3, "left": 0.9, "up": 1.8}
"""Words that a test says, each as a tone of so many radians a sample."""


def dictation(folder: Path, count: int = 40) -> Path:
    """Write recordings of one to three words, each a tone, with pauses; transcripts.csv says what and who is heard."""
    rng, lines = np.random.default_rng(0), ["file,speaker,transcript"]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        words = [list(WORDS)[place] for place in rng.integers(len(WORDS), size=1 + number % 3)]
        pieces = [rng.normal(0, 10, 800)]
        for word in words:
            tone = 9_000 * np.sin(np.arange(rng.integers(900, 1_400)) * WORDS[word])
            pieces += [tone + rng.normal(0, 500, len(tone)), rng.normal(0, 10, rng.integers(800, 1_200))]
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(np.concatenate(pieces).astype("<i2").tobytes())
        lines.append(f"{number}.wav,s{number % 4},{' '.join(words)}")
    (folder / "transcripts.csv").write_text("\n".join(lines) + "\n")
    return folder


def tagged(path: Path, sentences: int = 60) -> Path:
    """Write sentences whose words have labels, as .conllu or as a table with a row a word."""
    words = (("the", "DET"), ("cat", "NOUN"), ("dog", "NOUN"), ("sat", "VERB"), ("ran", "VERB"))
    lines = [] if path.suffix == ".conllu" else ["sentence,token,label"]
    for number in range(sentences):
        for step in range(3 + number % 3):
            word, label = words[(number * 7 + step * (1 + number % 2)) % 5]
            if path.suffix == ".conllu":
                lines.append("\t".join([str(step + 1), word, "_", label, *"______"]))
            else:
                lines.append(f"s{number},{word},{label}")
        lines += [""] * (path.suffix == ".conllu")
    path.write_text("\n".join(lines) + "\n")
    return path


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(read, *arguments):
    """The one line in which a file is refused."""
    with pytest.raises(DataError) as found:
        read(*arguments)
    assert "\n" not in str(found.value)
    return str(found.value)


def attempted(read, *arguments):
    """What is read; None where it is refused, in one line."""
    try:
        return read(*arguments)
    except DataError as error:
        told = str(error)
    assert "\n" not in told
    return None


def aligned(folder: Path, pairs: int = 60) -> tuple[Path, Path]:
    """Write sentences of German words and, line by line, their words in English."""
    words = (
        ("ein", "a"),
        ("Hund", "dog"),
        ("rennt", "runs"),
        ("zwei", "two"),
        ("Katzen", "cats"),
        ("schlafen", "sleep"),
    )
    sides: tuple[list[str], list[str]] = ([], [])
    rng = np.random.default_rng(0)
    for number in range(pairs):
        chosen = [words[place] for place in rng.integers(len(words), size=3 + number % 4)]
        for side, texts in enumerate(sides):
            texts.append(" ".join(word[side] for word in chosen) + ".")
    paths = folder / "pairs.de", folder / "pairs.en"
    for path, texts in zip(paths, sides, strict=True):
        path.write_text("\n".join(texts) + "\n")
    return paths


def pieces(path: Path, counts: tuple[int, int, int] = (12, 4, 4)) -> Path:
    """Write pieces of 10 to 40 frames, in which one of four chords follows the one before in a circle, or repeats."""
    from scipy.io import savemat

    rng, arrays = np.random.default_rng(0), {}
    for name, count in zip(("traindata", "validdata", "testdata"), counts, strict=True):
        arrays[name] = np.empty((1, count), dtype=object)
        for number in range(count):
            chord = np.cumsum(rng.random(int(rng.integers(10, 41))) < 0.7) % 4
            frames = np.zeros((len(chord), 88), dtype=np.uint8)
            for key in (30, 34, 37):
                frames[np.arange(len(chord)), key + chord * 5] = 1
            arrays[name][0, number] = frames
    savemat(path, arrays)
    return path
