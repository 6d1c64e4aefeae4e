"""Charts as SVG: each a pure function of plain numbers. Models keep their colour and marker on every chart.

The SVG is made to stand inside an HTML page: its inks are variables, so that a dark page can redefine them, with
fallbacks that suit a white one; its text is text, in the reader's own fonts.
"""

import hashlib
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bench.config.settings import BASELINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = {
    "mlp": "#b0752a",
    "rnn": "#d0453f",
    "lstm": "#1f7fc0",
    "stacked_lstm": "#6570d6",
    "bilstm": "#12918a",
    "gru": "#4f9426",
    "transformer": "#a857bd",
}
"""The colour of each model: of middling lightness, so that it stands out from white and from black alike."""

FURTHER = ("#c2528b", "#6f7f1c", "#7c6a5c", "#2f9a5f", "#8d62a8", "#c0602b", "#4b7f95")
"""In turn for models beyond the baselines."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Beside the colours, for those who cannot tell these apart."""

INKS = {"ink": "#22262e", "soft": "#6c727c", "grid": "#e4e6ea", "paper": "#fffffe"}
"""What a page may redefine, as --figure-ink and so on."""

WIDTH = 6.0  # inches of 72 units: the same on all charts, so that all texts are of one size on a page

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",  # the same chart has the same bytes
    "text.parse_math": False,  # a name may hold dollars
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
    "savefig.facecolor": "none",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Series:
    """What one model has: points, joined or not, with the ends of their intervals where there are any."""

    model: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()  # of y; of x on a chart of rows
    high: Sequence[float] = ()
    line: Literal["", "line", "steps"] = "line"
    points: Literal["", "filled", "hollow", "faint", "tick"] = "filled"
    tag: str = ""  # written beside the first point
    band: bool = False  # shade between low and high, in place of a bar at each point


@dataclass(frozen=True)
class Level:
    """A thin grey line to compare with: dashed, or `solid`; with a name, if it has one, at its end."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    solid: bool = False


@dataclass(frozen=True)
class Axis:
    """What is measured along an axis; with `ticks`, only at these places."""

    label: str
    log: bool = False
    ticks: Sequence[tuple[float, str]] = ()
    limits: tuple[float, float] | None = None
    from_zero: bool = False


@dataclass(frozen=True)
class Chart:
    """One pair of axes. `rows`: the places along y are names, the first on top, and intervals lie along x."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    levels: Sequence[Level] = field(default=())
    dodge: bool = False  # set the models a little apart along x, so that their intervals do not hide each other
    rows: bool = False
    equal: bool = False  # a dotted line where x equals y


def colour(model: str, others: Sequence[str] = ()) -> str:
    """Return a model's colour; `others`: the models beyond the baselines that share the page, in their order."""
    name = bare(model)
    if name in PALETTE:
        return PALETTE[name]
    place = others.index(name) if name in others else sum(map(ord, name))
    return FURTHER[place % len(FURTHER)]


def marker(model: str) -> str:
    """Return a model's marker."""
    name = bare(model)
    return MARKERS[(BASELINES.index(name) if name in BASELINES else sum(map(ord, name))) % len(MARKERS)]


def bare(model: str) -> str:
    """Return a model's name without the rule of capacity behind it."""
    return model.partition("@")[0]


