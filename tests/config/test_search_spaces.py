"""Search spaces: read strictly, drawn evenly."""

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config import knobs, search_spaces
from bench.errors import DeclarationError, UnknownNameError

HEAD = 'title = "T"\nmodel = "lstm"\n'
RATE = 'type = "float", low = 1e-4, high = 1e-2, default = 1e-3'


def read(tmp_path, text: str) -> search_spaces.SearchSpace:
    (tmp_path / "mine.toml").write_text(text)
    return search_spaces.read("mine", tmp_path)


def tune(entry: str, knob: str = "learning_rate") -> str:
    return f"{HEAD}[tune]\n{knob} = {{ {entry} }}\n"


BROKEN = {
    "a key that is not known": (HEAD + "[tun]\n", "tun: not a known key; did you mean 'tune'?"),
    "no title": ('model = "lstm"\n', "title: missing or empty; every search space needs it"),
    "nothing tuned": (HEAD + "[tune]\n", "tune: missing or empty; every search space needs it"),
    "fixed is no table": ("fixed = 3\n" + tune(RATE), "fixed: must be a table, but found 3"),
    "no TOML": (HEAD + "[tune\n", "not valid TOML: Expected ']' at the end of a table declaration (at line 3"),
    "a knob of no model": (tune(RATE, "hidden_sise"), "[tune] hidden_sise: neither an argument of bench/models/lstm.py"),
    "a knob misspelled": (tune(RATE, "hidden_sise"), "did you mean 'hidden_size'?"),
    "a fixed knob of no model": (HEAD + "[fixed]\nwidth = 3\n[tune]\nlearning_rate = {" + RATE + "}", "[fixed] width: nei"),
    "fixed and tuned": (tune(RATE) + "[fixed]\nlearning_rate = 1e-3\n", "learning_rate: both fixed and tuned"),
    "an argument left out": (tune(RATE), "hidden_size: bench/models/lstm.py has no default for it; add it to [fixed] or [tune]"),
    "a seed tuned": (tune('type = "int", low = 0, high = 9, default = 0', "seed"), "[tune] seed: a seed cannot be"),
    "a seed fixed": (tune(RATE) + "[fixed]\nseed = 1\n", "[fixed] seed: a seed cannot be fixed or tuned"),
    "no type": (tune("low = 0.1, high = 1.0, default = 0.5"), "learning_rate: must have type = 'float', 'int' or"),
    "a type of no name": (tune('type = "real", low = 0.1, high = 1.0, default = 0.5'), "must have type ="),
    "a type that is a list": (tune('type = ["float"], default = 0.5'), "must have type ="),
    "no table": (HEAD + "[tune]\nlearning_rate = 1e-3\n", "learning_rate: must have type ="),
    "no default": (tune('type = "float", low = 0.1, high = 1.0'), "learning_rate: default is missing"),
    "no high": (tune('type = "float", low = 0.1, default = 1.0'), "learning_rate: high is missing"),
    "a default outside": (tune('type = "float", low = 0.1, high = 1.0, default = 2.0'), "default 2.0 lies outside [0.1, 1.0]"),
    "low above high": (tune('type = "float", low = 1.0, high = 0.1, default = 0.5'), "low must be less than high, but found low = 1.0"),
    "low equal to high": (tune('type = "float", low = 1.0, high = 1.0, default = 1.0'), "low must be less than high"),
    "a log scale from zero": (tune('type = "float", low = 0.0, high = 1.0, log = true, default = 0.5'), "low must be greater than 0 on a log scale"),
    "log that is a word": (tune('type = "float", low = 0.1, high = 1.0, log = "yes", default = 0.5'), "log: must be true or false, but found 'yes'"),
    "log misspelled": (tune('type = "float", low = 0.1, high = 1.0, lgo = true, default = 0.5'), "lgo: not a field of a float knob; did you mean 'log'?"),
    "log with step": (tune('type = "float", low = 0.1, high = 1.0, log = true, step = 0.1, default = 0.5'), "log and step exclude"),
    "a step of zero": (tune('type = "int", low = 8, high = 64, step = 0, default = 8', "hidden_size"), "step must be greater than 0, but found 0"),
    "a default between steps": (tune('type = "int", low = 8, high = 64, step = 8, default = 12', "hidden_size"), "default: must be low plus a whole number of steps of 8, but found 12"),
    "a high between steps": (tune('type = "int", low = 8, high = 60, step = 8, default = 8', "hidden_size"), "high: must be low plus a whole number of steps of 8, but found 60"),
    "a word for a number": (tune('type = "float", low = "a", high = 1.0, default = 0.5'), "low: must be a number from -1,000,000,000 to 1,000,000,000, but found 'a'"),
    "an int given a float": (tune('type = "int", low = 8, high = 64.0, default = 8', "hidden_size"), "high: must be a whole number from -1,000,000,000 to 1,000,000,000, but found 64.0"),
    "an int given a bool": (tune('type = "int", low = 1, high = 4, default = true', "num_layers"), "default: must be a whole number from -1,000,000,000 to 1,000,000,000, but found True"),
    "an infinite end": (tune('type = "float", low = 0.1, high = inf, default = 0.5'), "high: must be a number from -1,000,000,000 to 1,000,000,000, but found inf"),
    "choices of one": (tune('type = "categorical", choices = ["cosine"], default = "cosine"', "schedule"), "choices: must be a list of at least two"),
    "a default that is no choice": (tune('type = "categorical", choices = [0.0, 1.0], default = 2.0', "forget_bias"), "default 2.0 is not among the choices"),
    "a default that equals a choice": (tune("type = 'categorical', choices = [1, 2], default = true", "num_layers"), "default True is not among the choices [1, 2]"),
    "a setting training refuses": (tune('type = "float", low = 0.0, high = 1.0, default = 0.5', "dropout"), "dropout: must be a number from 0 to 0.999, but found 1.0"),
    "a fixed setting training refuses": (tune(RATE) + "[fixed]\nschedule = 'linear'\n", "schedule: must be 'constant' or 'cosine'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_is_one_line_with_file_key_and_rule(tmp_path, case):
    text, complaint = BROKEN[case]
    with pytest.raises(DeclarationError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'mine.toml'}: ")
    assert complaint in message
    assert "\n" not in message


def test_a_space_that_no_file_answers_to(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown model 'lstmm'; did you mean 'lstm'"):
        search_spaces.read("lstmm", tmp_path)


def test_a_model_that_no_file_answers_to(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown model 'lstmm'; did you mean 'lstm'"):
        read(tmp_path, tune(RATE).replace('"lstm"', '"lstmm"'))


def test_the_users_file_goes_before_the_shipped_one(tmp_path):
    (tmp_path / "lstm.toml").write_text(tune(RATE) + "[fixed]\nhidden_size = 8\n")
    assert search_spaces.read("lstm", tmp_path).title == "T"


EVERY_TYPE = (
    HEAD
    + """
[fixed]
bidirectional = true
[tune]
learning_rate = { type = "float", low = 1e-4, high = 1e-2, log = true, default = 1e-3 }
weight_decay = { type = "float", low = 0.1, high = 0.3, default = 0.2 }
dropout = { type = "float", low = 0.1, high = 0.3, step = 0.1, default = 0.2 }
hidden_size = { type = "int", low = 8, high = 64, step = 8, default = 32 }
embedding_size = { type = "int", low = 1, high = 100, log = true, default = 10 }
num_layers = { type = "int", low = 1, high = 3, default = 1 }
schedule = { type = "categorical", choices = ["constant", "cosine"], default = "cosine" }
forget_bias = { type = "categorical", choices = [0.0, 1.0, "chrono"], default = "chrono" }
"""
)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return read(tmp_path_factory.mktemp("space"), EVERY_TYPE)


def test_a_point_is_a_pure_function(tmp_path, space):
    points = [space.sobol_point(number, 3) for number in (5, 1, 5)]
    assert points[0] == points[2] == read(tmp_path, EVERY_TYPE).sobol_point(5, 3)
    assert points[0] != points[1]


def test_another_seed_draws_other_points(space):
    assert space.sobol_point(1, 0) != space.sobol_point(1, 1)


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 1_000), seed=st.integers(0, 2**63 - 1))
def test_optuna_takes_every_point(space, number, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distributions = space.distributions()
    point = space.sobol_point(number, seed)
    assert point.keys() == distributions.keys()
    for knob, distribution in distributions.items():
        assert distribution._contains(distribution.to_internal_repr(point[knob]))
        assert type(point[knob]) is type(space.default[knob]) or knob == "forget_bias"


@given(u=st.floats(0, 1, exclude_max=True))
def test_no_knob_leaves_its_range(space, u):
    distributions = space.distributions()
    for knob, entry in space.tuned.items():
        value = knobs.value_at(entry, u)
        assert distributions[knob]._contains(distributions[knob].to_internal_repr(value)), (knob, value)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_eight_points_fall_into_different_eighths(space, seed):
    points = [space.sobol_point(number, seed) for number in range(8)]
    rates = [math.log10(point["learning_rate"] / 1e-4) / 2 for point in points]
    decays = [(point["weight_decay"] - 0.1) / 0.2 for point in points]
    for shares in (rates, decays):
        assert sorted(int(8 * share) for share in shares) == list(range(8))
    assert sorted(point["hidden_size"] for point in points) == list(range(8, 65, 8))
    assert [point["schedule"] for point in points].count("cosine") == 4


def test_a_configuration_is_split_between_model_and_training(space):
    model, train = space.split(space.default)
    assert model == {"bidirectional": True, "hidden_size": 32, "num_layers": 1, "forget_bias": "chrono"}
    assert train.keys() == {"learning_rate", "weight_decay", "dropout", "embedding_size", "schedule"}


def test_a_knob_may_wait_for_a_width_that_is_matched(tmp_path):
    width = 'hidden_size = { type = "categorical", choices = [8, 16], default = 8 }'
    rate = f"learning_rate = {{ {RATE}, when = {{ hidden_size = [8] }} }}"
    space = read(tmp_path, f'width = "hidden_size"\n{HEAD}[tune]\n{width}\n{rate}\n')
    for wide, train in ((8, {"learning_rate": 1e-3}), (9, {})):
        matched = space.matched("parameters=5k", wide)
        assert matched.split(matched.default) == ({"hidden_size": wide}, train)


def test_equal_spaces_have_equal_hashes(tmp_path, space):
    assert read(tmp_path, EVERY_TYPE.replace('title = "T"', 'title = "U"')).hash == space.hash
    assert read(tmp_path, EVERY_TYPE.replace("high = 64", "high = 72")).hash != space.hash


OWN = """
class Model:
    def __init__(self, input_size, length, *, hidden_size, scale=1.0): ...
"""
OWN_SPACE = f"""
title = "Mine"
[fixed]
hidden_size = 8
[tune]
learning_rate = {{ {RATE} }}
"""


def own(folder, code: str = OWN, text: str = OWN_SPACE, name: str = "mine") -> search_spaces.SearchSpace:
    (folder / f"{name}.py").write_text(code)
    (folder / f"{name}.toml").write_text(text)
    return search_spaces.read(str(folder / f"{name}.py"))


def test_a_model_of_ones_own_is_read_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = own(tmp_path)
    (tmp_path / "below").mkdir()
    for folder, name in {".": "./mine.py", "below": "../mine.py", "/": str(tmp_path / "mine.py")}.items():
        monkeypatch.chdir(folder)
        assert search_spaces.read(name) == expected
        monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert search_spaces.read("~/mine.py") == expected
    assert (expected.name, expected.model) == ("mine", str(tmp_path / "mine.py"))


def test_its_space_may_name_it(tmp_path):
    assert own(tmp_path, text='model = "mine"' + OWN_SPACE) == own(tmp_path)


def test_a_changed_model_is_another_space_and_a_moved_one_is_not(tmp_path):
    first = own(tmp_path).hash
    (tmp_path / "below").mkdir()
    assert own(tmp_path / "below").hash == first
    assert own(tmp_path, code=OWN + "# changed").hash != first
    assert own(tmp_path, text=OWN_SPACE.replace("8", "16")).hash != first


@pytest.mark.parametrize(
    ("body", "looks_ahead"),
    [("", False), ("causal = True", False), ("causal = False", True), ("causal: bool = False", True)],
)
def test_a_plan_knows_what_looks_ahead(tmp_path, body, looks_ahead):
    code = OWN.replace("    def", f"    {body}\n    def")
    assert own(tmp_path, code=code).bidirectional == looks_ahead


OWN_BROKEN = {
    "no class": ({"code": "class Modell: ..."}, "mine.py: no class Model in it"),
    "a mistake of syntax": ({"code": "\nclass Model(:"}, "mine.py: line 2: SyntaxError: invalid syntax"),
    "no init": ({"code": "class Model: ..."}, "mine.py: line 1: must be Model.__init__(self, input_size, length, *, ...), with the arguments that may be tuned after *, but found (self)"),
    "no length": ({"code": OWN.replace("length, ", "")}, "mine.py: line 3: must be Model.__init__(self, input_size, length, *, ...), with the arguments that may be tuned after *, but found (self, input_size)"),
    "no asterisk": ({"code": OWN.replace("*, ", "")}, "but found (self, input_size, length, hidden_size, scale)"),
    "a knob misspelled": ({"text": OWN_SPACE.replace("hidden_size", "hidden_sise")}, "mine.toml: [fixed] hidden_sise: neither an argument of mine.py nor a training setting; did you mean 'hidden_size'?"),
    "an argument left out": ({"text": OWN_SPACE.replace("hidden_size", "scale")}, "mine.toml: hidden_size: mine.py has no default for it; add it to [fixed] or [tune]"),
    "another model named": ({"text": 'model = "lstm"' + OWN_SPACE}, "mine.toml: model: must be 'mine', the file beside it, or be left out, but found 'lstm'"),
    "a width that is no knob": ({"text": 'width = "size"' + OWN_SPACE}, "mine.toml: width: must be an argument of mine.py, but found 'size'"),
    "no title": ({"text": OWN_SPACE.replace("title", "# title")}, "mine.toml: title: missing or empty; every search space needs it"),
    "the name of a baseline": ({"name": "lstm"}, "lstm.py: 'lstm' is the name of a built-in model; rename the file"),
    "the name of a further model": ({"name": "tcn"}, "tcn.py: 'tcn' is the name of a built-in model; rename the file"),
    "a name that is no row": ({"name": "my model"}, "my model.py: the name of the file is the name of the model: must have 1 to 64 letters"),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN_BROKEN)
def test_a_mistake_in_a_model_of_ones_own_is_one_line(tmp_path, case):
    changes, complaint = OWN_BROKEN[case]
    with pytest.raises(DeclarationError) as caught:
        own(tmp_path, **changes)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/")
    assert complaint in message
    assert "\n" not in message


def test_a_model_of_ones_own_that_is_not_there(tmp_path):
    with pytest.raises(DeclarationError, match=r"mine.py: no such file; your own model is a Python file"):
        search_spaces.read(str(tmp_path / "mine.py"))
    (tmp_path / "mine.py").write_text(OWN)
    with pytest.raises(DeclarationError, match=r"mine.toml: no such file; .* beside it, with title and \[tune\]"):
        search_spaces.read(str(tmp_path / "mine.py"))


def test_a_space_by_name_has_a_model_by_name(tmp_path):
    with pytest.raises(DeclarationError, match="model: must be a name, but found a file; give --models the file"):
        read(tmp_path, tune(RATE).replace('"lstm"', '"./mine.py"'))


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        ({"layers": 3}, True),
        ({"layers": 2}, False),  # between two steps
        ({"layers": 7}, False),
        ({"layers": "3"}, False),
        ({"rate": 0.3}, True),
        ({"rate": 0.25}, False),
        ({"rate": None}, False),
        ({"scale": 0.5}, True),
        ({"scale": 1.5}, False),
        ({"clip": 0.0}, True),  # a record holds a float for the choice 0
        ({"clip": 2}, False),
        ({}, True),
    ],
)
def test_values_of_an_earlier_space_count_only_where_this_space_can_draw_them(value, inside):
    tuned = {
        "layers": {"type": "int", "low": 1, "high": 5, "step": 2, "default": 1},
        "rate": {"type": "float", "low": 0.1, "high": 0.5, "step": 0.1, "default": 0.1},
        "scale": {"type": "float", "low": 0.1, "high": 1.0, "log": True, "default": 0.2},
        "clip": {"type": "categorical", "choices": [0, 1], "default": 1},
    }
    space = search_spaces.SearchSpace("s", "S", "lstm", {}, tuned)
    expected = space.default | value if inside else None
    assert space.values_of(value | {"unknown": 1}) == expected


# Kinds and recipes

REAL = 'weight_decay = { type = "float", low = 0.1, high = 0.3, default = 0.2 }'
OF_KINDS = f"""{HEAD}
[fixed]
num_layers = 2
forget_bias = 1.0
[tune]
hidden_size = {{ type = "categorical", choices = [8, 16], default = 8 }}
input_bias = {{ type = "categorical", choices = [0.0, -1.0], default = 0.0, when = {{ forget_bias = [1.0] }} }}
dropout = {{ type = "categorical", choices = [0.0, 0.5], default = 0.5, when = {{ hidden_size = [16] }} }}
[text.fixed]
hidden_size = 32
[text.tune]
num_layers = {{ type = "int", low = 1, high = 3, default = 1 }}
[series.fixed]
forget_bias = 3.0
schedule = "constant"
"""


@pytest.fixture
def of_kind(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "text.toml").write_text(
        f"[fixed]\nschedule = 'cosine'\nwarmup_fraction = 0.1\n[tune]\n{REAL}\n"
    )
    (tmp_path / "recipes" / "series.toml").write_text(
        "[tune]\nschedule = { type = 'categorical', choices = ['cosine', 'constant'], default = 'cosine' }\n"
    )
    (tmp_path / "mine.toml").write_text(OF_KINDS)
    return lambda kind: search_spaces.read("mine", tmp_path, kind)


def test_a_kind_overrides_the_space_which_overrides_the_recipe(of_kind):
    text, series, plain = of_kind("text"), of_kind("series"), of_kind("synthetic")
    assert text.fixed == {"schedule": "cosine", "warmup_fraction": 0.1, "forget_bias": 1.0, "hidden_size": 32}
    assert set(text.tuned) == {"weight_decay", "num_layers", "input_bias"}
    assert series.fixed == {"num_layers": 2, "forget_bias": 3.0, "schedule": "constant"}
    assert set(series.tuned) == {"hidden_size", "dropout"}
    assert (plain.fixed, set(plain.tuned)) == (
        {"num_layers": 2, "forget_bias": 1.0}, {"hidden_size", "input_bias", "dropout"}
    )  # fmt: skip
    assert len({text.hash, series.hash, plain.hash}) == 3


def test_a_condition_on_a_fixed_knob_is_decided_at_once(of_kind):
    assert "when" not in of_kind("text").tuned["input_bias"]  # forget_bias is 1.0
    assert "dropout" not in of_kind("text").tuned  # hidden_size is 32
    assert of_kind("series").tuned["dropout"]["when"] == {"hidden_size": [16]}


def test_your_own_model_gets_the_recipe_and_overrides_it(tmp_path):
    own(tmp_path)
    recipe = search_spaces.read("lstm", kind="text").fixed.keys() - {"forget_bias"}
    space = search_spaces.read(str(tmp_path / "mine.py"), kind="text")
    assert recipe <= space.fixed.keys()
    assert space.fixed["hidden_size"] == 8
    assert space.tuned["learning_rate"]["low"] == 1e-4
    assert {"weight_decay", "dropout", "embedding_dropout"} <= space.tuned.keys()


def test_a_width_that_is_matched_holds_other_knobs_at_their_defaults(of_kind):
    matched = of_kind("synthetic")
    matched = search_spaces.replace(matched, width="hidden_size").matched("parameters=5k", 9, ["input_bias"])
    assert matched.fixed == {"num_layers": 2, "forget_bias": 1.0, "hidden_size": 9, "input_bias": 0.0}
    assert set(matched.tuned) == {"dropout"}
    assert matched.split(matched.default)[1] == {}  # dropout waits for a width of 16


KINDS_BROKEN = {
    "a kind misspelled": ("[txt.fixed]\n", "txt: not a known key; did you mean 'text'?"),
    "a kind that is no table": ("[text]\nhidden_size = 3\n", "text: must hold the tables fixed and tune only, but found"),
    "a knob of no model": ("[text.fixed]\nhidden_sise = 3\n", "[text.fixed] hidden_sise: neither an argument of"),
    "a knob declared wrongly": ("[text.tune]\nnum_layers = 3\n", "[text.tune] num_layers: must have type ="),
    "fixed and tuned": (f"[text.fixed]\nweight_decay = 0.1\n[text.tune]\n{REAL}\n", "text.weight_decay: both fixed and tuned"),
    "a setting training refuses": ("[text.fixed]\nreadout = 'first'\n", "readout: must be"),
    "a condition on nothing": ("[text.tune]\nnum_layers = { type = 'int', low = 1, high = 2, default = 1, when = { layers = [1] } }\n", "[tune] num_layers: when: layers: must be a categorical knob of this space"),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS_BROKEN)
def test_a_mistake_in_a_kind_is_one_line_with_file_key_and_rule(tmp_path, case):
    text, complaint = KINDS_BROKEN[case]
    with pytest.raises(DeclarationError) as caught:
        read(tmp_path, tune(RATE) + "[fixed]\nhidden_size = 8\n" + text)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.toml'}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title = 'T'\n", "title: not a known key"),
        ("[fixed]\nhidden_size = 3\n", "[fixed] hidden_size: not a training setting; a recipe holds those that all"),
        ("[tune]\nlearning_rate = 3\n", "[tune] learning_rate: must have type ="),
    ],
)
def test_a_mistake_in_a_recipe_names_its_file(tmp_path, text, complaint):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "text.toml").write_text(text)
    with pytest.raises(DeclarationError) as caught:
        read(tmp_path, tune(RATE) + "[fixed]\nhidden_size = 8\n")
    assert str(caught.value).startswith(f"{tmp_path / 'recipes' / 'text.toml'}: {complaint}")


def test_an_argument_with_the_name_of_a_training_setting_is_refused(tmp_path):
    with pytest.raises(
        DeclarationError, match=r"mine.toml: dropout: both an argument of mine.py and a training setting"
    ):
        own(tmp_path, code=OWN.replace("scale=1.0", "dropout"))
