"""The picture of a forecast: what is drawn where, and that forecasts of known rows do not see them."""

import numpy as np
import pytest

from bench.errors import DeclarationError
from bench.export import forecast_chart
from bench.export.predictor import ExportedModel
from tests.makers import run_config, write

HORIZON = 3


class RepeatsLast(ExportedModel):
    num_steps, input_size = 5, 1

    def outputs(self, x, length):
        return np.repeat(x[:, -1, :1], HORIZON, axis=1)

    def generate(self, prompt, sampling, never):
        raise NotImplementedError

    def nats(self, x):
        raise NotImplementedError


def model(**arguments) -> ExportedModel:
    arguments = {"target": ["v"], "horizon": HORIZON} | arguments
    config = run_config(dataset="mine", task="forecasting", task_arguments=arguments, space="cnn")
    return RepeatsLast(config, {"names": ["v"], "mean": [0.0], "scale": [1.0], "length": 5, "time_form": None})


@pytest.fixture
def drawn(monkeypatch):
    charts = []
    grid = forecast_chart.grid
    monkeypatch.setattr(forecast_chart, "grid", lambda found, *rest: charts.extend(found) or grid(found, *rest))
    return charts


def days(count: int) -> list[str]:
    return [str(np.datetime64("2026-02-20") + day) for day in range(count)]


def test_one_forecast_continues_the_file_and_the_others_are_of_its_last_rows(drawn, tmp_path):
    path = write(tmp_path, "v.csv", "day,v\n" + "".join(f"{day},{row * row}\n" for row, day in enumerate(days(40))))
    text = forecast_chart.draw(model(time="day"), path)
    (chart,) = drawn
    *_, earlier, known, ahead = chart.series
    assert (list(ahead.x), list(ahead.y)) == ([1, 2, 3], [39**2] * 3)
    assert (list(known.x), list(known.y)) == ([-2, -1, 0], [36**2] * 3)  # from the row before them
    assert (list(earlier.x), list(earlier.y)) == ([-5, -4, -3], [33**2] * 3)
    (truth,) = chart.levels
    assert truth.x[-1] == 0
    assert list(truth.y) == [row * row for row in range(10, 40)]
    assert "2026-03-02" in text
    assert "cnn" in text
    assert text.startswith("<?xml")


def test_every_series_has_a_chart_and_a_short_one_has_no_forecast_of_known_rows(drawn, tmp_path):
    rows = [f"{name},{row}\n" for name, count in (("z", 2), ("a", 20), ("b", 6)) for row in range(count)]
    forecast_chart.draw(model(group="id"), write(tmp_path, "v.csv", "id,v\n" + "".join(rows)))
    long, short = drawn
    assert (long.title, short.title) == ("v: a", "v: b")
    assert (len(long.series), len(short.series)) == (4, 1)


def test_a_gap_in_the_history_is_not_drawn(drawn, tmp_path):
    rows = [str(row) if row != 15 else "" for row in range(20)]
    forecast_chart.draw(model(), write(tmp_path, "v.csv", "v,w\n" + "".join(f"{row},1\n" for row in rows)))
    assert np.isnan(drawn[0].levels[0].y[-5])


def test_only_forecasts_are_drawn(tmp_path):
    class Other(RepeatsLast):
        num_steps = 8

    config = run_config(dataset="mine", task="classification", task_arguments={"reader": "table", "label": "y"})
    meta = {"columns": ["a"], "classes": ["0", "1"], "mean": [0.0], "scale": [1.0]}
    with pytest.raises(DeclarationError, match="--plot draws forecasts, but this model was trained for classification"):
        forecast_chart.draw(Other(config, meta), tmp_path)