def svg(chart: Chart, others: Sequence[str] = ()) -> str:
    """Return a chart as an <svg> element, 432 units wide; `others`: the page's models beyond the baselines.

    What it shows belongs in the page around it, as text: the element itself is hidden from screen readers.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        height = max(1.5, 1.05 + 0.32 * len(chart.y.ticks)) if chart.rows else 3.7
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_subplot()
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
        _margins(figure, axes, chart)
        _tags(axes, chart)
        return _inline(figure)


def _axes(axes: "Axes", chart: Chart) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(_short(chart.title, 54), pad=26 if chart.y.label else 10)
    axes.set_xlabel(chart.x.label)
    # What y means stands above it, where it can be read without tilting one's head.
    axes.text(0, 1.035, chart.y.label, transform=axes.transAxes, fontsize=10.5, color=INKS["soft"])
    for axis, here in ((axes.xaxis, chart.x), (axes.yaxis, chart.y)):
        scale = axes.set_xscale if axis is axes.xaxis else axes.set_yscale
        if here.log:
            scale("log")
            _log_ticks(axis, here)
        elif not here.ticks:
            axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        if here.ticks:
            axis.set_ticks([place for place, _ in here.ticks], [text for _, text in here.ticks])
            axis.set_ticks([], minor=True)
        if here.limits:
            (axes.set_xlim if axis is axes.xaxis else axes.set_ylim)(*here.limits)
        if here.from_zero:
            axes.update_datalim([(0, 0)], updatex=axis is axes.xaxis, updatey=axis is axes.yaxis)
    if chart.rows:
        axes.set_ylim(len(chart.y.ticks) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    else:
        axes.grid(visible=False, axis="x")


def _log_ticks(axis: Any, here: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_locator(NullLocator())


def _plain(value: float) -> str:
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def _series(axes: "Axes", chart: Chart, series: Series, models: list[str], others: Sequence[str]) -> None:
    ink = colour(series.model, others)
    x = list(series.x)
    if chart.dodge:
        x = [_dodged(chart, value, models.index(series.model), len(models)) for value in x]
    if series.line:
        style = "steps-post" if series.line == "steps" else "default"
        axes.plot(x, series.y, color=ink, linewidth=1.8, drawstyle=style, alpha=0.85, zorder=3)
    if series.low and series.band:
        axes.fill_between(x, series.low, series.high, color=ink, alpha=0.12, linewidth=0, zorder=2)
    elif series.low:
        for place, value, low, high in zip(x, series.y, series.low, series.high, strict=True):
            if math.isfinite(low) and math.isfinite(high):
                ends = ([low, high], [value, value]) if chart.rows else ([place, place], [low, high])
                axes.plot(*ends, color=ink, linewidth=1.8, alpha=0.55, solid_capstyle="butt", zorder=2)
    if series.points:
        faint, hollow = series.points == "faint", series.points == "hollow"
        axes.plot(
            x,
            series.y,
            linestyle="",
            marker="|" if series.points == "tick" else marker(series.model),
            markersize={"faint": 4, "tick": 12}.get(series.points, 7.5),
            color=ink,
            alpha=0.45 if faint else 1.0,
            markerfacecolor=INKS["paper"] if hollow else ink,
            markeredgecolor=ink if hollow or series.points == "tick" else "none" if faint else INKS["paper"],
            markeredgewidth=1.6 if hollow or series.points == "tick" else 0.8,
            zorder=2 if faint else 4,
            clip_on=False,
        )


def _dodged(chart: Chart, value: float, index: int, count: int) -> float:
    """Return a place along x, moved a little: all models together by a tenth of the axis at most."""
    places = [place for place, _ in chart.x.ticks] or [x for series in chart.series for x in series.x]
    step = min(0.014, 0.1 / max(1, count)) * (index - (count - 1) / 2)
    low, high = min(places), max(places)
    if chart.x.log:
        return float(value * (high / low) ** step)
    return value + step * (high - low)


def _levels(axes: "Axes", chart: Chart) -> None:
    for level in chart.levels:
        style: Any = "-" if level.solid else (0, (4, 2))
        axes.plot(level.x, level.y, color=INKS["soft"], linewidth=0.9, linestyle=style, zorder=1.5)
        if chart.rows:
            axes.plot(level.x[-1:], [math.floor(level.y[-1])], color=INKS["soft"], marker="|", markersize=12, zorder=4)
    named = [level for level in chart.levels if level.name and not chart.rows]
    axes.autoscale_view()
    to_axes = axes.transScale + axes.transLimits
    ends = [float(to_axes.transform((level.x[-1], level.y[-1]))[1]) for level in named]
    for level, place in zip(named, spread(ends, 0.075), strict=True):
        axes.text(1.015, place, _short(level.name), transform=axes.transAxes, va="center", fontsize=10,
                  color=INKS["soft"])  # fmt: skip


def _tags(axes: "Axes", chart: Chart) -> None:
    """Write the tags beside their points, from the top down, each at least a line below the one before."""
    tagged = [series for series in chart.series if series.tag]
    if not tagged:
        return
    places = [axes.transData.transform((series.x[0], series.y[0])) for series in tagged]
    inverse = axes.transAxes.inverted()
    points = [inverse.transform(place) for place in places]
    for series, (x, _), y in zip(tagged, points, spread([float(p[1]) for p in points], 0.075), strict=True):
        left = x < 0.72
        # Not in the model's colour: that is made for shapes, and is too pale for letters.
        axes.text(x + (0.025 if left else -0.025), y, series.tag, transform=axes.transAxes, fontsize=10, va="center",
                  ha="left" if left else "right", color=INKS["ink"], zorder=6, gid="halo")  # fmt: skip


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return places near those given, at least `gap` apart, in the same order, and around the same middle."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    found = [0.0] * len(places)
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _start(groups[-1], places, gap) - _end(groups[-2], places, gap) < gap:
            last = groups.pop()
            groups[-1] += last
    for group in groups:
        start = _start(group, places, gap)
        for step, index in enumerate(group):
            found[index] = start + step * gap
    return found


def _start(group: list[int], places: Sequence[float], gap: float) -> float:
    return sum(places[index] for index in group) / len(group) - gap * (len(group) - 1) / 2


def _end(group: list[int], places: Sequence[float], gap: float) -> float:
    return _start(group, places, gap) + gap * (len(group) - 1)


def _margins(figure: "Figure", axes: "Axes", chart: Chart) -> None:
    """Set the margins by the length of the texts: a layout engine would draw each chart twice."""
    height = figure.get_figheight() * 72
    names = [text for _, text in chart.y.ticks] or [label.get_text() for label in axes.get_yticklabels()]
    shown = max((len(name) for name in names), default=0)
    left = 14 + 6.6 * shown
    right = 14 + max(
        (5.6 * len(_short(level.name)) + 6 for level in chart.levels if level.name and not chart.rows), default=0
    )
    top = 50 if chart.y.label else 34
    figure.subplots_adjust(left=left / 432, right=1 - right / 432, bottom=46 / height, top=1 - top / height)


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _inline(figure: "Figure") -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<defs>\s*</defs>", "", text)
    text = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", text)
    text = re.sub(r'<svg ([^>]*?)(?:width|height)="[^"]*pt"', r"<svg \1", text)
    text = re.sub(r'<svg ([^>]*?)(?:width|height)="[^"]*pt"', r"<svg \1", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r' id="halo[^"]*"', ' class="halo"', text)
    # Charts share a page, and an id belongs to one of them.
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:8] + "-"
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)([^)"]+)', rf"\g<1>{prefix}\g<2>", text)
    text = text.replace("font-family: 'DejaVu Sans', sans-serif; ", "")  # the page's
    text = re.sub(r"(font: [^;\"']*?px) 'DejaVu Sans', sans-serif", r"\1 system-ui, sans-serif", text)
    for name, ink in INKS.items():
        text = text.replace(ink, f"var(--figure-{name}, {ink})")
    return re.sub(r">\s*\n\s*<", ">\n<", text).replace("<svg ", '<svg aria-hidden="true" ', 1)


def legend(models: Sequence[str], others: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return each model, once, with a small <svg> of its marker in its colour."""
    shape = '<svg aria-hidden="true" viewBox="-6 -6 12 12"><g fill="{}">{}</g></svg>'
    known = {name: place for place, name in enumerate(BASELINES)}
    names = sorted(set(map(bare, models)), key=lambda name: (known.get(name, len(known)), name))
    return [(name, shape.format(colour(name, others), _GLYPHS[marker(name)])) for name in names]


