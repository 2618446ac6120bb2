from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import noise
from torchmetrics.utilities import dim_zero_sum

from fusiqa.errors import FusiqaError
from fusiqa.scoring.loss import QualityLoss, mirrored, quality_loss
from fusiqa.scoring.metric import QualityMetric
from fusiqa.scoring.models import IN_THE_PACKAGE
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.views import layout, pad_to


def images(*shape: int) -> torch.Tensor:
    return torch.from_numpy(noise(*shape)).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("shape", [(48, 48), (61, 97), (97, 48)])
def test_the_loss_is_how_far_the_score_falls_short(scorer, shape):
    """The resize of tensors and that of 8-bit images differ by rounding; 48 pixels are not resized."""
    loss = float(scorer.loss(images(*shape)))
    assert loss == pytest.approx(1 - scorer.score_range.to_unit(scorer(noise(*shape)).score), abs=5e-3)
    assert 0 < loss < 1


@pytest.mark.parametrize("shape", [(48, 48), (61, 97), (48, 1_200)])
def test_the_loss_of_a_model_of_whole_images_follows_its_score(model_folder, shape):
    scorer = Scorer(model_folder, device="cpu")
    scorer.network.info = replace(scorer.info, view="whole")
    unit = scorer.score_range.to_unit(scorer(noise(*shape)).score)
    assert float(scorer.loss(images(*shape))) == pytest.approx(1 - unit, abs=5e-3)


def test_the_loss_of_a_batch_is_the_mean(scorer):
    batch = torch.cat([images(48, 60), images(48, 60).flip(3)])
    alone = [scorer.loss(batch[place : place + 1]) for place in range(2)]
    torch.testing.assert_close(scorer.loss(batch), torch.stack(alone).mean(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(48, 48), (61, 97), (20, 30)])
def test_gradients_reach_every_pixel(scorer, shape):
    pixels = images(*shape).requires_grad_()
    scorer.loss(pixels).backward()
    assert pixels.grad is not None
    assert torch.isfinite(pixels.grad).all()
    assert (pixels.grad.abs().sum(dim=1) > 0).float().mean() > 0.9


def test_a_step_against_the_gradient_betters_the_score(scorer):
    pixels = images(48, 48).requires_grad_()
    loss = scorer.loss(pixels)
    (gradient,) = torch.autograd.grad(loss, pixels)
    better = (pixels - 0.01 * gradient.sign()).clamp(0, 1).detach()
    assert scorer.loss(better) < loss


@pytest.mark.parametrize("shape", [(5, 7), (3, 40), (1, 1), (32, 32)])
def test_tensors_are_mirrored_outwards_as_images_are(shape):
    pixels = noise(*shape)
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    margins = layout(*shape, 31)[0]
    np.testing.assert_array_equal(mirrored(given, margins)[0].permute(1, 2, 0).numpy(), pad_to(pixels, 31, 31))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (torch.zeros(0, 3, 48, 48), r"shape \(0, 3, 48, 48\); expected floats"),
        (torch.zeros(1, 3, 0, 48), "not empty"),
        (torch.zeros(3, 48, 48), r"shape \(3, 48, 48\); expected floats \(batch, 3, height, width\)"),
        (torch.zeros(1, 3, 48, 48, dtype=torch.uint8), "a tensor of torch.uint8"),
        (torch.full((1, 3, 48, 48), 255.0), "values from 255 to 255; expected 0 to 1"),
        (torch.full((1, 3, 48, 48), float("nan")), "values from nan"),
        (torch.full((1, 3, 48, 48), 1.0000001), r"values from 1\.00000012 to 1\.00000012; expected 0 to 1"),
        (np.zeros((1, 3, 48, 48), np.float32), r"a tensor of floats \(batch, 3, height, width\), got ndarray"),
    ],
)
def test_other_tensors_are_refused(scorer, given, reason):
    with pytest.raises(FusiqaError, match=reason):
        quality_loss(scorer.network, given)


def test_the_loss_module_gives_the_loss_of_the_scorer_and_carries_no_weights(model_folder):
    images = torch.rand(2, 3, 71, 53)
    loss = QualityLoss(model_folder, device="cpu")
    assert loss.state_dict() == {}
    assert loss(images).item() == pytest.approx(Scorer(model_folder, device="cpu", backend="torch").loss(images).item())


def test_a_loss_that_is_loaded_in_inference_mode_has_gradients(model_folder):
    scorer, images = Scorer(model_folder, device="cpu"), torch.rand(1, 3, 48, 48)
    with torch.inference_mode():
        scorer.loss(images)
        made = QualityLoss(model_folder, device="cpu")
    for loss in (scorer.loss, made):
        pixels = images.clone().requires_grad_()
        loss(pixels).backward()
        assert pixels.grad.abs().max() > 0


def test_an_onnx_file_has_no_loss():
    with pytest.raises(FusiqaError, match=r"model\.onnx: torch cannot run it; name its folder"):
        QualityLoss(IN_THE_PACKAGE / "fusiqa-fast" / "model.onnx")


def test_the_metric_is_the_mean_score_of_all_updates_and_of_all_processes(model_folder):
    scorer = Scorer(model_folder, device="cpu")
    images = [torch.randint(256, (count, 3, 53, 71), dtype=torch.uint8) for count in (1, 3)]
    metrics = [QualityMetric(model_folder, device="cpu") for _ in images]
    for metric, batch in zip(metrics, images, strict=True):
        metric.update(batch)
    expected = sum(scorer(image).score for batch in images for image in batch) / 4
    reduced = [sum(getattr(metric, name) for metric in metrics) for name in ("total", "count")]
    assert float(reduced[0] / reduced[1]) == pytest.approx(expected, rel=1e-6)
    assert all(metrics[0]._reductions[name] is dim_zero_sum for name in ("total", "count"))
    metrics[0].update(images[1])
    assert metrics[0].compute().item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(FusiqaError, match=r"expected images of shape \(batch, 3, height, width\), got \(3, 53, 71\)"):
        metrics[0].update(images[0][0])
    bad = torch.zeros(2, 3, 9, 9)
    bad[1] = torch.nan
    seen = int(metrics[0].count)
    with pytest.raises(FusiqaError, match="image 1: values from nan to nan"):
        metrics[0].update(bad)
    assert int(metrics[0].count) == seen  # nothing of a batch that is refused counts
    metrics[0].reset()
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(FusiqaError, match="no images"):
        metrics[0].compute()


def test_the_default_scorer_has_a_loss_though_it_scores_by_onnx():
    scorer, batch = Scorer(device="cpu"), torch.rand(1, 3, 64, 64, requires_grad=True)
    loss = scorer.loss(batch)
    loss.backward()
    assert batch.grad.abs().max() > 0
    assert loss.item() == pytest.approx(QualityLoss(device="cpu")(batch.detach()).item())
