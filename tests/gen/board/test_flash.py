"""gen.board.flash: what openFPGALoader is asked, and one sentence for every way it can fail."""

import stat

import pytest

from gen.board.boards import BOARDS
from gen.board.flash import FlashError, flash
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
