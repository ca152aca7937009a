"""Our templates beside those of Flower, and one more tab in its navigation bar."""

from __future__ import annotations

from pathlib import Path

from tornado.template import Loader, Template

FOLDER = Path(__file__).parent / "templates"
_NAVBAR = "navbar.html"
_END_OF_TABS = "</ul>"
_TAB = """<li class="nav-item">
          <a class="nav-link{% if active_tab == 'workflows' %} active{% end %}" href="{{ reverse_url('workflows') }}"
            {% if active_tab == 'workflows' %}aria-current="page"{% end %}>Workflows</a>
        </li>
      """


class Templates(Loader):
    """Loads Flower's templates from its folder and ours from FOLDER. They extend each other, so their names have no
    folder: ours all begin with `workflow`."""

    def _create_template(self, name: str) -> Template:
        ours = FOLDER / name
        if ours.is_file():
            return Template(ours.read_bytes(), name=name, loader=self)
        if name == _NAVBAR:
            text = Path(self.root, name).read_text(encoding="utf-8")
            before, end, after = text.partition(_END_OF_TABS)
            return Template(before + _TAB + end + after, name=name, loader=self)
        return super()._create_template(name)
