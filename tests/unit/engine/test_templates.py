"""Templates in a child process: what they may reach, how long and how large they may get, and what is kept of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from pydantic import BaseModel

import tasks
from orchestrator import AgentContext
from orchestrator.engine import templates as engine_templates
from orchestrator.engine.prefetching import likely_templates
from orchestrator.engine.templates import TemplateFailed, Templates
from tests.workers import eventually


class Story(BaseModel):
    title: str
    due: date


@pytest.fixture(scope="module", autouse=True)
def own_turns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Other tests that render at the same time take no turns of ours."""
    with pytest.MonkeyPatch.context() as patch:
        turns = tmp_path_factory.mktemp("turns")
        patch.setattr(engine_templates, "_turns", lambda: turns)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates" / "parts").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("the secret")
    return tmp_path / "templates"


def rendered(folder: Path, text: str, **variables: object) -> str:
    (folder / "tried.txt.j2").write_text(text)
    return Templates((folder,), timeout=60, limit=10_000).render("tried.txt.j2", variables)


def test_a_template_gets_its_variables_as_data(folder: Path) -> None:
    (folder / "parts" / "title.j2").write_text("# {{ story.title }}\n")
    text = "{% include 'parts/title.j2' %}{{ story.due }} {{ tags | join('+') }} {{ nothing is none }}\n"
    story = Story(title="{{ 7 * 7 }} {% include 'secret.txt' %}", due=date(2026, 1, 2))
    assert rendered(folder, text, story=story, tags=("a", "b"), nothing=None) == (
        "# {{ 7 * 7 }} {% include 'secret.txt' %}\n2026-01-02 a+b True\n"
    ), "what agents write is never a template itself"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{{ ''.__class__.__mro__ }}", "SecurityError: access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ data.update({'a': 2}) }}", "SecurityError: access to attribute 'update' of 'dict' object is unsafe"),
        ("{{ cycler.__init__.__globals__.os }}", "SecurityError"),
        ("{{ ('{0.__class__}').format(data) }}", "SecurityError"),
        ("{{ missing }}", "UndefinedError: 'missing' is undefined"),
        ("{{ data.missing.deeper }}", "has no attribute 'missing'"),
        ("{% include '../secret.txt' %}", "TemplateNotFound: ../secret.txt"),
        ("{% include 'link.txt' %}", "'link.txt' leads out of the folder of templates"),
        ("{% include 'linked/secret.txt' %}", "leads out of the folder of templates"),
        ("{% include '/etc/passwd' %}", "TemplateNotFound: /etc/passwd"),
        ("{% include 'tried.txt.j2' %}", "RecursionError"),
        ("{% for a in range(99999) %}{{ a }}{% endfor %}", "its text has more than the 10,000 characters allowed"),
        ("{{ 'a' * 10 ** 9 }}", "it needs more than 256 MB of memory"),
        ("{{ data | map('nothing') }", "TemplateSyntaxError"),
    ],
)
def test_what_a_template_may_not_do(folder: Path, text: str, complaint: str) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "linked").symlink_to(folder.parent, target_is_directory=True)
    with pytest.raises(TemplateFailed, match=r"^template 'tried.txt.j2': ") as failed:
        rendered(folder, text, data={"a": 1})
    assert complaint in str(failed.value)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "parts/../../secret.txt", "", "nothing.j2", "parts"])
def test_only_what_is_in_the_folders_is_a_template(folder: Path, name: str) -> None:
    with pytest.raises(TemplateFailed, match="TemplateNotFound"):
        AgentContext.for_test(templates=[folder]).render(name)


def test_a_render_that_never_ends_is_ended(folder: Path) -> None:
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (folder / "loop.j2").write_text(loop)
    with pytest.raises(TemplateFailed, match=r"template 'loop.j2': it took longer than 0.5 s"):
        Templates((folder,), timeout=0.5).render("loop.j2", {})
    assert rendered(folder, "{{ a }}", a=1) == "1", "the next one has a process again"


def test_a_variable_that_is_no_data_is_refused(folder: Path) -> None:
    with pytest.raises(TemplateFailed, match="a variable is no JSON"):
        rendered(folder, "{{ f }}", f=lambda: 1)


def test_a_child_is_used_again_and_replaced_when_it_is_gone(folder: Path) -> None:
    large = "x" * 3_000_000
    limits = Templates((folder,), limit=10_000_000)
    (folder / "echo.j2").write_text("{{ text }}")
    assert limits.render("echo.j2", {"text": large}) == large
    (child,) = engine_templates._CHILDREN._idle
    assert limits.render("echo.j2", {"text": "again"}) == "again"
    assert engine_templates._CHILDREN._idle == [child]
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    assert limits.render("echo.j2", {"text": "once more"}) == "once more"
    (other,) = engine_templates._CHILDREN._idle
    assert other.process.pid != child.process.pid


def test_a_host_renders_so_many_at_a_time(folder: Path) -> None:
    """Two renders of three wait for nothing but their turn, until the third one is ended."""
    begun, over = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        with engine_templates._turn(2):
            begun.release()
            assert over.wait(60)

    (folder / "plain.j2").write_text("done")
    with ThreadPoolExecutor(3) as threads:
        holding = [threads.submit(hold) for _ in range(2)]
        assert all(begun.acquire(timeout=60) for _ in holding)
        third = threads.submit(Templates((folder,), concurrent=2).render, "plain.j2", {})
        eventually(_waits_for_a_lock, within=60, what="the third one waits for its turn")
        assert not third.done()
        over.set()
        assert third.result(60) == "done"


def _waits_for_a_lock() -> bool:
    """The kernel lists who waits for a lock behind `->`."""
    waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(str(os.getpid()) in line for line in waiting)


def test_a_child_started_ahead_has_loaded_what_will_be_rendered(folder: Path) -> None:
    (folder / "soon.j2").write_text("{{ a }}")
    limits = Templates((folder,), memory=200_000_000)
    limits.warm(["soon.j2", "nothing.j2"])
    (child,) = (one for one in engine_templates._CHILDREN._idle if one.memory == 200_000_000)
    limits.warm(["soon.j2"])
    assert child.owes == 1, "it has been told"
    limits.warm(["soon.j2", "later.j2"])
    assert child.owes == 2
    assert limits.render("soon.j2", {"a": 1}) == "1"
    assert child in engine_templates._CHILDREN._idle


def test_the_templates_of_an_agent_and_of_the_next_one_in_the_plan_are_foreseen() -> None:
    folders = (Path(tasks.__file__).parent / "templates",)
    definition = {"agent": "analyst", "next": [["pm", "pm", "pm", 5], ["qa", "qa", "qa", 5]]}
    both = {"analyst.md.j2", "requirements.md.j2"}
    assert likely_templates(definition, {}, folders, {"agents.pm", "agents.qa"}) == both
    assert likely_templates(definition, {}, folders, {"agents.analyst"}) == {"analyst.md.j2"}, "another worker's"
    assert likely_templates(definition, {"pm": {"seen.j2"}}, folders, {"agents.pm"}) == {*both, "seen.j2"}
    assert likely_templates({"agent": "noop"}, {}, folders, ()) == set()
    assert {"report.md.j2"} == likely_templates({"agent": "qa"}, {}, folders, ())
    assert len(likely_templates({"agent": "developer"}, {}, folders, ())) == 9
