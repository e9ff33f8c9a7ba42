"""atlas."""

from groupcc_lite.atlas.contents import Atlas, FeatureTable, Pictures, feature_table, run_facts
from groupcc_lite.atlas.web_page import D3, MARKER, PAGE, atlas_folder, book_files, book_part, make_page

__all__ = [
    "Atlas", "D3", "FeatureTable", "MARKER", "PAGE", "Pictures", "atlas_folder", "book_files", "book_part",
    "feature_table", "make_page", "run_facts",
]
