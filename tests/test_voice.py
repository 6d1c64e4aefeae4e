"""The product speaks plain technical English: words and turns of phrase that once made it hard to read stay away."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

AVOID = {
    r"foret[eo]l[ld]": "predict",
    r"t(ell|ells|elling|old) (\w+ ){0,2}apart": "distinguish; statistically tied",
    r"of a sudden": "abruptly",
    r"(goes|go|went|going) before": "overrides; is searched before",
    r"(gone|goes|go|going|went) on (from|with)": "resume; continue",
    r"breaks? (a|the|no) rule|what breaks": "invalid input; violates",
    r"(is|are|was|were|be) asked of": "applies to; is required of",
    r"mend(s|ed|ing)?\b": "fix",
    r"likewise": "say it again in full",
    r"(of )?one's own": "your own",
    r"(is|are|was|were|be) told\b": "say who reports what",
    r"whoever": "name who it is",
    r"so many of": "give the number",
    r"where there (is|are) none": "if there is none; or leave it out",
    r"(made|taken|put) (again|up again|right)": "repeat; resume; fix",
    r"(comes?|came) of (it|this|that|each)": "the result",
    r"keep(s|ing)? (its|every|all|the) promises?": "follows the contract",
    r"that is the truth": "the evidence supports no more",
    r"as good as nothing|has learned nothing": "does not beat the baseline",
    r"(stands?|stood) in the way": "prevents",
    r"is no (plugin|number|file|directory|table|model)\b": "is not a ...",
}
"""What to avoid, and what to write instead. Matching ignores case and line breaks."""


def prose() -> list[Path]:
    code = [path for path in (ROOT / "bench").rglob("*") if path.suffix in (".py", ".j2", ".toml")]
    declared = [path for name in ("search_spaces", "datasets") for path in (ROOT / name).rglob("*.toml")]
    pages = [path for path in ROOT.rglob("*.md") if ".venv" not in str(path) and "site-packages" not in str(path)]
    shipped = {path for path in code if "_shipped" in path.parts}
    return sorted({*code, *declared, *pages, ROOT / "Makefile"} - shipped)


@pytest.mark.parametrize("path", prose(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_avoids_the_words_on_the_list(path):
    text = re.sub(r"\s*\n\s*(#|\")?\s*", " ", path.read_text(encoding="utf-8"))
    hits = [
        f"'{match[0]}' in '...{text[max(0, match.start() - 40) : match.end() + 40]}...'; rather: {instead}"
        for pattern, instead in AVOID.items()
        for match in re.finditer(rf"\b({pattern})", text, re.IGNORECASE)
    ]
    assert not hits, "\n".join(hits)
