"""The losses under torch.compile, in two processes and on a GPU: the numbers of the plain way.

All are marked slow: loading torch's compiler, or torch in two processes, takes longer than they do.
"""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from fer_utils import losses

# Loss, reduction, centres' start and movement, soft targets: each reading, each kind of term.
CASES = [
    ("weighted_softmax", "weighted_mean", "normal", "paper", True),
    ("center_softmax", "mean", "normal", "paper", False),
    ("center_weighted_softmax", "balanced", "class_means", "autograd", False),
    ("weighted_cluster", "weighted_mean", "class_means", "paper", False),
    ("weighted_cluster", "balanced", "class_means", "paper", True),
    ("weighted_cluster", "sum", "normal", "autograd", False),
    ("island_softmax", "sum", "normal", "paper", True),
    ("island_softmax", "mean", "normal", "autograd", False),
    ("logit_adjusted", "balanced", "normal", "paper", False),
    ("focal", "weighted_mean", "normal", "paper", False),
    ("ldam_drw", "weighted_mean", "normal", "paper", False),
    ("arcface", "mean", "normal", "paper", False),
]


def make(name, reduction, center_init, center_update, _):
    options = {"center_init": center_init, "center_update": center_update, "seed": 1}
    return losses.make_loss(name, [40, 20, 10, 5], 6, reduction=reduction, **options)


def batches(soft, n=8):
    random = torch.Generator().manual_seed(2)
    for _ in range(3):
        inputs = torch.randn(n, 5, generator=random)
        labels = torch.cat([torch.arange(4), torch.randint(4, (n - 4,), generator=random)])
        shares = 0.7 * torch.eye(4)[labels] + 0.3 * torch.eye(4)[(labels + 1) % 4]
        yield inputs, shares if soft else labels


class Net(torch.nn.Module):
    """A linear embedding with an output layer, and the loss."""

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
        value, features = (net if module is None else module)(inputs, targets)
        value.backward()
        if losses.world_size() > 1:  # as distributed training does
            for weight in net.parameters():
                dist.all_reduce(weight.grad)
                weight.grad /= losses.world_size()
        net.loss.update(features, targets)
        optimizer.step()
        values.append(value.detach())
    found = [torch.stack(values), net.embedding.weight, net.output.weight]
    return [tensor.detach() for tensor in (*found, net.loss.centers) if tensor is not None]


def in_process(rank, port, folder):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, 2, rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found, mine = [], slice(3) if rank == 0 else slice(3, 8)  # 3 images here and 5 there
    for case in CASES:
        net = Net(make(*case))
        parts = [(inputs[mine], targets[mine]) for inputs, targets in batches(case[-1])]
        found.append(train(net, parts))
        dist.all_reduce(found[-1][0])
        found[-1][0] /= 2
    with losses.local_reduction():
        assert losses.world_size() == 1
        alone = losses.WeightedSoftmaxLoss(reduction="sum")(torch.zeros(1, 2), torch.tensor([0]))
        assert alone == torch.tensor(2.0).log()
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one_with_the_whole_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(in_process, (port, str(tmp_path)), nprocs=2)
    found = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for case, *ranks in zip(CASES, *found, strict=True):
        expected = train(Net(make(*case)), batches(case[-1]))
        for rank in ranks:
            for one, other in zip(rank, expected, strict=True):
                same = torch.allclose(one, other, rtol=1e-4, atol=1e-5)
                assert same, f"{case}: {one} instead of {other}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_compiles_without_a_graph_break(case):
    torch._dynamo.reset()  # every case is compiled anew, not counted as a recompilation of the last
    plain, compiled = Net(make(*case)), Net(make(*case))
    compiled.loss.update = torch.compile(compiled.loss.update, fullgraph=True, backend="eager")
    module = torch.compile(compiled, fullgraph=True, backend="eager")
    found = train(compiled, batches(case[-1]), module)
    for one, other in zip(found, train(plain, batches(case[-1])), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_does_not_wait_for_the_gpu(case):
    net, expected = Net(make(*case)).cuda(), train(Net(make(*case)), batches(case[-1]))
    parts = [(inputs.cuda(), targets.cuda()) for inputs, targets in batches(case[-1])]
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = train(net, parts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.cpu(), other, rtol=1e-3, atol=1e-4)
