"""The command line as a whole: its commands, and how each way of failing ends in one line and an exit code.

Heavy modules are imported inside the commands: `--help` needs none of them.
"""

import errno
import os
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from typing import Any

import click

from bench.cli import check, claims, example, listing, results, sweeping, winner
from bench.errors import BenchError, UnknownNameError, did_you_mean, printable

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
INTERRUPTED = 130

_FIXES = {
    errno.ENOSPC: "free some space, or choose a folder on another disk",
    errno.EDQUOT: "your quota is used up; free some space, or choose a folder on another disk",
    errno.EROFS: "choose a folder that can be written, for example with --results",
    errno.EACCES: "check its owner and permissions, or choose another path",
    errno.EPERM: "check its owner and permissions, or choose another path",
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EEXIST: "choose another path, or remove it",
}


class _Main(click.Group):
    """The group of all commands; every error ends in one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command; it is no failure, as it is to Click, that the reader of its output has seen enough."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _drop_output(0)

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command and leave the process with its exit code."""
        _open_closed_streams()
        try:
            try:
                code = super().main(args, prog_name, **extra | {"standalone_mode": False})
            except SystemExit as stop:
                code = stop.code
            sys.stdout.flush()  # a full disk is an error here, and not a warning of the interpreter
        except Exception as error:  # noqa: BLE001 the only place that decides how errors are shown
            code = _report(error)
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which you need them."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that is named first. Raises UnknownNameError."""
        if not args[0].startswith("-") and args[0] not in self.commands:
            raise UnknownNameError("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def _set_debug(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        os.environ["BENCH_DEBUG"] = "1"  # run processes inherit it


@click.group(cls=_Main, context_settings=CONTEXT)
@click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug,
              help="Show the traceback of an error; the same as BENCH_DEBUG=1.")  # fmt: skip
@click.version_option(package_name="sequence-model-bench", prog_name="bench")
def main() -> None:
    """Find the sequence model for your data, at your sequence length and budget.

    Start with `python -m bench sweep`. It tunes, trains and ranks the models; `python -m bench report` shows the
    result as a page. Use `python -m bench COMMAND --help` for the options of a command.
    """


main.epilog = """\b
Exit codes:
  0    success
  1    unexpected error; the message names a file with the traceback
  2    invalid option or file, or an error of the operating system
  3    no run succeeded
  75   another process works on this sweep
  129  stopped by SIGHUP; run the same command to resume
  130  stopped by Ctrl-C; run the same command to resume
  143  stopped by SIGTERM; run the same command to resume
"""

COMMANDS = (
    *(sweeping.sweep, sweeping.plan, results.leaderboard, results.report, winner.export, winner.predict),
    *(winner.evaluate, winner.diagnose, example.example, listing.list_, check.check, check.run, check.fetch),
    *(sweeping.speed, claims.claims, results.compare, results.merge, results.ui, results.sync, results.portfolio),
)
for command in COMMANDS:
    main.add_command(command)


def _open_closed_streams() -> None:
    """Open the null device for standard streams that are closed: else a file of the sweep gets their number.

    Characters that the terminal's encoding lacks are shown as `?`.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _report(error: Exception) -> int:
    """Print an error as one line and return the exit code."""
    if os.environ.get("BENCH_DEBUG") and not isinstance(error, click.exceptions.Exit):
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno == errno.EIO:  # the terminal was closed
        os._exit(128 + signal.SIGHUP)
    if isinstance(error, BrokenPipeError):  # the reader, for example `head`, has seen enough
        return _drop_output(0)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    line, code = _explain(error)
    with suppress(OSError):  # standard error itself may be full
        click.echo(f"bench: {printable(' '.join(line.split()))}", err=True)
    return _drop_output(code)


def _drop_output(code: int) -> int:
    """Point a standard output that cannot be written at the null device, so that the interpreter can close it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _explain(error: Exception) -> tuple[str, int]:
    """Return what to say about an error, and the exit code."""
    if isinstance(error, BenchError):
        return str(error), error.exit_code
    if isinstance(error, click.Abort):
        return "interrupted", INTERRUPTED
    if isinstance(error, click.ClickException):
        return _wrong_use(error), error.exit_code
    if isinstance(error, UnicodeEncodeError):
        found = f"{error.encoding} cannot write {error.object[error.start : error.start + 1]!r}"
        return f"{found}; set PYTHONIOENCODING=utf-8", 2
    if isinstance(error, OSError):
        return _system_error(error), 2
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "the home directory is unknown; set HOME, or BENCH_CACHE_DIR to a folder for prepared data", 2
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller dataset, shorter sequences or fewer --workers", 1
    if (broken := _database_error(error)) is not None:
        return f"database of the sweep: {broken}; check free space, permissions and other processes that use it", 2
    return _crash(error), 1


def _wrong_use(error: click.ClickException) -> str:
    """Return what is wrong with the words of a command, and how to fix it."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    line = error.format_message().rstrip(".")
    line = f"{line[:1].lower()}{line[1:]}"
    if isinstance(error, click.NoSuchOption):
        options = [name for param in ctx.command.get_params(ctx) for name in param.opts] if ctx else []
        line = f"no such option '{error.option_name}'{did_you_mean(error.option_name, options)}"
    elif isinstance(error, click.BadParameter) and error.param is not None and error.message:
        is_option = isinstance(error.param, click.Option)
        return f"{error.param.opts[0] if is_option else error.param.human_readable_name}: {error.message}"
    return f"{line}; see {ctx.command_path if ctx else 'python -m bench COMMAND'} --help"


def _system_error(error: OSError) -> str:
    """Return an error of the operating system with the file it is about and what to do."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        shown = os.fsdecode(error.filename) if isinstance(error.filename, bytes | str) else str(error.filename)
        return f"{shown}: {reason}; {_FIXES.get(error.errno or 0, 'check the path')}"
    if isinstance(error, FileNotFoundError):
        return f"the working directory: {reason}; change to a folder that exists"
    return f"{reason}; {_FIXES.get(error.errno or 0, 'check the disk and the paths')}"


def _database_error(error: BaseException) -> str | None:
    """Return what SQLite says, where it is the cause of an error."""
    sqlite = sys.modules.get("sqlite3")
    cause: BaseException | None = error
    while sqlite is not None and cause is not None:
        if isinstance(cause, sqlite.DatabaseError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _crash(error: Exception) -> str:
    """Write the traceback of an unexpected error to a file and return the line that names both."""
    text = "".join(traceback.format_exception(error))
    said = f"unexpected error: {type(error).__name__}: {str(error)[:200]}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="bench-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return f"{said}; this is a defect: run the command with BENCH_DEBUG=1 to see the traceback, and report it"
    return f"{said}; this is a defect: please report it with the traceback in {file.name}"
