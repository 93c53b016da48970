"""A board from a file: what a TOML file says of it, checked key by key, as a `Board`.

Boards of amaranth-boards are put into the same form and checked alike, and a board that was built
has it in its `board.json` (`description`), from which it is made again when its file is gone.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from gen.family.base import Chip, Family, Part, Pin
from gen.family.registry import FAMILIES
from gen.wiring.board import Board, BoardError, Wiring
from gen.wiring.platforms import (
    PACKAGE,
    device_of,
    has_flash,
    has_module,
    lacks,
    oscillator_of,
    pins_of,
    platforms_of,
)
from hw.contract.files import read_json
from hw.contract.link import FROM_FILE
from hw.contract.text import none_of

__all__ = ["DESCRIPTION", "board_of_platform", "describe_again", "read_board"]

DESCRIPTION = "board.json"
"""The file in the folder of a board that was built that says what the board is."""

NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
SITE = r"[A-Za-z0-9_]{1,16}"

TOP: dict[str, type] = {
    "name": str,
    "title": str,
    "chip": str,
    "package": str,
    "speed": str,
    "grade": str,
    "megahertz": float,
    "loader": str,
    "sram": bool,
    "model": str,
}
"""Keys outside tables. Whole numbers stand for `str` and `float` too."""

MUST = ("name", "chip", "package")

FLASH = ("cs_n", "clk", "copi", "cipo")
TABLES: dict[str, dict[str, type]] = {
    "clock": {"pin": str, "megahertz": float},
    "uart": {"rx": str, "tx": str},
    "led": {"pin": str, "active_low": bool},
    "flash": dict.fromkeys(FLASH, str),
}
"""Keys of tables; each may have `io`, with attributes of its pins, besides."""

PORTS = {
    "clk": ("clock", "pin"),
    "rx": ("uart", "rx"),
    "tx": ("uart", "tx"),
    "led": ("led", "pin"),
    **{f"flash_{name}": ("flash", name) for name in FLASH},
}
"""Ports of the top, and where their pins are told."""

OUTPUTS = {"tx", "led", "flash_cs_n", "flash_clk", "flash_copi"}

DEPTH = 8
MOST = 2**64
"""Of what may be told at all: tables and lists within each other; numbers. Python refuses to print
some that are longer."""

WORDS = {str: "a text", float: "a number", bool: "true or false"}

LOADERS = {
    "colorlight_5a75b_r7_0": "colorlight",
    "ecp5_5g_evn": "ecp5_evn",
    "ecpix5": "ecpix5",
    "ice40_hx8k_b_evn": "ice40_generic",
    "icestick": "ice40_generic",
    "tang_primer_20k": "tangprimer20k",
    "ulx3s": "ulx3s",
}
"""What openFPGALoader calls boards of amaranth-boards, which does not know it."""


def read_board(path: Path, taken: Collection[str] = ()) -> Board:
    """The board that a TOML file describes (docs/add-a-board.md).

    Parameters
    ----------
    taken
        Names that it must not have: of boards that are known by them.

    Raises
    ------
    BoardError
        One sentence that names the file, what is wrong in it, and what is possible.
    """
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # editors may write its mark
    except OSError as error:
        raise BoardError(f"Board file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BoardError(f"Board file {path} must be text in UTF-8") from None
    except (ValueError, RecursionError) as error:  # no TOML, or numbers that are none of Python's
        raise BoardError(f"Board file {path} must be TOML: {error}") from None
    board = _Description(f"Board file {path}", data, taken).board()
    if has_module(board.name.partition(".")[0]):  # else one name would be two boards
        raise BoardError(
            f"Board file {path}: name must not be that of a board of amaranth-boards, "
            f"{board.name!r}"
        )
    return board


def describe_again(folder: Path) -> Board | None:
    """The described board for which `folder` was built; None where there is none, or its
    description is damaged."""
    try:
        data = read_json(folder / DESCRIPTION, {"description": dict})["description"]
        return _Description(f"Board in {folder}", data).board()
    except (OSError, ValueError, RecursionError):  # a BoardError is a ValueError
        return None


def board_of_platform(module: str, name: str = "") -> Board:
    """A board of amaranth-boards.

    Parameters
    ----------
    module, name
        Its module, and its class there; "" for the only one, or the only kind.

    Raises
    ------
    BoardError
        When it lacks what is needed, or there are several, or none of that name.
    """
    chips = _chips()
    found = platforms_of(module)
    if name and name not in found:
        raise BoardError(none_of(f"Class of board {module}", name, found))
    usable = {n: cls for n, cls in found.items() if not lacks(cls, chips)}
    if not name:
        if len(usable) > 1:
            names = ", ".join(f"{module}.{n}" for n in usable)
            raise BoardError(f"Board {module} must be named with its class, one of {names}")
        name = next(iter(usable or found), "")
    missing = lacks(found[name], chips) if name else "a class"
    if missing:
        more = "" if "chip" in missing else ": write a file for it (docs/add-a-board.md)"
        raise BoardError(f"Board {module} of amaranth-boards lacks {missing}{more}")
    full = module if len(usable) < 2 else f"{module}.{name}"
    data = _of_platform(full, found[name], chips) | {"loader": LOADERS.get(module, "")}
    return _Description(f"Board {full} of amaranth-boards", data).board()


def _of_platform(name: str, cls: Any, chips: Mapping[str, tuple[Family, Chip]]) -> dict[str, Any]:
    chip, package, grade = device_of(cls)
    family, device = chips[chip]
    flash = bool(device.sprams) and has_flash(cls)
    data: dict[str, Any] = {"name": name, "title": f"{cls.__name__} of {PACKAGE}"}
    data |= {"chip": chip, "package": package}
    data |= {family.grade_key: grade} if family.grade_key else {}
    for pin in pins_of(cls, flash):
        table, key = PORTS[pin.port]
        told = data.setdefault(table, {})
        told[key] = pin.site
        attributes = pin.attributes.items()
        known = {key: _text(value) for key, value in attributes if key in family.attributes}
        told["io"] = told.get("io", {}) | known
        if pin.port == "led":
            told["active_low"] = pin.inverted
    data["clock"]["megahertz"] = oscillator_of(cls) / 1e6
    return data


def _chips() -> dict[str, tuple[Family, Chip]]:
    """The chips of all families, by name."""
    return {
        name: (family, chip) for family in FAMILIES.values() for name, chip in family.chips.items()
    }


class _Description:
    """Plain data of a board, on its way to be one; `who` begins every sentence."""

    def __init__(self, who: str, data: Mapping[str, Any], taken: Collection[str] = ()) -> None:
        self._who, self._data, self._taken = who, data, taken

    def _refuse(self, what: str) -> NoReturn:
        raise BoardError(f"{self._who}: {what}")

    def _one_of(self, what: str, value: str, choices: Collection[str]) -> None:
        if value not in choices:
            self._refuse(none_of(what, value, choices))

    def board(self) -> Board:
        self._plain()
        self._keys()
        name, top = self._top("name"), self._top
        if not re.fullmatch(NAME, name) or name.endswith(".toml"):
            self._refuse(
                f"name must be up to 64 letters, digits, _, - or ., and begin with a letter, "
                f"not {name!r}"
            )
        if name in self._taken:
            self._refuse(f"name must not be that of a board that is known by it, {name!r}")
        family, chip, package, grade = self._device()
        pins = self._pins(family, chip)
        part = Part(chip=chip, package=package, grade=grade, clock=pins[0].site)
        megahertz = self._data.get("megahertz")
        return Board(
            name=name,
            title=top("title") or name,
            number=FROM_FILE,
            family=family.on(part),
            chip=chip,
            package=package,
            grade=grade,
            wiring=Wiring(pins=pins, oscillator_hz=self._hz(self._data["clock"], "clock.")),
            loader=top("loader"),
            sram=bool(self._data.get("sram", not family.flashed)),
            core_hz=None if megahertz is None else self._hz(self._data, ""),
            flash="flash" in self._data,
            model=top("model") or "digits-dense",
            description=self._data,
        )

    def _top(self, key: str) -> str:
        return str(self._data.get(key, ""))

    def _plain(self) -> None:
        """Whatever is told can be printed: no number is too long, nothing is nested too deeply."""
        inner = [((key,), value) for key, value in self._data.items()]
        while inner:
            keys, value = inner.pop()
            where = ".".join(keys[:3])
            if len(keys) > DEPTH:
                self._refuse(f"{where} must not be nested so deeply")
            if isinstance(value, int) and abs(value) > MOST:
                self._refuse(f"{where} must be a number below 2**64")
            if isinstance(value, dict):
                inner += [((*keys, key), entry) for key, entry in value.items()]
            elif isinstance(value, list):
                inner += [((*keys, str(n)), entry) for n, entry in enumerate(value)]

    def _keys(self) -> None:
        """Every key is known, has the type it must have, and none is missing."""
        data = self._data
        tables = {**TABLES, "io": {}}
        self._known("", data, [*TOP, *tables])
        for key in MUST:
            if key not in data:
                self._refuse(f"key {key} is missing")
        for key in ("clock", "uart", "led"):
            if key not in data:
                free = ": any free pin will do" if key == "led" else ""
                self._refuse(f"table [{key}] is missing{free}; it has {_list(TABLES[key])}")
        self._types("", data, TOP)
        for table in tables.keys() & data.keys():
            told, kinds = data[table], tables[table]
            if not isinstance(told, dict):
                self._refuse(f"[{table}] must be a table, not {told!r}")
            if table == "io":
                continue
            self._known(f"{table}.", told, [*kinds, "io"])
            for key in kinds:
                if key not in told and key != "active_low":
                    self._refuse(f"key {table}.{key} is missing")
            self._types(f"{table}.", told, kinds)
            if not isinstance(told.get("io", {}), dict):
                self._refuse(f"{table}.io must be a table of attributes, not {told['io']!r}")

    def _known(self, where: str, told: Mapping[str, Any], known: Collection[str]) -> None:
        for key in told:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                question = f"; did you mean {where}{near[0]}?" if near else ""
                self._refuse(f"key {where}{key} is unknown: there are {_list(known)}{question}")

    def _types(self, where: str, told: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
        for key, kind in kinds.items():
            if key not in told:
                continue
            value = told[key]
            fits = type(value) is kind or (type(value) is int and kind is not bool)
            pin = where and kind is str
            if pin and (isinstance(value, list) or (fits and len(str(value).split()) > 1)):
                self._refuse(
                    f"{where}{key} must be one pin, not {value!r}: a differential pair is not "
                    "possible, give the pin of a single-ended signal"
                )
            if not fits:
                self._refuse(f"{where}{key} must be {WORDS[kind]}, not {value!r}")
            if pin and not re.fullmatch(SITE, str(value)):
                self._refuse(f"{where}{key} must be a pin's name, not {value!r}")

    def _hz(self, told: Mapping[str, Any], where: str) -> int:
        megahertz = told["megahertz"]
        if not 1 <= megahertz <= 1000:
            self._refuse(f"{where}megahertz must lie in 1..1000, not {megahertz!r}")
        return round(megahertz * 1e6)

    def _device(self) -> tuple[Family, Chip, str, str]:
        chips = _chips()
        named = {name.upper(): name for name in chips}
        name = named.get(self._top("chip").upper(), self._top("chip"))
        self._one_of("chip", name, chips)
        family, chip = chips[name]
        package = self._top("package").upper()
        if package not in chip.packages:
            there = dict.fromkeys(p.upper() for p in chip.packages.values())
            self._refuse(none_of(f"package of {name}", self._top("package"), there))
        grade, key = "", family.grade_key
        for other in {"speed", "grade"} - {key}:
            if other in self._data:
                instead = f": it is called {key}" if key else ": there is one speed"
                self._refuse(f"{name} has no key {other}{instead}")
        if chip.grades:
            if key not in self._data:
                self._refuse(f"key {key} is missing: {name} has {_list(chip.grades)}")
            grade = self._top(key).upper()
            self._one_of(f"{key} of {name}", grade, chip.grades)
        return family, chip, chip.packages[package], grade

    def _pins(self, family: Family, chip: Chip) -> tuple[Pin, ...]:
        data = self._data
        if "flash" in data and not chip.sprams:
            self._refuse(
                f"table [flash] must be left out: {chip.name} has no single-port RAM that could "
                "be loaded from a flash"
            )
        there: dict[str, str] = {}
        pins = []
        for port, (table, key) in PORTS.items():
            if table not in data:
                continue
            site = str(data[table][key]).upper()
            if site in there:
                self._refuse(f"{table}.{key} must not be pin {site}, which is {there[site]}")
            there[site] = f"{table}.{key}"
            told = data.get("io", {}) | data[table].get("io", {})
            pins.append(
                Pin(
                    port=port,
                    site=site,
                    output=port in OUTPUTS,
                    inverted=port == "led" and data["led"].get("active_low", False),
                    attributes=MappingProxyType(self._attributes(family, table, told)),
                )
            )
        return tuple(pins)

    def _attributes(self, family: Family, table: str, told: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        for key, value in told.items():
            if key not in family.attributes:
                known = _list(family.attributes)
                self._refuse(f"attribute {key} of {table} is unknown: there are {known}")
            text = _text(value)
            self._one_of(f"attribute {key} of {table}", text, family.attributes[key])
            found[key] = text
        return found


def _list(words: Collection[str]) -> str:
    return ", ".join(words)


def _text(value: Any) -> str:
    """An attribute's value in the words of constraints."""
    return str(int(value) if isinstance(value, bool) else value)
