"""Charts as SVG: each is a pure function of plain numbers.

A chart on a page takes its inks from CSS variables, so that a dark page can redefine them, and its text is text.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

from bench.report.palette import INKS, PALETTE, colour, in_order, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.0  # inches of 72 units: the same for all charts, so that all texts on a page have one size

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may contain dollar signs
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INKS["ink"],
    "axes.formatter.useoffset": False,
    "axes.labelcolor": INKS["soft"],
    "axes.edgecolor": INKS["soft"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": INKS["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": INKS["soft"],
    "ytick.color": INKS["soft"],
    "xtick.labelcolor": INKS["ink"],
    "ytick.labelcolor": INKS["ink"],
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "auto",
    "path.simplify": True,
}

_HREF = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Series:
    """The points of one model, joined by a line or not, with the ends of their intervals if there are any."""

    model: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()  # of y; of x in a chart of rows
    high: Sequence[float] = ()
    line: Literal["", "line", "dashed", "dotted"] = "line"
    points: Literal["", "filled", "hollow", "faint", "tick"] = "filled"
    tag: str = ""  # written beside the first point
    band: bool = False  # shade between low and high, instead of a bar at each point


@dataclass(frozen=True)
class Level:
    """A thin grey line to compare with: dashed, or `solid`. Its name, if it has one, is written at its end."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    solid: bool = False


@dataclass(frozen=True)
class Axis:
    """The quantity along an axis; `ticks`, if given, are the only ones."""

    label: str
    log: bool = False
    ticks: Sequence[tuple[float, str]] = ()
    limits: tuple[float, float] | None = None
    from_zero: bool = False


@dataclass(frozen=True)
class Chart:
    """One pair of axes. With `rows`, the ticks of y are names, the first on top, and intervals lie along x."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    levels: Sequence[Level] = field(default=())
    dodge: bool = False  # shift the models slightly along x, so that their intervals do not hide each other
    rows: bool = False
    equal: bool = False  # a dotted line where x equals y


@dataclass(frozen=True)
class Matrix:
    """Counts of pairs of names: rows are true classes, columns answers, and the shade is the share of the row."""

    title: str
    model: str  # whose colour is the shade
    names: Sequence[str]
    counts: Sequence[Sequence[int]]


def matrix_svg(chart: Matrix, others: Sequence[str] = ()) -> str:
    """Return a matrix of counts as an <svg> element for a page, 432 units wide; `others` as for `svg`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    size, longest = len(chart.names), max(map(len, chart.names))
    with mpl.rc_context(STYLE | {"svg.hashsalt": repr(chart), "axes.grid": False}):
        left = 34 + 6.4 * longest
        cell = min((418 - left) / size, 56.0)
        is_upright = 6.4 * longest > cell - 4
        bottom = 34 + (6.4 * longest if is_upright else 14)
        height = bottom + cell * size + 34
        figure = Figure(figsize=(WIDTH, height / 72))
        axes = figure.add_axes((left / 432, bottom / height, cell * size / 432, cell * size / height))
        ink = INKS["soft"] if chart.model.startswith("(") else colour(chart.model, others)
        for row, counts in enumerate(chart.counts):
            total = max(1, sum(counts))
            for column, number in enumerate(counts):
                shade: dict[str, Any] = {"facecolor": ink, "alpha": 0.75 * number / total, "linewidth": 0}
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **shade))
                if number:
                    axes.text(column, row, f"{number:,}", ha="center", va="center", color=INKS["ink"],
                              fontsize=11 if cell > 30 else 8)  # fmt: skip
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
        axes.set_xticks(range(size), chart.names, rotation=90 if is_upright else 0)
        axes.set_yticks(range(size), chart.names)
        axes.tick_params(length=0)
        axes.set_xlabel("answer")
        axes.set_ylabel("true class")
        figure.text(14 / 432, 1 - 18 / height, _short(chart.title, 54), fontsize=12, weight="bold", color=INKS["ink"])
        return _inline(figure)


def svg(chart: Chart, others: Sequence[str] = ()) -> str:
    """Return a chart as an <svg> element for a page, 432 units wide.

    `others` lists the models on the page that are not built in. Screen readers skip the element: the page has to say
    what it shows.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE | {"svg.hashsalt": repr(chart)}):  # no two charts on a page share an id
        height = max(1.5, 1.05 + 0.32 * len(chart.y.ticks)) if chart.rows else 3.7
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_subplot()
        _draw(axes, chart, others)
        _margins(figure, axes, chart)
        return _inline(figure)


def grid(charts: Sequence[Chart], title: str, notes: Sequence[str]) -> str:
    """Return charts in one or two columns as the text of an SVG file, below a legend and above the notes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with mpl.rc_context(STYLE | {"svg.hashsalt": title, "figure.facecolor": INKS["paper"]}):
        columns = min(2, len(charts))
        rows = math.ceil(len(charts) / 2)
        figure = Figure(figsize=(columns * WIDTH, 3.7 * rows + 1), layout="constrained")
        models = in_order([series.model for chart in charts for series in chart.series])
        others = [name for name in models if name not in PALETTE]
        for index, chart in enumerate(charts):
            _draw(figure.add_subplot(rows, columns, index + 1), chart, others)
        marks = [Line2D([], [], color=colour(name, others), marker=marker(name), linestyle="") for name in models]
        figure.legend(marks, models, loc="outside upper left", ncols=7, frameon=False)
        figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=10, color=INKS["soft"])
        return _save(figure, Title=title)


