"""`--backbone_args`: arguments of timm.create_model as they are typed, NAME=VALUE. It knows no backbone."""

from __future__ import annotations

from collections.abc import Sequence

from fusiqa.config.model import Scalar, TimmArg
from fusiqa.errors import FusiqaError

SET_ELSEWHERE = {
    "drop_path_rate": "--drop_path",
    "img_size": "--crop_size",
    "pretrained": "--backbone_weights",
    "features_only": "the pyramid itself",
    "out_indices": "the pyramid itself",
    "in_chans": "the pyramid itself",
}
WORDS = {"true": True, "false": False}


def parse_backbone_args(words: Sequence[str]) -> tuple[TimmArg, ...]:
    """(name, value) pairs, sorted by name: numbers, true and false as such, values with commas as tuples.

    Raises:
        FusiqaError: no NAME=VALUE, a name given twice, or one that another setting stands for.

    Example:
        >>> parse_backbone_args(["embed_dim=48", "depths=2,2,6,2", "pad_type=same"])
        (('depths', (2, 2, 6, 2)), ('embed_dim', 48), ('pad_type', 'same'))
    """
    found: dict[str, Scalar | tuple[Scalar, ...]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name.isidentifier() and equals and value):
            raise FusiqaError(f"--backbone_args {word}: expected NAME=VALUE, for instance embed_dim=48 depths=2,2,6,2")
        if name in SET_ELSEWHERE:
            raise FusiqaError(f"--backbone_args {word}: {name} is set by {SET_ELSEWHERE[name]}; leave it out")
        if name in found:
            raise FusiqaError(f"--backbone_args names {name} twice; keep one")
        found[name] = tuple(map(scalar, value.rstrip(",").split(","))) if "," in value else scalar(value)
    return tuple(sorted(found.items()))


def scalar(word: str) -> Scalar:
    """A number where it is one, true or false, else the word.

    Example:
        >>> [scalar(word) for word in ("7", "0.5", "true", "same")]
        [7, 0.5, True, 'same']
    """
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return WORDS.get(word.lower(), word)


def format_backbone_args(arguments: Sequence[TimmArg]) -> str:
    """As they are typed.

    Example:
        >>> format_backbone_args((("depths", (2, 2, 6, 2)), ("embed_dim", 48)))
        'depths=2,2,6,2 embed_dim=48'
    """
    typed = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in arguments}
    return " ".join(f"{name}={value}" for name, value in typed.items())
