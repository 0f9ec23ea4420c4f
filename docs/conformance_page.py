"""The table of docs/conformance.md; ``python docs/conformance_page.py docs/conformance.json docs/conformance.md`` writes it."""

import re
import sys
from pathlib import Path

from lsmkv_tensor.testing.conformance.results import load_results, markdown

MARKS = re.compile(r"(<!-- table -->\n).*?(\n<!-- end -->)", re.DOTALL)


def rendered(results: Path, page: str) -> str:
    """The page with the table of these results."""
    return MARKS.sub(lambda found: f"{found[1]}\n{markdown(load_results(results))}\n{found[2]}", page)


if __name__ == "__main__":
    file = Path(sys.argv[2])
    file.write_text(rendered(Path(sys.argv[1]), file.read_text(encoding="utf-8")), encoding="utf-8")
