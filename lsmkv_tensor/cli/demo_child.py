"""A process of the demo: ``python -m lsmkv_tensor.cli.demo_child SPEC``. The parent is :mod:`lsmkv_tensor.cli.demo`.

It ends when its parent does (its standard input closes), and holds a lock in the demo's directory, so that a demo started
after a killed one never meets a survivor.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from lsmkv.env.posix import PosixFileSystem
from lsmkv.errors import LsmError
from lsmkv_tensor.cli.demo_spec import CHILD_LOCK, DemoError, Reporter, Spec
from lsmkv_tensor.cli.weights import WeightsError, ensure_weights
from lsmkv_tensor.runtime.process import end_with_stdin

__all__ = ["main"]


def main(argument: str) -> int:
    """Do one task and report it; the exit code."""
    reporter = Reporter(sys.stdout)
    end_with_stdin()
    warnings.simplefilter("ignore")  # libraries' advice to their own users; ours is told through the reporter
    spec = Spec.from_json(argument)
    try:
        lock = PosixFileSystem().lock(str(Path(spec.path) / CHILD_LOCK))
        reporter.result(_run(spec, reporter))
        lock.release()
    except (DemoError, WeightsError) as error:
        return _fail(reporter, str(error), getattr(error, "code", 2))
    except (LsmError, OSError) as error:
        return _fail(reporter, f"{type(error).__name__}: {error}", 2)
    return 0


def _fail(reporter: Reporter, text: str, code: int) -> int:
    """Report an error and hand back its code."""
    reporter.error(text, code)
    return code


def _run(spec: Spec, reporter: Reporter) -> dict[str, Any]:
    """The task of ``spec``. Torch takes seconds to import, so each task brings its own needs."""
    if spec.task == "prepare":
        given = Path(spec.weights) if spec.weights else None
        return {"model_dir": str(ensure_weights(Path(spec.cache), reporter.work, given))}
    reporter.stage("importing torch and transformers")
    if spec.task == "first":
        from lsmkv_tensor.cli.demo_first import run_first  # noqa: PLC0415  # see above

        return run_first(spec, reporter)
    from lsmkv_tensor.cli.demo_second import run_second  # noqa: PLC0415  # see above

    return run_second(spec, reporter)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
