"""Packs: pages of a namespace in one file, to warm up other stores with. The format is docs/format/pack.md."""

from lsmkv_tensor.packs.exporting import ExportReport, LivePages, PackSource, export_pack, prefix_keys
from lsmkv_tensor.packs.importing import ImportReport, import_pack

__all__ = ["ExportReport", "ImportReport", "LivePages", "PackSource", "export_pack", "import_pack", "prefix_keys"]
