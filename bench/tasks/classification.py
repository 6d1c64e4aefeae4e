"""One class a sequence: series, recordings, texts or rows of a table.

1-NN with Euclidean distance as the floor of series: Dau et al., 2018, the UCR archive, https://arxiv.org/abs/1810.07758

B batch, L steps, D channels, C classes, N sequences, S steps of all sequences.
"""

import hashlib
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from bench.config.contracts import Batch, New, StoredTask
from bench.config.datasets import DataFile
from bench.data import sequences, signals, texts, vocabulary
from bench.data.files import prepare
from bench.data.remarks import Remark
from bench.data.splits import PARTS, check_splits
from bench.data.table_format import TableFormat
from bench.data.tables import group_starts, is_named, read_table
from bench.data.texts import Examples
from bench.errors import DataError, DataMissingError, DeclarationError

READERS = ("ts", "arrays", "wav", "text", "table")
TOKENS = ("word", "character", "byte")
RULES: dict[str, tuple[set[str], set[str]]] = {  # what a rule needs, and what it may have
    "file": ({"train", "test"}, {"val", "val_share"}),
    "index": ({"test"}, {"val", "val_share"}),
    "speaker": ({"test"}, {"field", "val", "val_share"}),
    "fold": ({"test"}, {"size", "folds", "val", "val_share"}),
    "stratified": ({"shares"}, set()),
    "content": ({"shares"}, set()),
    "group": ({"shares"}, {"field", "column"}),
}
VAL_SHARE = 0.2  # of train, unless a rule says otherwise
STRENGTHS = (0.1, 1.0, 10.0)  # C of the logistic regressions; the best on val is taken
FITTED = 20_000  # sequences a baseline is fitted on, at most


