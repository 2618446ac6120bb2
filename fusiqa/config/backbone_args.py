"""Arguments of a timm backbone: those that are allowed, and their form on the command line, NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence

from fusiqa.errors import FusiqaError

Scalar = str | int | float | bool
TimmArg = tuple[str, Scalar | tuple[Scalar, ...]]  # name and value of an argument of timm.create_model

SET_ELSEWHERE = {"drop_path_rate": "`drop_path`", "img_size": "`crop_size`", "pretrained": "`backbone_weights`"}
_SIZES = """
    aa_layer act_layer always_partition ape attn_drop_rate attn_ratio avg_down base_width block_reduce_first
    block_size bottle_ratio cardinality channel_multiplier channels conv_bias conv_mlp conv_stem_type convs depth
    depth_multiplier depths dilation dims down_kernel downsample_kernel_size drop_block_rate drop_rate embed_dim
    embed_dims expand_ratio expansion fix_stem group_size groups growth_rate head_dim hidden_size init_values
    kernel_size kernel_sizes key_dim layer_scale_init_value layers linear ls_init_value mlp_ratio mlp_ratios
    norm_eps norm_layer num_groups num_heads num_layers num_stages output_stride pad_type patch_norm patch_size
    pos_drop_rate pos_embed pretrained_window_sizes proj_drop_rate qk_norm qkv_bias reduction_ratio repeats
    replace_stem_pool rounding se_layer se_ratio sr_ratios stem_chs stem_kernel_size stem_pool stem_size stem_type
    stem_width strict_img_size token_mixers use_layer_scale use_pos_emb wa_ratio width width_multiplier widths
    window_ratio window_size zero_init_last
"""
ARCHITECTURE = frozenset(_SIZES.split())
"""The allowed arguments: those of the architecture. Others make timm download, open or unpickle a file."""
LARGEST = 100_000  # size of a backbone; a larger one would exhaust the memory


def check_timm_args(arguments: Sequence[TimmArg]) -> None:
    """Raise FusiqaError for arguments other than those of the architecture, in plain types.

    Example:
        >>> check_timm_args([("checkpoint_path", "a.pth")])
        Traceback (most recent call last):
        fusiqa.errors.FusiqaError: backbone argument 'checkpoint_path' is not allowed: not an architecture argument
    """
    for name, value in arguments:
        if name in SET_ELSEWHERE:
            raise FusiqaError(f"backbone argument {name!r} is set by {SET_ELSEWHERE[name]}; leave it out")
        if name not in ARCHITECTURE:
            raise FusiqaError(f"backbone argument {name!r:.80} is not allowed: not an architecture argument")
        for each in value if isinstance(value, tuple) else (value,):
            if not isinstance(each, str) and not (isinstance(each, int | float) and abs(each) <= LARGEST):
                needed = f"words, true, false or numbers up to {LARGEST:,}"
                raise FusiqaError(f"backbone argument {name!r} must be {needed}, got {value!r:.80}")


def parse_backbone_args(words: Sequence[str]) -> tuple[TimmArg, ...]:
    """(name, value) pairs, sorted by name: numbers, true and false as such, values with commas as tuples.

    FusiqaError: no NAME=VALUE, a name given twice, or one that may not be given.

    Example:
        >>> parse_backbone_args(["embed_dim=48", "depths=2,2,6,2", "pad_type=same"])
        (('depths', (2, 2, 6, 2)), ('embed_dim', 48), ('pad_type', 'same'))
    """
    found: dict[str, Scalar | tuple[Scalar, ...]] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not (name.isidentifier() and value):
            raise FusiqaError(f"`backbone_args` must be NAME=VALUE, such as embed_dim=48 depths=2,2,6,2, got {word}")
        if name in found:
            raise FusiqaError(f"`backbone_args` names {name} twice; keep one")
        found[name] = tuple(map(_scalar, value.rstrip(",").split(","))) if "," in value else _scalar(value)
    check_timm_args(tuple(found.items()))
    return tuple(sorted(found.items()))


def _scalar(word: str) -> Scalar:
    """An int, float or bool where the text is one, else the text."""
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(word.lower(), word)


def format_backbone_args(arguments: Sequence[TimmArg]) -> str:
    """As on the command line: (("depths", (2, 2, 6, 2)), ("embed_dim", 48)) is "depths=2,2,6,2 embed_dim=48"."""
    return " ".join(f"{name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in arguments)
