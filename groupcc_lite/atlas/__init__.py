"""The feature atlas: every feature of a run on one page that works without a server.

`make_page(run, folder)` is all that a reader needs, or `groupcc atlas` from a terminal. It collects what is known of
each feature (place on the map, family, stabiliser, spectrum, relatives, picture), writes it as checked data, and puts a
page of plain JavaScript around it. The other names are for a book that shows the page among its own.
"""

from groupcc_lite.atlas.web_page import D3, MARKER, PAGE, atlas_folder, book_files, book_part, make_page

__all__ = [
    "D3", "MARKER", "PAGE", "atlas_folder", "book_files", "book_part", "make_page",
]
