"""A Ray cluster of several nodes on this machine: `python ray_cluster.py FOLDER NODES RESOURCES`, a JSON object.

It prints one line of JSON: the address of its head, and the processes of the nodes' raylets and of the head (GCS). It
lasts until its input is closed. The nodes share no cache and no data folder with each other.
"""

import json
import os
import socket
import sys
from pathlib import Path

from ray._private.node import Node
from ray.cluster_utils import Cluster

PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def node_options() -> dict:
    """Return options for few processes, and ports: a raylet waits 30 s for those that its helpers choose, then ends."""
    sockets = [socket.socket() for _ in PORTS]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = {name: each.getsockname()[1] for name, each in zip(PORTS, sockets, strict=True)}
    for each in sockets:
        each.close()
    return {"include_dashboard": False, "include_log_monitor": False} | ports


def added(cluster: Cluster, resources: dict) -> Node:
    """Start a node; on a busy machine, its raylet may end because its helpers take more than 15 s."""
    while True:
        node = cluster.add_node(wait=False, **node_options(), **resources)
        try:
            cluster.wait_for_nodes(timeout=60)
        except TimeoutError:
            cluster.remove_node(node, allow_graceful=False)
        else:
            return node


def main(folder: Path, count: int, resources: dict) -> None:
    """Start the nodes; the head has no room for runs."""
    os.environ["RAY_TMPDIR"] = str(folder)
    (folder / "ray").mkdir(exist_ok=True)  # Ray writes the cluster's address there, before it makes the folder
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, **node_options(), "no_monitor": True},
    )
    nodes = []
    for number in range(count):
        own = {"BENCH_CACHE_DIR": str(folder / f"node{number}"), "BENCH_DATA_DIR": ""}
        os.environ.update(own)  # which the raylet inherits
        nodes.append(added(cluster, resources))
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    head = cluster.head_node.all_processes["gcs_server"][0].process.pid
    print(json.dumps({"address": cluster.address, "raylets": raylets, "head": head}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
