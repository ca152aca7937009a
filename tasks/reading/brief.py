"""Markdown into sections, items and paragraphs, each with its line in the brief. Structure only, no meaning."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, field

from orchestrator import InvalidValue
from tasks.reading import lexicon

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

MAX_CHARACTERS: Final = 400_000
"""About a hundred printed pages. A longer text is no brief, and would only slow every later step."""

_ALLOWED_CONTROLS: Final = frozenset("\t\n\r\f")


class Block(Struct, frozen=True):
    """One paragraph, list item or table row. `lead` is the text that stands in bold at its start, if any."""

    kind: Literal["paragraph", "item", "row"]
    text: str
    line: int
    lead: str = ""
    children: tuple[Block, ...] = ()
    checked: bool | None = None


class Section(Struct, frozen=True):
    """A heading with what stands under it up to the next heading; the text before the first has heading ""."""

    heading: str
    level: int
    line: int
    blocks: tuple[Block, ...]
    parents: tuple[str, ...] = ()
    topic: str = ""


class Brief(Struct, frozen=True):
    title: str
    sections: tuple[Section, ...]

    def about(self, topic: str) -> tuple[Section, ...]:
        return tuple(section for section in self.sections if section.topic == topic)


class _Draft(Struct):
    heading: str
    level: int
    line: int
    blocks: list[Block] = field(default_factory=list)


def checked_text(value: object) -> str:
    """The text of a brief, newlines made uniform. Raises InvalidValue for what is no text, empty, or binary."""
    if not isinstance(value, str):
        raise InvalidValue(f"the brief is a {type(value).__name__}; it has to be a text in Markdown")
    text = value.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > MAX_CHARACTERS:
        raise InvalidValue(f"the brief has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    for number, line in enumerate(text.split("\n"), start=1):
        bad = next((char for char in line if _is_binary(char)), None)
        if bad is not None:
            raise InvalidValue(
                f"the brief is no readable text: character U+{ord(bad):04X} in line {number}; "
                "give a Markdown file in UTF-8, not a binary document"
            )
    if not text.strip():
        raise InvalidValue("the brief is empty; give a Markdown text that says what the product shall do")
    return text


def _is_binary(char: str) -> bool:
    return char == "\ufffd" or (char not in _ALLOWED_CONTROLS and unicodedata.category(char) in ("Cc", "Cs"))


def parse_brief(text: str) -> Brief:
    """The sections of a Markdown text. Raises InvalidValue when it has no words at all."""
    from markdown_it import MarkdownIt  # which only the analyst pays
    from markdown_it.tree import SyntaxTreeNode

    body, front_title = _without_front_matter(text)
    tree = SyntaxTreeNode(MarkdownIt("commonmark", {"html": False, "maxNesting": 30}).enable("table").parse(body))
    drafts = [_Draft("", 0, 1)]
    for node in tree.children:
        if node.type == "heading":
            drafts.append(_Draft(_inline(node), int(node.tag[1:]), _line(node)))
        else:
            drafts[-1].blocks.extend(_blocks(node))
    if not any(draft.heading or draft.blocks for draft in drafts):
        raise InvalidValue("the brief has no words in it; give a Markdown text that says what the product shall do")
    title = front_title or _title(drafts)
    return Brief(title, tuple(_sections(drafts, title)))


def _without_front_matter(text: str) -> tuple[str, str]:
    """The text with a leading `---` block of metadata blanked, so that lines keep their number, and its title."""
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return text, ""
    end = next((index for index, line in enumerate(lines[1:60], start=1) if line.strip() in ("---", "...")), None)
    if end is None or not all(":" in line or not line.strip() or line[0] in " -#" for line in lines[1:end]):
        return text, ""
    titles = (line.split(":", 1)[1].strip(" \"'") for line in lines[1:end] if line.lower().startswith("title:"))
    return "\n".join([""] * (end + 1) + lines[end + 1 :]), next(titles, "")


def _title(drafts: list[_Draft]) -> str:
    headings = [draft for draft in drafts if draft.heading]
    top = min((draft.level for draft in headings), default=0)
    if headings and (headings[0].level == top) and topic_of(headings[0].heading) in ("", "features"):
        return headings[0].heading
    first = next((block.text for draft in drafts for block in draft.blocks), "") or headings[0].heading
    words = first.split(". ")[0].split(": ")[0].split()
    return " ".join(words[:8]).rstrip(".,;:!") + ("…" if len(words) > 8 else "")


def _sections(drafts: list[_Draft], title: str) -> Iterator[Section]:
    stack: list[tuple[int, str, str]] = []
    for draft in drafts:
        while stack and stack[-1][0] >= draft.level:
            stack.pop()
        own = "" if draft.heading == title else topic_of(draft.heading)
        inherited = next((topic for _, _, topic in reversed(stack) if topic), "")
        parents = tuple(heading for _, heading, _ in stack)
        topic = inherited if inherited == "features" and own in ("", "summary") else own or inherited
        if draft.heading or draft.blocks:
            yield Section(draft.heading, draft.level, draft.line, tuple(draft.blocks), parents, topic)
        if draft.heading:
            stack.append((draft.level, draft.heading, topic))


def topic_of(heading: str) -> str:
    """What a section of that heading is about, a key of `lexicon.HEADINGS`; "" if the heading does not say."""
    lower = f"{heading.lower()} "
    for topic, parts in lexicon.HEADINGS:
        if any(_starts_a_word(lower, part) for part in parts):
            return topic
    return ""


def _starts_a_word(text: str, part: str) -> bool:
    index = text.find(part)
    while index > 0 and text[index - 1].isalnum():
        index = text.find(part, index + 1)
    return index >= 0


def _blocks(node: SyntaxTreeNode) -> Iterator[Block]:
    if node.type == "paragraph":
        text = _inline(node)
        if text:
            yield Block("paragraph", text, _line(node), _lead(node))
    elif node.type in ("bullet_list", "ordered_list"):
        for item in node.children:
            yield from _item(item)
    elif node.type == "table":
        yield from _rows(node)
    elif node.type == "blockquote":
        for child in node.children:
            yield from _blocks(child)


def _item(item: SyntaxTreeNode) -> Iterator[Block]:
    parts = [block for child in item.children for block in _blocks(child)]
    if not parts:
        return
    first, rest = parts[0], tuple(parts[1:])
    text, checked = first.text, None
    if text[:4].lower() in ("[ ] ", "[x] "):
        text, checked = text[4:].strip(), text[1].lower() == "x"
    yield Block("item", text, first.line, first.lead, rest, checked)


def _rows(table: SyntaxTreeNode) -> Iterator[Block]:
    """Every row of a table's body: the first cell leads, the other cells follow with their column's name."""
    heads = [_inline(cell) for row in table.children[0].children for cell in row.children]
    for row in table.children[1].children if len(table.children) > 1 else ():
        cells = [_inline(cell) for cell in row.children]
        if not any(cells):
            continue
        named = [
            cell if index == 1 else f"{heads[index]}: {cell}"
            for index, cell in enumerate(cells)
            if index > 0 and cell and index < len(heads)
        ]
        yield Block("row", f"{cells[0]}: {'. '.join(named)}" if named else cells[0], _line(row), cells[0])


def _inline(node: SyntaxTreeNode) -> str:
    """The plain text of a node: emphasis, links and code without their marks."""
    parts: list[str] = []
    for child in node.walk():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
    return " ".join("".join(parts).split())


def _lead(paragraph: SyntaxTreeNode) -> str:
    inline = paragraph.children[0] if paragraph.children else None
    marks = [child for child in inline.children if child.content or child.type != "text"] if inline else []
    return _inline(marks[0]).rstrip(" :.–—-") if marks and marks[0].type == "strong" else ""


def _line(node: SyntaxTreeNode) -> int:
    return (node.map[0] + 1) if node.map else 0
