"""Execute the notebooks: ``python docs/notebooks/run.py [NAME ...]``, or ``make notebooks``.

Each runs in a kernel of its own and an empty directory; what its cells put out must be what is in the file. ``--write``
puts it there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import track
from traitlets.config import Config

HERE = Path(__file__).parent
CELL_TIMEOUT_S = 300


def executed(path: Path) -> NotebookNode:
    """The notebook with the outputs of a fresh run. Raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets:
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT_S,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
            kernel_name="python3",
            config=Config(ConnectionFileMixin={"transport": "ipc", "ip": f"{sockets}/kernel"}),  # files, no ports
        )
        client.execute()
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output.execution_count = None
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"}, language_info={"name": "python"}
    )
    return notebook


def differences(stored: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Cells whose output is not what the file has."""
    pairs = zip(stored.cells, fresh.cells, strict=True)
    return [
        f"cell {number}: the file has\n{_said(old)}\nbut it puts out\n{_said(new)}"
        for number, (old, new) in enumerate(pairs, 1)
        if old.cell_type == "code" and old.outputs != new.outputs
    ]


def _said(cell: NotebookNode) -> str:
    """The text of a cell's outputs."""
    return "".join(output.get("text") or str(output.get("data", output)) for output in cell.outputs) or "(nothing)"


def main(words: list[str]) -> int:
    """The exit code: 0 if every notebook runs and puts out what it should."""
    parser = argparse.ArgumentParser(prog="run.py", description="Execute the notebooks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginnings of file names; all, if none is given")
    parser.add_argument("--write", action="store_true", help="put the outputs into the files")
    asked = parser.parse_args(words)
    chosen = [path for path in sorted(HERE.glob("*.ipynb")) if not asked.names or path.name.startswith(tuple(asked.names))]
    if not chosen:
        parser.error(
            f"no notebook is called {' or '.join(asked.names)}: there are {', '.join(p.stem for p in HERE.glob('*.ipynb'))}"
        )
    console = Console()
    problems = 0
    for path in track(chosen, "notebooks", console=console, transient=True):
        stored = nbformat.read(path, as_version=4)
        try:
            fresh = executed(path)
        except CellExecutionError as error:
            found = [str(error)]
        else:
            found = [] if asked.write else differences(stored, fresh)
            if asked.write:
                nbformat.write(fresh, path)
        problems += bool(found)
        console.print(f"{path.name}: {'NOT WELL' if found else 'well'}", highlight=False)
        for problem in found:
            console.print(problem, markup=False, highlight=False, soft_wrap=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
