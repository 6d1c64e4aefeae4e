"""What a leaderboard says, as sentences: no more than the seeds support."""

import shlex
from collections.abc import Iterator
from typing import Any

import pandas as pd

from bench.results.disturbance import MARK, any_marked, is_marked
from bench.results.leaderboard import CONDITIONS, Status
from bench.wording import bare, enumeration, is_known, shortened

Row = Any  # a row of itertuples()


def lines(board: pd.DataFrame) -> list[str]:
    """Return the summaries, then the answers, then what to know about the conditions of the runs."""
    remark = mixed_conditions(board)
    return [*summaries(board), *answers(board), *([remark] if remark else []), *disturbed_timing(board)]


def answers(board: pd.DataFrame) -> list[str]:
    """Return one answer for each dataset and length: `latch at 8: solved on all 3 seeds by gru`."""
    return [f"{title}: {_answer(group)}." for title, group in questions(board)]


def questions(board: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows that are compared with each other: a dataset at one length, under one rule of capacity."""
    for (dataset, length, match), group in board.groupby(["dataset", "length", "match"], sort=False, dropna=False):
        yield f"{dataset} at {length}" + ("" if pd.isna(match) else f" with {match}"), group


def mixed_conditions(board: pd.DataFrame) -> str | None:
    """Return which conditions differ between the runs of a sweep, as a sentence; None if none does."""
    differing = []
    board = board[board["status"] != Status.BASELINE]  # fitted on the CPU, whatever device the models are on
    for name in CONDITIONS:
        values = list(dict.fromkeys(part for value in board[name].dropna() for part in str(value).split("; ")))
        if len(values) > 1:
            differing.append(f"{name} ({'; '.join(values)})")
    return f"The runs differ in {enumeration(differing)}, so times are not compared across them." if differing else None


def disturbed_timing(board: pd.DataFrame) -> list[str]:
    """Return what a busy machine did to the times of a sweep, as sentences."""
    sentences = []
    if any_marked(board["timing_disturbed"]):
        rule = "were measured while other processes used the processor, so they are not compared"
        sentences.append(f"Times marked with {MARK} {rule}. Run the sweep on a quiet machine to compare them.")
    left_out = board[board["num_disturbed"].fillna(0).gt(0)]
    if len(left_out):
        trials = ", ".join(
            f"{bare(row.model)} on {row.dataset} at {row.length} ({int(row.num_disturbed)})"
            for row in left_out.itertuples()
        )
        rule = "so a limit or an objective of time did not admit them"
        sentences.append(f"Other processes disturbed the timing of some trials, {rule}: {trials}.")
    return sentences


def comparable(rows: pd.DataFrame) -> bool:
    """Return whether the times of rows may be compared: all of their runs were made under the same conditions."""
    return bool(rows["mixed"].isna().all() and all(rows[name].nunique() <= 1 for name in CONDITIONS))


def _answer(group: pd.DataFrame) -> str:
    ranked = group[group["rank"].notna()]
    failed, unfinished = (group[group["status"] == status] for status in (Status.FAILED, Status.UNFINISHED))
    if ranked.empty:
        parts = ["no model has been confirmed yet" if len(unfinished) else "no model could be confirmed"]
        if (group["status"] == Status.DROPPED).any():
            parts[0] += " in this time; give --budget more"
        cheap = _best_cheap(group)
        if cheap is not None:
            score, until = f"{cheap['score']:.3f} {cheap['metric']}", "until then " * bool(len(unfinished))
            reason = "chosen by validation" if is_known(cheap["chosen_by_validation"]) else "the best of them"
            parts.append(f"{until}use {_use(cheap, f'({score}), {reason}')}")
    else:
        is_solve = ranked["solved"].notna().any()
        parts = [*_cheap_first(group), *(_solved(ranked, group) if is_solve else _best(ranked, group))]
        dropped = group[group["status"] == Status.DROPPED]
        if len(dropped):
            names = enumeration([bare(model) for model in dropped["model"]])
            parts.append(f"not confirmed, because successive halving put others first: {names}")
        if len(unfinished):
            parts.append(f"unfinished: {_with_reasons(unfinished)}")
    if len(failed):
        parts.append(f"failed: {_with_reasons(failed)}")
    return "; ".join(parts)


def _with_reasons(rows: pd.DataFrame) -> str:
    return ", ".join(bare(r.model) + (f" ({r.reason})" if is_known(r.reason) else "") for r in rows.itertuples())


def _cheap_first(group: pd.DataFrame) -> list[str]:
    cheap = as_good(group)
    if cheap is None:
        return []
    name, score = cheap["model"][1:-1], f"{cheap['score']:.3f} {cheap['metric']}"
    if name == "chance":
        return [f"none of the models beats chance ({score})"]
    return [f"none of the models beats {_use(cheap, f'({score}{_lead(cheap, group)}): use it')}"]


def _use(cheap: "pd.Series[Any]", details: str) -> str:
    """Return the name of a cheap baseline, details, and the command that exports it if it is stored."""
    name = cheap["model"][1:-1]
    export = f" (python -m bench export --model {shlex.quote(name)})" if is_known(cheap["size_bytes"]) else ""
    return f"the cheap baseline {name} {details}{export}"


def _best_cheap(group: pd.DataFrame) -> "pd.Series[Any] | None":
    """Return the cheap baseline to use, None if none has a score; chance is none that can be used."""
    cheap = group[(group["status"] == Status.BASELINE) & group["score"].notna() & (group["model"] != "(chance)")]
    return None if cheap.empty else _to_use(cheap)


def _to_use(cheap: pd.DataFrame) -> "pd.Series[Any]":
    """Return the one of some cheap baselines that validation chose, or else the best on the test split."""
    chosen = cheap[cheap["chosen_by_validation"].notna()]
    return cheap.loc[(_sign(cheap) * cheap["score"]).idxmax()] if chosen.empty else chosen.iloc[0]


def _lead(cheap: "pd.Series[Any]", group: pd.DataFrame) -> str:
    """Return by how much a cheap baseline is ahead of the best model, and its training time, for brackets."""
    best = _best_score(group[group["score"].notna() & group["rank"].notna()])
    ahead = abs(cheap["score"] - best)
    lead = f", {ahead:.3f} ahead of the best model" if f"{ahead:.3f}" != "0.000" else ""
    return lead + (f", {cheap['train_seconds']:.1f} s to train" if is_known(cheap["train_seconds"]) else "")


def as_good(group: pd.DataFrame) -> "pd.Series[Any] | None":
    """Return a cheap baseline that is at least as good as the best model on the test split; None if there is none.

    Of several it is the one that validation chose, because that is the one that `export` writes.
    """
    ranked = group[group["score"].notna() & group["rank"].notna()]
    if ranked.empty:
        return None
    sign = _sign(ranked)
    cheap = group[(group["status"] == Status.BASELINE) & (sign * group["score"] >= sign * _best_score(ranked))]
    return None if cheap.empty else _to_use(cheap)


def _best_score(ranked: pd.DataFrame) -> float:
    """Return the score of the model in the first row, or the largest one where models are ordered by seeds solved."""
    if ranked["solved"].notna().any():
        return float(_sign(ranked) * (_sign(ranked) * ranked["score"]).max())
    return float(ranked.iloc[0]["score"])


def _sign(ranked: pd.DataFrame) -> int:
    return 1 if ranked.iloc[0]["goal"] == "maximize" else -1


def _best(ranked: pd.DataFrame, group: pd.DataFrame) -> list[str]:
    """Return who is best at a task without a threshold, and who is statistically tied."""
    best, tied = ranked.iloc[0], ranked[ranked["rank"] == 1].iloc[1:]
    interval = f" [{best['ci_low']:.3f}, {best['ci_high']:.3f}]" if is_known(best["ci_low"]) else ""
    title = "best" if as_good(group) is None else "best model"
    parts = [f"{title}: {bare(best['model'])}, {best['score']:.3f} {best['metric']}{interval}"]
    if (ranked["num_seeds"] == 1).all():
        parts.append("one seed: not compared")
    elif len(tied):
        parts.append(f"{_names(tied)} {'is' if len(tied) == 1 else 'are'} statistically tied")
    if is_known(best["reason"]):
        parts.append(best["reason"])
    parts += _average(best)
    parts.append(f"at most {int(best['max_sequences']):,} training sequences a run")
    if is_known(best["tied_by_sampling"]):
        names = enumeration(best["tied_by_sampling"].split(", "))
        parts.append(f"with other test examples {names} could be as good ({int(best['num_test']):,} were scored)")
    if parts_from_validation(best):
        values = f"{best['val_confirmation']:.3f} on validation, {best['score']:.3f} on the test split"
        parts.append(f"{values}: they differ by more than both errors of the score")
    if is_known(best["never_predicted"]):
        parts.append(f"{bare(best['model'])} never predicts {shortened(best['never_predicted'], 80)}")
    return parts


def _average(best: "pd.Series[Any]") -> list[str]:
    """Return the score of the average of a model's seeds and the command that exports it, if it is better."""
    score, average = f"{best['score']:.3f}", best["score_ensemble"]
    sign = 1 if best["goal"] == "maximize" else -1
    if not is_known(average) or sign * (average - best["score"]) <= 0 or f"{average:.3f}" == score:
        return []
    command = f"python -m bench export --model {shlex.quote(bare(best['model']))} --ensemble"
    return [f"the average of its {int(best['num_seeds'])} seeds has {average:.3f} ({command})"]


def parts_from_validation(row: Any) -> bool:
    """Return whether validation and test score of a row differ by more than the errors of seeds and of sampling.

    False if one of them is not known, and for tasks that can be solved, whose score is a median.
    """
    ends = [row[name] for name in ("ci_low", "ci_high", "sampling_low", "sampling_high")]
    if row["score_is"] != "mean" or not all(map(is_known, [*ends, row["val_confirmation"], row["score"]])):
        return False
    allowed = (ends[1] - ends[0] + ends[3] - ends[2]) / 2
    return bool(abs(row["val_confirmation"] - row["score"]) > allowed)


def _solved(ranked: pd.DataFrame, group: pd.DataFrame) -> list[str]:
    """Return who solves the task on every seed, on some, and on none."""
    solved, seeds = ranked["solved"], ranked["num_seeds"]
    always, sometimes, never = ranked[solved == seeds], ranked[(solved > 0) & (solved < seeds)], ranked[solved == 0]
    parts = []
    if len(always):
        fewest, most = int(always["num_seeds"].min()), int(always["num_seeds"].max())
        every = "the only seed" if most == 1 else f"all {most} seeds"
        if fewest < most:  # a budget ended the sweep
            every = f"each of their {fewest} to {most} seeds"
        parts.append(f"solved on {every} by {_names(always)}{_quickest(always)}")
    if len(sometimes):
        counts = ", ".join(f"{bare(r.model)} ({int(r.solved)} of {int(r.num_seeds)})" for r in sometimes.itertuples())
        parts.append(f"solved on some seeds by {counts}")
    if len(never):
        tried = group[group["status"].isin((Status.COMPLETE, Status.FAILED, Status.UNFINISHED))]
        models = "any model" if len(never) == len(tried) else _names(never)
        parts.append(f"not solved within {int(ranked['max_sequences'].iloc[0]):,} sequences by {models}")
    if (seeds == 1).all() and len(ranked) > 1:
        parts.append("one seed: not compared")
    return parts


def _quickest(rows: pd.DataFrame) -> str:
    """Return which of the models solved the task in the least time, if their times may be compared.

    If other processes disturbed the time of any of them, sequences are compared instead.
    """
    if not comparable(rows):
        return ""
    is_timed = not any(is_marked(row, "seconds_to_solve") for row in rows.to_dict("records"))
    column = "seconds_to_solve" if is_timed else "sequences_to_solve"
    best = rows.loc[rows[column].astype(float).idxmin()]
    figures = f"{int(best['sequences_to_solve']):,} sequences"
    if is_timed:
        figures = f"{best['seconds_to_solve']:.1f} s, {figures}"
    if len(rows) == 1:
        return f" ({figures})"
    return f", {'quickest' if is_timed else 'with the fewest sequences'} by {bare(best['model'])} ({figures})"


def summaries(board: pd.DataFrame) -> list[str]:
    """Return one sentence for each dataset with several lengths: which models are good at which lengths."""
    sentences = []
    for (dataset, match), group in board.groupby(["dataset", "match"], sort=False, dropna=False):
        ranked = group[group["rank"].notna()]
        lengths = sorted(ranked["length"].unique())
        if len(lengths) > 1:
            title = f"{dataset} at {lengths[0]} to {lengths[-1]}" + ("" if pd.isna(match) else f" with {match}")
            beaten = [str(length) for length in lengths if as_good(group[group["length"] == length]) is not None]
            cheap = f"at {enumeration(beaten)} no model beats the cheap baselines; " if beaten else ""
            sentences.append(f"{title}: {cheap}{_summary(ranked, lengths)}.")
    return sentences


def _summary(ranked: pd.DataFrame, lengths: list[int]) -> str:
    is_solve = ranked["solved"].notna().any()
    if not is_solve and (ranked["num_seeds"] == 1).all():
        return "one seed: models are not compared"
    good = ranked[ranked["solved"] == ranked["num_seeds"]] if is_solve else ranked[ranked["rank"] == 1]
    within = f" within {int(ranked['max_sequences'].iloc[0]):,} sequences" if is_solve else ""
    if good.empty:
        return f"solved on every seed at no length by any model{within}"
    models: dict[tuple[int, ...], list[str]] = {}
    for model in ranked["model"].drop_duplicates():
        models.setdefault(tuple(sorted(good.loc[good["model"] == model, "length"])), []).append(bare(model))
    parts = []
    for at, names in sorted(models.items(), key=lambda item: (-len(item[0]), item[0])):
        fastest = _fastest_step(ranked, names, at[-1]) if len(at) == len(lengths) else ""
        parts.append(f"{_at(at, lengths)}{within if not at else ''} by {enumeration(names)}{fastest}")
    if is_solve:
        return f"solved on every seed {'; '.join(parts)}"
    return f"first rank, alone or statistically tied, {'; '.join(parts)}"


def _at(at: tuple[int, ...], lengths: list[int]) -> str:
    if not at:
        return "at no length"
    if len(at) == len(lengths):
        return "at both lengths" if len(lengths) == 2 else f"at all {len(lengths)} lengths"
    if len(at) > 1 and list(at) == lengths[: len(at)]:
        return f"up to length {at[-1]}"
    return f"only at {enumeration(map(str, at))}"


def _fastest_step(ranked: pd.DataFrame, models: list[str], length: int) -> str:
    """Return which of several models has the shortest training step at a length, if times may be compared."""
    rows = ranked[ranked["model"].map(bare).isin(models) & (ranked["length"] == length)]
    steps = rows["train_step_milliseconds"].astype(float)
    is_disturbed = any(is_marked(row, "train_step_milliseconds") for row in rows.to_dict("records"))
    if len(rows) < 2 or steps.isna().any() or is_disturbed or not comparable(rows):
        return ""
    return f" (shortest training step at {length}: {bare(rows.loc[steps.idxmin(), 'model'])}, {steps.min():.2f} ms)"


def _names(rows: pd.DataFrame) -> str:
    return enumeration(bare(name) for name in rows["model"])
