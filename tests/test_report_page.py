"""The report in a real browser: it looks right, filters, and neither runs nor loads what models wrote."""

import http.server
import threading
from pathlib import Path

import pytest
from browser import Browser
from finished_runs import hostile_sample, write_run

from lemma_train.evaluation.report import write_report

pytestmark = pytest.mark.slow

BENCHMARKS = ("gsm8k", "math", "svamp", "asdiv", "mawps", "deepmind_math", "college_math")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def trap():
    """A server that nobody should ask; its address and what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def page(tmp_path, trap) -> Path:
    evil = f'</script><script>document.title="taken"</script><img src="{trap[0]}/x" onerror="document.title=1">'
    extra = [hostile_sample(0, evil + "\u202e" + "Z" + "\u0351" * 50), hostile_sample(1, "y" * 100_000)]
    runs = [
        write_run(tmp_path / "one", "base", 0.35, BENCHMARKS, 60),
        write_run(tmp_path / "two", f"tuned {'with a long name ' * 4}{evil}", 0.75, BENCHMARKS, 60, extra=extra),
    ]
    write_report(runs[1:], tmp_path / "report.html", base=runs[0])
    return tmp_path / "report.html"


CARDS = "[...document.querySelectorAll('article')].filter((card) => !card.hidden && card.offsetHeight > 0)"


def test_a_browser_shows_the_page_and_asks_for_nothing_else(browser, page, trap):
    browser.requests.clear()
    browser.violations.clear()
    for width in (1200, 390):
        for dark in (False, True):
            browser.look(width, dark)
            browser.open(page.as_uri())
            browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert browser.run("document.title") == "Evaluation of 2 models"
            # Nothing hangs over the edge of a phone: wide tables scroll in their own frames.
            assert browser.run("document.documentElement.scrollWidth") <= width
            badges = "[...document.querySelectorAll('.badge')].map((each) => each.getBoundingClientRect().right)"
            assert browser.run(f"Math.max(...{badges})") <= width
            ground = "getComputedStyle(document.body).backgroundColor"
            assert browser.run(ground) == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
            ink = "getComputedStyle(document.querySelector('figure svg text')).fill"
            assert browser.run(ink) == ("rgb(228, 231, 235)" if dark else "rgb(31, 35, 40)")
            reflection = "getComputedStyle(document.querySelector('article mark.reflection')).backgroundColor"
            assert browser.run(reflection) == ("rgb(69, 58, 16)" if dark else "rgb(253, 240, 194)")
            browser.screenshot(page.with_name(f"{width}{'dark' if dark else 'light'}.png"))
            assert page.with_name(f"{width}{'dark' if dark else 'light'}.png").stat().st_size > 10_000
    assert set(browser.requests) == {page.as_uri()}
    assert browser.violations == []
    assert trap[1] == []


def test_seven_benchmarks_with_their_differences_fit_on_a_wide_screen(browser, tmp_path):
    base, tuned = (write_run(tmp_path / name, name, right, BENCHMARKS, 30) for name, right in (("b", 0.3), ("t", 0.8)))
    write_report([tuned], tmp_path / "report.html", base=base)
    browser.look(1280, False)
    browser.open((tmp_path / "report.html").as_uri())
    frame = "document.querySelector('#accuracy .scroll')"
    assert browser.run(f"{frame}.querySelectorAll('.change').length") == 8
    assert browser.run(f"{frame}.scrollWidth <= {frame}.clientWidth")
    # The names of models keep room beside them, and a difference stands on lines of its own.
    assert browser.run(f"{frame}.querySelector('td').offsetWidth") >= 180
    assert browser.run(f"{frame}.querySelector('.change').offsetHeight") >= 30


def test_the_policy_forbids_what_escaping_should_have_stopped(browser, page, trap):
    """The second wall: the page with a script and a picture put into it loads and runs neither."""
    broken = page.with_name("broken.html")
    evil = f'<script>document.title = "taken"</script><img src="{trap[0]}/x" onerror="document.title=1"></main>'
    broken.write_text(page.read_text().replace("</main>", evil))
    browser.violations.clear()
    browser.open(broken.as_uri())
    assert browser.run("document.title") == "Evaluation of 2 models"
    assert trap[1] == []
    assert len(browser.violations) >= 2


def test_filters_choose_samples_and_stand_in_the_address(browser, page):
    browser.look(1200, False)
    browser.open(page.as_uri())
    everything = browser.run(f"{CARDS}.length")
    assert browser.run("document.getElementById('shown').textContent") == f"{everything} of {everything} shown"
    choose = (
        "(() => { const field = document.querySelector('select[name=%s]'); field.value = '%s';"
        " field.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    browser.run(choose % ("outcome", "repaired"))
    browser.run(choose % ("benchmark", "math"))
    shown = browser.run(f"{CARDS}.map((card) => [card.dataset.outcome, card.dataset.benchmark])")
    assert shown and all(pair == ["repaired", "math"] for pair in shown) and len(shown) < everything
    assert browser.run("location.hash") == "#benchmark=math&outcome=repaired"
    assert browser.run("document.getElementById('shown').textContent") == f"{len(shown)} of {everything} shown"

    browser.open("about:blank")
    browser.open(f"{page.as_uri()}#benchmark=math&outcome=repaired")
    assert browser.run(f"{CARDS}.length") == len(shown)
    browser.open("about:blank")
    browser.open(f"{page.as_uri()}#outcome=nonsense&correct=false")
    verdicts = browser.run(f"{CARDS}.map((card) => card.dataset.correct)")
    assert set(verdicts) == {"false"}

    # In the same tab an address is the whole choice: what it does not name is chosen no more.
    browser.open("about:blank")
    browser.open(f"{page.as_uri()}#outcome=spoiled")
    assert set(browser.run(f"{CARDS}.map((card) => card.dataset.outcome)")) == {"spoiled"}
    moved = "new Promise((done) => { addEventListener('hashchange', () => setTimeout(done)); location.hash = '%s'; })"
    browser.run(moved % "benchmark=math")
    shown = browser.run(f"{CARDS}.map((card) => [card.dataset.outcome, card.dataset.benchmark])")
    assert {benchmark for _, benchmark in shown} == {"math"} and len({outcome for outcome, _ in shown}) > 2
    browser.run(moved % "settings")
    assert browser.run(f"{CARDS}.length") == len(shown)

    browser.run("document.getElementById('open').click()")
    assert browser.run(f"{CARDS}.every((card) => card.firstElementChild.open)")
    browser.run("document.getElementById('open').click()")
    assert not browser.run(f"{CARDS}.some((card) => card.firstElementChild.open)")


def test_without_javascript_every_sample_is_there_and_no_dead_filter_is_shown(browser, page):
    browser.open("about:blank")
    browser.open(page.as_uri(), scripts=False)
    try:
        # The pipe's own evaluation still works where the page's scripts do not.
        assert browser.run("getComputedStyle(document.getElementById('filters')).display") == "none"
        assert browser.run(f"{CARDS}.length") > 200
    finally:
        browser.open("about:blank")
