"""What the rooms of the command line share: the form of an answer, options."""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["BUILD", "Result", "add_image_options"]

BUILD = Path("build")

Result = tuple[dict[str, Any], str, int]
"""Data for a program, text for people, exit code."""


def add_image_options(sub: argparse.ArgumentParser, default: str | None, text: str) -> None:
    """Options of commands that run test images."""
    sub.add_argument("--images", default=default, metavar="N", help=text)
    sub.add_argument("--dataset", help="data set, if not the one the network was trained on")
