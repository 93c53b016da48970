"""Boards of amaranth-boards: pins, device and oscillator come from there, and none is typed again
here."""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from gen.family.base import Pin
from gen.family.tools import ToolError
from hw.contract.text import to_install

__all__ = [
    "PACKAGE",
    "device_of",
    "has_flash",
    "has_module",
    "lacks",
    "oscillator_of",
    "part_of",
    "pins_of",
    "platform_class",
    "platforms_of",
]

PACKAGE = "amaranth_boards"

PORTS = (("rx", "uart", "rx"), ("tx", "uart", "tx"))
FLASH_PORTS = tuple(
    (f"flash_{port}", "spi_flash_1x", name)
    for port, name in (("cs_n", "cs"), ("clk", "clk"), ("copi", "copi"), ("cipo", "cipo"))
)
"""(port of the board top, resource of amaranth-boards, its signal)"""


def platform_class(platform: str) -> Any:
    """A class of amaranth-boards, by `module:class`.

    Raises
    ------
    ToolError
        When amaranth-boards is not installed.
    """
    module, _, name = platform.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError:
        raise ToolError(f"amaranth-boards is missing: {to_install('amaranth-boards')}") from None


def has_module(name: str) -> bool:
    """Whether amaranth-boards has a module of boards of that name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in ("resources", "extensions", "test"):
        return False
    return find_spec(PACKAGE) is not None and find_spec(f"{PACKAGE}.{name}") is not None


def platforms_of(module: str) -> dict[str, Any]:
    """Classes of boards of a module, by name."""
    found = import_module(f"{PACKAGE}.{module}")
    names = [name for name in vars(found) if name.endswith("Platform") and name[0] != "_"]
    mine = {name: getattr(found, name) for name in names}
    return {name: cls for name, cls in mine.items() if cls.__module__ == found.__name__}


def _resource(cls: Any, name: str) -> Any:
    return next((r for r in cls.resources if (r.name, r.number) == (name, 0)), None)


def oscillator_of(cls: Any) -> int:
    """Frequency of the default clock, in Hz."""
    return round(_resource(cls, cls.default_clk).clock.frequency)


def part_of(cls: Any) -> str:
    """The device in its vendor's words, for people."""
    return getattr(cls, "part", None) or f"{cls.device}-{cls.package}"


def device_of(cls: Any) -> tuple[str, str, str]:
    """Names of chip, package and speed grade, as `gen.family` may know them; "" for what the class
    does not say."""
    part = getattr(cls, "part", None)
    if part:  # a whole part number, and the chip beside it
        found = re.search(r"-[A-Z]{2}\d+([A-Z]+\d+[A-Z]*)(C\d/I\d)$", part)
        package, grade = found.groups() if found else ("", "")
        return str(getattr(cls, "family", "")), package, grade
    device = getattr(cls, "device", None)
    if not isinstance(device, str):
        return "", "", ""
    return device, str(cls.package), str(getattr(cls, "speed", "") or "")


def _leds(cls: Any) -> Iterator[tuple[str, str]]:
    """(resource, signal) of LEDs, the plainest first."""
    for resource in cls.resources:
        if resource.number == 0 and resource.name in ("led", "rgb_led"):
            if resource.name == "led" and len(resource.ios) == 1:
                yield "led", ""
            else:
                yield from ((resource.name, io.name) for io in resource.ios if hasattr(io, "name"))


def lacks(cls: Any, known: Mapping[str, Any]) -> str:
    """What a board would need, and has not, to be built for; "" when nothing. `known`: chips."""
    chip = device_of(cls)[0]
    if chip not in known:
        return f"a chip of the families that Sterna builds for (its chip is {chip or 'unknown'})"
    clock = _resource(cls, getattr(cls, "default_clk", None) or "")
    if clock is None or clock.clock is None:
        return "an oscillator at a pin as its default clock"
    if not hasattr(clock.ios[0], "names"):
        return "a single-ended default clock: its own is a differential pair"
    if _resource(cls, "uart") is None:
        return "a UART"
    if next(_leds(cls), None) is None:
        return "an LED of its own"
    return ""


def pins_of(cls: Any, flash: bool) -> tuple[Pin, ...]:
    """Pins of the top's ports; with `flash`, those of the SPI flash too."""
    led = next(_leds(cls))
    ports = [("clk", cls.default_clk, ""), *PORTS, ("led", *led)]
    return tuple(_pin(cls, *port) for port in ports + [*(FLASH_PORTS if flash else ())])


def has_flash(cls: Any) -> bool:
    """Whether its flash has the plain SPI that the top reads."""
    return _resource(cls, FLASH_PORTS[0][1]) is not None


def _pin(cls: Any, port: str, resource: str, signal: str) -> Pin:
    found = _resource(cls, resource)
    ios = [io for io in found.ios if not signal or io.name == signal]
    pins = ios[0].ios[0] if signal else ios[0]
    attributes = {**found.attrs, **(ios[0].attrs if signal else {})}
    for key, value in attributes.items():
        if callable(value):  # of the board's jumpers: as they are unless told otherwise
            attributes[key] = value(cls())
    return Pin(
        port=port,
        site=pins.names[0],
        output=pins.dir == "o",
        inverted=pins.invert,
        attributes=MappingProxyType(attributes),
    )