class Task(StoredTask):
    """Tell the class of a sequence from its first or last `length` steps (`keep`).

    `reader`: `ts` (UCR and UEA archives), `arrays` (.npz with x and y; .npy in pairs, x then y), `wav` (a folder of
    recordings, read as 40 log-mel bands every 10 ms), `table` (CSV, Parquet: a row a step if `group` names the column
    that tells sequences apart, else a row a sequence and its `columns` the steps) or `text`: a table or .jsonl with
    columns `text` and `label` (names, or numbers from 1 where there is no header); a folder or .tar.gz with a folder of
    files a class; any other file holds a text of its class a line. The label of a recording is field `label` of its
    name, fields parted by _ and counted from 1; without, its folder's name.

    Numbers are standardised a channel with mean and deviation of the training steps; a missing one is the last before
    it, or the training mean. Texts become `tokens`; a vocabulary holds what occurs `min_frequency` times in training.

    `splits` is a rule, and all of them are deterministic:

        by = "file": train, test, val lists of file names
        by = "index": test, val lists of the numbers that names end with
        by = "speaker": test, val speakers; the name's second `field`
        by = "fold": test, val lists of folds; the first number of a name over `size`, or its hash modulo `folds`
        by = "stratified": shares of train, val, test, class by class in the order of the SHA-256 of names
        by = "content": shares, by the SHA-256 of what an example holds: equal ones stay in one part
        by = "group": shares of groups (the `group` of texts, a `field` of names, a `column` of tables), likewise

    Where a rule has no val, `val_share` of train is taken, class by class in the order of the SHA-256 of names.

    Below, the training part of a .ts file with two series, 1,2,3 and 3,4,5: mean 3, deviation 1.29.

    Task(2, files=[...], reader="ts", splits={"by": "file", ...}), first series, class 0
    x  -1.55 -0.77
    y         0
    """

    per_step, loss = False, "cross_entropy"
    metric, goal, solved, causal = "accuracy", "maximize", None, False

    def __init__(
        self,
        length: int,
        *,
        files: Sequence[Any] = (),
        reader: Literal["ts", "arrays", "wav", "text", "table"] = "ts",
        tokens: Literal["word", "character", "byte"] = "word",
        min_frequency: int = 2,
        label: str | int | None = None,
        text: str | int | None = None,
        columns: list[str] | None = None,
        group: str | int | None = None,
        time: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        splits: dict[str, Any] | None = None,
        keep: Literal["first", "last"] = "first",
    ) -> None:
        if length < 1:
            raise DeclarationError(f"classification: length: at least 1 step, but found {length}")
        if not files:
            raise DeclarationError("classification: files: none; name them under [[files]] of the card")
        for key, value, known in (
            ("reader", reader, READERS),
            ("tokens", tokens, TOKENS),
            ("keep", keep, ("first", "last")),
        ):
            if value not in known:
                raise DeclarationError(f"classification: {key}: one of {', '.join(known)}, but found {value!r}")
        if reader == "table" and not isinstance(label, str):
            raise DeclarationError(f"classification: label: the name of a column of the table, but found {label!r}")
        rule = splits or {"by": "stratified", "shares": [0.8, 0.1, 0.1]}
        _check_rule(rule)
        form = TableFormat(delimiter, encoding, time=time, group=group)
        reading = {"label": label, "text": text, "columns": columns, "form": form}
        data_files = [DataFile.model_validate(file) for file in files]
        encoded = [tokens, min_frequency] if reader == "text" else []
        prepared = prepare(
            "classification",
            data_files,
            [reader, reading | {"form": vars(form)}, encoded, rule],
            lambda paths: _make(paths, data_files, reader, reading, encoded, rule),
        )
        self.meta = prepared.meta
        self._values, self._stop, self._y = (prepared.arrays[name] for name in ("values", "stop", "y"))
        edges = self.meta["edges"]  # sequences are stored in the order of the parts
        self._edge = dict(zip(PARTS, edges[:-1], strict=True))
        self.counts = {part: edges[i + 1] - edges[i] for i, part in enumerate(PARTS)}
        self.length, self.reader = length, reader
        self.tokens = reader == "text"
        self.input_size = len(self.meta["vocabulary"]) if self.tokens else self._values.shape[1]
        self.output_size = len(self.meta["classes"])
        steps = np.diff(np.r_[0, self._stop])
        self.num_steps = min(length, int(steps[: edges[1]].max()))
        # No longer than the longest of training: positions a model has never seen are not asked.
        self._steps = np.minimum(steps, self.num_steps)
        self._first = self._stop - (steps if keep == "first" else self._steps)
        train, val = self._y[: edges[1]], self._y[edges[1] : edges[2]]
        self.chance = float((val == np.bincount(train).argmax()).mean())

    def take(self, part: str, places: np.ndarray) -> Batch:
        """Return the sequences of a part at these places."""
        which = places + self._edge[part]
        length = self._steps[which].astype(np.int64)
        return Batch(sequences.padded(self._values, self._first[which], length), length, self._y[which])

    def decode(self, outputs: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return the likeliest class of each sequence by name, and the probabilities of all classes (B, C)."""
        return decode(outputs, self.meta)

    def score(self, outputs: np.ndarray, batch: Batch) -> dict[str, float]:
        """Return the share of right answers, and the F1 averaged over the classes that are there or answered."""
        return _scores(outputs.argmax(-1), batch.y, self.output_size)

    def baselines(self, size: int) -> dict[str, float]:
        """Return the accuracy of the most frequent class and of cheap models, which see the same steps as others."""
        train = self.split_of("train", FITTED)
        val, test = self.split_of("val", FITTED), self.split("test", size)
        found = {"most frequent class": float((test.y == np.bincount(train.y).argmax()).mean())}
        if self.tokens:
            features = self._tf_idf([train, val, test])
            found["TF-IDF + logistic regression"] = _logistic(features, train.y, val.y, test.y)
            return found
        if self.reader == "wav":
            features = [sequences.moments(batch) for batch in (train, val, test)]
            found["logistic regression on mean and sd of log-mel"] = _logistic(features, train.y, val.y, test.y)
            return found
        scale = np.array(self.meta["scale"], dtype=np.float32)  # as distributed: the archive's figures are of these
        shapes = [resample(batch.x * scale, batch.length, self.num_steps) for batch in (train, test)]
        found["1-NN Euclidean"] = float((nearest(shapes[0], train.y, shapes[1]) == test.y).mean())
        features = [sequences.summary_features(batch, self.num_steps) for batch in (train, val, test)]
        found["logistic regression on summary features"] = _logistic(features, train.y, val.y, test.y)
        return found

    def split_of(self, part: str, size: int) -> Batch:
        """Return a part, train too, or `size` of its examples, evenly spaced."""
        count = self.counts[part]
        return self.take(part, np.arange(count) if count <= size else np.arange(size) * count // size)

    def _tf_idf(self, batches: list[Batch]) -> list[Any]:
        """Return counts of tokens and their neighbours, weighed: 1 and 2 words, 1 to 4 characters or bytes."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        documents = [
            [" ".join(map(str, row[:length])) for row, length in zip(each.x, each.length, strict=True)]
            for each in batches
        ]
        reach = (1, 2) if self.meta["tokens"] == "word" else (1, 4)
        counter = TfidfVectorizer(token_pattern=r"\S+", ngram_range=reach, min_df=2, sublinear_tf=True)
        return [counter.fit_transform(documents[0]), *(counter.transform(each) for each in documents[1:])]


