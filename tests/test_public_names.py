"""What `import fusiqa` offers."""

import importlib

import pytest

import fusiqa


def test_every_public_name_can_be_had_and_no_more_than_twelve():
    assert sorted(fusiqa.HOMES) == fusiqa.__all__
    assert len(fusiqa.__all__) <= 12
    for name in fusiqa.__all__:
        assert getattr(fusiqa, name) is getattr(importlib.import_module(fusiqa.HOMES[name]), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'sharpness'"):
        fusiqa.sharpness  # noqa: B018
