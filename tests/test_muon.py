"""Muon for weights of any shape and in any layout."""

import pytest
import torch
from torch import nn

from agf_core.muon import HiddenWeights
from agf_core.network import MultiTaskNet, channels_last
from agf_core.schedule import Schedule
from training.one_branch import OneBranchNet


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
        mine.zero_grad()
        assert weight.grad is None
    assert weight.is_contiguous(memory_format=layout)
    assert not torch.equal(weight, begin)
    # In half precision, of sums in another order.
    torch.testing.assert_close(weight.detach(), matrix.detach().view_as(begin), atol=0.01, rtol=0)


def test_hidden_weights_lie_between_the_first_layer_and_the_heads():
    network = MultiTaskNet({"g": 3, "s": 4}, width=0.25)
    channels_last(network)
    hidden = {id(weight) for weight in network.hidden_weights("s")}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in hidden]
    assert len(names) == 7
    assert all(name.startswith("branches.s.") and name.endswith(".weight") for name in names)
    assert not any("head" in name for name in names)
    one = OneBranchNet({"g": 3, "t": 5}, width=0.25)
    assert len(one.hidden_weights("gt")) == 7
    assert Schedule().muon == 0
