"""Runs as processes of this machine: where they look for their folder."""

from bench.sweeps.engines import local
from bench.sweeps.engines.local import Job, LocalEngine
from bench.sweeps.engines.server import ForkServer


def test_a_run_finds_its_folder_after_the_working_directory_has_changed(tmp_path, monkeypatch):
    server = ForkServer(())
    monkeypatch.setattr(local, "shared", lambda preload: server)
    engine = LocalEngine([{}], stall_seconds=60, run="builtins:print")  # writes the folder into the log
    try:
        engine.wait_for_server()
        monkeypatch.chdir(tmp_path)
        folder = tmp_path / "run"
        folder.mkdir()
        (end,) = engine.run_all([Job("one", folder.relative_to(tmp_path))])
        assert end.cause is None
        assert (folder / "log.txt").read_text().startswith(str(folder))
    finally:
        engine.close()
        server.close()
