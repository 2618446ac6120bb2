"""What a check has found: facts, and problems with their offenders and what to do. It knows not what was checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fusiqa.errors import LISTED_AT_MOST

BAR = 40
"""Length of the longest bar of a histogram, characters."""


@dataclass(frozen=True)
class Problem:
    """Something found.

    Attributes:
        what: what is wrong, as a heading.
        offenders: all that it is wrong with, in words; empty where the heading says it all.
        advice: what to do.
        notice: worth knowing, but no fault of the copy: its makers publish it so, or it does no harm.
    """

    what: str
    offenders: Sequence[str] = ()
    advice: str = ""
    notice: bool = False

    def lines(self) -> list[str]:
        """The heading with the number of offenders, the first five of them, and the advice."""
        heading = f"{'notice' if self.notice else 'problem'}: {self.what}"
        counted = f"{heading}: {len(self.offenders):,}" if self.offenders else heading
        shown = [f"  {offender}" for offender in self.offenders[:LISTED_AT_MOST]]
        more = [f"  ... ({len(self.offenders):,} in all)"] if len(self.offenders) > LISTED_AT_MOST else []
        return [counted, *shown, *more, *([f"  -> {self.advice}"] if self.advice else [])]


@dataclass(frozen=True)
class Report:
    """All that a check has found.

    Attributes:
        name: of what was checked.
        facts: numbers and words by their names; a value may be a mapping or a list of them.
        histogram: (lower edge, upper edge, count) of each bar, in order.
        problems: what is wrong, and notices.
    """

    name: str
    facts: Mapping[str, object]
    histogram: Sequence[tuple[float, float, int]] = ()
    problems: Sequence[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; notices do not count."""
        return all(problem.notice for problem in self.problems)

    def text(self) -> str:
        """For the terminal: facts, histogram, problems, verdict."""
        width = max(map(len, self.facts), default=0)
        facts = [f"  {name:<{width}}  {_words(value)}" for name, value in self.facts.items()]
        wrong = sum(not problem.notice for problem in self.problems)
        verdict = f"{self.name}: " + ("nothing is wrong with this copy" if self.ok else f"problems: {wrong}")
        found = [line for problem in self.problems for line in problem.lines()]
        return "\n".join([self.name, *facts, *self._bars(), *found, verdict])

    def _bars(self) -> list[str]:
        highest = max((count for *_, count in self.histogram), default=0) or 1
        edges = [f"{low:g} to {high:g}" for low, high, _ in self.histogram]
        width = max(map(len, edges), default=0)
        return [
            f"  {edge:>{width}}  {'#' * -(-BAR * count // highest)} {count:,}"
            for edge, (*_, count) in zip(edges, self.histogram, strict=True)
        ]

    def to_json(self) -> str:
        """Everything, with all offenders, as indented JSON."""
        problems = [
            {
                "what": problem.what,
                "offenders": list(problem.offenders),
                "advice": problem.advice,
                "notice": problem.notice,
            }
            for problem in self.problems
        ]
        content = {"name": self.name, "ok": self.ok, "facts": dict(self.facts), "problems": problems}
        return json.dumps({**content, "histogram": list(self.histogram)}, indent=2, ensure_ascii=False, allow_nan=False)


def _words(value: object) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
        case str():
            return value
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case Sequence():
            return ", ".join(map(_words, value))
        case _:
            return str(value)
