"""The whole network: images -> score and scale weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple, TypeVar, cast

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from fusiqa import hub
from fusiqa.config import ModelConfig
from fusiqa.config.checks import refuse
from fusiqa.config.model import check_average
from fusiqa.errors import FusiqaError, listed
from fusiqa.io import DESCRIPTION_FILE, WEIGHTS_FILE, write_atomically, write_json
from fusiqa.models.backbone import Maps, Pyramid, check_known, normalisation, to_unit_range
from fusiqa.models.fusion import BUILDERS, pool_windows
from fusiqa.models.head import STAGES, FlawHead, HyperNetwork, LocalDistortionVector, target_network
from fusiqa.models.rounding import compacted, restored
from fusiqa.models.weights import BackboneWeights, find_weights
from fusiqa.scoring.models import FORMAT, download_model, find, read_description, weights_of
from fusiqa.scoring.views import WINDOWS

MODEL_CARD = """---
library_name: fusiqa
tags: [image-quality-assessment, no-reference]
---
# {title}

Scores the quality of an image without a reference,
on {config.score_range.low:g} to {config.score_range.high:g}; higher is better.
{backbones} with {config.fusion} fusion; {seen} after the resize {resize}.

```python
import fusiqa

print(fusiqa.Scorer("{name}")("photo.jpg").score)
```

