"""A definition while it is read: raw values with the place each came from, before references are resolved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from orchestrator.documents import Document, Location, dotted, shown
from orchestrator.errors import Problem
from orchestrator.problems import did_you_mean, unknown_key


class Reference(Struct, frozen=True):
    """A name or path as written, and where."""

    text: str
    location: Location


class Draft(Struct):
    """Values of a model's fields, each with the place of its key in the document."""

    location: Location
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Location] = field(default_factory=dict)

    def locate(self, location: Location) -> Location:
        """From a place in the model to the place in the document."""
        if not location:
            return self.location
        first = str(location[0])
        return (*self.places.get(first, (*self.location, first)), *location[1:])

    def inherit(self, other: Draft) -> None:
        """Take over every value that is not set here."""
        for name, value in other.values.items():
            if name not in self.values:
                self.values[name], self.places[name] = value, other.places[name]


class StepDraft(Draft):
    """A step; its references wait until all names are known."""

    needs: list[Reference] = field(default_factory=list)
    wants: list[Reference] = field(default_factory=list)
    validates: list[Reference] = field(default_factory=list)
    inputs: list[Reference] = field(default_factory=list)
    reads: list[Reference] | None = None
    writes: list[Reference] | None = None
    group: Reference | None = None
    items: Reference | None = None
    mapped: Location | None = None

    @property
    def id(self) -> str:
        return str(self.values.get("id", ""))

    @property
    def agent(self) -> str:
        return str(self.values.get("agent", ""))


class GroupDraft(Draft):
    """A group; `members` are step ids, `shared` is what each member takes over from the group."""

    members: list[Reference] = field(default_factory=list)
    barrier: Draft = field(default_factory=lambda: Draft(()))
    shared: StepDraft = field(default_factory=lambda: StepDraft(()))
    closed: bool = False

    @property
    def id(self) -> str:
        return str(self.values.get("id", ""))


class Reading(Struct):
    """One pass over a document: what was found so far, and what was wrong with it."""

    document: Document
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    steps: list[StepDraft] = field(default_factory=list)
    groups: list[GroupDraft] = field(default_factory=list)
    step_defaults: Draft = field(default_factory=lambda: Draft(()))
    barrier_defaults: Draft = field(default_factory=lambda: Draft(()))
    flat_ids: frozenset[str] = frozenset()
    doubtful: bool = False

    def wrong(self, location: Location, message: str, hint: str = "", *, of_key: bool = False) -> None:
        """Note a mistake."""
        self.problems.append(self.document.problem(location, message, hint, of_key=of_key))

    def warn(self, location: Location, message: str, hint: str = "") -> None:
        """Note something doubtful that does not stop the workflow."""
        self.warnings.append(self.document.problem(location, message, hint))

    def unknown(self, location: Location, known: Iterable[str]) -> None:
        """Note a key that does not belong where it stands."""
        self.problems.append(unknown_key(self.document, location, known))

    def mapping(self, value: object, location: Location) -> dict[str, Any]:
        """The value if it is a mapping; else the mistake is noted and nothing is in it."""
        if isinstance(value, dict):
            return value
        self.wrong(location, f"a mapping is expected, found {shown(value)}")
        return {}

    def references(self, value: object, location: Location) -> list[Reference]:
        """A list of texts, or one text, with the place of each."""
        if isinstance(value, str):
            return [Reference(value, location)]
        if not isinstance(value, list):
            self.wrong(location, f"a list of names is expected, found {shown(value)}")
            return []
        found = []
        for index, item in enumerate(value):
            if isinstance(item, str):
                found.append(Reference(item, (*location, index)))
            else:
                self.wrong((*location, index), f"a name is expected, found {shown(item)}")
        return found

    def one_of(self, value: object, location: Location, *accepted: str) -> str | None:
        """A word out of few; else the mistake is noted with the right one."""
        if isinstance(value, str) and value in accepted:
            return value
        hint = f"the only value is '{accepted[0]}'" if len(accepted) == 1 else did_you_mean(str(value), accepted)
        self.wrong(location, f"{shown(value)} is not accepted", hint)
        return None

    def put(self, draft: Draft, name: str, value: object, location: Location) -> None:
        """Set a field once; a second key that means the same field is a mistake."""
        if name in draft.values:
            message = f"'{location[-1]}' says again what {dotted(draft.places[name])} has said"
            self.wrong(location, message, "remove one of them", of_key=True)
            return
        draft.values[name], draft.places[name] = value, location
