"""gen.family.tools: which tool is taken, and one sentence for what a tool complains about."""

import stat

import pytest

from gen.family import tools
from gen.family.ecp5 import ECPBRAM, ECPPACK
from gen.family.ice40 import ICEBRAM
from gen.family.registry import FAMILIES
from gen.family.tools import LOADER, YOSYS, Tool, ToolError, find, run


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Makes shell scripts that are alone on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, body: str) -> str:
        script = folder / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(script)

    return make


def test_python_packages_serve_without_native_tools(on_path):
    flows = [family.flow for family in FAMILIES.values()]
    used = [program for flow in flows for program in (flow.router, flow.packer)]
    for program in (YOSYS, ECPBRAM, ICEBRAM, *used):
        found = find(program)
        assert (found.name, found.origin) == (program.name, "PyPI")
        assert found.version[0].isdigit()


@pytest.mark.parametrize(
    ("told", "origin", "version"),
    [
        ("Yosys 0.52+12 (git sha1 fee39a328, clang++ 14.0.0)", "native", "0.52"),
        ("Yosys 0.40 (git sha1 a1bb0255d)", "native", "0.40"),
        ("Yosys 0.23 (git sha1 7ce5011c24b)", "PyPI", None),
        ("no number", "PyPI", None),
    ],
)
def test_native_tools_go_first_when_new_enough(on_path, told, origin, version):
    place = on_path("yosys", f'[ "$1" = --version ] && echo "{told}"')
    found = find(YOSYS)
    assert found.origin == origin
    if version:
        assert (found.version, found.command) == (version, (place,))


def test_a_packer_comes_from_where_its_router_comes(on_path):
    place = on_path("ecppack", "exit 0")
    assert find(ECPPACK).origin == "PyPI"
    on_path("nextpnr-ecp5", 'echo "nextpnr-ecp5 -- (Version nextpnr-0.8-15-gc9ecc2d)" >&2')
    assert find(ECPPACK) == Tool(name="ecppack", command=(place,), version="0.8", origin="native")


def test_missing_tools_name_what_to_install(on_path, monkeypatch, tmp_path):
    with pytest.raises(ToolError, match=r"^openFPGALoader is missing on PATH: install it "):
        find(LOADER)
    monkeypatch.setattr(tools.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ToolError, match=r"^yosys is missing: install Sterna's extra 'fpga'"):
        find(YOSYS)


def test_run_gives_the_output_and_the_complaint(on_path, tmp_path):
    on_path("openFPGALoader", "echo v1.0; echo two >&2")
    seen = []
    text = run(LOADER, [], tmp_path, "log", seen.append)
    assert text == (tmp_path / "log").read_text() == "v1.0\ntwo\n"
    assert seen == ["v1.0", "two"]

    for body, complaint in [
        ("echo ERROR: no such pin.; echo bye; exit 3", "no such pin"),
        ("echo only words; exit 1", "only words"),
        ("exit 1", "it printed nothing"),
    ]:
        bad = Tool(name="t", command=(on_path("t", body),), version="1", origin="native")
        with pytest.raises(ToolError) as refused:
            run(bad, [], tmp_path, "log")
        assert str(refused.value) == f"t refused: {complaint} (see {tmp_path / 'log'})"


def test_filters_read_and_write_files(on_path, tmp_path):
    (tmp_path / "in").write_text("abc\n")
    body = 'read -r x; echo "<$x>"; echo said >&2'
    tool = Tool(name="t", command=(on_path("t", body),), version="1", origin="native")
    assert run(tool, [], tmp_path, "log", stdin="in", stdout="out") == "said\n"
    assert (tmp_path / "out").read_text() == "<abc>\n"
