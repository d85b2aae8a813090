"""The HTML report in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from tests.support import needed, write_suite

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, digits: dict[str, Path]
) -> Iterator[tuple[Path, harness.RunResult]]:
    folder = tmp_path_factory.mktemp("report")
    suite = write_suite(
        folder / "suite.toml", recipes=["float32", "int8", "int16x8"],
        devices=["local", "raspberry-pi-4", "coral-usb"], trials=2,
        model_name=json.dumps(HOSTILE),
        policy='measure = ["latency", "accuracy", "operators"]',
    )  # fmt: skip
    text = suite.read_text().replace(
        'name = "small"', f"name = {json.dumps('</script>' + HOSTILE)}"
    )
    suite.write_text(text)
    result = harness.run(suite, store=f"sqlite:///{folder}/s.db")
    yield result.report(folder / "report.html"), result


@pytest.fixture
def browser() -> Iterator["webdriver.Chrome"]:  # noqa: F821, UP037
    from selenium import webdriver

    chromium = shutil.which("chromium")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        needed("Chromium and its driver are not installed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--no-first-run", "--window-size=1400,1200"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    opened = webdriver.Chrome(options=options, service=service)
    try:
        yield opened
    finally:
        opened.quit()
        service.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_report_renders_offline_without_errors(page, browser) -> None:  # type: ignore[no-untyped-def]
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    path, result = page
    text = path.read_text()
    assert "http://" not in text.split("<script>")[0] and 'src="http' not in text
    browser.get(path.as_uri())
    WebDriverWait(browser, 30).until(
        lambda b: b.find_element(By.TAG_NAME, "body").get_attribute("data-ready") == "true"
    )
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    rows = browser.find_elements(By.CSS_SELECTOR, "#comparison tbody tr")
    assert len(rows) == len(result.rows()) == 9
    # Hostile names are text: no element was made of them, and no dialog opened.
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert HOSTILE in browser.title and HOSTILE in browser.find_element(By.TAG_NAME, "h1").text
    assert rows[0].find_elements(By.TAG_NAME, "td")[0].text == HOSTILE
    # Charts are drawn: points for every job with both numbers, boxes for every trial.
    ok = [row for row in result.rows() if row["status"] == "ok"]
    points = browser.find_elements(By.CSS_SELECTOR, "[id^=scatter] .scatterlayer .point")
    assert len(points) == len(ok)
    boxes = browser.find_elements(By.CSS_SELECTOR, "[id^=boxes] .boxlayer .box")
    assert len(boxes) == 2 * len(ok)
    # The Python agent has no profiler; three variants on one simulated device and one on another.
    bars = browser.find_elements(By.CSS_SELECTOR, "[id^=operators-] .barlayer .point")
    assert len(bars) == sum(
        len(item.profile.operators) for item in result.profiles() if item.profile
    )
    assert len(browser.find_elements(By.CSS_SELECTOR, "[id^=operators-]")) == 4
    assert "cannot look into" in browser.find_element(By.ID, "operators").text
    legends = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".legendtext")]
    assert any(legend.startswith(HOSTILE) for legend in legends)
    kinds = {item.text for item in browser.find_elements(By.CSS_SELECTOR, "#comparison .kind")}
    assert kinds == {"real", "simulated"}
    failures = browser.find_elements(By.CSS_SELECTOR, "#failures tbody tr")
    assert len(failures) == len(result.rows()) - len(ok) == 2
    assert "full-integer" in failures[0].text
    assert "reference_kernels" in browser.find_element(By.ID, "advisories").text
    assert ok[0]["variant_sha256"][:12] in browser.find_element(By.ID, "provenance").text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_click_on_a_heading_sorts(page, browser) -> None:  # type: ignore[no-untyped-def]
    from selenium.webdriver.common.by import By

    path, _ = page
    browser.get(path.as_uri())
    headings = browser.find_elements(By.CSS_SELECTOR, "#comparison th")
    column = next(i for i, item in enumerate(headings) if item.text == "median ms")

    def values() -> list[float]:
        cells = browser.find_elements(
            By.CSS_SELECTOR, f"#comparison tbody td:nth-child({column + 1})"
        )
        found = [cell.get_attribute("data-value") for cell in cells]
        return [float(value) for value in found if value not in ("", "None")]

    headings[column].click()
    assert values() == sorted(values())
    headings[column].click()
    assert values() == sorted(values(), reverse=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_history_is_drawn(tmp_path: Path, browser) -> None:  # type: ignore[no-untyped-def]
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    from harness.reports import history_plot
    from harness.store import Store
    from tests.support.nights import Cell, add_night

    with Store(f"sqlite:///{tmp_path}/s.db") as store:
        for night in range(1, 15):
            late = {"latency": 12.0, "variant": "b" * 64} if night > 8 else {}
            add_night(store, night, [Cell(model=HOSTILE, **late)])  # type: ignore[arg-type]
        series = harness.history("latency", "board", store=store)
    page = history_plot.write(series, tmp_path / "history.html")
    assert 'src="http' not in page.read_text()
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(
        lambda b: b.find_element(By.TAG_NAME, "body").get_attribute("data-ready") == "true"
    )
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert len(browser.find_elements(By.CSS_SELECTOR, ".scatterlayer .point")) == 14
    assert len(browser.find_elements(By.CSS_SELECTOR, ".shapelayer path")) == 1
    words = " ".join(e.text for e in browser.find_elements(By.CSS_SELECTOR, ".annotation-text"))
    assert "+20.0 %, model changed" in words
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert HOSTILE in browser.find_element(By.TAG_NAME, "h2").text
    assert "file aaaaaaaa, then bbbbbbbb" in browser.find_element(By.CLASS_NAME, "changes").text
