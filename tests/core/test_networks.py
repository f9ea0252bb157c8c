"""Numbers of the paper's table 2, and what follows from them."""

import pytest
import torch

from agf_core.train.networks import (
    GenreNet,
    MultiTaskNet,
    SharedTrunk,
    TransferMLP,
    count_parameters,
)
from training.paper.cases import wide_multiplier

FIVE = {"g": 16, "s": 40, "e": 40, "d": 40, "m": 40}


def test_parameter_counts():
    assert count_parameters(SharedTrunk()) == 416
    assert count_parameters(MultiTaskNet({"g": 16})) == 566_320
    assert count_parameters(MultiTaskNet({"s": 40})) == 572_488
    assert count_parameters(MultiTaskNet(FIVE)) == 2_854_608
    assert count_parameters(TransferMLP(5 * 256, 16)) == 1_328_144


def test_shapes_of_every_layer():
    network = MultiTaskNet({"g": 16}).eval()
    shapes = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.MaxPool2d | torch.nn.Linear):
            module.register_forward_hook(lambda m, i, o: shapes.append(tuple(o.shape[1:])))
    network(torch.zeros(1, 1, 43, 128), "g")
    assert shapes == [
        (16, 43, 128),
        (16, 43, 64),  # trunk
        (32, 43, 64),
        (32, 21, 32),
        (64, 21, 32),
        (64, 10, 16),
        (64, 10, 16),
        (64, 5, 8),
        (128, 5, 8),
        (128, 2, 4),
        (256, 2, 4),
        (256, 2, 4),
        (256,),  # the transfer feature
        (16,),
    ]


def test_a_trunk_may_pool_frames():
    network = MultiTaskNet({"g": 16}, frames_pooled=2).eval()
    assert network.trunk(torch.zeros(1, 1, 43, 128)).shape == (1, 16, 21, 64)
    assert network(torch.zeros(1, 1, 43, 128), "g").shape == (1, 16)
    assert count_parameters(network) == count_parameters(MultiTaskNet({"g": 16}))


@pytest.mark.parametrize(("n_tasks", "expected"), [(2, 1.42), (3, 1.74), (4, 2.01), (5, 2.25)])
def test_a_wide_network_is_as_large_as_a_multi_task_one(n_tasks, expected):
    tasks = dict(list(FIVE.items())[:n_tasks])
    size = count_parameters(MultiTaskNet(tasks))
    width = wide_multiplier(16, size)
    assert width == pytest.approx(expected, abs=0.01)
    assert count_parameters(MultiTaskNet({"g": 16}, width)) == pytest.approx(size, rel=0.005)


def test_any_task_list():
    x = torch.randn(3, 1, 43, 128)
    network = MultiTaskNet({"m": 7, "g": 2, "t": 50}).eval()
    assert network.tasks == ("m", "g", "t")
    assert [network(x, task).shape for task in network.tasks] == [(3, 7), (3, 2), (3, 50)]
    features = network.features(x)
    assert features.shape == (3, 768)
    # What a task's head sees is its own part of the features.
    torch.testing.assert_close(network.branches["g"].head(features[:, 256:512]), network(x, "g"))
    with pytest.raises(ValueError, match="at least one task"):
        MultiTaskNet({})


def test_a_step_for_a_task_leaves_other_branches_alone():
    network = MultiTaskNet({"g": 2, "s": 3})
    network(torch.randn(4, 1, 43, 128), "g").sum().backward()
    given = {id(p) for p in network.task_parameters("g")}
    for name, parameter in network.named_parameters():
        touched = parameter.grad is not None
        assert touched == ("branches.s" not in name) == (id(parameter) in given)


def test_features_of_several_networks_stand_side_by_side():
    networks = [MultiTaskNet({task: 4}).eval() for task in "gs"]
    whole = GenreNet(networks, TransferMLP(512, 16)).eval()
    x = torch.randn(2, 1, 43, 128)
    torch.testing.assert_close(whole.features(x)[:, 256:], networks[1].features(x))
    assert whole(x).shape == (2, 16)
