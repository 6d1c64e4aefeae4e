"""Capacity matching: the width at which a model has a given number of parameters, FLOPs or state."""

from bench.config.search_spaces import SearchSpace
from bench.config.settings import RunConfig
from bench.config.sweep_settings import MatchRule
from bench.errors import BenchError, DeclarationError
from bench.sweeps.engines.server import call


def matched(space: SearchSpace, text: str, config: RunConfig) -> tuple[SearchSpace, str | None]:
    """Return a space at the width that a rule such as parameters=20k demands, and the reason if there is none.

    The width is solved for the default configuration, of which `config` is a run. Other knobs that would change the
    size, such as a second direction, keep their defaults. Raises DeclarationError.
    """
    rule = MatchRule.parse(text)
    if space.width is None:
        raise DeclarationError(f"--match {text}: search space {space.name} names no knob as its `width`")
    try:
        width, nearest = call("bench.training.capacity:solve", config, space.width, rule.measure, rule.target)
    except DeclarationError:
        raise  # it names the model
    except BenchError as error:
        raise DeclarationError(f"--match {text}: {space.name}: {error}") from None
    if width is not None:
        held = call("bench.training.capacity:resizing", config, space.matched(text, width), rule.measure, rule.target)
        return space.matched(text, width, held), None
    reason = "has no state to match" if not nearest else f"no width comes nearer than {rule.measure} {nearest:,.0f}"
    return space.matched(text, 1), reason
