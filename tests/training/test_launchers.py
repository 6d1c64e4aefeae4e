"""A run is a job of its own, also where a cluster's launcher has left its variables."""

import os
import subprocess
import sys

import pytest

LEFT = {
    "an allocation of SLURM": {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train"},
    "a step of srun": {
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_NODEID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_JOB_NAME": "train",
    },
    "an interactive session of SLURM": {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "interactive"},
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "x",
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "ROLE_RANK": "1",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
    },
    "jsrun": {
        "LSB_JOBID": "7",
        "LSB_DJOB_RANKFILE": "/none",
        "JSM_NAMESPACE_RANK": "1",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
        "JSM_NAMESPACE_SIZE": "2",
    },
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1", "PMI_SIZE": "2"},
    "Kubeflow": {
        "KUBERNETES_PORT": "tcp://127.0.0.1:443",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "29500",
        "WORLD_SIZE": "2",
        "RANK": "1",
    },
    "an earlier launch": {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "5", "NODE_RANK": "0"},
}

RUN = """
from bench.training import launchers
launchers.forget()
from bench.config.budgets import BUDGETS, train_settings
from bench.config.datasets import make_task
from bench.config.settings import RunConfig
from bench.training import train
from pytorch_lightning.utilities import rank_zero_only
settings = train_settings(BUDGETS["smoke"], make_task("latch", 8, {}), {})
config = RunConfig(
    sweep="s", run="r", phase="screen", number=0, dataset="latch", task="latch", length=8, task_arguments={},
    space="lstm", model="lstm", model_arguments={"hidden_size": 8}, train=settings, seed=0)
record = train.run(config)
print(record.state, record.message, rank_zero_only.rank)
"""


@pytest.mark.parametrize("launcher", LEFT)
def test_what_a_launcher_left_is_forgotten(launcher, monkeypatch):
    from lightning_fabric.plugins.environments import LSFEnvironment, SLURMEnvironment, TorchElasticEnvironment

    from bench.training import launchers

    for name, value in LEFT[launcher].items():
        monkeypatch.setenv(name, value)
    launchers.forget()
    left = [name for name in LEFT[launcher] if name in os.environ]
    assert not [name for name in left if "RANK" in name or "SIZE" in name or name == "SLURM_NTASKS"]
    assert not [each for each in (LSFEnvironment, SLURMEnvironment, TorchElasticEnvironment) if each.detect()]


def test_a_run_waits_for_no_other_rank():
    """One process that has the variables of all launchers, since to load torch takes seconds."""
    left = {name: value for variables in LEFT.values() for name, value in variables.items()}
    left["SLURM_JOB_NAME"] = "train"  # in an interactive session, Lightning looks at no variable of SLURM
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=os.environ | left, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split("\n")[0] == "complete None 0", done.stdout + done.stderr
