"""The Verilog of a core as it is handed to others: plain module names, no signals without width,
values at power-up in `initial`, a header, and lint that says only what is worth reading.

A board's Verilog is not finished: it goes into a bitstream and nowhere else.
"""

import re
from collections.abc import Iterable

__all__ = ["LINT", "finish", "finish_memory", "plain_modules", "values_apart", "without_empty"]

LINT = {
    "CASEINCOMPLETE": "a state that is not listed keeps what was assigned before the case",
    "CMPCONST": "comparisons are written for any size, and constant at some",
    "DECLFILENAME": "all modules of the core are in this file",
    "UNSIGNED": "comparisons are written for any size, and constant at some",
    "UNUSED": "each field of a record has a wire of its own, for waveforms",
    "VARHIDDEN": "a signal may be called like an instance of the module above",
    "WIDTH": "Yosys writes constants and operands as narrow as they are, and `! x` for `x == 0`",
}
"""What Verilator's lint would say of text that Amaranth and Yosys wrote, and why it is switched
off: kinds of warnings, and what makes them.

Only kinds that Verilator 4 has, too: to one that does not know a kind, its name is an error, lint
or no lint. So `UNUSED` and `WIDTH`, which later versions divide."""

_MODULE = re.compile(r"^module (\\?)(\S+?) ?\(", re.M)
_EMPTY = re.compile(r"(?:^  \(\*.*\*\)\n)*^  (?:wire|reg) \[-1:0\] \S+ ?;\n", re.M)
_VALUE = re.compile(r"^(  reg (?:signed )?(?:\[[^\]]*\] )?(\\\S+ |[\w$]+)) = (.*;)\n", re.M)


def finish(text: str, header: Iterable[str]) -> str:
    """Verilog as Yosys wrote it, finished; `header` are its first lines, without `//`.

    Between the header and the modules stand the kinds of `LINT`, each with its reason; what a
    design says behind the file is lint as before.
    """
    head = "".join(f"// {line}".rstrip() + "\n" for line in header)
    off = "".join(f"/* verilator lint_off {kind} */ // {why}\n" for kind, why in LINT.items())
    body = values_apart(without_empty(plain_modules(text)))
    return f"{head}/* verilator lint_save */\n{off}{body}/* verilator lint_restore */\n"


def finish_memory(text: str) -> str:
    """Verilog of a memory (`hw.memory.sources`), finished: Verilator 4 remarks that the name of a
    file is compared with a text of another length. Boards have it as it is."""
    off = "/* verilator lint_off WIDTH */ // names of files are of any length"
    return f"/* verilator lint_save */\n{off}\n{text}/* verilator lint_restore */\n"


def plain_modules(text: str) -> str:
    """Modules that have escaped names, such as `\\top.core.x `, are called `top_core_x`, where they
    are declared and where they are instantiated; nothing else is changed.

    Two names that would become one are told apart by a number, in the order of the file; names that
    need no escape are as they were, and nobody else gets one of them. Yosys writes a declaration
    and an instantiation each at the start of a line, `module \\name (` and two spaces, `\\name  `
    and what the instance is called, so that text within strings, and signals that are called like
    a module, are nothing that is looked at.
    """
    found = [(bool(m[1]), m[2]) for m in _MODULE.finditer(text)]
    plain: dict[str, str] = {}
    taken = {name for escaped, name in found if not escaped} | set(_foreign(text))
    for escaped, name in found:
        if not escaped:
            continue
        wanted = re.sub(r"\W", "_", name, flags=re.ASCII)
        wanted = wanted if re.match(r"[A-Za-z_]", wanted) else f"_{wanted}"
        candidate, n = wanted, 2
        while candidate in taken:
            candidate, n = f"{wanted}_{n}", n + 1
        taken.add(candidate)
        plain[name] = candidate
    if not plain:
        return text

    def renamed(match: re.Match[str]) -> str:
        name = plain.get(match[2])
        return match[0] if name is None else f"{match[1]}{name} "

    text = re.sub(r"^(module )\\(\S+) (?=\()", renamed, text, flags=re.M)
    return re.sub(r"^(  )\\(\S+)  (?=[\\A-Za-z_#])", renamed, text, flags=re.M)


def _foreign(text: str) -> Iterable[str]:
    """Names without escape that begin an instantiation: modules of other files, too."""
    return re.findall(r"^  ([A-Za-z_]\w*) (?:#\(|(?:\w+|\\\S+ ) \()", text, re.M)


def without_empty(text: str) -> str:
    """Without the declarations of signals of no width, which nothing refers to: to Verilog,
    `[-1:0]` would be two bits."""
    return _EMPTY.sub("", text)


def values_apart(text: str) -> str:
    """Registers that are declared with a value, `reg x = 1'h0;`, get it by an `initial` behind the
    declaration.

    Verilog-2005 says that these are the same. But new Verilators warn of the one (`PROCASSINIT`),
    and old ones do not know that warning.
    """
    return _VALUE.sub(r"\1;\n  initial \2 = \3\n", text)