{provenance}
"""
"""README.md of a model on the hub. It states no licence: that is for the publisher to add."""
SEEN = {
    "crops": "square crops that cover the resized image to its edges and overlap by 2/3; a smaller one is mirrored",
    "whole": "the resized image, mirrored at the right and bottom to multiples of 32; above 1024 pixels in parts",
}
"""What is scored of an image, and averaged, by view: for model.json, and for programs that read an exported file."""


class Prediction(NamedTuple):
    """Scores of a batch on the score range, higher is better, and the scale weights.

    `scale_weights` rows sum to one, finest scale first; None for fusions that do not weigh.
    """

    score: Float[Tensor, " batch"]
    scale_weights: Float[Tensor, "batch 4"] | None


class Examined(NamedTuple):
    """A `Prediction`, with the probabilities of `fusiqa.config.model.FLAWS` and scores of windows, or None.

    The windows are 3x3, row by row, each half as high and wide as the image.
    """

    score: Float[Tensor, " batch"]
    scale_weights: Float[Tensor, "batch 4"] | None
    flaws: Float[Tensor, "batch flaws"] | None
    windows: Float[Tensor, "batch 9"] | None


Made = TypeVar("Made", Prediction, Examined)


def mean_of(predictions: Sequence[Made]) -> Made:
    """The mean of each output of several networks; None where they lack it."""
    first, *others = predictions
    if not others:
        return first
    given = [name for name, output in first._asdict().items() if output is not None]
    means = {name: torch.stack([getattr(each, name) for each in predictions]).mean(dim=0) for name in given}
    return first._replace(**means)


class QualityModel(nn.Module, ModelHubMixin):
    """HyperIQA over a timm backbone, with a fusion of four feature scales; or an `average` of several.

    Args:
        config: what to build.
        weights: pretrained backbone weights; None draws them at random and touches no network.
        resize: the resize protocol, as `Resize.parse` takes it ("none", "384", "max512", "512x384").
        provenance: where the weights come from (data set, epoch, commit, ...).

    Example:
        >>> model = QualityModel(ModelConfig(backbone="test_resnet", fusion="attention", crop_size=64)).eval()
        >>> score, scale_weights = model(torch.rand(2, 3, 64, 64))
        >>> score.shape, scale_weights.shape
        (torch.Size([2]), torch.Size([2, 4]))

    Source: Su et al., CVPR 2020, doi:10.1109/CVPR42600.2020.00372; the equations are in docs/network.md.
    """

    def __init__(
        self,
        config: ModelConfig,
        weights: BackboneWeights | None = None,
        *,
        resize: str = "none",
        provenance: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config: ModelConfig = config
        self.resize: str = resize
        self.provenance: dict[str, Any] = dict(provenance or {})
        self.pyramid = Pyramid(config, weights)
        self.fusion = BUILDERS[config.fusion](self.pyramid.channels, config)
        self.distortion = LocalDistortionVector(self.pyramid.channels)
        self.hypernetwork = HyperNetwork(self.fusion.out_channels, config.dropout)
        self.flaws = FlawHead(self.pyramid.channels) if config.flaws else None
        self.others = nn.ModuleList()  # of an average, the networks but the first, which is this one

    @property
    def networks(self) -> list[QualityModel]:
        """Of an average its networks; the first is the model itself, whose outputs are the means. Else the model."""
        return [self, *cast(Sequence[QualityModel], self.others)]

    @property
    def backbones(self) -> str:
        """The name of the backbone; of an average, those of all networks: "resnet50 + swin_tiny_patch4_window7_224"."""
        return " + ".join(network.config.backbone for network in self.networks)

    @property
    def windowed(self) -> bool:
        """Whether a backbone cuts the image into windows, for one size of images."""
        return any(network.pyramid.windowed for network in self.networks)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Prediction:
        """Score RGB images with values in 0-1, not normalised: the backbone's mean and sd are applied here."""
        maps = self.pyramid(images)
        return mean_of([self.score_features(maps, maps), *(other(images) for other in self.networks[1:])])

    def examine(self, images: Float[Tensor, "batch 3 height width"], *, windows: bool = False) -> Examined:
        """As a call, with the flaws, and the scores of windows of the same maps where they are asked for."""
        maps, parts = self.pyramid(images), None
        score, weights = self.score_features(maps, maps)
        if windows:
            last = pool_windows(maps[-1])
            distortion_maps = [*(pool_windows(m, grid) for m, (_, grid) in zip(maps[:-1], STAGES, strict=True)), last]
            parts = self.score_features([*map(pool_windows, maps[:-1]), last], distortion_maps).score
            parts = parts.unflatten(0, (-1, WINDOWS**2))
        own = Examined(score, weights, self.flaws(maps) if self.flaws is not None else None, parts)
        return mean_of([own, *(other.examine(images, windows=windows) for other in self.networks[1:])])

    def score_features(self, fusion_maps: Maps, distortion_maps: Maps) -> Prediction:
        """Score this network's maps, or the pools of them that a frozen backbone leaves for either part."""
        fused = self.fusion(fusion_maps)
        weights, vector, kind = self.hypernetwork(fused.map), self.distortion(distortion_maps), fused.map.device.type
        # In float32 under autocast too: bfloat16 has 8 bits, too few for a score of 0-100.
        with torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext():
            unit = target_network(vector, weights, dropout=self.config.dropout, training=self.training)
        return Prediction(self.config.score_range.from_unit(unit), fused.scale_weights)

    @torch.no_grad()
    def attention(self, images: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 4 ..."]:
        """What the fusion attends to in RGB images: the gates of `spatial`, or the matrix of `cross-scale`, in float32.

        FusiqaError for another fusion.
        """
        attended = self.fusion(self.pyramid(to_unit_range(images))).attention
        if attended is None:
            raise FusiqaError(f"{self.config.fusion} fusion attends to nothing beyond its scale weights")
        return torch.stack([attended.float(), *(other.attention(images) for other in self.networks[1:])]).mean(dim=0)

    @classmethod
    def average(cls, models: Sequence[QualityModel], *, provenance: dict[str, Any] | None = None) -> QualityModel:
        """A model whose outputs are the means of those of several, such as runs of several seeds.

        It holds copies of their networks, in evaluation mode; each counts the same, also those of an average. It takes
        as long as all of them; training that starts from it starts from the first network alone.

        Args:
            models: at least one; FusiqaError where they differ in `resize`, `view`, `crop_size`, `fusion`, `flaws` or
                `score_range`.
            provenance: where the weights come from; by default their data set and licence, where all have the same.

        Example:
            >>> model = QualityModel(ModelConfig(backbone="test_resnet", crop_size=64)).eval()
            >>> image = torch.rand(1, 3, 64, 64)
            >>> torch.equal(QualityModel.average([model, model])(image).score, model(image).score)
            True
        """
        refuse((not models, "nothing to average: give at least one model"))
        copies = [copy.deepcopy(network).eval() for model in models for network in model.networks]
        check_average([each.config for each in copies])
        resizes = [each.resize for each in copies]
        refuse((len(set(resizes)) > 1, f"models of an average must have one `resize`, got {listed(resizes)}"))
        for each in copies:  # the first network of an average came with the others
            each.others = nn.ModuleList()
        made, *others = copies
        made.others = nn.ModuleList(others)
        if provenance is None:
            first = models[0].provenance
            same = (name for name in first if all(model.provenance.get(name) == first[name] for model in models))
            provenance = {name: first[name] for name in same if name in ("dataset", "licence")}
        made.provenance = dict(provenance)
        return made

    # The mixin's own methods read a config.json as the settings, delete it, and take arguments for pickles.
    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None) -> QualityModel:  # type: ignore[override]
        """A trained model, in evaluation mode.

        It is a run folder, a model.safetensors beside its model.json, a name in the package, or "owner/name" on the
        Hugging Face hub, there of a branch, tag or commit. Raises FusiqaError for none in this format, and for a hub
        that does not answer.
        """
        known = revision is None or Path(name).exists()
        return load_checkpoint(find(name)[0] if known else download_model(str(name), revision=revision))

    def save_pretrained(self, folder: str | Path, *, half: bool = False, **card: Any) -> None:  # type: ignore[override]
        """Write what `from_pretrained` reads, model.safetensors and model.json, into a folder, which is made.

        Each of the two files is written atomically; neither is a pickle. `half` stores matrices and kernels in 16 bits,
        which halves the file, those that `round_to_bytes` rounded in 8; they compute in 32 all the same. `card` is what
        `push_to_hub` passes on: its `model_card_kwargs` ask for a README.md.
        """
        folder, seen = Path(folder), SEEN[self.config.view]
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        description = {
            "format": FORMAT,
            "model": asdict(self.config),
            **({"others": [asdict(other.config) for other in self.networks[1:]]} if self.others else {}),
            "preprocessing": {"colour": "sRGB; the network normalises 0-1", "resize": self.resize, "view": seen},
            "higher_is_better": True,
            "provenance": self.provenance,
        }
        content = save(compacted(state) if half else state)
        # Not save_file, whose file only its owner may read: a model is there to be shared.
        write_atomically(folder / WEIGHTS_FILE, lambda path: path.write_bytes(content))
        write_json(folder / DESCRIPTION_FILE, description)
        if card.get("model_card_kwargs"):
            self.generate_model_card(**card["model_card_kwargs"]).save(Path(folder, "README.md"))

    def push_to_hub(self, name: str, *, token: str | None = None, private: bool = False) -> str:  # type: ignore[override]
        """Publish the model, with a model card, as "owner/name"; a new repository may be `private`.

        The `token` is by default the one that `hf auth login` stored. Returns the address of the commit. Raises
        FusiqaError where the hub refuses, or does not answer.
        """
        try:
            return str(super().push_to_hub(name, token=token, private=private, model_card_kwargs={"name": name}))
        except Exception as reason:  # the hub's client raises its own, its HTTP library's and the system's errors
            raise FusiqaError(f"{name} could not be published: {hub.in_one_line(reason)}") from reason

    def generate_model_card(self, *, name: str) -> ModelCard:
        """The README.md of the model as "owner/name" on the hub."""
        provenance = "\n".join(f"- {key}: {value}" for key, value in self.provenance.items())
        seen = "the whole image" if self.config.view == "whole" else f"crops of {self.config.crop_size} pixels"
        words = {"name": name, "title": name.rpartition("/")[2], "seen": seen, "provenance": provenance}
        return ModelCard(MODEL_CARD.format(config=self.config, resize=self.resize, backbones=self.backbones, **words))


