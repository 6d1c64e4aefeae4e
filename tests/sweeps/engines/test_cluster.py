"""What the coordinator decides about a Ray cluster without Ray: slots, resources, and which addresses it refuses."""

import importlib.util
from types import SimpleNamespace

import pytest

from bench.config.sweep_settings import SweepConfig
from bench.errors import DeclarationError
from bench.sweeps import prepare
from bench.sweeps.engines import cluster

SMALL = {"id": "a", "CPU": 2.0, "memory": 4e9}
LARGE = {"id": "b", "CPU": 8.0, "GPU": 2.0, "memory": 64e9}


def config(**options) -> SweepConfig:
    return SweepConfig.build(None, {"datasets": ["latch"], "engine": "ray"} | options)


@pytest.mark.parametrize(
    ("options", "needs", "slots"),
    [
        ({}, {"num_cpus": 1}, "aabbbbbbbb"),
        ({"threads": 3}, {"num_cpus": 3}, "bb"),
        ({"workers": 3}, {"num_cpus": 1}, "aab"),
        ({"max_memory_gb": 3}, {"num_cpus": 1, "memory": 3 * 2**30}, "abbbbbbbb"),
        ({"gpus": "all"}, {"num_cpus": 1, "num_gpus": 1}, "bb"),
        ({"gpus": "1"}, {"num_cpus": 1, "num_gpus": 1}, "b"),
        ({"gpus": "all", "runs_per_gpu": 3}, {"num_cpus": 1, "num_gpus": 0.3333}, "bbbbbb"),
        ({"gpus": "1", "runs_per_gpu": 3}, {"num_cpus": 1, "num_gpus": 0.3333}, "bbb"),
        ({"gpus": "all", "gpus_per_run": 2}, {"num_cpus": 2, "num_gpus": 2}, "b"),
        ({"gpus": "all", "gpus_per_run": 4}, {"num_cpus": 4, "num_gpus": 4}, ""),
    ],
)
def test_slots_are_the_runs_for_which_nodes_have_room(options, needs, slots):
    made = config(**options)
    assert cluster.resources(made) == needs
    assert "".join(slot["node"] for slot in cluster.slots_of([SMALL, LARGE], made)) == slots


def test_runs_that_share_a_gpu_have_equal_slots():
    slots = cluster.slots_of([LARGE], config(gpus="all", runs_per_gpu=3))
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "0", "0", "1", "1", "1"]
    (slot,) = cluster.slots_of([LARGE], config(gpus="all", gpus_per_run=2))
    assert slot["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_more_workers_than_there_is_room_for_wait_for_a_cluster_that_grows():
    assert len(cluster.slots_of([SMALL], config(workers=5))) == 5
    assert cluster.slots_of([], config(workers=5)) == []


def test_the_memory_of_a_run_is_that_of_the_fullest_node(monkeypatch):
    monkeypatch.setattr(cluster, "connection", lambda config: SimpleNamespace(nodes=[SMALL, LARGE]))
    assert cluster.free_memory(config(), cluster.slots_of([SMALL, LARGE], config())) == 2e9
    assert cluster.free_memory(config(threads=3), cluster.slots_of([SMALL, LARGE], config(threads=3))) == 32e9
    with pytest.raises(DeclarationError, match="add --memory-gb"):
        cluster.free_memory(config(gpus="all"), cluster.slots_of([SMALL, LARGE], config(gpus="all")))


@pytest.fixture
def no_token(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cluster, "_connect", lambda address, cores: (address, cores))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return tmp_path


def test_a_cluster_without_a_token_is_refused(no_token, monkeypatch):
    with pytest.raises(DeclarationError, match=r"10\.0\.0\.1:6379: a cluster without a token runs the code of anyone"):
        cluster.connection(config(ray_address="10.0.0.1:6379"))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(DeclarationError, match="without a token"):
        cluster.connection(config())
    (no_token / ".ray").mkdir()
    (no_token / ".ray" / "auth_token").write_text("secret")
    assert cluster.connection(config(workers=2, threads=4)) == ("10.0.0.1:6379", 8)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(DeclarationError, match="without a token"):
        cluster.connection(config())


def test_the_address_of_the_option_overrides_the_environment(no_token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster.connection(config(workers=1, ray_address="auto")) == ("auto", 1)


def test_a_client_outside_of_the_cluster_is_refused(no_token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    with pytest.raises(DeclarationError, match="--ray-address auto"):
        cluster.connection(config(ray_address="ray://head:10001"))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeclarationError, match=r"pip install 'sequence-model-bench\[ray\]'"):
        cluster.connection(config())


def test_an_address_without_the_engine_is_refused(tmp_path):
    with pytest.raises(DeclarationError, match="add --engine ray"):
        prepare.make(config(engine="local", ray_address="auto", results=tmp_path))
