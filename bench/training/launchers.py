"""Variables by which a launcher (srun, torchrun, mpirun, jsrun, ...) tells a process that it is one rank of several.

A run is a job of its own, also inside an allocation: torch, Lightning and models would otherwise wait for ranks that
nobody starts. They are removed from the environment, because more than one library reads them; telling Lightning
which plugin to use would leave the others.
"""

import os

PREFIXES = ("TORCHELASTIC_", "OMPI_COMM_", "OMPI_MCA_ess", "PMI_", "PMIX_", "JSM_NAMESPACE_", "MV2_COMM_")
NAMES = {
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "LSB_DJOB_RANKFILE"),
    *("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
}


def forget() -> None:
    """Remove a launcher's variables from the environment of this process and of those it starts."""
    for name in list(os.environ):
        if name in NAMES or name.startswith(PREFIXES):
            del os.environ[name]
