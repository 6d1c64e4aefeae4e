"""Default against tuned: what tuning brought on fresh seeds, and how lucky the choice was."""

import statistics

from bench.report import evidence
from bench.report.figures import Axis, Chart, Series
from bench.report.page import Block, Findings, Note, Panels, Section, Table, by_question, question, question_of, rows_of
from bench.wording import DASH, bare, count, interval, is_known, score, signed, whole


def make(findings: Findings) -> Section:
    anchor, title = "tuning", "Default against tuned"
    frame = evidence.default_against_tuned(findings.runs, findings.spec["top_k"])
    if frame.empty:
        return Section(
            anchor, title, reason="no cell has both its default and its chosen configuration confirmed on fresh seeds."
        )
    rows = rows_of(frame)
    kept = [row for row in rows if row["picked"] == 0]
    sure = [row for row in rows if row["picked"] != 0 and is_known(row["low"])]
    lead = f"In {len(kept)} of {count(len(rows), 'cell')} screening put the default configuration itself first. "
    lead += f"Tuning gained more than chance explains in {sum(row['low'] > 0 for row in sure)}, and lost in "
    lead += f"{sum(row['high'] < 0 for row in sure)}: there the interval of the gain excludes zero."
    drawings = []
    for (dataset, length, match), mine in by_question(frame).items():
        mine = [row for row in mine if is_known(row["default"]) and is_known(row["tuned"])]
        if not mine:
            continue
        where = question(dataset, length, match)
        series: list[Series] = []
        for place, row in enumerate(mine):
            model, y = row["model"], [float(place)]
            series.append(Series(model, [row["default"], row["tuned"]], y * 2, points=""))
            if is_known(row["screened"]):
                series.append(Series(model, [row["screened"]], y, line="", points="tick"))
            series.append(Series(model, [row["default"]], y, line="", points="hollow"))
            series.append(Series(model, [row["tuned"]], y, line="", points="filled"))
        names = Axis("", ticks=[(float(place), bare(row["model"])) for place, row in enumerate(mine)])
        words = "; ".join(f"{bare(r['model'])} {score(r['default'])} to {score(r['tuned'])}" for r in mine)
        axis = Axis(f"mean validation {mine[0]['metric']} on fresh seeds")
        chart = Chart(where, axis, names, series, rows=True)
        drawings.append(
            findings.draw(chart, f"{where}, default to tuned, mean validation score on fresh seeds: {words}")
        )
    solve = any(is_known(row["tuned_solved"]) for row in rows)  # else the columns would be empty
    head = ["question", "model", "default", "tuned", "gain", "95 % interval", "seeds"]
    head += ["solved before", "solved after"] * solve
    head += ["tuned is", "when picked", "drop since", "chosen in the end"]
    cells = [
        [
            question_of(row),
            row["model"],
            score(row["default"]),
            score(row["tuned"]),
            signed(row["gain"]) if row["picked"] else "0",
            interval(row["low"], row["high"]) if row["picked"] else DASH,
            str(row["seeds"]),
            *[whole(row["default_solved"]), whole(row["tuned_solved"])] * solve,
            f"t{row['picked']}" if row["picked"] else "default",
            score(row["screened"]),
            signed(row["drop"]),
            f"t{row['chosen']}" if row["chosen"] else "default",
        ]
        for row in rows
    ]
    blocks: list[Block] = [Note(lead, "lead")]
    if drawings:
        caption = (
            "Hollow: the default; filled: the configuration that screening put first, both on the same fresh seeds, "
            "which had no part in that. The upright tick is the score with which it was picked: where it lies above "
            "the filled point, it was lucky."
        )
        blocks.append(Panels(drawings, caption, findings.legend(frame["model"])))
    blocks.append(
        Table("Mean validation scores on fresh seeds; a positive gain is an improvement", head, cells).filled().folded()
    )
    drops = [row["drop"] for row in rows if is_known(row["drop"])]
    curse = "The winner's curse: the best of several noisy scores is expected to be too good, so the choice is trained "
    curse += "again on fresh seeds, and the best there of those confirmed is the one chosen in the end."
    if drops:
        middle = statistics.median(drops)
        of = f"(median of {count(len(drops), 'cell')})"
        if abs(middle) < 0.0005:
            curse += f" Here those put first scored the same as when they were picked {of}."
        else:
            curse += (
                f" Here those put first scored {score(abs(middle))} {'worse' if middle > 0 else 'better'} than when "
            )
            curse += f"they were picked {of}."
    blocks.append(Note(curse))
    return Section(anchor, title, blocks)
