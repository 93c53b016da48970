"""Files that somebody has bent: bytes changed anywhere, and edits that keep a file's form (the
archive, the JSON, the table, the graph) and change what it says.

All of it is drawn from a generator: the same one makes the same file.
"""

import csv
import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

__all__ = ["EDITS", "bent", "edited", "toml_text"]

WORDS: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2,
    3,
    2**31 - 1,
    2**31,
    2**63,
    10**30,
    -(2**63),
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "../../etc/passwd",
    "a\nb",
    "\0",
    "\u202e",
    "%s{0}$(id)`id`",
    "x" * 5000,
    [],
    {},
    [[]],
    [0] * 100,
    [1, 2],
    {"a": {"b": 1}},
)
"""What takes the place of a value."""

NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63,
    2**64 - 1,
)


def bent(data: bytes, rng: random.Random, others: list[bytes] | None = None) -> bytes:
    """A few changes of bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        size = len(out)
        at = rng.randrange(size + 1)
        length = min(size - at, rng.choice((1, 1, 2, 4, 8, 32, 500)))
        kind = rng.randrange(9)
        if kind == 0 and size:
            out[min(at, size - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            del out[at:]
        elif kind == 5:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) & (1 << 8 * width) - 1
            out[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 6:
            out[at : at + length] = bytes(length)
        elif kind == 7 and others:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            out[at : at + length] = other[start : start + rng.choice((1, 8, 64, 1000))]
        else:
            out[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
    return bytes(out)


# Trees: JSON, TOML


def edited(tree: Any, rng: random.Random, times: int | None = None) -> Any:
    """A tree of dictionaries, lists and plain values with some places changed."""
    tree = json.loads(json.dumps(tree)) if _plain(tree) else tree
    for _ in range(times or rng.choice((1, 1, 1, 2, 4))):
        places = [*_places(tree, ())]
        if not places:
            return rng.choice(WORDS)
        parent, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("x", "name", "", "steps", str(key) + "_"))] = parent[key]
        elif kind == 2 and isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), parent[key])
        elif kind == 3:
            other, at = rng.choice(places)
            if not _within(parent[key], other) and (
                at in other if isinstance(other, dict) else True
            ):
                value = parent[key]
                if isinstance(other, dict) or at < len(other):
                    other[at] = json.loads(json.dumps(value)) if _plain(value) else value
        elif kind == 4 and type(parent[key]) is int:
            parent[key] += rng.choice((-1, 1, 7, 1000))
        elif kind == 5 and isinstance(parent[key], str):
            parent[key] = rng.choice((parent[key] * 2, parent[key][:-1], parent[key] + "\u00e9 "))
        else:
            parent[key] = rng.choice(WORDS)
    return tree


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _within(value: Any, container: Any) -> bool:
    """Whether a container is in a value, which then must not be put into it."""
    if value is container:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_within(one, container) for one in inner)


def _places(tree: Any, path: tuple[Any, ...]) -> Any:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree, key
            yield from _places(value, (*path, key))
    elif isinstance(tree, list):
        for n, value in enumerate(tree):
            yield tree, n
            yield from _places(value, (*path, n))


def toml_text(tree: dict[str, Any]) -> str:
    """A tree as TOML, tables within each other in a line; what TOML lacks is left out or text."""

    def value(one: Any) -> str:
        if isinstance(one, bool):
            return str(one).lower()
        if isinstance(one, float) and one != one:
            return "nan"
        if isinstance(one, float) and one in (float("inf"), float("-inf")):
            return "inf" if one > 0 else "-inf"
        if isinstance(one, (int, float)):
            return repr(one)
        if isinstance(one, dict):
            inside = ", ".join(f"{name(k)} = {value(v)}" for k, v in one.items() if v is not None)
            return f"{{ {inside} }}"
        if isinstance(one, list):
            return "[" + ", ".join(value(v) for v in one if v is not None) + "]"
        return json.dumps(str(one))

    def name(key: Any) -> str:
        return json.dumps(str(key))

    return "".join(f"{name(k)} = {value(v)}\n" for k, v in tree.items() if v is not None)


# Files of a form


def edit_json(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """What a JSON file says."""
    del others
    return json.dumps(edited(json.loads(data), rng)).encode()


def edit_toml(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """What a TOML file says."""
    import tomllib

    del others
    tree = edited(tomllib.loads(data.decode()), rng)
    return toml_text(tree if isinstance(tree, dict) else {"x": tree}).encode()


def edit_csv(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Cells, rows and columns of a table."""
    del others
    rows = [*csv.reader(io.StringIO(data.decode()))]
    cells = (
        "",
        "nan",
        "inf",
        "-1",
        "1e400",
        "1_0",
        "0x1",
        "x" * 3000,
        '"',
        "\0",
        "\u0661",
        "train",
        "test",
        "label",
        "9" * 40,
        "-0",
        " 1 ",
        "=1+1",
        "\r",
        "1;2",
    )
    for _ in range(rng.choice((1, 1, 2, 5))):
        n = rng.randrange(len(rows))
        kind = rng.randrange(6)
        if kind == 0 and len(rows) > 1:
            del rows[n]
        elif kind == 1:
            rows.insert(n, [*rng.choice(rows)])
        elif kind == 2:
            at = rng.randrange(len(rows[0]) or 1)
            rows = (
                [row[:at] + row[at + 1 :] for row in rows]
                if rng.random() < 0.5
                else [row[:at] + [rng.choice(cells)] + row[at:] for row in rows]
            )
        elif kind == 3 and rows[n]:
            del rows[n][rng.randrange(len(rows[n])) :]
        elif rows[n]:
            rows[n][rng.randrange(len(rows[n]))] = rng.choice(cells)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=rng.choice((",", ",", ",", ";", "\t")), escapechar="\\")
    writer.writerows(rows)
    return out.getvalue().encode()


