"""The developer: a Python project skeleton that implements the API in memory, with tests that run.

Rule-based, no language model: code comes from templates that are filled from the OpenAPI document, so what it does is
what the document says. It needs nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator import AgentContext, agent
from tasks.inputs import look_up, parse, read_as, read_or, shape
from tasks.making.skeleton import Module, Route, docstring, literal, make_modules, package_name, sample
from tasks.making.stack import chosen
from tasks.models import (
    DeveloperOutput,
    FunctionalRequirement,
    GeneratedTest,
    ProjectBrief,
    Screen,
    TechnologyStack,
    UiSpec,
    UserStory,
)
from tasks.reading import language
from tasks.writing import to_json

_DOCUMENT: Final = shape(dict[str, Any])
_STACK: Final = shape(TechnologyStack)
_UI: Final = shape(UiSpec)
_FUNCTIONAL: Final = shape(tuple[FunctionalRequirement, ...])
_STORIES: Final = shape(tuple[UserStory, ...])
_BRIEF: Final = shape(ProjectBrief)


@agent(
    "developer",
    cache=True,
    reads=[
        "architect.api_specifications",
        "architect.technology_stack",
        "ux_expert.ui_spec",
        "pm.functional_requirements",
        "pm.user_stories",
        "analyst.project_brief",
    ],
    output=DeveloperOutput,
)
def developer(ctx: AgentContext) -> DeveloperOutput:
    """Write the skeleton for `architect.api_specifications`, under `skeleton/` of the artifacts.

    An API without operations (the architect did not finish) gives a skeleton without modules, and says so.
    """
    document = read_as(ctx, "architect.api_specifications", _DOCUMENT)
    stack = read_or(ctx, "architect.technology_stack", _STACK, TechnologyStack(choices=()))
    ui = parse(ctx.read("ux_expert.ui_spec"), "ux_expert.ui_spec", _UI)
    requirements = read_or(ctx, "pm.functional_requirements", _FUNCTIONAL, ())
    stories = read_or(ctx, "pm.user_stories", _STORIES, ())
    brief = look_up(ctx, "analyst.project_brief")
    title, summary = ("Product", "") if brief is None else _title(parse(brief, "analyst.project_brief", _BRIEF))
    modules, left_out = make_modules(document)
    package = package_name(title)
    ctx.progress(0.2, f"{len(modules)} modules in package {package}")
    notes = _notes(stack, ui, modules, left_out)
    tests = tuple(_test(package, module, route) for module in modules for route in module.routes)
    files = _code(ctx, package, modules, chosen(stack, "database") or "a database")
    ctx.progress(0.6, f"wrote {len(files)} modules and tests")
    files["openapi.json"] = to_json(document)
    files["pyproject.toml"] = ctx.render(
        "skeleton/pyproject.toml.j2",
        package=package,
        name=literal(package.replace("_", "-")),
        description=literal(language.clip(title, 120)),
        script=package.replace("_", "-"),
    )
    files["wireframes.html"] = ctx.render(
        "skeleton/wireframes.html.j2",
        title=title,
        mobile=ui.platform == "mobile_first",
        platform=ui.platform.replace("_", " ").capitalize(),
        screens=_screens(ui.screens, stories, modules, requirements),
    )
    files["README.md"] = ctx.render(
        "skeleton/README.md.j2",
        title=title,
        summary=summary,
        package=package,
        notes=notes,
        first_path=modules[0].collection if modules else "/",
        rows=_rows(requirements, tests, modules),
    )
    for path, text in files.items():
        ctx.artifact(f"skeleton/{path}", text)
    lines = sum(text.count("\n") for path, text in files.items() if path.endswith(".py"))
    ctx.log.info("%d files, %d lines of Python, %d tests", len(files), lines, len(tests))
    operations = tuple(route.operation for module in modules for route in module.routes)
    return DeveloperOutput(package=package, source_files=files, operations=operations, tests=tests, notes=notes)


def _title(brief: ProjectBrief) -> tuple[str, str]:
    return brief.title, brief.summary


def _code(ctx: AgentContext, package: str, modules: Sequence[Module], database: str) -> dict[str, str]:
    """Every Python file of the skeleton."""
    root = f'"""{docstring(package.replace("_", " ").capitalize())}."""\n'
    files = {
        f"{package}/__init__.py": root,
        f"{package}/__main__.py": f"from {package}.server import main\n\nmain()\n",
        f"{package}/resources/__init__.py": '"""A module per kind of thing."""\n',
        f"{package}/core.py": ctx.render("skeleton/core.py.j2", database=docstring(database)),
        f"{package}/server.py": ctx.render("skeleton/server.py.j2", package=package),
        f"{package}/app.py": ctx.render(
            "skeleton/app.py.j2",
            package=package,
            resources=[
                {"module": module.name, "class_name": module.class_name}
                for module in sorted(modules, key=lambda one: one.name)
            ],
            routes=[_route_code(route) for module in modules for route in module.routes],
        ),
        "tests/__init__.py": "",
        "tests/test_contract.py": ctx.render("skeleton/test_contract.py.j2", package=package),
    }
    for module in modules:
        variables = _module_code(package, module)
        files[f"{package}/resources/{module.name}.py"] = ctx.render("skeleton/resource.py.j2", **variables)
        files[f"tests/test_{module.name}.py"] = ctx.render("skeleton/test_resource.py.j2", **variables)
    return files


def _route_code(route: Route) -> dict[str, str]:
    return {
        "method": route.method,
        "path": literal(route.path),
        "operation": literal(route.operation),
        "module": route.module,
        "handler": route.handler,
    }


def _module_code(package: str, module: Module) -> dict[str, Any]:
    """The variables of the templates for a module and its tests; names and values are Python source already."""
    required = next(field.name for field in module.fields if field.required)
    serves = sorted({one for route in module.routes for one in route.requirements}, key=lambda one: (len(one), one))
    return {
        "package": package,
        "title": docstring(language.upper_first(language.plural(module.entity))),
        "class_name": module.class_name,
        "entity": literal(module.entity),
        "collection": module.collection,
        "serves": [f"Serves {', '.join(serves)}." if serves else "Serves no requirement by itself."],
        "fields": [
            {
                "name": literal(field.name),
                "kind": literal(field.kind),
                "required": field.required,
                "sample": sample(field.kind),
            }
            for field in module.fields
        ],
        "statuses": [literal(status) for status in module.statuses],
        "required": literal(required),
        "actions": [
            {
                "method": route.handler,
                "summary": docstring(route.summary),
                "status": literal(route.status),
                "requirements": ", ".join(route.requirements),
            }
            for route in module.routes
            if route.shape == "action"
        ],
        "tests": [_test_code(route) for route in module.routes],
    }


def _test_code(route: Route) -> dict[str, str]:
    return {
        "method": route.test_method,
        "summary": docstring(route.summary or route.operation),
        "requirements": ", ".join(route.requirements),
        "shape": route.shape,
        "http": route.method,
        "path": literal(route.path),
        "suffix": literal("/" + route.path.rsplit("/", 1)[-1]),
        "status": literal(route.status),
    }


def _test(package: str, module: Module, route: Route) -> GeneratedTest:
    name = f"tests.test_{module.name}.{module.class_name}Test.{route.test_method}"
    return GeneratedTest(id=name, operations=(route.operation,), requirements=route.requirements)


def _rows(
    requirements: Sequence[FunctionalRequirement], tests: Sequence[GeneratedTest], modules: Sequence[Module]
) -> list[Mapping[str, Any]]:
    routes = [route for module in modules for route in module.routes]
    return [
        {
            "id": one.id,
            "statement": one.statement,
            "operations": [f"`{route.operation}`" for route in routes if one.id in route.requirements],
            "tests": [f"`{test.id.rsplit('.', 1)[1]}`" for test in tests if one.id in test.requirements],
        }
        for one in requirements
    ]


def _screens(
    screens: Sequence[Screen],
    stories: Sequence[UserStory],
    modules: Sequence[Module],
    requirements: Sequence[FunctionalRequirement],
) -> list[Mapping[str, Any]]:
    """The screens with the operations that the requirements of their stories need."""
    routes = [route for module in modules for route in module.routes]
    made: list[Mapping[str, Any]] = []
    for screen in screens:
        needed = {one.id for one in requirements if set(one.stories) & set(screen.stories)}
        called = [route.operation for route in routes if needed & set(route.requirements)]
        titles = [story.title for story in stories if story.id in screen.stories]
        plain = screen.model_dump(mode="json")
        made.append({**plain, "purpose": "; ".join(titles) or screen.purpose, "operations": called})
    return made


def _notes(stack: TechnologyStack, ui: UiSpec, modules: Sequence[Module], left_out: Sequence[str]) -> tuple[str, ...]:
    """What the skeleton does not do, said plainly."""
    backend = chosen(stack, "backend")
    notes = [
        f"Nothing is kept: {chosen(stack, 'database') or 'a database'} has to take the place of `core.Collection`.",
        f"Who is signed in is not checked: {chosen(stack, 'identity') or 'an identity provider'} has to be asked in "
        "`server._answer`, and permissions per role are missing.",
        "Fields are checked for their kind only; rules between them, and acceptance criteria, are still to be written.",
    ]
    if backend and not backend.startswith("Python"):
        notes.append(f"The brief names {backend}; take this Python code as a description of the API that can be run.")
    if any(choice.layer == "workers" for choice in stack.choices):
        notes.append("Messages and timed work only change the state of a record; no background worker sends or waits.")
    if left_out:
        notes.append(f"These operations fit no known shape and are left out: {', '.join(left_out)}.")
    if not modules:
        notes.append("The API document has no operation that can be built, so there is no module at all.")
    if ui.assumed:
        notes.append("The UX expert did not finish; there are no wireframes.")
    return tuple(notes)
