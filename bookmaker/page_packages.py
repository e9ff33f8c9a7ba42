"""The packages of npm that pages of the book load, and the one that its tests load, each at exactly one version."""

from __future__ import annotations

from groupcc_lite import atlas
from groupcc_lite.atlas import NpmPackage

ON_PAGES = {
    "mathjax": NpmPackage(
        "mathjax", "3.2.2",
        "sha512-Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        "es5/tex-chtml.js", ("LICENSE", "es5/output/chtml/fonts/woff-v2/*.woff", "es5/input/tex/extensions/*.js",
                             "es5/a11y/*.js", "es5/sre/mathmaps/base.json", "es5/sre/mathmaps/en.json",
                             "es5/sre/mathmaps/nemeth.json"), "mathematics"),
    "requirejs": NpmPackage(
        "requirejs", "2.3.8",
        "sha512-7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        "require.js", (), "widgets"),
    "html-manager": NpmPackage(
        "@jupyter-widgets/html-manager", "1.0.14",
        "sha512-wglgQQ+VMj+MBKkTttdeoMtOah/H2A1w5GU1OAVXmDQqZYTK6C+oHZjQMxcNezIpiqUjC1YHKOo5XdP3ENvBng==",
        "dist/embed-amd.js", ("LICENSE", "dist/*.woff2"), "widgets"),
    "d3": atlas.D3,
}
"""What every build puts beside the pages, by the name of its folder there."""

AXE = NpmPackage(
    "axe-core", "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "axe.min.js", ("LICENSE*",), "the check for accessibility")
"""Knows the rules of accessible pages; only tests load it."""
