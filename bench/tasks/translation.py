"""A sentence in another language.

B batch, L steps, T steps of the longest target, N pairs.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import contracts
from bench.config.contracts import Batch, Labelled, New, Sampling, StoredTask, Trained
from bench.data import parallel, sequences, texts, vocabulary
from bench.data.encodings import read_text
from bench.data.files import prepare
from bench.data.parallel import Pairs
from bench.data.remarks import Remark
from bench.data.splits import (
    PARTS,
    VAL_SHARE,
    by_content,
    check_rule,
    check_splits,
    digest,
    file_parts,
    named_parts,
    split_column,
)
from bench.data.table_format import TableFormat
from bench.errors import DataError, DeclarationError
from bench.tasks._sequences import checked_files
from bench.tasks._translations import bleu, report, signatures

SHARES = (0.8, 0.1, 0.1)
UNKNOWN, END = 0, 1  # numbers of tokens of the target
SOURCE, TARGET = "source", "target"  # columns of a table of new sentences if the training files were two texts


class Task(StoredTask):
    """Write the translation of a sentence; the encoder may read the source in both directions.

    Args:
        length: Largest number of tokens of a source, at least 1. Pairs with a longer one are left out.
        files: The files of the dataset card: tables (.csv, .tsv, .jsonl, .parquet), or texts with a sentence a line.
        source: Column of a table that holds the sentences; without it, the files are texts.
        target: Column of a table that holds their translations.
        splits: Shares of train, val and test of two texts, the source first, or of tables. With shares, the SHA-256
            of the source decides the part, so that equal ones share a part. Or the two texts of each part; or a rule of
            tables, `by = "file"` or `by = "column"`; without val, it is `val_share` of train.
        min_count: Tokens that occur less often in training are read as <unk>, in training too.
        delimiter: Of tables; detected by default.
        encoding: Of the files; detected by default.

    Tokens are words and punctuation marks as they are written, with the blank before them. Scores are of whole
    sentences as text, so that nothing depends on the tokens.

    Task(4, files=[...], splits={"train": [...], ...}), the pair "die Katze" and "the cat"
    x  die Katze <pad>
    y  the cat   <eos>
    """

    tokens, per_step, loss, keep = True, False, "cross_entropy", "tokens"
    metric, goal, solved, causal, kind = "bleu", "maximize", None, False, "translation"

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        source: str | None = None,
        target: str | None = None,
        splits: Mapping[str, Any] | Sequence[float] = SHARES,
        min_count: int = 2,
        delimiter: str | None = None,
        encoding: str | None = None,
    ) -> None:
        data_files = checked_files("translation", length, files, "token")
        if min_count < 1:
            raise DeclarationError(f"translation: min_count: must be at least 1, but found {min_count}")
        if (source is None) != (target is None):
            raise DeclarationError("translation: source and target: name both columns of a table, or none for texts")
        rule = _checked(splits, [Path(file.path).name for file in data_files], source is not None)
        form = TableFormat(delimiter, encoding, split_by=split_column(splits))
        how = [source, target, rule, min_count, vars(form)]
        prepared = prepare(
            "translation", data_files, how, lambda paths: _make(paths, rule, source, target, min_count, form)
        )
        self.meta: dict[str, Any] = prepared.meta
        self._arrays = prepared.arrays
        self.length = length
        self._kept = {part: np.flatnonzero(self.steps_of(part) <= length) for part in PARTS}
        self.counts = {part: len(kept) for part, kept in self._kept.items()}
        for part, count in self.counts.items():
            if not count:
                rule_of = f"length {length}: no pair of {part} has a source of so few tokens"
                raise DeclarationError(f"translation: {rule_of}; use a larger length")
        self.input_size, self.output_size = len(self.meta["vocabulary"]), len(self.meta["target_vocabulary"])
        self.num_steps = int(self.steps_of("train")[self._kept["train"]].max())
        self.target_steps = int(self._steps("train", "y")[self._kept["train"]].max())

    @functools.cached_property
    def chance(self) -> float:
        """BLEU of the most frequent sentence of training as the answer to every source of val."""
        val = self.spread("val", 2_000)
        return self.score(self.constant(len(val.x)), val)["bleu"]

    def constant(self, size: int) -> np.ndarray:
        """Return the most frequent target of training as `size` answers, (B, T)."""
        y, stop = self._arrays["train_y"], self._arrays["train_y_stop"]
        start = stop - self._steps("train", "y")
        counts = Counter(y[start[place] : stop[place]].tobytes() for place in self._kept["train"])
        answer = np.full(self.target_steps, END)
        most = np.frombuffer(counts.most_common(1)[0][0], dtype=y.dtype)
        answer[: len(most)] = most
        return np.tile(answer, (size, 1))

    def steps_of(self, part: str) -> np.ndarray:
        """Return the number of tokens of each source of a part, also of those that are left out, (N,) int64."""
        return self._steps(part, "x")

    def _steps(self, part: str, side: str) -> np.ndarray:
        return np.diff(self._arrays[f"{part}_{side}_stop"], prepend=0)

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the pairs of a part at these places; those of val and test with their translations as text."""
        rows = self._kept[part][places]
        (x, length), (y, steps) = (self._rows(part, side, rows) for side in ("x", "y"))
        text = None
        if part != "train":
            stop = self._arrays[f"{part}_text_stop"]
            letters = self._arrays[f"{part}_text"]
            starts = np.where(rows > 0, stop[rows - 1], 0)
            found = [bytes(letters[a:b]).decode() for a, b in zip(starts, stop[rows], strict=True)]
            text = np.array(found)
        return _batch(x, length, y, steps, text)

    def _rows(self, part: str, side: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stop = self._arrays[f"{part}_{side}_stop"]
        start = np.where(rows > 0, stop[rows - 1], 0)
        return sequences.padded(self._arrays[f"{part}_{side}"], start, stop[rows] - start), stop[rows] - start

    def written(self, outputs: np.ndarray) -> list[str]:
        """Return the sentences of token numbers, (B, T)."""
        return _written(outputs, self.meta)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return BLEU of the tokens that were written, (B, T)."""
        return {"bleu": bleu(self.written(outputs), _references(batch))}

    def report(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return BLEU, chrF, the share of the references' length that was written, and BLEU by length of the source."""
        return report(self.written(outputs), _references(batch), batch.length)

    def examples(self, outputs: Mapping[str, np.ndarray], batch: Batch) -> dict[str, Any]:
        """Return sources, references and what was written by the name of the search, as text; and how it is scored."""
        words = [f" {vocabulary.UNKNOWN}", *self.meta["vocabulary"][1:]]
        rows = zip(batch.x.tolist(), batch.length.tolist(), strict=True)
        sources = [parallel.sentence(words[number] for number in row[:length]) for row, length in rows]
        written = {name: self.written(part) for name, part in outputs.items()}
        return {"signatures": signatures(), "source": sources, "reference": _references(batch)} | written


def _batch(x: np.ndarray, length: np.ndarray, y: np.ndarray, steps: np.ndarray, text: np.ndarray | None) -> Batch:
    """Return pairs as a batch: source and target are padded to the same number of steps."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(side, ((0, 0), (0, width - side.shape[1]))) for side in (x, y))
    return Batch(x, length, y, np.arange(width) < steps[:, None], text)


def _written(outputs: np.ndarray, meta: Mapping[str, Any]) -> list[str]:
    """Return the sentences of token numbers, (B, T); numbers beyond the vocabulary of the target are of the source's.

    <unk> has no text. A sentence ends before the first <eos>.
    """
    words = [*meta["target_vocabulary"], *meta["vocabulary"]]
    words[UNKNOWN] = words[len(meta["target_vocabulary"])] = " " + vocabulary.UNKNOWN
    rows = []
    for row in outputs.tolist():
        stop = row.index(END) if END in row else len(row)
        rows.append(parallel.sentence(words[number] for number in row[:stop]))
    return rows


def _references(batch: Batch) -> list[str]:
    assert batch.text is not None  # only training batches have none
    references: list[str] = batch.text.tolist()
    return references


def _checked(splits: Any, names: list[str], is_table: bool) -> dict[str, Any] | list[float]:
    """Return shares, a rule of tables, or the two texts of each part. Raises DeclarationError."""
    if not isinstance(splits, Mapping):
        check_splits("translation", splits)
        if not is_table and len(names) != 2:
            rule = f"two texts, the source first, or tables with --text and --target, but found {len(names)} files"
            raise DeclarationError(f"translation: files: must be {rule}")
        return list(splits)
    if is_table:
        check_rule("translation", dict(splits))
        if splits["by"] not in ("file", "column"):
            rule = f"must be shares, by = 'file' or by = 'column', but found by = '{splits['by']}'"
            raise DeclarationError(f"translation: splits: {rule}")
        return dict(splits)
    for part in PARTS:
        files = splits.get(part)
        if not isinstance(files, list | tuple) or len(files) != 2 or not set(files) <= set(names):
            rule = f"must name the source and the target of each part among {', '.join(names)}"
            raise DeclarationError(f"translation: splits: {part}: {rule}, but found {files!r}")
    return {part: list(splits[part]) for part in PARTS}


# Preparation


def _make(
    paths: list[Path],
    rule: dict[str, Any] | list[float],
    source: str | None,
    target: str | None,
    min_count: int,
    form: TableFormat,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the token numbers of both sides of each part with their ends, and the vocabularies."""
    parts, remarks = _read(paths, rule, source, target, form)
    for name, pairs in parts.items():
        if not pairs.source:
            counts = ", ".join(f"{other} {len(parts[other].source)}" for other in PARTS)
            raise DataError(f"{paths[0]}: splits leave {name} without a pair ({counts}); use other shares")
    sides = {part: [list(map(parallel.pieces, side)) for side in pairs[:2]] for part, pairs in parts.items()}
    words, target_words = (
        vocabulary.make((piece for row in side for piece in row), "word", min_count=min_count)
        for side in sides["train"]
    )
    target_words.insert(END, vocabulary.END)
    arrays, unknown = {}, []
    for part, (sources, targets) in sides.items():
        ended = [[*row, vocabulary.END] for row in targets]
        for side, rows, known in (("x", sources, words), ("y", ended, target_words)):
            arrays[f"{part}_{side}"] = vocabulary.encode((piece for row in rows for piece in row), known)
            arrays[f"{part}_{side}_stop"] = np.cumsum([len(row) for row in rows])
        shares = " and ".join(f"{(arrays[f'{part}_{side}'] == UNKNOWN).mean():.1%}" for side in ("x", "y"))
        unknown.append(f"{part} {shares}")
        if part != "train":
            letters = [parallel.normal(row).encode() for row in parts[part].target]
            arrays[f"{part}_text"] = np.frombuffer(b"".join(letters), dtype=np.uint8)
            arrays[f"{part}_text_stop"] = np.cumsum([len(row) for row in letters])
    contents = [parallel.normal(row) for part in PARTS for row in parts[part].source]
    number = np.repeat(np.arange(len(PARTS)), [len(parts[part].source) for part in PARTS])
    rule_of = f"tokens that occur fewer than {min_count} times in training are read as <unk> (source and target)"
    remarks += sequences.repeated(contents, number, PARTS)
    remarks.append(Remark("unknown", f"{rule_of}: {', '.join(unknown)}"))
    meta: dict[str, Any] = {"vocabulary": words, "target_vocabulary": target_words, "remarks": remarks}
    meta["sequences"] = {part: len(pairs.source) for part, pairs in parts.items()}
    return arrays, meta


def _read(
    paths: list[Path], rule: dict[str, Any] | list[float], source: str | None, target: str | None, form: TableFormat
) -> tuple[dict[str, Pairs], list[Remark]]:
    """Return the pairs of each part, and remarks."""
    if isinstance(rule, dict) and "by" not in rule:
        of_name = {path.name: path for path in paths}
        parts = {}
        for part in PARTS:
            source_path, target_path = (of_name[name] for name in rule[part])
            parts[part] = parallel.read_lines(source_path, target_path, form.encoding)
        return parts, [remark for pairs in parts.values() for remark in pairs.remarks]
    if source is None or target is None:
        read = [parallel.read_lines(paths[0], paths[1], form.encoding)]
    else:
        read = [parallel.read_table(path, source, target, form) for path in paths]
    sources, targets = [row for pairs in read for row in pairs.source], [row for pairs in read for row in pairs.target]
    digests = [digest(parallel.normal(row)) for row in sources]
    if isinstance(rule, list):
        numbers = by_content(digests, rule)
    elif rule["by"] == "column":
        numbers = named_parts(
            [part for pairs in read for part in pairs.parts], f"{paths[0]}: column '{rule['column']}'"
        )
    else:
        numbers = np.repeat(file_parts(rule, [path.name for path in paths]), [len(pairs.source) for pairs in read])
    if isinstance(rule, dict) and not (numbers == 1).any():
        share = rule.get("val_share", VAL_SHARE)
        train = np.flatnonzero(numbers == 0)
        numbers[train] = by_content([digests[place] for place in train], [1 - share, share, 0.0])
    places = {part: np.flatnonzero(numbers == number) for number, part in enumerate(PARTS)}
    parts = {
        part: Pairs([sources[i] for i in rows], [targets[i] for i in rows], [], []) for part, rows in places.items()
    }
    return parts, [remark for pairs in read for remark in pairs.remarks]


# Prediction


class Predictor(contracts.Predictor):
    """Translate the sentences in a column of a table, or the lines of a text."""

    @property
    def needs(self) -> dict[str, type]:
        """The keys of `meta` that answers depend on, and the types of their values."""
        return {"vocabulary": list, "target_vocabulary": list}

    @property
    def source(self) -> str:
        """The column of the sentences, in a table of new ones and in that of the predictions."""
        return self.arguments.get("source") or SOURCE

    @property
    def columns(self) -> dict[str, str]:
        """The column of a table of new sentences."""
        return {self.source: "text"}

    def read(self, path: Path, num_steps: int) -> New:
        """Return the tokens of sentences, (B, L); they may be longer than in training. Raises DataError."""
        remarks: list[Remark] = []
        if texts.is_table(path):
            rows, remarks = texts.read_cells(path, [self.source], TableFormat.of(self.arguments))
            sentences = [cells[0] for cells, _ in rows]
        else:
            text, remarks = read_text(path, encoding=self.arguments.get("encoding"))
            sentences = text.split("\n")[: -1 if text.endswith("\n") else None]
        empty = next((number for number, row in enumerate(sentences, 1) if not row.strip()), None)
        if empty is not None:
            raise DataError(f"{path}: sentence {empty:,} is empty; remove the line, or write the sentence")
        x, length = _encoded(map(parallel.pieces, sentences), self.meta["vocabulary"])
        unknown = ((x == UNKNOWN) & (np.arange(x.shape[1]) < length[:, None])).sum(1)
        return New(x, length, {"sentences": sentences, "unknown": unknown, "remarks": remarks})

    def answer(self, model: Trained, new: New, sampling: Sampling) -> dict[str, Any]:
        """Return a row for each sentence: its translation, and how many of its tokens are read as <unk>."""
        written = _written(model.outputs(new.x, new.length), self.meta)
        return {self.source: new.about["sentences"], "translation": written, "unknown_tokens": new.about["unknown"]}

    def labelled(self, path: Path, num_steps: int) -> Labelled:
        """Return the sentences of a table with their translations. Raises DataError."""
        target = self.arguments.get("target") or TARGET
        if not texts.is_table(path):
            raise DataError(f"{path}: give a table with the columns '{self.source}' and '{target}'")
        pairs = parallel.read_table(path, self.source, target, TableFormat.of(self.arguments))
        ended = [[*parallel.pieces(row), vocabulary.END] for row in pairs.target]
        x, length = _encoded(map(parallel.pieces, pairs.source), self.meta["vocabulary"])
        y, steps = _encoded(ended, self.meta["target_vocabulary"])
        text = np.array([parallel.normal(row) for row in pairs.target])
        return Labelled(_batch(x, length, y, steps, text), {"remarks": pairs.remarks})

    def scores(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return BLEU of the tokens that were written, (B, T)."""
        return {"bleu": bleu(_written(outputs, self.meta), _references(batch))}

    def example(self, num_steps: int, rows: int = 1) -> dict[str, Any]:
        """Return a table with sentences of one word that the model knows."""
        return {self.source: [self.meta["vocabulary"][-1].strip()] * rows}


def _encoded(rows: Any, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the token numbers of rows of pieces, (B, L), and their lengths, (B,)."""
    rows = list(rows)
    length = np.array([len(row) for row in rows], dtype=np.int64)
    numbers = vocabulary.encode((piece for row in rows for piece in row), words)
    return sequences.padded(numbers, np.cumsum(length) - length, length), length
