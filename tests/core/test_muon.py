"""Muon for weights of any shape and in any layout."""

import numpy as np
import pytest
import torch
from torch import nn

from agf_core.train.amp import has_bfloat16
from agf_core.train.config import TrainConfig
from agf_core.train.muon import HiddenWeights, orthogonal
from agf_core.train.networks import MultiTaskNet, channels_last
from agf_core.train.step import autocast
from training.pretrained.student import StudentNet


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_learns_as_the_matrix_it_is(layout):
    torch.manual_seed(0)
    begin, gradients = torch.randn(6, 4, 3, 3), [torch.randn(6, 4, 3, 3) for _ in range(3)]
    weight = nn.Parameter(begin.clone().contiguous(memory_format=layout))
    matrix = nn.Parameter(begin.clone().flatten(1))
    mine = HiddenWeights([weight], lr=0.1)
    library = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.0, adjust_lr_fn="original")
    for gradient in gradients:
        weight.grad, matrix.grad = gradient, gradient.flatten(1)
        mine.step()
        library.step()
    assert weight.is_contiguous(memory_format=layout)
    assert not torch.equal(weight, begin)
    # The library's is in half precision, and its sums come in another order.
    torch.testing.assert_close(weight.detach(), matrix.detach().view_as(begin), atol=0.01, rtol=0)


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (8, 8)])
def test_an_update_is_made_orthogonal(shape):
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
    assert 0.6 < singular.min() < singular.max() < 1.3
    assert torch.isfinite(orthogonal(torch.zeros(shape))).all()


@pytest.mark.parametrize("able", [False, True])
def test_half_precision_is_used_where_it_is_quick(able, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    half = torch.bfloat16 if able else torch.float32
    assert orthogonal(torch.randn(3, 4)).dtype == half
    assert has_bfloat16(torch.device("cpu")) == able
    assert autocast(torch.device("cpu"), True)._enabled == able


def test_hidden_weights_lie_between_the_first_layer_and_the_heads():
    network = MultiTaskNet({"g": 3, "s": 4}, width=0.25)
    channels_last(network)
    hidden = {id(weight) for weight in network.hidden_weights("s")}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in hidden]
    assert len(names) == 7
    assert all(name.startswith("branches.s.") and name.endswith(".weight") for name in names)
    assert not any("head" in name for name in names)
    one = StudentNet(3, [5], [2], np.zeros(5), np.ones(5), frames_pooled=1)
    assert len(one.hidden_weights("c")) == 7
    assert TrainConfig().muon == 0
