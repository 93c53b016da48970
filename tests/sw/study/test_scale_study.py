"""`sterna study scale` as jobs: the facts are those of one after the other."""

import json
from pathlib import Path
from typing import Any

import pytest

from hw.contract.network import Network
from sw.data.dataset import load_split
from sw.data.shipped import model_path
from sw.spread.runner import running
from sw.study import scale
from sw.study.scale import check, study


def test_networks_as_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test, names = load_split("digits", "test", 4), ("digits-dense", "digits-binary")
    shipped = {name: (Network.load(model_path(name)), test) for name in names}
    spec = shipped["digits-dense"][0].spec
    monkeypatch.setattr(scale, "ZOO", {"large": lambda: spec})
    lines: list[str] = []

    def facts(out: Path, **more: Any) -> dict[str, Any]:
        found = study(shipped, lanes=(8, 16), rate=0.2, images=5, out=out, **more)
        assert json.loads(out.read_text()) == found
        return {key: value for key, value in found.items() if key != "seconds"}

    plain = facts(tmp_path / "plain.json", progress=lines.append)
    assert plain["checked"] == [check(*shipped[name], 8, 5) for name in names]
    assert [(row["network"], row["lanes"]) for row in plain["foretold"]] == [
        ("digits-dense", 8),
        ("digits-dense", 16),
    ]
    assert lines == [
        "digits-dense: model against cycle law",
        "digits-binary: model against cycle law",
        "large, 8 lanes",
        "large, 16 lanes",
    ]
    lines.clear()
    for _ in range(2):
        with running(0, kept=tmp_path / "kept", progress=lines.append) as run:
            assert facts(tmp_path / "spread.json", run=run) == plain
    assert lines[4:] == [
        "2 of 2 networks checked were done before",
        "2 of 2 large networks were done before",
    ]
