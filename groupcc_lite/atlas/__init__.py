"""atlas."""

from groupcc_lite.atlas.contents import Atlas, FeatureTable, Pictures, feature_table, run_facts
from groupcc_lite.atlas.npm_packages import CDN, FOLDER, PACKAGES, copy, files, href, links
from groupcc_lite.atlas.web_page import MARKER, PAGE, atlas_folder, book_files, book_part, make_page

__all__ = [
    "Atlas", "CDN", "FOLDER", "FeatureTable", "MARKER", "PACKAGES", "PAGE", "Pictures", "atlas_folder",
    "book_files", "book_part", "copy", "feature_table", "files", "href", "links", "make_page", "run_facts",
]
