"""The function of the hook pre-commit that checks the format of a Python file with black."""

from pathlib import Path

import black

MODE = black.Mode()


def check(path):
    """Fails if black would change the file."""
    source = Path(path).read_text(encoding="utf-8")
    try:
        black.format_file_contents(source, fast=False, mode=MODE)
    except black.NothingChanged:
        return
    raise SystemError(f"black would change it: black {path}")
