"""open_log: a log by path, by URL, or of one's own."""

from pathlib import Path
from typing import Any

import pytest

from hpo.logs import Event, open_log
from tests.hpo.test_hpo_logs import start


def test_a_log_by_its_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log("sqlite:///here.db")
    log.open({"a": 1})
    assert (tmp_path / "here.db").exists() and log.place == "here.db" and log.path == Path("here.db")
    assert open_log(f"sqlite:///{tmp_path / 'here.db'}").open({"a": 2}) == open_log(tmp_path / "here.db").open({}) == {"a": 1}
    assert open_log(log) is log and open_log("memory://").place == ""
    with pytest.raises(PermissionError, match="opened for reading"):
        open_log("sqlite:///here.db", readonly=True).append(start(0))
    for wrong, said in [("sqlite://", "names no file; allowed are sqlite:///study.db"), ("sqlite://host/a.db", "names no file"),
                        ("redis://host", r"unknown scheme; allowed are \['memory://', 'sqlite://'"),
                        ("memory://x", "allowed is 'memory://'")]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            open_log(wrong)


def test_a_log_of_ones_own_is_told_what_it_lacks() -> None:
    class Own:
        def open(self, header: Any) -> Any: ...
        def append(self, event: Event) -> None: ...
        def read(self, after: int) -> Any: ...
        def close(self) -> None: ...

    with pytest.raises(TypeError, match=r"has no place; derive its class from hpo\.logs\.Log"):
        open_log(Own())
