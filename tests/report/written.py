"""Sweeps that tests write by hand, and the page of a report as its elements and texts."""

import json
import random
from html.parser import HTMLParser
from pathlib import Path

from bench.config.settings import RunConfig, TrainSettings
from bench.results.cell_runs import CellRuns
from bench.results.record import Asked, RunRecord, Seconds

SETTINGS = TrainSettings(max_sequences=6_400, batch_size=16, num_epochs=4, num_val=8, num_test=8)


ENVIRONMENT = {"hardware": "a machine (2 cores)", "python": "3.13", "torch": "2.12"}


ASKED = {
    "latch": {"metric": "accuracy", "goal": "maximize", "chance": 0.5, "solved": 0.99},
    "digits": {"metric": "accuracy", "goal": "maximize", "chance": 0.1, "solved": None},
    "drift": {"metric": "mse", "goal": "minimize", "chance": 4.0, "solved": None},
}


SECTIONS = [
    "decision",
    "scores",
    "validation",
    "outcomes",
    "bill",
    "expected",
    "tuning",
    "importance",
    "curves",
    "pareto",
    "plan",
    "speed",
    "reading",
]


class Builder:
    """Writes the records of a sweep, as its coordinator would; all figures follow from one seed."""

    def __init__(self, folder: Path, questions, models=("lstm", "gru", "mlp"), trials=4, seeds=3, **terms) -> None:
        self.folder, self.questions, self.models = folder, questions, models
        self.trials, self.seeds, self.random = trials, seeds, random.Random(0)
        self.more = {}  # of every run's configuration
        self.epochs = []
        cells = [f"{dataset}/L{length}/{model}" for dataset, length in questions for model in models]
        spec = {"budget": "quick", "sampler": "sobol", "pruner": "none", "objectives": ["quality"], "seed": 0}
        self.spec = {
            "spec": {"cells": cells, "max_sequences": 6_400} | spec | terms,
            "trials": trials, "top_k": 1, "confirm_seeds": seeds, "not_applicable": {}, "cpu_watts": None, "slots": 2,
            "command": "python -m bench sweep --dataset latch", "created": "2026-11-23T10:00:00+00:00",
        }  # fmt: skip

    def write(self, dataset: str, length: int, space: str, run: str, phase: str, number: int, **facts) -> RunRecord:
        path = f"{dataset}/L{length}/{space}/{run}"
        config = RunConfig(
            sweep=self.folder.name, run=path, phase=phase, number=number, dataset=dataset, task=dataset, length=length,
            task_arguments={}, space=space, model=space, model_arguments={"hidden_size": 4}, train=SETTINGS,
            seed=100 + number, origin="default" if number == 0 else "sobol", **self.more,
            **({"opens_test_of": tuple(facts["tests"])} if phase == "test" else {}),
        )  # fmt: skip
        total = facts.pop("total", 1.0 + self.random.random())
        values = {
            "state": "complete",
            "seconds": Seconds(total=total),
            "environment": ENVIRONMENT,
            "cpu_seconds": total,
        }
        values |= {"started_at": "2026-11-23T10:00:00+00:00", "epochs": self.epochs}
        asked = Asked(num_steps=2 * length, **ASKED[dataset])
        record = RunRecord(config=config, asked=asked, **(values | facts))
        (self.folder / "runs" / path).mkdir(parents=True)
        record.write(self.folder / "runs" / path)
        return record

    def score(self, dataset: str, length: int, model: str) -> float:
        skill = 1 - 0.05 * self.models.index(model) - length / 400 + self.random.gauss(0, 0.02)
        return 4 * (1.2 - skill) if dataset == "drift" else min(1.0, skill)

    def facts(self, dataset: str, length: int, model: str) -> dict:
        score = self.score(dataset, length, model)
        found = {"val": {ASKED[dataset]["metric"]: score}, "train_steps": 400, "train_sequences": 6_400}
        found |= {
            "inference_milliseconds": self.random.uniform(0.5, 4),
            "parameters": {"encoder": 1_000 + self.random.randrange(9_000)},
        }
        if ASKED[dataset]["solved"] is not None:
            solved = score > 0.9
            found |= {
                "solved": solved,
                "sequences_to_solve": 3_200 if solved else None,
                "seconds_to_solve": 0.5 if solved else None,
            }
        return found

    def cell(self, dataset: str, length: int, model: str) -> None:
        where = (dataset, length, model)
        runs = [self.write(*where, f"t{n}", "screen", n, **self.facts(*where)) for n in range(self.trials)]
        for trial in CellRuns(tuple(runs), 1).to_confirm:
            name = f"t{trial.config.number}"
            runs += [self.write(*where, f"{name}-s{s}", "confirm", s, **self.facts(*where)) for s in range(self.seeds)]
        chosen = CellRuns(tuple(runs), 1).chosen
        tests = {run.config.run: run.val for run in runs if run.config.run.startswith(f"{chosen.config.run}-s")}
        self.write(*where, f"t{chosen.config.number}-test", "test", 0, tests=tests)
        speed = dict.fromkeys(("train_sequences_per_second", "inference_sequences_per_second"), 1e5 / length)
        speed["train_step_milliseconds"] = length / 10
        name = f"t{chosen.config.number}-speed"
        self.write(*where, name, "speed", 0, speed=speed, peak_memory_bytes=length * 2**20)

    def build(self) -> Path:
        for dataset, length in self.questions:
            for model in self.models:
                self.cell(dataset, length, model)
            baselines = {"most frequent answer": 0.2, "logistic regression": 0.6}
            self.write(dataset, length, "_baselines", "baselines", "baselines", 0, baselines=baselines)
        return self.close()

    def close(self) -> Path:
        (self.folder / "sweep.json").write_text(json.dumps(self.spec))
        return self.folder


class Page(HTMLParser):
    """The elements of a page, and whether they close in order."""

    VOID = {"meta", "br", "link", "img", "input", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.texts, self.section = [], [], [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if "id" in dict(attributes):
            self.ids.append(dict(attributes)["id"])
        if tag == "section":
            self.section = dict(attributes)["id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = None

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts[self.section] = f"{self.texts.get(self.section, '')} {data}"

    def words(self, section: str | None) -> str:
        return " ".join(self.texts[section].split())


QUESTIONS = [("latch", 16), ("latch", 32), ("latch", 64), ("digits", 8), ("drift", 10), ("drift", 20)]
