"""Where a sweep may be: on local disks, and not on network file systems."""

from pathlib import Path

import pytest

from bench.errors import StoreError
from bench.sweeps import disk

MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:50 / /home rw,relatime shared:1 - nfs4 server:/home rw,vers=4.2
41 40 0:51 / /home/me/scratch\\040disk rw - xfs /dev/sdb rw
42 27 0:52 / /mnt/far rw - ext4 /dev/sdc rw
43 42 0:53 / /mnt/far rw - fuse.sshfs me@host: rw
44 27 0:54 / /lustre rw - lustre host:/fs rw
"""


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    monkeypatch.setattr(disk, "MOUNTS", path)
    return path


@pytest.mark.parametrize(
    ("folder", "name"),
    [("/home/me/results", "nfs4"), ("/mnt/far", "fuse.sshfs")],
)
def test_network_file_systems_are_refused_in_one_line(mounts, folder, name):
    with pytest.raises(StoreError, match=f"{folder}: is on a network file system .{name}.*--results on a local disk"):
        disk.check_local(Path(folder))


@pytest.mark.parametrize("folder", ["/home/me/scratch disk/results", "/homes", "/mnt", "/lustre/results"])
def test_other_file_systems_are_not(mounts, folder):
    disk.check_local(Path(folder))


def test_a_system_without_a_list_of_mounts_refuses_nothing(mounts):
    mounts.unlink()
    disk.check_local(Path("/home/me/results"))


def test_this_machine_has_the_file_systems_that_it_has(tmp_path):
    disk.check_local(tmp_path)
    if Path("/dev/shm").is_mount():
        assert disk.file_system(Path("/dev/shm")) == "tmpfs"
