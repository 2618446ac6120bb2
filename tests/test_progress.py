"""A bar on a terminal, and nothing in a log."""

import io

import pytest

from fusiqa.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown", "seen"), [(Terminal, True, True), (Terminal, False, False),
                                                       (io.StringIO, True, False)])  # fmt: skip
def test_a_bar_is_for_terminals(monkeypatch, stream, shown, seen):
    out = stream()
    monkeypatch.setattr("sys.stderr", out)
    assert list(progress_bar(iter("abc"), what="looking", total=3, shown=shown)) == ["a", "b", "c"]
    assert ("looking" in out.getvalue()) is seen
    assert ("3/3" in out.getvalue()) is seen
