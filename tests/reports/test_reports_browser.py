"""The page in a real browser, where Chromium is installed: it runs, without an error or a request."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import reports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_runs_in_a_browser(built: tuple[reports.ReportSummary, Path], tmp_path: Path) -> None:
    page = built[0].html
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", "--dump-dom",
        f"file://{page}#ex=caption:c3",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=120)
    text, log = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    assert "CONSOLE" not in log, log
    assert len(re.findall(r'<li[ >].*?class="bar"', text)) > 20
    assert re.search(r'<output id="f-count">\d+ of \d+</output>', text)
    assert 'aria-current="true"' in text
