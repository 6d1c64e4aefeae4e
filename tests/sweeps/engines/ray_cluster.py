"""A Ray cluster of several nodes on this machine: `python ray_cluster.py FOLDER NODES RESOURCES`, a JSON object.

It prints one line of JSON, the address of its head and the process of each node's raylet, the head's first, and of the
head itself (GCS). It lasts until its input is closed. The nodes share no cache and no data folder with each other.
"""

import json
import os
import sys
from pathlib import Path

from ray.cluster_utils import Cluster


def main(folder: Path, count: int, resources: dict) -> None:
    """Start the nodes; the head has no room for runs."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "temp_dir": str(folder / "ray")},
    )
    for number in range(count):
        own = {"BENCH_CACHE_DIR": str(folder / f"node{number}"), "BENCH_DATA_DIR": ""}
        os.environ.update(own)  # which the raylet inherits
        cluster.add_node(include_dashboard=False, **resources)
    raylets = [node.all_processes["raylet"][0].process.pid for node in [cluster.head_node, *cluster.worker_nodes]]
    head = cluster.head_node.all_processes["gcs_server"][0].process.pid
    print(json.dumps({"address": cluster.address, "raylets": raylets, "head": head}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
