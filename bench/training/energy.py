"""What a run consumes: joules from the meters of the hardware, and CPU seconds from the kernel."""

import functools
import os
import re
import resource
from pathlib import Path

Counters = dict[str, tuple[float, float]]
"""By device: the joules that its counter shows, and the joules at which it wraps around to zero."""


class EnergyMeter:
    """Joules since the meter was created: of the visible GPUs for a run on `cuda`, else of the CPU packages.

    The whole device is measured: other processes on it are counted too.
    """

    def __init__(self, device: str, root: Path = Path("/sys/class/powercap")) -> None:
        self._source, self._read = ("nvml", _gpus) if device == "cuda" else ("rapl", functools.partial(_packages, root))
        self._last = self._counters()
        self._joules = 0.0

    def joules(self) -> tuple[float | None, str | None]:
        """Return the joules so far and the name of the meter, `nvml` or `rapl`; (None, None) if it cannot be read.

        The counter of a CPU may have only 32 bits and wrap around after 65 kJ, which is 11 minutes at 100 W. One
        wraparound between two calls is seen, a second is not: call it at every epoch.
        """
        now = self._counters()
        if not now or now.keys() != self._last.keys():
            return None, None
        self._joules += sum(_since(self._last[name][0], *counter) for name, counter in now.items())
        self._last = now
        return self._joules, self._source

    def _counters(self) -> Counters:
        try:
            return self._read()
        except Exception:  # noqa: BLE001 - a meter never ends a run, whatever the driver raises
            return {}


def cpu_seconds() -> float:
    """Return the CPU seconds, user and system, of all threads of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _since(before: float, now: float, turn: float) -> float:
    return now - before if now >= before else now - before + turn


def _gpus() -> Counters:
    """Read NVML's counters of the GPUs that CUDA_VISIBLE_DEVICES names, by index or (the beginning of a) UUID.

    NVML counts in PCI order, as CUDA_DEVICE_ORDER=PCI_BUS_ID does; CUDA's default order differs on machines with GPUs
    of several kinds. A part of a GPU (MIG) has no counter and raises.
    https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
    """
    import pynvml

    pynvml.nvmlInit()
    try:
        every = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        gpus = {pynvml.nvmlDeviceGetUUID(gpu): gpu for gpu in every}
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = list(gpus) if named is None else [name.strip() for name in named.split(",") if name.strip()]
        uuids = [list(gpus)[int(name)] if name.isdecimal() else _only(name, gpus) for name in names]
        # In millijoules since the driver was loaded, in 64 bits.
        return {uuid: (pynvml.nvmlDeviceGetTotalEnergyConsumption(gpus[uuid]) / 1e3, 2**64 / 1e3) for uuid in uuids}
    finally:
        pynvml.nvmlShutdown()


def _only(beginning: str, names: dict[str, object]) -> str:
    (name,) = (name for name in names if name.startswith(beginning))
    return name


def _packages(root: Path) -> Counters:
    """Read the RAPL counters of Linux, of Intel and AMD CPUs; newer kernels let only root read them.

    Only packages among intel-rapl:N are read: intel-rapl:N:M is a part of N, intel-rapl-mmio:N is the same counter
    again, and `psys` is the whole platform including the packages.
    https://docs.kernel.org/power/powercap/powercap.html
    """
    zones = [zone for zone in root.iterdir() if re.fullmatch(r"intel-rapl:\d+", zone.name)]
    packages = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
    return {zone.name: (_joules(zone / "energy_uj"), _joules(zone / "max_energy_range_uj")) for zone in packages}


def _joules(file: Path) -> float:
    return int(file.read_text()) / 1e6
