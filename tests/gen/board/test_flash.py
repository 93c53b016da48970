"""gen.board.flash: what openFPGALoader is asked, and one sentence for every way it can fail."""

import hashlib
import json
import stat

import pytest

from gen.board.boards import BOARDS
from gen.board.flash import FlashError, flash, flash_built
from gen.family.tools import ToolError


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """A false openFPGALoader that notes its arguments and does as told."""
    script = tmp_path / "bin" / "openFPGALoader"
    script.parent.mkdir()
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")

    def make(body: str = "echo DONE") -> None:
        script.write_text(
            f'#!/bin/sh\n[ "$1" = --Version ] && echo v0.12.0 && exit\n'
            f'echo "$@" >> {tmp_path}/calls\n{body}\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    make()
    return make


@pytest.fixture
def files(tmp_path):
    bitstream, data = tmp_path / "top.bit", tmp_path / "flash.bin"
    bitstream.write_bytes(bytes(1000))
    data.write_bytes(bytes(10))
    return bitstream, data


def calls(tmp_path):
    return (tmp_path / "calls").read_text().splitlines()


def test_to_memory_or_to_flash(loader, files, tmp_path):
    bitstream, data = files
    flash(BOARDS["ulx3s_85f"], bitstream)
    flash(BOARDS["tang_nano_9k"], bitstream, permanent=True)
    flash(BOARDS["icebreaker"], bitstream, data=data, address=0x100000)
    assert calls(tmp_path) == [
        "-b ulx3s --write-sram top.bit",
        "-b tangnano9k --write-flash top.bit",
        "-b ice40_generic --write-flash --verify --file-type bin --offset 1048576 flash.bin",
        "-b ice40_generic --write-flash --verify top.bit",
    ]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "echo 'unable to open ftdi device: -3 (device not found)'; exit 1",
            "Board icebreaker does not answer: is it plugged in",
        ),
        ("echo 'Error: Failed to claim cable'; exit 1", "Board icebreaker does not answer"),
        ("echo 'Error: wrong idcode'; exit 1", "Board icebreaker was not loaded: .*wrong idcode"),
        ("echo 'Wait for CDONE FAIL'", "Board icebreaker was not loaded: Wait for CDONE FAIL"),
        ("echo 'Verify write FAIL'", "Board icebreaker was not loaded: Verify write FAIL"),
    ],
)
def test_failures_are_one_sentence(loader, files, body, sentence):
    loader(body)
    with pytest.raises(FlashError, match=f"^{sentence}"):
        flash(BOARDS["icebreaker"], files[0])


def test_data_goes_into_an_empty_flash(loader, files, tmp_path):
    loader("[ $# = 9 ] && echo 'Wait for CDONE FAIL'; exit 0")
    flash(BOARDS["icebreaker"], files[0], data=files[1], address=4096)
    assert len(calls(tmp_path)) == 2


def test_bad_requests(loader, files, tmp_path):
    bitstream, data = files
    with pytest.raises(FlashError, match=r"nothing\.bit does not exist: build"):
        flash(BOARDS["ulx3s_85f"], tmp_path / "nothing.bit")
    with pytest.raises(FlashError, match=r"^Board ulx3s_85f reads no flash"):
        flash(BOARDS["ulx3s_85f"], bitstream, data=data)
    for address in (0, 5000):
        with pytest.raises(FlashError, match=rf"multiple of 4096 above .* not {address}$"):
            flash(BOARDS["icebreaker"], bitstream, data=data, address=address)


def test_no_loader(files, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"^openFPGALoader is missing on PATH"):
        flash(BOARDS["ulx3s_85f"], files[0])


def report(files, **changes):
    bitstream, data = files
    told = {
        "board": "icebreaker",
        "network": "net",
        "bitstream": "/where/it/was/built/top.bit",
        "bitstream_sha256": hashlib.sha256(bitstream.read_bytes()).hexdigest(),
        "flash_address": 0x100000,
        "flash_image": "build/icebreaker/flash.bin",
        "flash_image_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
    }
    told = {name: value for name, value in {**told, **changes}.items() if value != "none"}
    (bitstream.parent / "report.json").write_text(json.dumps(told))


def test_what_was_built_is_loaded(loader, files, tmp_path):
    report(files)
    assert flash_built(BOARDS["icebreaker"], tmp_path)["bitstream"] == str(files[0])
    report(files, board="ulx3s_85f", flash_address=None, flash_image="none")
    flash_built(BOARDS["ulx3s_85f"], tmp_path, permanent=True)
    assert [line.split()[-1] for line in calls(tmp_path)] == ["flash.bin", "top.bit", "top.bit"]


def test_another_file_than_the_report_is_about_is_not_loaded(loader, files, tmp_path):
    report(files)
    for file in files:
        before = file.read_bytes()
        file.write_bytes(bytes(len(before) - 1) + b"1")
        with pytest.raises(FlashError) as error:
            flash_built(BOARDS["icebreaker"], tmp_path)
        assert str(error.value) == (
            f"File {file} must be the one that was built: its SHA-256 is not that in report.json"
        )
        file.write_bytes(before)
    with pytest.raises(FlashError, match=r"must hold a bitstream for ulx3s_85f, not for icebrea"):
        flash_built(BOARDS["ulx3s_85f"], tmp_path)
    files[0].unlink()
    with pytest.raises(FlashError, match=r"top\.bit does not exist: build the bitstream first$"):
        flash_built(BOARDS["icebreaker"], tmp_path)
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"board": "none"},
        {"bitstream": 3},
        {"flash_address": "none"},
        {"flash_address": "0"},
        {"flash_image": "none"},
        {"flash_image_sha256": None},
    ],
)
def test_a_report_of_another_form(loader, files, tmp_path, changes):
    report(files, **changes)
    for _ in range(2):
        with pytest.raises(FlashError, match=r"must hold a finished bitstream: run sterna bit"):
            flash_built(BOARDS["icebreaker"], tmp_path)
        (tmp_path / "report.json").write_text("[" * 9999)
    assert not (tmp_path / "calls").exists()
