"""The records that vLLM's tiers are asked for and answer with; plain stand-ins where vLLM is not installed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from lsmkv_tensor.errors import InvalidArgumentError

if TYPE_CHECKING:
    Base: TypeAlias = Any
else:
    try:
        from vllm.v1.kv_offload.tiering.base import SecondaryTierManager as Base
    except ImportError:
        Base = object

__all__ = ["Base", "job_result", "lookup_result", "request_context", "vllm_locality"]

LOCALITIES = ("LOCAL", "REMOTE")


def vllm_locality(name: str | None) -> Any:  # noqa: ANN401  # vLLM's Locality
    """Where the storage is, as vLLM's tier filter has it. InvalidArgumentError for a word that it does not have."""
    if name not in (None, *LOCALITIES):
        msg = f"LsmkvTier: locality = {name!r}: must be one of {', '.join(LOCALITIES)}"
        raise InvalidArgumentError(msg)
    if name is None or Base is object:
        return name
    from vllm.v1.kv_offload.base import Locality  # noqa: PLC0415  # only with vLLM

    return Locality(name)


@cache
def lookup_result(name: str) -> Any:  # noqa: ANN401  # vLLM's LookupResult
    """VLLM's verdict of this name; without vLLM the name."""
    if Base is object:
        return name
    from vllm.v1.kv_offload.base import LookupResult  # noqa: PLC0415  # only with vLLM

    return LookupResult[name]


def request_context() -> Any:  # noqa: ANN401  # vLLM's RequestOffloadingContext
    """VLLM's record without wishes."""
    if Base is object:
        return None
    from vllm.v1.kv_offload.base import RequestOffloadingContext  # noqa: PLC0415  # only with vLLM

    return RequestOffloadingContext()


def job_result(
    job: int, *, success: bool, keys: tuple[bytes, ...] | None = None, seconds: float | None = None, moved: int | None = None
) -> Any:  # noqa: ANN401  # vLLM's JobResult
    """VLLM's record of a transfer; without vLLM a dict of the same fields."""
    found = {"job_id": job, "success": success, "successful_keys": keys, "transfer_time": seconds, "transfer_bytes": moved}
    if Base is object:
        return found
    from vllm.v1.kv_offload.tiering.base import JobResult  # noqa: PLC0415  # only with vLLM

    return JobResult(**found)
