"""hw.contract.files: a file is there whole or not at all, whatever was in its place."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hw.contract.files import can_write, write_atomically, write_files, write_json

ROOT = Path(__file__).parents[3]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_new_file_has_the_permissions_of_any_other(tmp_path, umask):
    write_json(tmp_path / "folder" / "new.json", [1])
    assert mode(tmp_path / "folder" / "new.json") == 0o640
    assert (tmp_path / "folder" / "new.json").read_text() == "[\n 1\n]\n"


def test_a_file_that_was_there_keeps_its_own(tmp_path, umask):
    for permissions in (0o600, 0o666, 0o755):
        path = tmp_path / f"{permissions:o}"
        path.write_text("old")
        path.chmod(permissions)
        write_atomically(path, b"new")
        assert (path.read_text(), mode(path)) == ("new", permissions)


def test_a_link_stays_and_its_file_is_written(tmp_path):
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to("elsewhere/target")
    for data in (b"made", b"changed"):  # at first it leads to nothing
        assert can_write(link) == link
        write_atomically(link, data)
        assert link.is_symlink()
        assert target.read_bytes() == data
    assert [p.name for p in target.parent.iterdir()] == ["target"]
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(OSError, match="symbolic links") as error:
        write_atomically(link, b"")
    assert error.value.filename == str(link)


def test_into_a_device_the_bytes_are_written(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), link):
        write_atomically(can_write(path), b"data")
        assert stat.S_ISCHR(path.stat().st_mode)
    with pytest.raises(OSError, match="No space left") as error:
        write_atomically(Path("/dev/full"), b"data")
    assert error.value.filename == "/dev/full"
    assert os.listdir(tmp_path) == ["link"]


def test_into_a_pipe_the_bytes_are_written(tmp_path):
    path, found = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    can_write(path)  # which does not open it: nobody reads
    reader.start()
    write_atomically(path, b"data")
    reader.join()
    assert found == [b"data"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_what_no_file_can_take_the_place_of(tmp_path):
    for write in (can_write, lambda path: write_atomically(path, b"")):
        with pytest.raises(IsADirectoryError) as error:
            write(tmp_path)
        assert error.value.filename == str(tmp_path)
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError):
            write(tmp_path / "file" / "below")
    assert os.listdir(tmp_path) == ["file"]


def test_not_over_what_the_program_prints(tmp_path):
    """`--out /dev/stdout > file` would put the file that is printed to out of reach."""
    code = (
        "from pathlib import Path; from hw.contract.files import write_atomically; import sys\n"
        "try: write_atomically(Path(sys.argv[1]), b'data')\n"
        "except OSError as error: print(error.strerror, error.filename)"
    )
    for name in ("/dev/stdout", str(tmp_path / "out")):
        with (tmp_path / "out").open("w") as out:
            subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, stdout=out, check=True)
        assert (tmp_path / "out").read_text() == f"This program prints there {name}\n"
    done = subprocess.run(
        [sys.executable, "-c", code, "/dev/stdout"], cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout == b"data"


def test_of_several_files_none_is_there_before_all_are_written(tmp_path, monkeypatch):
    write_files(tmp_path, {"a": "old", "rom/b": "old", "rom/c": "old"})
    real = open

    def full(path, *args):
        if sum(p.suffix == ".part" for p in tmp_path.glob("**/*")) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write_files(tmp_path, {"a": "new", "rom/b": b"new", "rom/d": "new"}, owned=["rom/*"])
    assert error.value.filename == str(tmp_path / "rom" / "d")
    monkeypatch.undo()
    found = {p.relative_to(tmp_path).as_posix(): p for p in tmp_path.glob("**/*") if p.is_file()}
    assert {name: p.read_text() for name, p in found.items()} == dict.fromkeys(
        ("a", "rom/b", "rom/c"), "old"
    )
    write_files(tmp_path, {"a": "new", "rom/b": b"old"}, owned=["rom/*"])
    assert sorted(p.name for p in tmp_path.glob("**/*")) == ["a", "b", "rom"]


def test_equal_bytes_leave_a_file_alone(tmp_path):
    write_atomically(tmp_path / "file", b"data")
    before = (tmp_path / "file").stat()
    write_atomically(tmp_path / "file", b"data")
    after = (tmp_path / "file").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_name_as_long_as_it_may_be(tmp_path):
    write_atomically(tmp_path / ("n" * 255), b"data")
    assert [len(p.name) for p in tmp_path.iterdir()] == [255]
