"""Charts: the same bytes each time, text as text, one colour a model everywhere, and intervals as they are asked."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from bench.config.settings import BASELINES
from bench.report import figures, palette

LOG = figures.Axis("steps", log=True)


def draw(*series: figures.Series) -> str:
    return figures.svg(figures.Chart("time", LOG, figures.Axis("ms", log=True), series))


def test_the_palette_has_the_baselines_in_their_order():
    assert tuple(palette.PALETTE) == BASELINES
    assert [name for name, _ in palette.legend(reversed(BASELINES))] == list(BASELINES)


def luminance(ink: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(ink[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("ink", [*palette.PALETTE.values(), *palette.FURTHER])
def test_every_colour_stands_out_from_paper_and_from_black(ink):
    # 3 is WCAG's least contrast of graphical objects.
    assert 1.05 / (luminance(ink) + 0.05) >= 3
    assert (luminance(ink) + 0.05) / 0.05 >= 3


def test_the_same_chart_has_the_same_bytes_and_no_date():
    series = figures.Series("lstm", [1, 10, 100], [1, 2, 4], [0.9, 1.9, 3.9], [1.1, 2.1, 4.1], band=True)
    assert draw(series) == draw(series)
    assert not re.search(r"20\d\d-\d\d", draw(series))


def test_text_is_text():
    texts = ["".join(element.itertext()).strip() for element in ElementTree.fromstring(draw(
        figures.Series("lstm", [1, 1000], [1, 2])
    )).iter() if element.tag == "text"]  # fmt: skip
    assert {"time", "steps", "ms", "1", "1,000"} <= set(texts)


def paths(text: str) -> list[str]:
    ink = palette.colour("lstm")
    return [one for one in re.findall(r"<[^>]+>", text) if ink in one and " d=" in one]


def test_an_interval_is_a_bar_a_point_or_one_shade():
    points = {"model": "lstm", "x": [1, 10, 100], "y": [1, 2, 4]}
    ends = {"low": [0.9, 1.9, 3.9], "high": [1.1, 2.1, 4.1]}
    bare, bars, shade = (draw(figures.Series(**points, **more)) for more in ({}, ends, ends | {"band": True}))
    assert len(paths(bars)) - len(paths(bare)) == 3
    assert "opacity: 0.12" not in bars
    assert len(re.findall(r"opacity: 0.12", shade)) == 1


def test_no_letter_has_the_colour_of_a_model():
    text = draw(figures.Series("lstm", [1, 1000], [1, 2], tag="lstm"))
    assert ">lstm</text>" in text
    assert not [found for found in re.findall(r"<text[^>]*>", text) if palette.colour("lstm") in found]


@pytest.mark.parametrize("log", [True, False])
def test_the_name_of_a_line_stands_at_its_end(log):
    axis = figures.Axis("ms", log=log)
    level = figures.Level("in proportion", [1, 100], [1, 10])
    text = figures.svg(figures.Chart("time", LOG, axis, [figures.Series("lstm", [1, 100], [1, 1000])], [level]))
    (line,) = [path for path in re.findall(r"<path[^>]*>", text) if "stroke-dasharray" in path]
    end = float(re.findall(r"[\d.]+ ([\d.]+) *\n?\"", line)[0])
    (name,) = re.findall(r"<text[^>]*>in proportion", text)
    place = float(re.search(r"y=\"([\d.]+)\"", name)[1])
    assert place == pytest.approx(end, abs=8)


def test_ticks_close_together_have_numbers_of_their_own():
    text = draw(figures.Series("lstm", [1.1, 1.7], [1.1, 1.7]))
    numbers = re.findall(r">([\d.,]+)</text>", text)
    assert len(numbers) >= 4
    assert len(set(numbers)) >= len(numbers) / 2  # the same on both axes


def test_places_are_spread_and_keep_their_order():
    assert figures.spread([0.5, 0.1, 0.5], 0.1) == pytest.approx([0.45, 0.1, 0.55])
    assert figures.spread([0.0, 0.05, 0.1, 0.9], 0.1) == pytest.approx([-0.05, 0.05, 0.15, 0.9])
    assert figures.spread([], 0.1) == []


def test_points_that_cover_each_other_are_thinned():
    points = [(x / 1000, y / 1000) for x in range(100) for y in range(100)]
    kept = figures.thin(points, 10)
    assert 100 <= len(kept) <= 121
    assert figures.thin([(1.0, 1.0)] * 5, 10) == [0]
    assert figures.thin([], 10) == []


def test_every_model_has_a_colour_and_shape_of_its_own():
    assert len({palette.colour(name) for name in BASELINES}) == len(BASELINES)
    assert len({palette.marker(name) for name in BASELINES}) == len(BASELINES)
    assert palette.colour("lstm@state=64") == palette.colour("lstm")
    assert len({palette.colour(name, ["a", "b"]) for name in ("a", "b")}) == 2


def test_a_chart_is_inert_and_takes_its_inks_from_the_page():
    axis = figures.Axis("$x$ & <y>")
    chart = figures.Chart("<i>", axis, axis, [figures.Series("lstm", [1, 2], [1, 2])])
    text = figures.svg(chart)
    assert "&lt;i&gt;" in text
    assert "$x$ &amp; &lt;y&gt;" in text
    assert "http" not in text
    assert "var(--figure-ink" in text
    assert figures.svg(chart) == text


def test_models_chosen_by_name_have_a_colour_each_in_a_file_of_charts():
    names = ["mamba2", "mingru", "mlp_flat"]  # whose letters alone would give them one colour
    assert len({palette.colour(name) for name in names}) == 1
    text = figures.grid(
        [figures.Chart("time", LOG, figures.Axis("ms"), [figures.Series(n, [1, 9], [2, 3]) for n in names])],
        "speed",
        ["note"],
    )
    assert {palette.colour(name, names) for name in names} <= set(re.findall("#[0-9a-f]{6}", text))