def edit_zip(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Members of an archive, whose checksums are right: arrays, JSON within arrays, pickles."""
    del others
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not members:
            break
        name = rng.choice(sorted(members))
        kind = rng.randrange(7)
        if kind == 0:
            del members[name]
        elif kind == 1:
            members[rng.choice((name + "x", "x.npy", "../" + name, "header.json"))] = members[name]
        elif kind == 2:
            members[name] = members[rng.choice(sorted(members))]
        elif name.endswith(("header.json", "header.json.npy")):
            members[name] = _edit_header(members[name], rng)
        elif members[name][:6] == b"\x93NUMPY" and kind < 6:
            members[name] = _edit_array(members[name], rng)
        else:
            members[name] = bent(members[name], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((0, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def edit_sealed(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A network file that is bent, and has the digest of what it now holds (docs/network-file.md),
    so that nothing but the checks behind the digest can refuse it."""
    import numpy as np

    bent_file = edit_zip(data, rng, others)
    try:
        with zipfile.ZipFile(io.BytesIO(bent_file)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        key = next(name for name in members if name.startswith("header.json"))
        header = json.loads(_array(members[key]).tobytes())
        sha = hashlib.sha256(json.dumps(header["spec"], sort_keys=True).encode())
        for n in range(len(header["spec"]["layers"])):
            weights = _array(members[f"weights{n}.npy"])
            sha.update(weights.astype("<i1" if weights.dtype == np.int8 else "<i2").tobytes())
            for name in ("bias", "thetas", "reset_steps", "factors"):
                if f"{name}{n}.npy" in members:
                    sha.update(_array(members[f"{name}{n}.npy"]).astype("<i4").tobytes())
        header["digest"] = sha.hexdigest()
    except (KeyError, StopIteration, ValueError, TypeError, zipfile.BadZipFile):
        return bent_file
    text = json.dumps(header, indent=1, sort_keys=True).encode()
    members[key] = _array_bytes(np.frombuffer(text, np.uint8))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _array(data: bytes) -> Any:
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=False)


def _array_bytes(array: Any) -> bytes:
    import numpy as np

    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _edit_header(data: bytes, rng: random.Random) -> bytes:
    import numpy as np

    try:
        tree = json.loads(_array(data).tobytes())
    except ValueError:
        return bent(data, rng)
    text = json.dumps(edited(tree, rng)).encode()
    return _array_bytes(np.frombuffer(text, np.uint8))


def _edit_array(data: bytes, rng: random.Random) -> bytes:
    """Another shape, type or value; or a header that promises something else."""
    import numpy as np

    try:
        array = np.array(_array(data))
    except ValueError:
        return bent(data, rng)
    kind = rng.randrange(6)
    with np.errstate(all="ignore"):
        if kind == 0:
            shape = rng.choice(((), (0,), (1, 1, 1, 1), (-1,), (1, -1)))
            array = array.reshape(shape) if -1 in shape else np.zeros(shape, array.dtype)
        elif kind == 1:
            wanted = rng.choice(
                ("<i8", "u1", "<f8", "<c8", "?", "U3", "<M8[s]", ">i4", "<f2", "V3")
            )
            try:
                array = array.astype(wanted)
            except (TypeError, ValueError):
                array = np.zeros(array.shape, wanted)
        elif kind == 2 and array.size and array.dtype.kind in "iuf":
            flat = array.reshape(-1)
            extreme = np.array(rng.choice((-1, 0, 1, 127, 128, 255, 1000, -1000, 30000)))
            flat[rng.randrange(flat.size)] = extreme.astype(array.dtype)
        elif kind == 3 and array.size and array.dtype.kind == "f":
            array.reshape(-1)[rng.randrange(array.size)] = rng.choice(
                (np.nan, np.inf, -np.inf, 6e4)
            )
        elif kind == 4:
            array = np.concatenate([np.atleast_1d(array)] * 2)
        else:
            promised = rng.choice(
                (
                    b"'shape': (99999999999,)",
                    b"'shape': (-1,)",
                    b"'shape': [1]",
                    b"'descr': '|O'",
                    b"'shape': (2**40,)",
                    b"'fortran_order': 1",
                )
            )
            begin = data.find(promised[:9])
            return data[:begin] + promised + data[begin + len(promised) :]
    return _array_bytes(array)


def edit_onnx(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Fields of the protocol buffer, anywhere in the graph."""
    import onnx

    del others
    model = onnx.load_model_from_string(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        _fields(model, places)
        message, field = rng.choice(places)
        value = getattr(message, field.name)
        if _repeated(field):
            kind = rng.randrange(4)
            n = rng.randrange(len(value))
            if kind == 0:
                del value[n]
            elif kind == 1 and field.type == field.TYPE_MESSAGE:
                value.add().CopyFrom(value[n])
            elif field.type != field.TYPE_MESSAGE:
                if kind == 1:
                    value.append(value[n])
                else:
                    value[n] = _other(field, value[n], rng)
        elif field.type == field.TYPE_MESSAGE:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _other(field, value, rng))
    return model.SerializeToString()


def _repeated(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)
    return bool(repeated) if repeated is not None else field.label == field.LABEL_REPEATED


def _fields(message: Any, places: list[tuple[Any, Any]]) -> None:
    for field, value in message.ListFields():
        places.append((message, field))
        if field.type == field.TYPE_MESSAGE:
            for one in value if _repeated(field) else [value]:
                _fields(one, places)


def _other(field: Any, value: Any, rng: random.Random) -> Any:
    if isinstance(value, bytes):
        return rng.choice((b"", value[:-1], value * 2, bent(value, rng)))
    if isinstance(value, str):
        return rng.choice(("", value + "_", "x" * 3000, "a\nb", "\u202e", "Relu", "../x", "y", "x"))
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e30, float("nan"), float("inf"), value * 2))
    if field.type == field.TYPE_ENUM:
        return rng.choice([number.number for number in field.enum_type.values])
    most = 31 if field.type in (field.TYPE_INT32,) else 63
    return rng.choice((0, 1, 2, -1, value + 1, max(value - 1, -1), 2**most - 1, -(2**most)))


def edit_hdf5(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Groups, data sets and texts of an HDF5 file."""
    import h5py
    import numpy as np

    del others
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 3))):
            names: list[str] = []
            file.visit(names.append)
            if not names:
                break
            name = rng.choice(sorted(names))
            there = file[name]
            kind = rng.randrange(6)
            if kind == 0:
                del file[name]
            elif kind == 1:
                file.move(name, name + rng.choice(("_", "0", "\u00e9")))
            elif kind == 2:
                target = rng.choice(sorted(names))
                if not (name + "/").startswith(target + "/"):
                    del file[name]
                    file[name] = (
                        h5py.SoftLink("/" + target)
                        if rng.random() < 0.7
                        else h5py.ExternalLink("/etc/passwd", "/x")
                    )
            elif isinstance(there, h5py.Dataset):
                old = there[()]
                del file[name]
                if isinstance(old, bytes):
                    word = rng.choice(
                        (b"", b"x", b"LIF", b"IF", b"Conv2d", b"\xff", b"Affine", b"x\n")
                    )
                    file[name] = word
                else:
                    array = np.array(old)
                    file[name] = rng.choice(
                        (
                            np.float64(rng.choice((np.nan, np.inf, 0, -1, 1e300))),
                            np.zeros(0),
                            array.reshape(-1),
                            np.full(array.shape, rng.choice((0, -1, np.nan, np.inf, 1e30))),
                            np.concatenate([array.reshape(-1)] * 2),
                            array.astype(np.complex64)
                            if array.dtype.kind in "fiu"
                            else np.zeros(1),
                            array[None],
                        )
                    )
            else:
                file.create_dataset(f"{name}/{rng.choice(('x', 'type', 'weight'))}_", data=1.0)
    return buffer.getvalue()


