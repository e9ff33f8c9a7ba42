"""The feature atlas: every feature of a run on one page that works without a server.

`make_page(run, folder)` is all that a reader needs, or `groupcc atlas` from a terminal. It collects what is known of
each feature (place on the map, family, stabiliser, spectrum, relatives, picture), writes it as checked data, and puts a
page of plain JavaScript around it. `write_moving(relatives_of(folder), path)`, or `groupcc moving`, shows one feature's
relatives as they move into its pose. `write_atlas` and `page_files` make a page of tables that no run has made. The
other names are for a book that shows the page among its own: `NpmPackage` and its functions put the scripts that pages
load beside them.
"""

from groupcc_lite.atlas.contents import Atlas, Pictures, placed, run_facts
from groupcc_lite.atlas.moving import MovingRelatives, moving_html, relatives_of, write_moving
from groupcc_lite.atlas.npm import CDN, VENDOR_FOLDER, NpmPackage, copy_scripts, is_local_link, link_from, script_links
from groupcc_lite.atlas.storage import write_atlas
from groupcc_lite.atlas.web_page import (
    D3,
    MARKER,
    PAGE,
    RELATIVES,
    atlas_folder,
    book_files,
    book_part,
    make_page,
    page_files,
    relatives_part,
)

__all__ = [
    "Atlas", "CDN", "D3", "MARKER", "MovingRelatives", "NpmPackage", "PAGE", "Pictures", "RELATIVES", "VENDOR_FOLDER",
    "atlas_folder", "book_files", "book_part", "copy_scripts", "is_local_link", "link_from", "make_page", "moving_html",
    "page_files", "placed", "relatives_of", "relatives_part", "run_facts", "script_links", "write_atlas",
    "write_moving",
]
