"""What a tensor store's namespace is registered as: everything that gives its keys and its bytes their meaning. Pure.

A salt keeps tenants apart who use one store and one namespace name. It is hashed into the namespace's fields, these seed the
chain of page keys, so without it no key of a tenant's page can be computed, asked for or put. The salt itself is not stored.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from lsmkv_tensor.codec import Codec
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.format import PageFormat

__all__ = ["Identity", "tensor_identity"]


class Identity(NamedTuple):
    """Fields and name of a namespace."""

    fields: dict[str, object]
    name: str


def tensor_identity(namespace: object, fmt: PageFormat, codec: Codec, salt: object = None) -> Identity:
    """The identity of a tensor store's namespace; InvalidArgumentError for a name or salt that is none.

    A lossy codec is a part of it, a lossless one is not. A salted namespace has a name of its own for each salt, so that an
    opener with another salt is a stranger and is told nothing.
    """
    if not isinstance(namespace, str) or not namespace:
        msg = f"namespace must be a non-empty string, not {namespace!r}"
        raise InvalidArgumentError(msg)
    fields: dict[str, object] = {"namespace": namespace, **fmt.fields()}
    if codec.lossy:
        fields["codec"] = codec.name
    if salt is None:
        return Identity(fields, namespace)
    if not isinstance(salt, str | bytes) or not salt:
        msg = f"salt must be a non-empty string or bytes, not {type(salt).__name__}"
        raise InvalidArgumentError(msg)
    secret = salt.encode("utf-8", "surrogatepass") if isinstance(salt, str) else salt
    digest = hashlib.sha256(b"lsmkv tenant\0" + secret).hexdigest()
    return Identity({**fields, "salt": digest}, f"{namespace} (salt {digest[:16]})")