def edit_torch(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Tensors of a state_dict, or parameters of a module."""
    import torch
    from torch import nn

    del others
    with torch.serialization.safe_globals([nn.Sequential, nn.Linear, nn.ReLU]):
        try:
            content = torch.load(io.BytesIO(data), weights_only=True)
        except Exception:
            return edit_zip(data, rng, [])
    state = content.state_dict() if isinstance(content, nn.Module) else content
    if not isinstance(state, dict):
        return edit_zip(data, rng, [])
    state = dict[Any, Any](state)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not state:
            break
        name = rng.choice(sorted(state, key=str))
        value = state[name]
        kind = rng.randrange(9)
        if kind == 0:
            del state[name]
        elif kind == 1:
            state[rng.choice((f"{name}x", "", "a.b.c", f"x.{name}", 3))] = value
        elif kind == 2 or not isinstance(value, torch.Tensor):
            state[name] = rng.choice(WORDS)
        elif kind == 3:
            state[name] = value.reshape(-1)
        elif kind == 4:
            state[name] = value.to(
                rng.choice((torch.float16, torch.int8, torch.complex64, torch.bool))
            )
        elif kind == 5:
            state[name] = torch.full_like(
                value.float(), rng.choice((0.0, float("nan"), 1e38, -1.0))
            )
        elif kind == 6:
            state[name] = torch.empty(0)
        elif kind == 7:
            state[name] = torch.zeros(1).expand(rng.choice((10, 2**20)), 4)
        else:
            state[name] = torch.cat([value.reshape(1, *value.shape)] * 2)
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


EDITS: dict[str, Callable[[bytes, random.Random, list[bytes]], bytes]] = {
    "json": edit_json,
    "toml": edit_toml,
    "csv": edit_csv,
    "zip": edit_zip,
    "onnx": edit_onnx,
    "hdf5": edit_hdf5,
    "torch": edit_torch,
    "sealed": edit_sealed,
}
"""By the form of a file."""
