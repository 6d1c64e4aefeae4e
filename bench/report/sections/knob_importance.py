"""Importance of the knobs: which of them decided the validation scores of the search, and what that cannot say."""

from bench.errors import StoreError
from bench.report.page import Findings, Note, Section, Table
from bench.sweeps import importance
from bench.wording import count

METHOD = (
    f"A knob is important if its values in the best {importance.BEST_SHARE:.0%} of the trials of a cell are "
    "distributed unlike its values in all of them (PED-ANOVA). The shares of a cell sum to 100 %, and hold for the "
    "ranges of the search space: a knob whose whole range is good counts for nothing. Interactions are not seen. A "
    "knob that no trial varied is left out, and one whose condition did not hold counts with a value that was not used."
)
FEW = (
    "With few trials, small shares say nothing: in simulated searches of 16 and 27 trials over five knobs, of which "
    "one decided, that knob came first, and a tenth of the shares of the others were 10 % and 17 % or more, by "
    "chance. Do not order the knobs by small shares, and do not drop one for its share here."
)
HALVED = (
    "In a sweep with a budget of time, the scores are those after 1/27 of a run, where all trials of a cell are "
    "compared. What decides early need not decide in the end."
)
SAMPLED = (
    "The sampler chose by earlier scores, so good regions were tried more often, which lowers the shares of knobs."
)


def make(findings: Findings) -> Section:
    anchor, title = "importance", "Importance of the knobs"
    try:
        cells = importance.of_sweep(findings.folder)
    except StoreError as error:
        return Section(anchor, title, reason=str(error))
    known = [cell for cell in cells if cell.knobs]
    if not known:
        most = max((cell.trials for cell in cells), default=0)
        needed = f"it needs {importance.FEWEST_TRIALS} complete trials of a cell"
        return Section(anchor, title, reason=f"{needed}, and this sweep has at most {count(most, 'trial')}.")
    rows = [
        [
            f"{found.cell.dataset} at {found.cell.length}",
            found.cell.space,
            f"{found.trials:,}",
            ", ".join(f"{knob} {share:.0%}" for knob, share in found.knobs.items()),
        ]
        for found in known
    ]
    is_halved = any(run.config.bracket is not None for run in findings.runs)
    few = min(found.trials for found in known) < 50
    caption = [FEW] * few + [HALVED] * is_halved + [SAMPLED] * (not findings.is_independent)
    head = ["question", "model", "trials", "knobs, the most important first"]
    blocks = [Note(" ".join(caption), "warning")] if caption else []
    return Section(anchor, title, [*blocks, Table("Share of each knob", head, rows), Note(METHOD)])
