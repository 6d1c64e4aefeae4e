"""Strict reading: what all declarations share, so that nothing you write is silently ignored."""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from bench.config.bounds import shown
from bench.errors import DeclarationError, did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
M = TypeVar("M", bound=BaseModel)
LARGEST_FILE = 10_000_000  # bytes of a declaration; a larger file is something else


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def usable_path(value: Any) -> Any:
    """Return a path, unless the operating system could not take it. Raises ValueError."""
    if not str(value).strip():
        raise ValueError("must not be empty; give a path, such as ./results")
    if "\0" in str(value):
        raise ValueError(f"must be a path without a NUL character, but found {shown(str(value))}")
    return value


UsablePath = Annotated[Path, BeforeValidator(usable_path)]


def read_text(path: Path) -> str:
    """Read a text file of at most LARGEST_FILE bytes in UTF-8. Raises DeclarationError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise DeclarationError(f"{path}: {reason}") from None
    if len(data) > LARGEST_FILE:
        raise DeclarationError(f"{path}: larger than {LARGEST_FILE / 1e6:.0f} MB, so it is not a file of settings")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DeclarationError(f"{path}: line {line}: not text in UTF-8; give a text file") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises DeclarationError with the line of a mistake."""
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # ValueError: also integers of thousands of digits
        raise DeclarationError(f"{path}: not valid TOML: {error}") from None


def read_models(path: Path, model: type[M]) -> dict[str, M]:
    """Read a TOML file of named tables, each a `model`. Raises DeclarationError with the first mistake."""
    models = {}
    for name, values in read_toml(path).items():
        try:
            models[name] = model.model_validate(values)
        except ValidationError as error:
            raise DeclarationError(one_line(f"{path}: {name}", error, model)) from None
    return models


def fingerprint(value: Any) -> str:
    """Return 12 hexadecimal digits that stand for a value made of plain types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def one_line(where: Any, error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return the first mistake that pydantic found as `where: key: rule, but found value`."""
    first = error.errors(include_url=False)[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    return f"{where}: {key}: {mistake(first, model)}" if key else f"{where}: {mistake(first, model)}"


def mistake(first: Any, model: type[BaseModel] | None = None) -> str:
    """Return one of pydantic's errors as `rule, but found value`."""
    kind, value, context = first["type"], first["input"], first.get("ctx", {})
    if kind == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"not a known key{did_you_mean(key, model.model_fields) if model else ''}"
    if kind == "missing":
        return "missing; add it"
    if kind == "value_error":
        return str(context["error"])
    rule = _RULES.get(kind) or first["msg"].removeprefix("Input should be ")
    hint = did_you_mean(str(value), re.findall("'(.+?)'", rule)) if kind == "literal_error" else ""
    return f"must be {rule}, but found {shown(value)}{hint}"


_RULES = {
    "string_type": "text",
    "list_type": "a list",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "too_short": "a list of at least one entry",
    "model_type": "a table of keys and values",
    "dict_type": "a table of keys and values",
    "path_type": "a path",
    "too_long": "a shorter list",
    "string_too_short": "text that is not empty",
    "string_too_long": "a shorter text",
}