def build_model(config: ModelConfig, backbone_weights: str = "none", *, resize: str = "none") -> QualityModel:
    """A model from a configuration; its `config` then states all that the weights' file stated.

    Args:
        config: what to build.
        backbone_weights: "none" (random), "imagenet" (timm's, from the hub), or a safetensors file.
        resize: the resize protocol, as for `QualityModel`.

    Raises:
        FusiqaError: an unknown backbone, sizes or weights that do not fit, or an unreachable hub.
    """
    check_known(config.backbone)
    weights = find_weights(backbone_weights, config.backbone)
    config = weights.configure(config) if weights is not None else config
    mean, std = normalisation(config)
    return QualityModel(replace(config, mean=mean, std=std), weights, resize=resize)


def is_sound(weights: Tensor) -> bool:
    """Whether weights are of a type that a network computes with; counts of batch normalisation are whole numbers."""
    return weights.dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)


def load_checkpoint(path: str | Path) -> QualityModel:
    """The model of a run folder or a model.safetensors, in evaluation mode; touches no network.

    FusiqaError: no such file, no model.json beside it, weights that do not fit the description, or a number in them
    that is NaN or infinite, which no score would survive.
    """
    weights = weights_of(Path(path))
    config, resize, provenance, others = read_description(weights.parent)
    model = QualityModel(config, resize=resize, provenance=provenance)
    model.others.extend(QualityModel(other, resize=resize) for other in others)
    try:
        state = restored(load_file(weights))
        refuse(*((not is_sound(each), f"{weights}: {name} is of {each.dtype}") for name, each in state.items()))
        model.load_state_dict(state)
    except SafetensorError as reason:
        raise FusiqaError(f"{weights} is not a safetensors file: {str(reason).splitlines()[0]}") from reason
    except RuntimeError as reason:
        why = shorten(" ".join(str(reason).splitlines()[1:]) or str(reason), 300)  # the first line has no reason
        raise FusiqaError(f"{weights} does not fit {weights.with_name(DESCRIPTION_FILE)}: {why}") from reason
    if broken := [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise FusiqaError(f"{weights} is damaged: NaN or infinite numbers in {listed(broken)}")
    return model.eval()
