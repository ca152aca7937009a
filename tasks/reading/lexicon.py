"""The word lists that the rules work with. English only; a brief in another language falls back on its structure."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


VERB_CLASSES: Final[dict[str, str]] = {
    "create": """create add report submit register book record log upload order request invite publish post enter
        capture scan weigh write draft reserve apply calculate generate produce compute issue import buy sell donate
        lend borrow rent open start make describe store collect attach sign-up suggest offer propose claim check-in
        take""",
    "read": """view see list browse search find filter track show monitor check compare read follow look get receive
        review inspect visualise visualize display watch discover preview forecast analyse analyze access explore
        understand consult learn listen recommend""",
    "change": """assign approve reject confirm mark update edit change move reschedule schedule close reopen sign
        correct merge split lock release accept decline rate pay plan prioritise prioritize transfer dispute complete
        finish reply answer comment tag label share link match verify adjust set pause resume activate deactivate
        settle invoice dispatch escalate hand-over swap return renew extend work repair prepare deliver ship pick
        use keep save flag detect validate block enforce ensure""",
    "remove": "delete remove cancel archive withdraw unsubscribe revoke erase",
    "notify": "remind notify alert send warn inform message email text call",
    "export": "export download print",
    "manage": "manage maintain administer configure organise organize handle control",
}
"""Verb class -> base forms. The class decides which screen and which API operation a feature needs."""

NOMINALS: Final[dict[str, tuple[str, bool]]] = {
    "tracking": ("track", False),
    "search": ("search", False),
    "reporting": ("export", False),
    "scheduling": ("schedule", False),
    "assignment": ("assign", False),
    "approval": ("approve", False),
    "management": ("manage", False),
    "administration": ("manage", False),
    "export": ("export", False),
    "import": ("import", False),
    "booking": ("book", True),
    "reminder": ("send", True),
    "alert": ("send", True),
    "notification": ("send", True),
    "registration": ("register", False),
    "calculation": ("calculate", False),
    "planning": ("plan", False),
    "monitoring": ("monitor", False),
    "payment": ("record", True),
    "history": ("view", False),
    "overview": ("view", False),
    "dashboard": ("view", False),
    "list": ("view", False),
    "log": ("view", True),
    "calendar": ("view", False),
    "map": ("view", False),
    "statistics": ("view", False),
}
"""Last noun of a title -> the verb it stands for, and whether the noun itself is the thing acted upon."""

RELATIONS: Final[dict[str, str]] = {
    "reserve": "reservation",
    "book": "booking",
    "borrow": "loan",
    "lend": "loan",
    "rent": "rental",
    "order": "order",
    "buy": "purchase",
    "sell": "sale",
    "donate": "donation",
}
"""Verbs that create a thing of their own between somebody and their object: "reserve a tool" makes a tool
reservation."""

UPDATE_VERBS: Final[frozenset[str]] = _words(
    "update edit change correct adjust move reschedule set comment merge split"
)
"""Verbs that alter a thing without bringing it into another state."""

WEAK_NOUNS: Final[frozenset[str]] = _words(
    """history list overview status detail details data information mode support dashboard search export import page
    screen view form system app application platform service feature function functionality option way thing
    area section part set number kind type lot process workflow access login module day week month year time minute
    hour second morning evening screens side one ones everything something anything nothing people
    work message reminder notification alert email e-mail push
    use need place end start help total version copy amount whole rest reason case"""
)
"""Nouns that never make a resource of an API by themselves."""

ADJECTIVES: Final[frozenset[str]] = _words(
    """new open free own current urgent all any every each several multiple available daily weekly monthly yearly
    annual automatic printable finished overdue existing simple quick full short long small large last next recent
    past future incoming outgoing pending complete completed single common personal public private shared other
    different same latest first second third final many more most few some such only real good bad clear online
    offline digital electronic local central direct detailed basic special specific important relevant possible
    useful nearby nearest upcoming missing late early unpaid paid printed signed approved active individual correct
    whole rough reliable own two three four five six seven eight nine ten favourite favorite concurrent simultaneous
    registered elderly paying full-time part-time seasonal
    new-build self-employed external internal outside regional nightly printed handwritten"""
)

DETERMINERS: Final[frozenset[str]] = _words(
    "a an the this that these those my our your his her its their one no which what whose both either"
)

BREAKERS: Final[frozenset[str]] = _words(
    """of in on at to for from by with without and or but so that which who whom whose when where while if as than
    then into onto over under after before during until within via per about across against between through is are
    was were be been being has have had do does did can could may might must shall should will would not it they
    them he she we us you i me also too there here because since unless how why whether even still already just out
    up off down back away again once twice nor including containing using instead rather except plus like automatically
    straight directly later soon together above below behind beside beyond along around near towards inside next
        itself themselves only not"""
)
"""Words that end a noun phrase."""

PEOPLE: Final[frozenset[str]] = _words(
    """staff people person team member tenant caretaker patient nurse student parent customer client volunteer admin
    administrator clerk guest child adult family resident citizen employee accountant auditor merchant grower farmer
    driver operator manager teacher doctor librarian reader writer author editor visitor buyer seller vendor supplier
    contractor technician engineer developer designer analyst coordinator supervisor inspector organiser organizer
    trainer coach player musician singer pupil scientist researcher owner landlord user operator cook chef waiter
    courier dispatcher planner treasurer secretary chair agent officer worker assistant therapist pharmacist
    receptionist accountant bookkeeper trustee donor carer caregiver cyclist commuter traveller traveler host
    moderator reviewer subscriber mechanic"""
)

NOT_PEOPLE: Final[frozenset[str]] = _words(
    "wishlist checklist watchlist shortlist playlist waitlist median meridian twist"
)
"""Nouns that end like a role (-ist, -ian) and are none."""

PROBLEM_WORDS: Final[tuple[str, ...]] = (
    "problem",
    "currently",
    "today",
    "struggl",
    "waste",
    "lose",
    "lost",
    "manual",
    "error-prone",
    "slow",
    "cannot",
    "can't",
    "no way",
    "difficult",
    "frustrat",
    "too long",
    "too late",
    "too often",
    "spreadsheet",
    "by hand",
    "nobody knows",
    "complain",
    "forgot",
    "misplace",
    "pain",
    "unclear who",
    "takes hours",
    "mistake",
    "delay",
)

SYMPTOM_WORDS: Final[tuple[str, ...]] = (
    *PROBLEM_WORDS,
    "nobody",
    "twice",
    "again",
    "did not",
    "does not",
    "without",
    "wrong",
    "takes",
    "complain",
    "too ",
    "no longer",
    "locks up",
    "only one",
    "phone to ask",
)

GOAL_WORDS: Final[tuple[str, ...]] = (
    "goal",
    "aim ",
    "aims ",
    "success",
    "reduce",
    "increase",
    "halve",
    "we want to",
    "improve",
    "target is",
    "by the end of",
)

OUT_OF_SCOPE_WORDS: Final[tuple[str, ...]] = (
    "out of scope",
    "will not",
    "won't",
    "not part of",
    "no need for",
    "not needed",
    "later version",
    "not planned",
    "not in the first",
    "we do not want",
    "excluded",
)

OPEN_WORDS: Final[tuple[str, ...]] = (
    "tbd",
    "to be decided",
    "to be clarified",
    "unclear whether",
    "not yet decided",
    "undecided",
    "open question",
)

MUST_WORDS: Final[tuple[str, ...]] = (
    "must",
    "essential",
    "required",
    "mandatory",
    "needs to",
    "need to",
    "has to",
    "critical",
    "from day one",
    "shall",
)
COULD_WORDS: Final[tuple[str, ...]] = (
    "could",
    "nice to have",
    "nice-to-have",
    "optional",
    "ideally",
    "later",
    "if time",
    "perhaps",
    "maybe",
    "would be nice",
    "eventually",
)
SHOULD_WORDS: Final[tuple[str, ...]] = ("should", "important", "expected")

MOBILE_WORDS: Final[tuple[str, ...]] = (
    "phone",
    "mobile",
    "smartphone",
    "on site",
    "on-site",
    "in the field",
    "tablet",
    "android",
    "ios",
    "outdoors",
    "on the go",
    "pocket",
    "touch",
)
DESKTOP_WORDS: Final[tuple[str, ...]] = (
    "desktop",
    "back office",
    "back-office",
    "workstation",
    "keyboard",
    "monitor",
    "large screen",
    "office pc",
    "at a desk",
    "windows pc",
    "wide screen",
    "two screens",
    "desk-bound",
)

HEADINGS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("features", ("user stor", "use case", "user need", "stories")),
    (
        "out_of_scope",
        (
            "out of scope",
            "not in scope",
            "non-goal",
            "non goal",
            "won't",
            "exclusion",
            "not now",
            "what we do not",
            "what it is not",
            "not included",
            "leave out",
            "later",
        ),
    ),
    ("questions", ("question", "unknown", "to be clarified", "undecided", "tbd")),
    (
        "constraints",
        (
            "constraint",
            "technical",
            "technolog",
            "non-functional",
            "nonfunctional",
            "quality",
            "limit",
            "compliance",
            "security",
            "performance",
            "infrastructure",
            "boundary",
            "boundaries",
            "rules",
            "what we have to respect",
            "given",
            "regulat",
            "legal",
            "budget",
            "timeline",
            "environment",
        ),
    ),
    ("users", ("user", "audience", "persona", "customer", "stakeholder", "actor", "who ", "people", "roles")),
    ("problem", ("problem", "pain", "why", "background", "motivation", "today", "situation", "challenge", "context")),
    (
        "goals",
        (
            "goal",
            "objective",
            "success",
            "metric",
            "kpi",
            "outcome",
            "what good looks like",
            "aims",
            "how we will know",
            "how we know",
            "measure",
        ),
    ),
    (
        "features",
        (
            "feature",
            "capabilit",
            "functional",
            "requirement",
            "scope",
            "must have",
            "should have",
            "could have",
            "nice to have",
            "mvp",
            "use case",
            "stories",
            "what it does",
            "what it should do",
            "what it must do",
            "functions",
            "needs to do",
        ),
    ),
    (
        "summary",
        (
            "summary",
            "overview",
            "introduction",
            "vision",
            "about",
            "abstract",
            "in short",
            "in one paragraph",
            "the idea",
            "idea",
        ),
    ),
)
"""What a section is about -> parts of headings that say so; the first match wins, so the narrower ones stand first."""
