"""Speed against the targets and the peers: `make benchmark`, or `python tests/benchmarks/run.py P1 P7`.

Peers run in turn (A B A B …) on the same work; ratios are medians of the pairs. It reports, and never fails on a slow
day. Nothing else should run on the machine meanwhile.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROUNDS = 3


def call(script: str, *arguments: object) -> dict:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def row(target: str, what: str, measured: str, wanted: str) -> None:
    print(f"| {target} | {what} | {measured} | {wanted} |", flush=True)


def throughput(target: str, length: int, trials: int, slow_trials: int, wanted: dict[str, str]) -> None:
    has_ray = _version("ray") is not None
    kinds = ["bench", "floor", "plain", *(["ray_default", "ray_reuse"] if has_ray else [])]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for index in range(ROUNDS):
        for kind in kinds:
            if kind.startswith("ray") and index >= 2:
                continue
            folder = Path(tempfile.mkdtemp(prefix="bench-speed-"))
            count = trials if kind in ("bench", "floor") else slow_trials
            times[kind].append(call("peers.py", kind, length, count, folder)["seconds_a_trial"])
            shutil.rmtree(folder, ignore_errors=True)
    for kind in kinds:
        print(f"  {kind}: {', '.join(f'{t:.2f}' for t in times[kind])} s a trial", file=sys.stderr)
    ours = times["bench"]
    seconds = statistics.median(ours)
    ratio = statistics.median(a / b for a, b in zip(ours, times["floor"], strict=True))
    row(target, f"T={length}: bench over the floor", f"{ratio:.2f}x ({seconds:.2f} s a trial)", wanted["floor"])
    for kind in kinds[2:]:
        ratio = statistics.median(b / a for a, b in zip(ours, times[kind], strict=False))
        seconds = statistics.median(times[kind])
        row(target, f"T={length}: {NAMES[kind]} over bench", f"{ratio:.1f}x ({seconds:.2f} s a trial)", wanted[kind])
    if not has_ray:
        row(target, "Ray Tune", "not installed: make benchmark", wanted["ray_default"])


NAMES = {
    "plain": "Optuna + Lightning + MLflow",
    "ray_default": "Ray Tune + OptunaSearch",
    "ray_reuse": "Ray Tune + OptunaSearch, actors reused",
}


def p1() -> None:
    throughput("P1", 64, 24, 8, {"floor": "<= 1.25", "plain": ">= 3", "ray_default": ">= 8", "ray_reuse": ">= 8"})


def p2() -> None:
    throughput("P2", 300, 6, 4, {"floor": "<= 1.15", "plain": ">= 5", "ray_default": ">= 10", "ray_reuse": ">= 10"})


def p3() -> None:
    for hidden_size in (32, 128):
        for name in ("rnn", "lstm", "stacked_lstm", "bilstm", "gru"):
            short = call("steps.py", "recurrent", name, hidden_size, 64, "prepared")["milliseconds"]
            long = call("steps.py", "recurrent", name, hidden_size, 1024, "prepared")["milliseconds"]
            row("P3", f"{name} H={hidden_size}: T=1024 over T=64", f"{long / short:.1f}x ({short:.1f} ms)", "<= 17")
    short = call("steps.py", "recurrent", "lstm", 128, 64, "stock")["milliseconds"]
    long = call("steps.py", "recurrent", "lstm", 128, 512, "stock")["milliseconds"]
    row("P3", "for comparison, stock PyTorch, lstm H=128: T=512 over T=64", f"{long / short:.1f}x", "(8 is linear)")


def p4() -> None:
    ratios = []
    for _ in range(2):
        stock, ours = call("steps.py", "transformer", "stock", 512), call("steps.py", "transformer", "bench", 512)
        ratios.append(stock["milliseconds"] / ours["milliseconds"])
    row("P4", "stock nn.TransformerEncoderLayer over ours, T=512", f"{statistics.median(ratios):.1f}x", ">= 4")
    memory = [call("steps.py", "transformer", "bench", length)["peak_mib"] for length in (512, 1024, 2048)]
    row("P4", "peak MiB at T=512, 1024, 2048", ", ".join(f"{m:.0f}" for m in memory), "linear")


def _sweep(folder: Path, *arguments: str) -> tuple[float, float, Path]:
    """Run a sweep; return the seconds to its first output and its start, in wall-clock time."""
    command = [sys.executable, "-m", "bench", "sweep", "--results", str(folder), "--name", "x", *arguments]
    start = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=HERE.parents[1])
    process.stdout.read(1)
    first = time.time() - start
    process.communicate()
    return first, start, folder / "sweeps" / "x"


def p5() -> None:
    for sampler in ("sobol", "tpe"):
        for count, wanted in ((10, "<= 0.15 s"), (3_000, "<= 0.3 s"), (10_000, "(none)")):
            found = call("scale.py", "trials", sampler, count)
            what = f"own cost a trial, {sampler}, from trial {count:,} on"
            for name, kind in (("own", "runs of 0 s, nothing to hide behind"), ("behind", "runs of half a second")):
                seconds, cpu = found[f"{name}_seconds"], found[f"{name}_seconds_cpu"]
                row("P5", f"{what}: {kind}", f"{seconds:.3f} s ({cpu:.3f} s of CPU)", wanted)


def p6() -> None:
    found = call("scale.py", "runs", 10_000)
    names = {
        "leaderboard": "python -m bench leaderboard",
        "report": "python -m bench report",
        "resume": "python -m bench sweep, going on with what is finished",
    }
    for key, command in names.items():
        measured = f"{found[key]['seconds']:.1f} s, {found[key]['peak_mb']:.0f} MB"
        row("P6", f"{command}, {found['runs']:,} runs", measured, "<= 10 s, <= 500 MB")


def p7() -> None:
    result = call("steps.py", "lightning", 150)
    what = f"Lightning over a raw loop, at {result['raw_milliseconds']:.1f} ms a step"
    row("P7", what, f"{result['ratio']:.2f}x", "<= 1.10")


def p8() -> None:
    for words in (["--help"], ["sweep", "--help"]):
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        row("P8", f"python -m bench {' '.join(words)}", f"{statistics.median(times):.2f} s", "<= 0.3 s")


def p9() -> None:
    from bench.results.record import records

    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        words = ("--dataset", "adding", "--length", "8", "--models", "lstm", "--budget", "smoke")
        first, start, sweep = _sweep(Path(folder), *words)
        begin = min(datetime.fromisoformat(record.started_at).timestamp() for record in records(sweep))
    row("P9", "sweep to its first training, warm disk", f"{begin - start:.1f} s", "<= 12 s")
    row("P9", "sweep to something on the screen", f"{first:.2f} s", "<= 1 s")


def p10() -> None:
    for rows in (10**6, 10**7):
        found = call("steps.py", "table", rows)
        what = f"CSV of {found['rows']:,} rows of a time and 8 numbers ({found['text_mb']:,.0f} MB)"
        memory = f"{found['peak_mib']:,.0f} MiB at the peak, {found['arrays_mib']:,.0f} of them arrays"
        row("P10", what, f"{found['seconds']:.1f} s; {memory}", "arrays and a piece")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    known = {"P1": p1, "P2": p2, "P3": p3, "P4": p4, "P5": p5, "P6": p6, "P7": p7, "P8": p8, "P9": p9, "P10": p10}
    wanted = sys.argv[1:] or list(known)
    for name in wanted:
        if name not in known:
            raise SystemExit(f"unknown target {name} (there are: {', '.join(known)})")
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    packages = ["torch", "pytorch-lightning", "optuna", "mlflow", "ray"]
    print(f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}; ", end="")
    print(", ".join(f"{name} {_version(name) or 'not installed'}" for name in packages), end="\n\n")
    print("| target | what | measured | wanted |\n|---|---|---|---|", flush=True)
    for name in wanted:
        known[name]()


if __name__ == "__main__":
    main()
