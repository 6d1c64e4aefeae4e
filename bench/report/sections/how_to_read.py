"""How to read a report: its words, and the rules that its numbers keep to."""

from bench.report.page import Findings, Listing, Section

GLOSSARY = (
    ("Cell", "A model on a dataset at one length. Every cell gets the same budget."),
    ("Trial", "One configuration, trained with one seed. Trials choose; they are judged on validation data only."),
    ("Confirm run", "A chosen configuration trained again on a fresh seed that no choice has seen."),
    (
        "Seed",
        "The number from which initial weights and training data follow. With one seed all models see the same "
        "batches, so scores are compared in pairs, seed by seed.",
    ),
    (
        "Solved",
        "The task's threshold reached in two validations in a row, and on the test split. “0 of 3” means not solved "
        "within this budget, never that a model cannot.",
    ),
    ("Rank", "One more than the number of models shown to be better. What the seeds cannot tell apart shares a rank."),
    (
        "95 % interval",
        "Of k of n seeds: Clopper and Pearson's, exact. Of a mean: Student's t below 20 seeds, BCa bootstrap from "
        "there. One seed has none.",
    ),
    ("Device time", "Wall time of a run on each of its devices, with attempts that died."),
)

RULES = (
    "Choices see validation data only; the test split is opened once, for the chosen configuration.",
    "Every model gets the same number of trials and training sequences, and what failed is on its bill.",
    "What was chosen as the best of several is trained again before it is believed.",
    "A difference that the seeds cannot bear out is not called one; no correction is made for the number of pairs.",
    "What was not measured is said to be so; it is never a blank or a zero.",
)


def make(findings: Findings) -> Section:
    rules = [(f"Rule {number}", text) for number, text in enumerate(RULES, 1)]
    return Section("reading", "How to read this", [Listing(GLOSSARY), Listing(rules)])
