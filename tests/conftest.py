"""What every test shares: shape checks at run time, a fixed number of threads, the folder of real data."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Examples are looked for in every module; these hold none, and would be imported a second time under another name.
collect_ignore = ["helpers"]

# Read by OpenMP and numba when they are first imported, so this stands before every other import.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "agg")
# What pages load is fetched once, not once for every book that a test builds.
os.environ.setdefault("GROUPCC_PACKAGES", str(ROOT / "_build" / "packages"))

import jaxtyping  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# Every annotated shape of the library is checked while the tests run; elsewhere the annotations cost nothing.
install_import_hook("groupcc_lite", "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=30, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _threads():
    """A fixed number of threads, so that sums are added in the same order on every machine."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture
def unchecked():
    """Without the type checks of the test run, as users have it: then our own messages must come."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page of a planted atlas, see `atlas_browsing.Site`."""
    from atlas_browsing import open_site

    with open_site(tmp_path_factory.mktemp) as site:
        yield site


@pytest.fixture
def visit(site):
    """A function that opens an address of the atlas; afterwards nothing may have gone wrong there."""
    yield from site.visits()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with InceptionV1's weights and photographs; tests that ask for it are skipped without it."""
    folder = os.environ.get("GROUPCC_DATA")
    if not folder:
        pytest.skip("GROUPCC_DATA is not set: the folder with GoogLeNet's weights and photographs")
    if not Path(folder).is_dir():
        pytest.fail(f"GROUPCC_DATA is {folder!r}, which is not a folder")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the folder of data; start the longest ones first, so that workers finish together.

    Those in the browser come last: they look at the book that others make, and would wait for it.
    """
    for item in items:
        if "data" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
    items.sort(key=lambda item: (item.get_closest_marker("browser") is not None,
                                 item.get_closest_marker("slow") is None))
