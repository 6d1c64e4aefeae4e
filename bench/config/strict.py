"""Strict reading: what every declaration shares, so that nothing a user writes is silently ignored."""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import DeclarationError, did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises DeclarationError with the line of a mistake."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path}: not valid TOML: {error}") from None


def fingerprint(value: Any) -> str:
    """Return 12 hexadecimal digits that stand for a value made of plain types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def one_line(where: Any, error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return the first mistake that pydantic found as `where: key: rule, found value`."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "(whole)"
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(key, model.model_fields) if model else ""
        return f"{where}: {key}: not a known key{hint}"
    found = "" if first["type"] == "missing" else f", but found {first['input']!r}"[:120]
    if first["type"] == "literal_error":
        found += did_you_mean(str(first["input"]), re.findall("'(.+?)'", first["ctx"]["expected"]))
    rule = first["msg"].removeprefix("Value error, ")
    return f"{where}: {key}: {rule[:1].lower()}{rule[1:]}{found}"