# The baselines


def nearest(train: np.ndarray, classes: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the class of the training sequence with the least Euclidean distance to each of test; all (N, L, D)."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(n_neighbors=1, algorithm="brute")
    with _one_thread():
        model.fit(train.reshape(len(train), -1).astype(np.float64), classes)
        return np.asarray(model.predict(test.reshape(len(test), -1).astype(np.float64)))


def resample(x: np.ndarray, length: np.ndarray, steps: int) -> np.ndarray:
    """Return sequences (B, L, D) brought to one number of steps by straight lines between their own."""
    if (length == steps).all():
        return x[:, :steps]
    at = np.linspace(0, 1, steps)[None] * (length[:, None] - 1)
    before = np.floor(at).astype(np.int64)
    after = np.minimum(before + 1, length[:, None] - 1)
    part = (at - before)[..., None].astype(x.dtype)
    row = np.arange(len(x))[:, None]
    resampled: np.ndarray = x[row, before] * (1 - part) + x[row, after] * part
    return resampled


def _logistic(features: list[Any], train: np.ndarray, val: np.ndarray, test: np.ndarray) -> float:
    """Return the accuracy on test of the logistic regression that is best on val."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(train)) < 2:
        return float((test == train[0]).mean())
    if isinstance(features[0], np.ndarray):
        mean, scale = features[0].mean(0), features[0].std(0)
        features = [(each - mean) / np.where(scale > 1e-6, scale, 1.0) for each in features]
    best, found = -1.0, 0.0
    with warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an answer a little off the optimum is still one
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=100, tol=1e-3).fit(features[0], train)
            accuracy = float(model.score(features[1], val))
            if accuracy > best:
                best, found = accuracy, float(model.score(features[2], test))
    return found


def _one_thread() -> AbstractContextManager[Any]:
    """Keep BLAS from spreading small products over cores that others use: 40 times as slow where two are shared."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def _scores(answers: np.ndarray, y: np.ndarray, num_classes: int) -> dict[str, float]:
    right = np.bincount(y[answers == y], minlength=num_classes)
    both = np.bincount(y, minlength=num_classes) + np.bincount(answers, minlength=num_classes)
    there = both > 0
    return {"accuracy": float((answers == y).mean()), "macro_f1": float((2 * right[there] / both[there]).mean())}


# The split


def _check_rule(rule: dict[str, Any]) -> None:
    by = rule.get("by")
    if by not in RULES:
        raise DeclarationError(f"classification: splits: by: one of {', '.join(RULES)}, but found {by!r}")
    needed, allowed = RULES[by]
    for key in needed - set(rule):
        raise DeclarationError(f"classification: splits: by = '{by}' needs '{key}'")
    for key in set(rule) - needed - allowed - {"by"}:
        known = ", ".join(sorted(needed | allowed))
        raise DeclarationError(f"classification: splits: by = '{by}' has no '{key}' (there are: {known})")
    check_splits("classification", rule.get("shares", [0.8, 0.1, 0.1]))
    if not 0 < rule.get("val_share", VAL_SHARE) < 1:
        raise DeclarationError(f"classification: splits: val_share: between 0 and 1, but found {rule['val_share']}")
    if by == "fold" and ("size" in rule) == ("folds" in rule):
        raise DeclarationError("classification: splits: by = 'fold' needs either 'size' or 'folds'")


def _hash(text: str | bytes) -> bytes:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")).digest()


def split_parts(rule: dict[str, Any], y: np.ndarray, examples: Examples, contents: list[bytes]) -> np.ndarray:
    """Return the part of each example as an index into PARTS, -1 for none, (N,) int8."""
    by, names = rule["by"], examples.names
    if by == "stratified":
        return _stratified(y, names, rule["shares"])
    if by == "content":
        fractions = [int.from_bytes(content[:8], "big") / 2**64 for content in contents]
        return np.searchsorted(np.cumsum(rule["shares"])[:2], fractions, side="right").astype(np.int8)
    if by == "group":
        groups = examples.groups if "field" not in rule else [_field(name, rule["field"]) for name in names]
        if groups is None:
            raise DataError("classification: splits: by = 'group': no groups; name their column, or a field of names")
        known = sorted(set(groups))
        of_group = dict(zip(known, _stratified(np.zeros(len(known)), known, rule["shares"]), strict=True))
        return np.array([of_group[group] for group in groups], dtype=np.int8)

    keys = _keys(rule, names)
    chosen = {part: _as_set(rule[part]) for part in PARTS if part in rule}
    lacking = sorted(set().union(*chosen.values()) - set(keys))
    if lacking:
        there = ", ".join(sorted(set(keys))[:30])
        raise DataError(f"classification: splits: by = '{by}': no example of '{lacking[0]}' (there are: {there})")
    part = np.full(len(keys), -1 if "train" in chosen else 0, dtype=np.int8)
    for place, name in enumerate(PARTS):
        if name in chosen:
            part[[key in chosen[name] for key in keys]] = place
    if "val" not in chosen:
        train = np.flatnonzero(part == 0)
        share = rule.get("val_share", VAL_SHARE)
        part[train[_stratified(y[train], [names[i] for i in train], [1 - share, share, 0.0]) == 1]] = 1
    return part


def _keys(rule: dict[str, Any], names: list[str]) -> list[str]:
    """Return by what each example is told apart, as text."""
    by = rule["by"]
    if by == "file":
        return [name.rsplit(":", 1)[0] for name in names]
    if by == "speaker":
        return [_field(name, rule.get("field", 2)) for name in names]
    if by == "fold" and "folds" in rule:
        return [str(int.from_bytes(_hash(name), "big") % rule["folds"]) for name in names]
    pattern = re.compile(r"\d+" if by == "fold" else r"\d+$")
    keys = []
    for name in names:
        found = pattern.search(PurePosixPath(name).stem)
        if found is None:
            raise DataError(f"classification: splits: by = '{by}': '{name}': no number in the name; use another rule")
        keys.append(str(int(found[0]) // rule.get("size", 1)))
    return keys


def _field(name: str, number: int) -> str:
    fields = PurePosixPath(name).stem.split("_")
    if not 1 <= number <= len(fields):
        raise DataError(f"classification: '{name}': no field {number}; fields of a name are parted by _, from 1")
    return fields[number - 1]


def _as_set(chosen: Any) -> set[str]:
    return {str(each) for each in (chosen if isinstance(chosen, list | tuple) else [chosen])}


def _stratified(y: np.ndarray, names: list[str], shares: Sequence[float]) -> np.ndarray:
    """Part each class in the order of hashes: val and test rounded, at least 1 of them where the class allows it."""
    part = np.zeros(len(y), dtype=np.int8)
    for each in np.unique(y):
        places = sorted(np.flatnonzero(y == each), key=lambda i: _hash(names[i]))
        start = 0
        for number in (2, 1):
            left = len(places) - start
            least = 1 if shares[number] > 0 and left > 1 else 0
            count = min(max(least, round(len(places) * shares[number])), max(0, left - 1))
            part[places[start : start + count]] = number
            start += count
    return part


# The arrays


def _make(
    paths: list[Path],
    files: list[DataFile],
    reader: str,
    reading: dict[str, Any],
    encoded: list[Any],
    rule: dict[str, Any],
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the steps of all sequences, part after part, where each sequence ends, and its class."""
    examples = _read(paths, files, reader, reading, rule)
    classes = examples.classes or _sorted(set(examples.labels))
    number = {name: place for place, name in enumerate(classes)}
    y = np.array([number[label] for label in examples.labels], dtype=np.int64)
    contents = [
        _hash(" ".join(item.split())) if isinstance(item, str) else _hash(item.tobytes()) for item in examples.items
    ]
    if len(np.unique(y)) < 2:
        where = f"column '{reading['label']}': " if isinstance(reading["label"], str) else ""
        raise DataError(f"{paths[0]}: {where}one class only, '{examples.labels[0]}'; two are needed to tell them apart")
    part = split_parts(rule, y, examples, contents)
    counts = [int((part == place).sum()) for place in range(3)]
    for name, count in zip(PARTS, counts, strict=True):
        if not count:
            parts = ", ".join(f"{each} {number}" for each, number in zip(PARTS, counts, strict=True))
            mend = "a class needs three examples to be in all of them" if rule["by"] == "stratified" else "another rule"
            raise DataError(f"{paths[0]}: splits leave {name} without an example ({parts}); {mend}")
    order = np.argsort(np.where(part < 0, len(PARTS), part), kind="stable")[: sum(counts)]
    edges = [0, *np.cumsum(counts).tolist()]
    remarks = [*examples.remarks, *_remarks(y, part, classes, contents)]
    items = [examples.items[i] for i in order]
    if reader == "text":
        tokens, min_frequency = encoded
        parted: list[Any] = [_parted(text, tokens) for text in items]
        train = itertools.chain.from_iterable(parted[: edges[1]])
        seen = vocabulary.make(train, tokens, min_count=min_frequency)
        known = list(dict.fromkeys([vocabulary.PAD, vocabulary.UNKNOWN, *seen]))  # of bytes, <unk> is not among seen
        meta: dict[str, Any] = {"tokens": tokens, "vocabulary": known}
        array: np.ndarray = _encoded(parted, known).astype(np.int32)
        lengths = [len(each) for each in parted]
    else:
        lengths = [len(each) for each in items]
        array, meta, more = _standardise(np.concatenate(items), np.cumsum(lengths), edges[1], paths[0])
        remarks += more
        meta |= {"columns": _columns(paths[0], reading, rule)} if reader == "table" else {"rate": examples.rate}
    ids = [examples.names[i] for i in order]
    arrays = {"values": array, "stop": np.cumsum(lengths, dtype=np.int64), "y": y[order]}
    return arrays, meta | {"classes": classes, "edges": edges, "ids": ids, "remarks": remarks}


def _sorted(labels: set[str]) -> list[str]:
    whole = all(re.fullmatch(r"-?\d+", label) for label in labels)
    return sorted(labels, key=lambda label: (int(label), label) if whole else (0, label))


def _remarks(y: np.ndarray, part: np.ndarray, classes: list[str], contents: list[bytes]) -> list[Remark]:
    remarks = sequences.repeated(contents, part, PARTS)
    for number, of in enumerate(PARTS):
        unseen = [name for place, name in enumerate(classes) if not (y[part == number] == place).any()]
        if unseen:
            named = ", ".join(unseen[:10]) + ", …" * (len(unseen) > 10)
            remarks.append(Remark("unseen", f"no example in {of} of: {named}"))
    return remarks


def _standardise(
    steps: np.ndarray, stop: np.ndarray, num_train: int, path: Path
) -> tuple[np.ndarray, dict[str, Any], list[Remark]]:
    """Return the steps (S, D) without gaps, with mean 0 and deviation 1 on the training steps."""
    missing = np.isnan(steps)
    train = steps[: stop[num_train - 1]]
    seen = (~np.isnan(train)).any(0)
    if not seen.all():
        raise DataError(f"{path}: channel {int((~seen).argmax()) + 1}: no value in the training part; leave it out")
    mean, scale = sequences.training_scale(train)
    num_missing = int(missing.sum())
    filled = f"{num_missing:,} missing values filled with the previous value, or the training mean"
    values = sequences.standardised(steps, np.r_[0, stop[:-1]], mean, scale)
    return values, {"mean": mean.tolist(), "scale": scale.tolist()}, [Remark("missing", filled)] if num_missing else []


def _parted(text: str, tokens: str) -> list[str] | bytes:
    """Return the words, characters or bytes of a text."""
    if tokens == "word":
        return vocabulary.words(text)
    return list(text.strip()) if tokens == "character" else text.strip().encode("utf-8", "surrogatepass")


def _encoded(parted: list[Any], known: list[str]) -> np.ndarray:
    """Return the token numbers of texts, one after the other."""
    are_bytes = isinstance(parted[0], bytes)
    return vocabulary.encode(b"".join(parted) if are_bytes else itertools.chain.from_iterable(parted), known)


# The files


def _read(
    paths: list[Path], files: list[DataFile], reader: str, reading: dict[str, Any], rule: dict[str, Any]
) -> Examples:
    """Return the examples of all files, one after the other."""
    if reader == "table":
        return _read_table(paths, reading, rule)
    if reader == "arrays" and paths[0].suffix == ".npy":
        if len(paths) % 2:
            raise DataError(f"{paths[-1]}: .npy files come in pairs, x and then y, but there are {len(paths)}")
        return _joined([signals.read_arrays(x, y) for x, y in zip(paths[::2], paths[1::2], strict=True)], paths[::2])
    read: Callable[[Path], Examples] = {
        "ts": lambda path: signals.read_ts(path),
        "arrays": lambda path: signals.read_arrays(path),
        "wav": lambda path: _read_recordings(path, reading["label"]),
        "text": lambda path: _read_texts(path, paths, reading),
    }[reader]
    for file, path in zip(files, paths, strict=True):
        if file.listing is not None:
            _check_folder(file, path)
    return _joined([read(path) for path in paths], paths)


def _check_folder(file: DataFile, path: Path) -> None:
    found = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    if found != file.size_bytes:
        told = f"files of {file.size_bytes:,} bytes expected, but found {found:,}"
        raise DataMissingError(f"{path}: {told}; another version, or a download that was cut off")


def _joined(parts: list[Examples], paths: list[Path]) -> Examples:
    first = parts[0]
    for part, path in zip(parts[1:], paths[1:], strict=True):
        if not isinstance(part.items[0], str) and part.items[0].shape[1] != first.items[0].shape[1]:
            found = f"{part.items[0].shape[1]} channels where {paths[0].name} has {first.items[0].shape[1]}"
            raise DataError(f"{path}: {found}; all files need the same")
        if part.classes != first.classes:
            raise DataError(
                f"{path}: classes {part.classes} where {paths[0].name} has {first.classes}; make them alike"
            )
    return Examples(
        [item for part in parts for item in part.items],
        [label for part in parts for label in part.labels],
        [name for part in parts for name in part.names],
        None if first.groups is None else [group for part in parts for group in part.groups or []],
        first.classes,
        [remark for part in parts for remark in part.remarks],
        first.rate,
    )


def _read_recordings(path: Path, label: str | int | None) -> Examples:
    if label is not None and not isinstance(label, int):
        raise DeclarationError(f"classification: label: a field of the recording's name, from 1, but found {label!r}")
    recordings = sorted(each for each in path.rglob("*") if each.suffix.lower() == ".wav") if path.is_dir() else [path]
    if not recordings:
        raise DataError(f"{path}: no .wav file in it")
    examples, rate = Examples([], [], [], remarks=[]), 0
    for each in recordings:
        samples, found = signals.read_wav(each)
        if rate not in (0, found):
            told = f"{found:,} samples a second where {recordings[0].name} has {rate:,}"
            raise DataError(f"{each}: {told}; resample: ffmpeg -ar {rate}")
        rate = found
        name = each.relative_to(path).as_posix() if path.is_dir() else each.name
        examples.items.append(signals.log_mel(samples, rate))
        examples.labels.append(each.parent.name if label is None else _field(name, label))
        examples.names.append(name)
    return examples._replace(rate=rate)


def _read_texts(path: Path, paths: list[Path], reading: dict[str, Any]) -> Examples:
    if path.is_dir():
        return texts.read_text_folder(path, reading["form"].encoding)
    if path.name.lower().endswith(texts.ARCHIVES):
        return texts.read_text_archive(path, reading["form"].encoding)
    if texts.is_table(path):
        text, label = (reading[key] if reading[key] is not None else key for key in ("text", "label"))
        return texts.read_text_table(path, text, label, reading["form"])
    stems = [each.stem for each in paths]
    label = path.stem if len(set(stems)) == len(stems) else path.name
    return texts.read_text_lines(path, label, reading["form"].encoding)


def _read_table(paths: list[Path], reading: dict[str, Any], rule: dict[str, Any]) -> Examples:
    """Read sequences of numbers, and by themselves their labels, which may be text."""
    label, form = reading["label"], reading["form"]
    group = form.group
    extra = [rule["column"]] if "column" in rule else []
    told_apart = [label, *extra, *([] if group is None else [group])]
    cells = []
    for path in paths:
        for row, line in texts.read_cells(path, told_apart, form)[0]:
            if not all(cell.strip() for cell in row):
                column = next(name for name, cell in zip(told_apart, row, strict=True) if not cell.strip())
                raise DataError(f"{path}: line {line}, column '{column}': empty; leave the row out")
            cells.append(row)
    items, names, remarks = _read_steps(paths, _columns(paths[0], reading, rule), form)
    told = cells if group is None else _one_a_group(cells, names, [label, *extra], paths[0])
    groups = [row[1] for row in told] if extra else None
    return Examples(items, [row[0].strip() for row in told], names, groups, remarks=remarks)


def _columns(path: Path, reading: dict[str, Any], rule: dict[str, Any]) -> list[str]:
    """Return the columns of a table that are steps, or channels of steps."""
    form = reading["form"]
    others = [reading["label"], form.group, form.time, rule.get("column")]
    names = texts.column_names(path, form)
    return reading["columns"] or [name for name in names if is_named(name) and name not in others]


def _read_steps(
    paths: list[Path], columns: list[str], form: TableFormat, partial: bool = False
) -> tuple[list[np.ndarray], list[str], list[Remark]]:
    """Return the steps of each sequence (S, D), the names of the sequences, and remarks."""
    table = read_table(paths, columns, form, partial=partial)
    steps = np.stack([table.columns[name] for name in columns], axis=1)
    if form.group is not None:
        return np.split(steps, group_starts(table.groups)[1:]), table.group_names, table.remarks
    known = ~np.isnan(steps)
    lengths = np.where(known.any(1), steps.shape[1] - known[:, ::-1].argmax(1), 0)
    if not lengths.all():
        raise DataError(f"{paths[0]}: row {int((lengths == 0).argmax()) + 1} of the data: no value in any step")
    items = [row[:stop, None] for row, stop in zip(steps, lengths, strict=True)]
    return items, [f"{paths[0].name}:{number}" for number in range(1, len(steps) + 1)], table.remarks


def _one_a_group(cells: list[list[str]], names: list[str], columns: list[str], path: Path) -> list[list[str]]:
    """Return label (and group) of each sequence, which are the same in all of its rows."""
    found: dict[str, list[str]] = {}
    for *told, name in cells:
        before = found.setdefault(name, told)
        if before != told:
            column = next(c for c, x, y in zip(columns, before, told, strict=True) if x != y)
            raise DataError(f"{path}: column '{column}': more than one value in sequence '{name}'; give it one")
    return [found[name] for name in names]


# New files


def columns(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, str]:
    """Return the columns of a table of new sequences; "path" where they come in files of their own."""
    if "columns" in meta:
        keys = [arguments[key] for key in ("group", "time") if arguments.get(key) is not None]
        return dict.fromkeys(keys, "text") | dict.fromkeys(meta["columns"], "number")
    return {_text_column(arguments): "text"} if arguments["reader"] == "text" else {"path": "text"}


def read_new(path: Path, length: int, arguments: dict[str, Any], meta: dict[str, Any]) -> New:
    """Return the sequences of a file, or of a folder; their labels, if there are any, are not read. Raises DataError.

    Texts: a table with the column of texts, a folder or an archive with folders, or any other file with a text a line.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    items, names, remarks = _read_new(path, arguments, meta)
    if "vocabulary" in meta:
        parted = [_parted(text, meta["tokens"]) for text in items]
        lengths = np.array([len(each) for each in parted])
        if not lengths.all():
            raise DataError(f"{path}: '{names[int((lengths == 0).argmax())]}': no text; leave it out")
        values = _encoded(parted, meta["vocabulary"])
    else:
        lengths = np.array([len(each) for each in items])
        if items[0].shape[1] != len(meta["mean"]):
            rule = f"{len(meta['mean'])} channels, as in training, but found {items[0].shape[1]}"
            raise DataError(f"{path}: {rule}")
        starts = np.cumsum(np.r_[0, lengths[:-1]])
        values = sequences.standardised(np.concatenate(items), starts, np.array(meta["mean"]), np.array(meta["scale"]))
    stop = np.cumsum(lengths)
    kept = np.minimum(lengths, length)
    first = stop - (kept if arguments.get("keep") == "last" else lengths)
    remarks = [*remarks, *sequences.cut(lengths, length, arguments.get("keep", "first"))]
    return New(sequences.padded(values, first, kept), kept, {"names": names, "remarks": remarks})


def _read_new(path: Path, arguments: dict[str, Any], meta: dict[str, Any]) -> tuple[list[Any], list[str], list[Remark]]:
    """Return the items of a file, their names, and remarks."""
    reader = arguments.get("reader", "ts")
    form = TableFormat.of(arguments)
    if reader == "table":
        return _read_steps([path], meta["columns"], form, partial=True)
    if reader == "text" and path.is_file() and texts.is_table(path):
        column = _text_column(arguments)
        by_name = isinstance(arguments.get("text"), str | None)
        by_name = by_name or column in texts.column_names(path, form)
        rows, remarks = texts.read_cells(path, [column if by_name else arguments["text"]], form)
        return [row[0] for row, _ in rows], [f"{path.name}:{line}" for _, line in rows], remarks
    read: dict[str, Callable[[], Examples]] = {
        "ts": lambda: signals.read_ts(path, labelled=False),
        "arrays": lambda: signals.read_arrays(path, labelled=False),
        "wav": lambda: _read_recordings(path, None),
        "text": lambda: _read_texts(path, [path], {"form": form}),
    }
    examples = read[reader]()
    if examples.rate != meta.get("rate", 0):
        rule = f"{meta['rate']:,} samples a second, as in training, but found {examples.rate:,}"
        raise DataError(f"{path}: {rule}; resample: ffmpeg -ar {meta['rate']}")
    return examples.items, examples.names, examples.remarks


def _text_column(arguments: dict[str, Any]) -> str:
    """Return the column of texts; training files without a header have none by name."""
    return arguments["text"] if isinstance(arguments.get("text"), str) else "text"


def answers(outputs: np.ndarray, new: New, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Return a row for each sequence: its name, the likeliest class, its probability, and those of all classes."""
    labels, probabilities = decode(outputs, meta)
    found = {"sequence": new.about["names"], "label": labels, "probability": probabilities.max(-1)}
    return found | {f"p({name})": probabilities[:, place] for place, name in enumerate(meta["classes"])}


def decode(outputs: np.ndarray, meta: dict[str, Any]) -> tuple[list[str], np.ndarray]:
    """Return the likeliest class of each sequence by name, and the probabilities of all classes (B, C)."""
    return [meta["classes"][place] for place in outputs.argmax(-1)], sequences.softmax(outputs)
