"""One node, one release for all tests here; what was measured is printed when they have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import images, programs
from cluster.binaries import require
from cluster.node import Node
from cluster.pauseimage import write_program_image
from e2e.figures import KEY, Figures
from e2e.flights import Tenant, train_tenants
from e2e.installation import TENANTS, Installation
from e2e.rest import settle

Note = Callable[[str], None]
SECONDS = 900


def pytest_configure(config: pytest.Config) -> None:
    config.stash[KEY] = Figures()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first of them waits for the images and for the whole set-up."""
    for item in items:
        item.add_marker(pytest.mark.timeout(SECONDS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[KEY]
    if figures.lines:
        terminalreporter.section("figures")
    for test, lines in figures.lines.items():
        terminalreporter.write_line(test)
        for line in lines:
            terminalreporter.write_line(f"    {line}")


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Keeps a line for the end."""
    name = request.node.name.removeprefix("test_").replace("_", " ")
    return lambda line: request.config.stash[KEY].note(name, line)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A real node that has the images of this source, and another predictor's under the next tag."""
    built = images.images()
    with Node() as node:
        for archive in (built.operator, built.router, built.predictor, built.successor):
            node.load_image(archive)
        for part in ("operator", "router"):
            node.tag_image(f"tenantry/{part}:{built.tag}", f"tenantry/{part}:{built.tag}-next")
        store = node.directory / "demo-s3.tar"
        node.load_image(
            write_program_image(require(programs.VERSITYGW), f"tenantry/demo-s3:{built.tag}", store)
        )
        yield node


@pytest.fixture(scope="session")
def tenants(node: Node) -> Iterator[Sequence[Tenant]]:
    """The tour's models in memory, trained while the cluster comes up."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(train_tenants, TENANTS).result()


@pytest.fixture(scope="session")
def release(node: Node, tenants: Sequence[Tenant]) -> Iterator[Installation]:
    """What the tour makes: the chart with two routers, a store, fifty models of real data, all ready."""
    made = Installation(node, tenants)
    try:
        made.tour("install", "publish", "apply", "predict")
        yield made
    finally:
        made.close()


@pytest.fixture
def installation(release: Installation) -> Installation:
    """The same, at rest: whatever a test before has done."""
    settle(release)
    return release
