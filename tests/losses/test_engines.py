"""The losses under torch.compile, in two processes and on a GPU: the numbers of the plain way."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

from fer_utils import losses
from fer_utils.core.parameters import HARD_LABEL_LOSSES

COUNTS = [40, 20, 10, 5]
READINGS = (
    ("weighted_mean", "class_means", "paper"),
    ("balanced", "normal", "autograd"),
    ("sum", "normal", "paper"),
)
CASES = [(name, *reading, False) for name in losses.LOSS_NAMES for reading in READINGS]
CASES += [
    (name, *READINGS[0], True)
    for name in ("weighted_softmax", "weighted_cluster", "island_softmax")
]


def make(name, reduction, center_init, center_update, _=None):
    options = {"center_init": center_init, "center_update": center_update, "seed": 1}
    return losses.make_loss(name, COUNTS, 6, reduction=reduction, **options)


def batches(soft, steps=3, n=8):
    random = torch.Generator().manual_seed(2)
    for _ in range(steps):
        inputs = torch.randn(n, 5, generator=random)
        labels = torch.cat([torch.arange(4), torch.randint(4, (n - 4,), generator=random)])
        shares = 0.7 * torch.eye(4)[labels] + 0.3 * torch.eye(4)[(labels + 1) % 4]
        yield inputs, shares if soft else labels


class Net(torch.nn.Module):
    """A linear embedding with an output layer, and the loss: what DDP wraps in a training step."""

    def __init__(self, loss):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.output = torch.nn.Linear(5, 6), torch.nn.Linear(6, 4)
        self.loss = loss

    def forward(self, inputs, targets):
        features = self.embedding(inputs)
        return self.loss(self.output(features), features, targets), features.detach()


def train(net, parts, module=None):
    """A few SGD steps: loss values, weights and centres."""
    optimizer, values = torch.optim.SGD(net.parameters(), lr=0.05), []
    for inputs, targets in parts:
        optimizer.zero_grad()
        value, features = (module or net)(inputs, targets)
        value.backward()
        net.loss.update(features, targets)
        optimizer.step()
        values.append(value.detach())
    found = {"loss": torch.stack(values), "weights": net.embedding.weight.detach().clone()}
    if net.loss.centers is not None:
        found["centers"] = net.loss.centers.detach().clone()
    return found


def in_process(rank, port, folder):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, 2, rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    assert losses.world_size() == 2
    found, mine = [], slice(3) if rank == 0 else slice(3, 8)  # 3 images here and 5 there
    for case in CASES:
        net = Net(make(*case))
        parts = [(inputs[mine], targets[mine]) for inputs, targets in batches(case[-1])]
        result = train(net, parts, DistributedDataParallel(net))
        dist.all_reduce(result["loss"])
        result["loss"] /= 2
        found.append(result)
    with losses.local_reduction():
        assert losses.world_size() == 1
        value = losses.WeightedSoftmaxLoss(reduction="sum")(torch.zeros(1, 2), torch.tensor([0]))
        assert value == torch.tensor(2.0).log()
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow  # two more processes load torch
def test_two_processes_equal_one_with_the_whole_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(in_process, (port, str(tmp_path)), nprocs=2)
    found = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for case, *both in zip(CASES, *found, strict=True):
        for name, expected in train(Net(make(*case)), batches(case[-1])).items():
            for one in both:
                same = torch.allclose(one[name], expected, rtol=1e-4, atol=1e-5)
                assert same, f"{case}, {name}: {one[name]} instead of {expected}"


@pytest.mark.parametrize("case", [*CASES[:-2:2], *CASES[-2:]], ids=str)
def test_compiles_without_a_graph_break(case):
    torch._dynamo.reset()  # every case is compiled anew, not counted as a recompilation of the last
    plain, compiled = make(*case), make(*case)
    loss = torch.compile(compiled.forward, fullgraph=True, backend="eager")
    update = torch.compile(compiled.update, fullgraph=True, backend="eager")
    for inputs, targets in batches(case[-1], steps=2):
        logits, features = inputs[:, :4], torch.cat([inputs, inputs[:, :1]], dim=1)
        expected = plain(logits, features, targets)
        torch.testing.assert_close(loss(logits, features, targets), expected)
        update(features, targets)
        plain.update(features, targets)
        if plain.centers is not None:
            torch.testing.assert_close(compiled.centers, plain.centers)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_does_not_wait_for_the_gpu(case):
    net = Net(make(*case)).cuda()
    parts = [(inputs.cuda(), targets.cuda()) for inputs, targets in batches(case[-1])]
    expected = train(Net(make(*case)), batches(case[-1]))
    net.loss.set_progress(0.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = train(net, parts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value, rtol=1e-3, atol=1e-4)


def test_hard_label_losses_are_those_of_the_parameters():
    assert {n for n in losses.LOSS_NAMES if not make(n, *READINGS[0]).takes_soft_targets} == set(
        HARD_LABEL_LOSSES
    )
