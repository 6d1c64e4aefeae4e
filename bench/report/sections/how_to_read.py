"""How to read the report: its terms, and the rules of evidence behind its numbers."""

from bench.report.page import Findings, Listing, Section

GLOSSARY = (
    ("Cell", "A model on a dataset at one length. Every cell gets the same budget."),
    ("Trial", "One configuration, trained with one seed. Trials are compared on validation data only."),
    ("Confirm run", "The chosen configuration, trained again on a fresh seed that no choice has used."),
    (
        "Seed",
        "The number that determines the initial weights and the training data. All models with the same seed see the "
        "same batches, so scores are compared in pairs, seed by seed.",
    ),
    (
        "Solved",
        "The model reached the task's threshold in two consecutive validations and on the test split. “0 of 3” means "
        "that the task was not solved within this budget. It does not mean that the model cannot solve it.",
    ),
    (
        "Rank",
        "1 plus the number of models that are shown to be better. Models that are statistically tied share a rank.",
    ),
    (
        "95 % interval",
        "For a share of seeds, the exact interval of Clopper and Pearson. For a mean, Student's t below 20 seeds and "
        "BCa bootstrap from 20 on. One seed has no interval.",
    ),
    (
        "Cheap baseline",
        "A simple method that is fitted in seconds, with settings chosen on validation, and scored on the same test "
        "split. If no model beats it, use it: `bench export` writes it.",
    ),
    ("Device time", "Wall time of a run times its devices, including attempts that crashed."),
)

RULES = (
    "Choices use validation data only. The test split is opened once, for the chosen configuration.",
    "Every model gets the same number of trials and training sequences. Failed runs count towards its cost.",
    "The best of several configurations is trained again on fresh seeds before its score is reported.",
    "Models are called different only if the seeds support it. There is no correction for the number of pairs.",
    "A value that was not measured is marked as such. It is never shown as a blank or a zero.",
)


def make(findings: Findings) -> Section:
    rules = [(f"Rule {number}", text) for number, text in enumerate(RULES, 1)]
    return Section("reading", "How to read this", [Listing(GLOSSARY), Listing(rules)])
