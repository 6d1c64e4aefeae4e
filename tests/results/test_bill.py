"""The bill, against hand calculations."""

import pytest

from bench.results import bill
from bench.results.record import RunRecord, Seconds
from tests.makers import record


def made(start: int = 0, total: float = 1.0, waiting: float = 0.0, config: dict | None = None, **facts) -> RunRecord:
    """A run that starts `start` seconds after noon."""
    return record(
        {"run": f"d/{start}"} | (config or {}),
        {"metric": "score", "solved": None},
        seconds=Seconds(total=total, waiting=waiting),
        started_at=f"2026-11-20T12:{start // 60:02d}:{start % 60:02d}+00:00",
        **facts,
    )


def test_wall_time_counts_what_overlaps_once_and_pauses_not():
    runs = [made(0, 10), made(5, 10), made(7, 2), made(600, 3), made(602, 1, waiting=1)]
    assert bill.wall_seconds(runs) == pytest.approx(15 + 3)
    assert bill.wall_seconds([]) == 0


def test_the_time_a_run_waited_lies_before_its_start():
    assert bill.wall_seconds([made(10, 5, waiting=2), made(13, 1)]) == pytest.approx(6 - 0)  # 8 to 13, 13 to 14


def test_a_shared_run_costs_its_slot_once_and_each_of_its_devices():
    run = made(total=7200, config={"num_devices": 2, "usd_per_hour": 3.0})
    assert run.device_seconds == 14_400
    assert run.cost_usd == pytest.approx(6.0)


def test_money_is_not_known_where_a_price_is_missing():
    priced = made(total=3600, config={"usd_per_hour": 0.5})
    assert bill.usd([priced, priced]) == pytest.approx(1.0)
    assert bill.usd([priced, made()]) is None
    assert bill.usd([]) is None


def test_metered_energy_is_shared_among_the_slots_of_a_device():
    runs = [made(energy_joules=3.6e6, energy_from="nvml", config={"device_sharers": 3})] * 3
    assert bill.energy(runs, None) == (pytest.approx(1.0), "measured (nvml)")


def test_energy_without_a_meter_is_estimated_only_if_asked_and_says_so():
    runs = [made(cpu_seconds=1800.0), made(cpu_seconds=1800.0)]
    assert bill.energy(runs, None) == (None, "not measured")
    kwh, how = bill.energy(runs, 10.0)
    assert kwh == pytest.approx(0.01)
    assert how == "estimated from CPU time at 10 W a busy core"


def test_one_run_without_a_reading_leaves_the_sum_unmeasured():
    metered = made(energy_joules=1.0, energy_from="rapl")
    assert bill.energy([metered, made()], None) == (None, "not measured")


def test_co2_is_energy_times_the_grid_and_names_both_sources():
    grid = {"gco2_per_kwh": 381.0, "source": "de, mean of 2023"}
    assert bill.co2(0.5, "measured (nvml)", grid) == (
        pytest.approx(190.5),
        "energy measured (nvml), times 381 g a kWh (de, mean of 2023)",
    )
    assert bill.co2(None, "not measured", grid) == (None, "energy not measured")
    assert bill.co2(0.5, "measured (nvml)", None) == (None, "no grid given")
