"""Options of the commands: those of a sweep are made from its settings, others are shared by several commands."""

import os
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from bench.config.bounds import Between


class Number(click.ParamType[Any]):
    """A number between two bounds."""

    def __init__(self, between: Between, whole: bool = True) -> None:
        self.between, self.whole = between, whole
        self.name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number. Fails with the bounds and what was found."""
        try:
            return self.between.check(number(value), self.whole)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return how the help writes the value."""
        return "N" if self.whole else "X"


class UsablePath(click.ParamType[Path]):
    """A path that the operating system can take."""

    name = "path"

    def __init__(self, is_new_file: bool = False) -> None:
        self.is_new_file = is_new_file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. Fails for an empty one and, for a file to be written, where it cannot be."""
        from bench.config.strict import usable_path

        try:
            path = Path(usable_path(value))
            parent = path.absolute().parent
            if self.is_new_file and (path.is_dir() or not parent.is_dir()):
                reason = "is a directory" if path.is_dir() else f"{parent} is not a directory"
                raise ValueError(f"{path}: {reason}; give the path of a file in an existing folder")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return path


class SweepName(click.ParamType[str]):
    """The name of a sweep that is to be written."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name. Fails if it cannot be that of a folder."""
        from bench.config.sweep_settings import sweep_name

        try:
            return sweep_name(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def number(text: Any) -> Any:
    """Return what a text says as an int or a float, or the text itself, which the settings then refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except (ValueError, OverflowError):
            continue
    return text


class SettingOption(click.Option):
    """An option made from a field of the settings, shown under the heading of its section."""

    def __init__(self, name: str, field: Any) -> None:
        from bench.config.sweep_settings import flag

        kind = plain_type(field.annotation)
        self.is_list = get_origin(kind) is list
        self.entry = plain_type(get_args(kind)[0]) if self.is_list else kind
        self.section = field.json_schema_extra["section"]
        is_flag = kind is bool
        default = "" if is_flag or self.is_list or field.default is None else f"  [default: {field.default}]"
        super().__init__(
            [flag(name), name],
            is_flag=is_flag,
            default=None,
            multiple=self.is_list,
            metavar=None if is_flag else field.json_schema_extra["metavar"] or _metavar(kind),
            help=field.description + default,
        )

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value as the settings take it: lists are given by commas or by repeating the option."""
        value = super().type_cast_value(ctx, value)
        if not self.is_list:
            return number(value) if self.entry in (int, float) and value is not None else value
        if not value:
            return None
        if self.entry is Path:  # a path may hold a comma
            return list(value)
        from bench.config.sweep_settings import split_names

        try:
            parts = [part for text in value for part in (split_names(text) or [""])]
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, self) from None
        return [number(part) for part in parts] if self.entry in (int, float) else parts


def plain_type(kind: Any) -> Any:
    """Return a type without None, bounds and validators."""
    if get_origin(kind) is Annotated:
        return plain_type(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [plain_type(other) for other in get_args(kind) if other is not type(None)]
        return float if set(kinds) == {int, float} else kinds[0] if len(kinds) == 1 else str
    return kind


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def _set_data(ctx: click.Context, option: click.Parameter, value: Path | None) -> None:
    """Set BENCH_DATA_DIR, which run processes read, before any of them starts."""
    if value is not None:
        if not value.is_dir():
            raise click.BadParameter(f"{value} is not a folder; give the folder of the dataset files", ctx, option)
        os.environ["BENCH_DATA_DIR"] = str(value.absolute())


def _trust(ctx: click.Context, option: click.Parameter, value: Path | None) -> None:
    """Allow the code of a file to run on this machine."""
    if value is not None:
        from bench.config import own_code

        own_code.allow(value)


class SettingsCommand(click.Command):
    """A command that takes settings of a sweep: all, or those named in `only` and those of some `sections`.

    The options are made when the command is called: the settings need pydantic, and `bench --help` does not.
    """

    def __init__(self, *args: Any, only: Iterable[str] = (), sections: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._only, self._sections = set(only), set(sections)
        self._settings: list[SettingOption] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options of the settings, then those of the command."""
        from bench.config.sweep_settings import SweepConfig

        if self._settings is None:
            fields: dict[str, Any] = SweepConfig.model_fields
            self._settings = [SettingOption(name, field) for name, field in fields.items() if self._takes(name, field)]
        return [*self._settings, *super().get_params(ctx)]

    def _takes(self, name: str, field: Any) -> bool:
        is_all = not self._only and not self._sections
        return is_all or name in self._only or field.json_schema_extra["section"] in self._sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the headings of their sections."""
        from bench.config.sweep_settings import OUTPUT, SECTIONS

        rows: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                rows[getattr(param, "section", OUTPUT)].append(record)
        for section, records in rows.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records, col_max=24)


class SectionOption(click.Option):
    """An option that the help shows under the heading of a section of the settings."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def note(line: str) -> None:
    """Print a remark to standard error."""
    click.echo(f"bench: {line}", err=True)


def wait(line: str) -> None:
    """Say on a terminal why a command takes some seconds before it shows anything."""
    if sys.stderr.isatty():
        note(line)


RESULTS = click.option(
    "--results",
    type=UsablePath(),
    default="results",
    show_default=True,
    metavar="FOLDER",
    help="Folder of all results.",
)
CARDS = click.option(
    "--datasets",
    "dataset_cards",
    type=UsablePath(),
    metavar="FOLDER",
    help="Folder of dataset cards, searched before the built-in one.",
)
TRUST = click.option(
    "--trust",
    type=UsablePath(),
    expose_value=False,
    callback=_trust,
    metavar="FILE",
    help="Your own model (a Python file) from somebody else, whose code you have read: it may run on this machine.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
DATA_DIR = click.option(
    "--data-dir",
    cls=SectionOption,
    section="Your data",
    type=UsablePath(),
    expose_value=False,
    callback=_set_data,
    metavar="FOLDER",
    help="Folder with the files of datasets; the same as the environment variable BENCH_DATA_DIR.",
)
