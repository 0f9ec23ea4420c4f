"""Packs of a tensor store: the part of :class:`lsmkv_tensor.store.TensorStore` that writes and reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from lsmkv.arguments import PathArgument, checked_path
from lsmkv.env.fs import FileSystem
from lsmkv_tensor.errors import ReadOnlyError
from lsmkv_tensor.followed import FollowedNamespace, PageFollower
from lsmkv_tensor.keys.tokens import Tokens
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.packs.exporting import ExportReport, LivePages, export_pack
from lsmkv_tensor.packs.importing import ImportReport, import_pack
from lsmkv_tensor.pages import PageStore

__all__ = ["TensorPacks"]


class TensorPacks:
    """What a tensor store does with packs. Its attributes are the store's own."""

    _namespace: Namespace | FollowedNamespace
    _pages: PageStore | PageFollower
    _changes: AbstractContextManager[object]
    """Held while trails and the pages they lead to change."""

    def export_pack(
        self,
        path: PathArgument,
        prefixes: Iterable[Tokens] | None = None,
        *,
        overwrite: bool = False,
        progress: Callable[[int], None] | None = None,
        fs: FileSystem | None = None,
    ) -> ExportReport:
        """Write the stored prefixes of these prompts (None: every page) to one file, to warm up other stores with.

        Errors, I/O and arguments as :func:`lsmkv_tensor.packs.export_pack`.
        """
        if isinstance(self._namespace, FollowedNamespace):
            raise ReadOnlyError(self._pages.path, "export_pack")  # its members' own pages: lsmkv export PATH/MEMBER
        source = LivePages(self._namespace)
        where = checked_path(path)
        return export_pack(source, where, prefixes=prefixes, fs=fs, overwrite=overwrite, progress=progress)

    def import_pack(
        self, path: PathArgument, *, progress: Callable[[int], None] | None = None, fs: FileSystem | None = None
    ) -> ImportReport:
        """Store the pages of a pack of this very namespace; damaged ones are left out and reported.

        Errors, I/O and arguments as :func:`lsmkv_tensor.packs.import_pack`.
        """
        if isinstance(self._pages, PageFollower):
            raise ReadOnlyError(self._pages.path, "import_pack")
        mine = self._namespace.digest
        return import_pack(self._pages, checked_path(path), fs=fs, only=mine, lock=self._changes, progress=progress)