def _draw(axes: "Axes", chart: Chart, others: Sequence[str]) -> None:
    _axes(axes, chart)
    models = list(dict.fromkeys(series.model for series in chart.series))
    for series in chart.series:
        _series(axes, chart, series, models, others)
    _levels(axes, chart)
    if chart.equal:
        ends = [min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])]
        axes.plot(ends, ends, color=INKS["soft"], linewidth=1, linestyle=":", zorder=1)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
    _tags(axes, chart)


def _axes(axes: "Axes", chart: Chart) -> None:
    axes.set_title(_short(chart.title, 54), pad=26 if chart.y.label else 10)
    axes.set_xlabel(chart.x.label)
    # The label of y is above the axis, where it can be read without tilting one's head.
    axes.text(0, 1.035, chart.y.label, transform=axes.transAxes, fontsize=10.5, color=INKS["soft"])
    for name, axis in (("x", chart.x), ("y", chart.y)):
        if axis.log:
            axes.set(**{f"{name}scale": "log"})
        _ticks(axes.xaxis if name == "x" else axes.yaxis, axis)
        if axis.limits:
            axes.set(**{f"{name}lim": axis.limits})
        if axis.from_zero:
            axes.update_datalim([(0, 0)], updatex=name == "x", updatey=name == "y")
    if chart.rows:
        axes.set_ylim(len(chart.y.ticks) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y" if chart.rows else "x")


def _ticks(ticks: Any, axis: Axis) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    if axis.ticks:
        ticks.set_ticks([value for value, _ in axis.ticks], [text for _, text in axis.ticks])
    elif axis.log:
        ticks.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
        ticks.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    else:
        ticks.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
    ticks.set_minor_locator(NullLocator())


def _series(axes: "Axes", chart: Chart, series: Series, models: list[str], others: Sequence[str]) -> None:
    ink = colour(series.model, others)
    x = list(series.x)
    if chart.dodge:
        x = [_dodged(chart, value, models.index(series.model), len(models)) for value in x]
    if series.line:
        style: Any = {"dashed": (0, (4, 2)), "dotted": (0, (1, 2))}.get(series.line, "-")
        axes.plot(x, series.y, color=ink, linewidth=1.8, alpha=0.85, linestyle=style, zorder=3)
    if series.low and series.band:
        axes.fill_between(x, series.low, series.high, color=ink, alpha=0.12, linewidth=0, zorder=2)
    elif series.low:
        for at, value, low, high in zip(x, series.y, series.low, series.high, strict=True):
            if math.isfinite(low) and math.isfinite(high):
                ends = ([low, high], [value, value]) if chart.rows else ([at, at], [low, high])
                axes.plot(*ends, color=ink, linewidth=1.8, alpha=0.55, solid_capstyle="butt", zorder=2)
    if series.points:
        faint, outlined = series.points == "faint", series.points in ("hollow", "tick")
        axes.plot(
            x,
            series.y,
            linestyle="",
            marker="|" if series.points == "tick" else marker(series.model),
            markersize={"faint": 4, "tick": 12}.get(series.points, 7.5),
            color=ink,
            alpha=0.45 if faint else 1.0,
            markerfacecolor=INKS["paper"] if series.points == "hollow" else ink,
            markeredgecolor=ink if outlined else "none" if faint else INKS["paper"],
            markeredgewidth=1.6 if outlined else 0.8,
            zorder=2 if faint else 4,
            clip_on=False,
        )


def _dodged(chart: Chart, value: float, index: int, count: int) -> float:
    """Return a position along x, shifted so that all models together take at most a tenth of the axis."""
    positions = [position for position, _ in chart.x.ticks] or [x for series in chart.series for x in series.x]
    step = min(0.014, 0.1 / max(1, count)) * (index - (count - 1) / 2)
    low, high = min(positions), max(positions)
    return float(value * (high / low) ** step) if chart.x.log else value + step * (high - low)


def _levels(axes: "Axes", chart: Chart) -> None:
    for level in chart.levels:
        style: Any = "-" if level.solid else (0, (4, 2))
        axes.plot(level.x, level.y, color=INKS["soft"], linewidth=0.9, linestyle=style, zorder=1.5)
        if chart.rows:
            axes.plot(level.x[-1:], [math.floor(level.y[-1])], color=INKS["soft"], marker="|", markersize=12, zorder=4)
    named = _named(chart)
    axes.autoscale_view()
    to_axes = axes.transScale + axes.transLimits
    ends = [float(to_axes.transform((level.x[-1], level.y[-1]))[1]) for level in named]
    style = {"transform": axes.transAxes, "va": "center", "fontsize": 10, "color": INKS["soft"]}
    for level, y in zip(named, spread(ends, 0.075), strict=True):
        axes.text(1.015, y, _short(level.name), **style)


def _named(chart: Chart) -> list[Level]:
    """Return the levels whose names are written at their ends; in a chart of rows the axis names them."""
    return [level for level in chart.levels if level.name and not chart.rows]


def _tags(axes: "Axes", chart: Chart) -> None:
    """Write the tags beside their points, at least a line apart."""
    tagged = [series for series in chart.series if series.tag]
    to_axes = axes.transData - axes.transAxes
    points = [to_axes.transform((series.x[0], series.y[0])) for series in tagged]
    for series, (x, _), y in zip(tagged, points, spread([float(p[1]) for p in points], 0.075), strict=True):
        shift, side = (0.025, "left") if x < 0.72 else (-0.025, "right")
        # Not in the model's colour, which suits shapes and is too pale for letters.
        axes.text(x + shift, y, series.tag, transform=axes.transAxes, fontsize=10, va="center", ha=side,
                  color=INKS["ink"], zorder=6, gid="halo")  # fmt: skip


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Return positions near those given, at least `gap` apart, in the same order, and around the same mean."""
    groups: list[list[int]] = []

    def start(group: list[int]) -> float:
        return sum(positions[index] for index in group) / len(group) - gap * (len(group) - 1) / 2

    for index in sorted(range(len(positions)), key=lambda index: positions[index]):
        groups.append([index])
        while len(groups) > 1 and start(groups[-1]) - start(groups[-2]) - gap * (len(groups[-2]) - 1) < gap:
            last = groups.pop()
            groups[-1] += last
    moved = {index: start(group) + step * gap for group in groups for step, index in enumerate(group)}
    return [moved[index] for index in range(len(positions))]


def _margins(figure: "Figure", axes: "Axes", chart: Chart) -> None:
    """Set the margins by the length of the texts; a layout engine would draw each chart twice."""
    height = figure.get_figheight() * 72
    names = [text for _, text in chart.y.ticks] or [label.get_text() for label in axes.get_yticklabels()]
    left = 14 + 6.6 * max(map(len, names), default=0)
    right = 14 + max((5.6 * len(_short(level.name)) + 6 for level in _named(chart)), default=0)
    top = 50 if chart.y.label else 34
    figure.subplots_adjust(left=left / 432, right=1 - right / 432, bottom=46 / height, top=1 - top / height)


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _save(figure: "Figure", **metadata: str) -> str:
    """Return a figure as SVG text; the same figure gives the same text."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")) | metadata)
    return file.getvalue()