_GLYPHS = {
    "o": '<circle r="4"/>',
    "s": '<rect x="-3.6" y="-3.6" width="7.2" height="7.2"/>',
    "^": '<path d="M0-4.6 4.4 3.6H-4.4z"/>',
    "v": '<path d="M0 4.6 4.4-3.6H-4.4z"/>',
    "D": '<path d="M0-5 4.6 0 0 5-4.6 0z"/>',
    "P": '<path d="M-1.7-4.8h3.4v3.1h3.1v3.4H1.7v3.1h-3.4V1.7h-3.1v-3.4h3.1z"/>',
    "X": '<path d="M-1.7-4.8h3.4v3.1h3.1v3.4H1.7v3.1h-3.4V1.7h-3.1v-3.4h3.1z" transform="rotate(45)"/>',
}


def thin(points: Sequence[tuple[float, float]], cells: int = 40) -> list[int]:
    """Return the indices of points that represent all: the first in each field of a grid over them."""
    if not points:
        return []
    lows = [min(axis) for axis in zip(*points, strict=True)]
    sizes = [max(axis) - low or 1.0 for axis, low in zip(zip(*points, strict=True), lows, strict=True)]
    seen: set[tuple[int, ...]] = set()
    kept = []
    for index, point in enumerate(points):
        place = tuple(int(cells * (v - low) / size) for v, low, size in zip(point, lows, sizes, strict=True))
        if place not in seen:
            seen.add(place)
            kept.append(index)
    return kept
