"""Runs a case against a subject: in this process, on a directory that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.testing.conformance.cases import CASES
from lsmkv_tensor.testing.conformance.protocol import NonconformingError, NotApplicableError, Subject, Verdict
from lsmkv_tensor.testing.conformance.trial import Trial

__all__ = ["run_case", "subject_of"]


def run_case(subject: Subject, name: str, root: Path | None = None) -> Verdict:
    """The verdict of one case. ``root``: where its directory is made; None: the system's place for temporary files.

    Whatever the backend raises is a failure. I/O: some tens of MiB written and removed.
    """
    base = Path(tempfile.mkdtemp(prefix="conformance-", dir=root))
    directory = base / "part0"
    directory.mkdir()
    trial = Trial(subject, directory)
    try:
        CASES[name].run(trial)
    except NotApplicableError as reason:
        return Verdict(name, "skip", one_line(reason, base))
    except NonconformingError as reason:
        return Verdict(name, "fail", one_line(reason, base))
    except Exception as error:  # noqa: BLE001 - a backend may raise anything
        return Verdict(name, "fail", f"raised {type(error).__name__}: {one_line(error, base)}")
    else:
        return Verdict(name, "pass")
    finally:
        with suppress(Exception):  # the verdict stands
            trial.stop()
        shutil.rmtree(base, ignore_errors=True)


def subject_of(name: str) -> Subject:
    """The subject that ``module:factory`` names. InvalidArgumentError if that makes none."""
    module, _, factory = name.partition(":")
    if not module or not factory:
        msg = f"{name!r}: say which subject, as module:factory"
        raise InvalidArgumentError(msg)
    where = import_module(module)
    if not hasattr(where, factory):
        msg = f"{name!r}: {module} has no {factory!r}"
        raise InvalidArgumentError(msg)
    made = getattr(where, factory)
    subject = made() if callable(made) else made
    if not isinstance(subject, Subject):
        msg = f"{name!r} gives {type(subject).__name__}, not a lsmkv_tensor.testing.conformance.Subject"
        raise InvalidArgumentError(msg)
    return subject


def one_line(error: BaseException, base: Path | None = None, most: int = 200) -> str:
    """What an error says, short, without where the directory happened to be."""
    text = " ".join(str(error).split())
    text = text if base is None else text.replace(f"{base}/", "")
    return text if len(text) <= most else text[: most - 3] + "..."