def _inline(figure: "Figure") -> str:
    """Return a figure as an <svg> element that takes its size, fonts and inks from the page around it."""
    root = ElementTree.fromstring(_save(figure))
    root.remove(root[0])  # matplotlib's style sheet, which would apply to the whole page
    for name in ("width", "height", "version"):
        del root.attrib[name]
    root.set("aria-hidden", "true")
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if (target := element.attrib.pop(_HREF, None)) is not None:
            element.set("href", target)
        if element.tag == "g" and (name := element.attrib.pop("id", "")).startswith("halo"):
            element.set("class", "halo")
        if "style" in element.attrib:
            element.set("style", _with_variables(element.attrib["style"]))
    return ElementTree.tostring(root, encoding="unicode")


def _with_variables(style: str) -> str:
    for name, ink in INKS.items():
        style = style.replace(ink, f"var(--figure-{name}, {ink})")
    return style


def thin(points: Sequence[tuple[float, float]], cells: int = 40) -> list[int]:
    """Return the indices of points that represent all: the first in each field of a grid with `cells` a side."""
    if not points:
        return []
    lows = [min(axis) for axis in zip(*points, strict=True)]
    sizes = [max(axis) - low or 1.0 for axis, low in zip(zip(*points, strict=True), lows, strict=True)]
    first: dict[tuple[int, ...], int] = {}
    for index, point in enumerate(points):
        field_of_grid = tuple(int(cells * (v - low) / size) for v, low, size in zip(point, lows, sizes, strict=True))
        first.setdefault(field_of_grid, index)
    return list(first.values())
