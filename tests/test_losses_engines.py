"""The losses under torch.compile, gradient accumulation and distributed training: same numbers as the plain way."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from fer_utils import losses

COUNTS = [40, 20, 10, 5]
CASES = [
    (name, reduction, center_init, center_update)
    for name in losses.LOSS_NAMES
    for reduction, center_init, center_update in (
        ("weighted_mean", "class_means", "paper"),
        ("mean", "normal", "autograd"),
        ("sum", "normal", "paper"),
    )
]
# Of soft targets, whose engine-dependent parts are the divisor, the gathered batch and a loop over the classes.
SOFT_CASES = [case for case in CASES[::3] if case[0] in ("weighted_softmax", "weighted_cluster", "island_softmax")]
ALL = [(case, False) for case in CASES] + [(case, True) for case in SOFT_CASES]


def make(name, reduction, center_init, center_update):
    return losses.make_loss(
        name, COUNTS, 6, reduction=reduction, center_init=center_init, center_update=center_update, seed=1
    )


class Net(torch.nn.Module):
    """A linear embedding with an output layer, and the loss: what DDP wraps in a training step."""

    def __init__(self, loss):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.output, self.loss = torch.nn.Linear(5, 6), torch.nn.Linear(6, 4), loss

    def forward(self, inputs, targets):
        features = self.embedding(inputs)
        return self.loss(self.output(features), features, targets), features.detach()


def batches(soft=False, steps=3, n=8):
    random = torch.Generator().manual_seed(2)
    found = []
    for _ in range(steps):
        inputs = torch.randn(n, 5, generator=random)
        labels = torch.cat([torch.arange(4), torch.randint(4, (n - 4,), generator=random)])
        found.append((inputs, soften(labels) if soft else labels))
    return found


def soften(labels):
    """A share of 0.7 for the label, 0.3 for the next class."""
    return 0.7 * F.one_hot(labels, 4) + 0.3 * F.one_hot((labels + 1) % 4, 4)


def train(net, parts, module=None):
    """A few SGD steps; loss values, gradients of the last step, centres."""
    module = module or net
    values = []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for inputs, targets in parts:
        optimizer.zero_grad()
        value, features = module(inputs, targets)
        value.backward()
        net.loss.update(features, targets)
        optimizer.step()
        values.append(value.detach())
    result = {"loss": torch.stack(values), "weights": net.embedding.weight.detach().clone()}
    if net.loss.centers is not None:
        result["centers"] = net.loss.centers.detach().clone()
    return result


def in_process(rank, port, folder):
    store = dist.TCPStore("127.0.0.1", port, 2, rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found = []
    # 3 samples here and 5 there; classes 0–2 and 3… of the batch stand in different processes.
    for case, soft in ALL:
        parts = [(x[:3], y[:3]) if rank == 0 else (x[3:], y[3:]) for x, y in batches(soft)]
        net = Net(make(*case))
        result = train(net, parts, DistributedDataParallel(net))
        dist.all_reduce(result["loss"])
        result["loss"] /= 2
        found.append(result)
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one_with_the_whole_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(in_process, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for (case, soft), one, two in zip(ALL, first, second, strict=True):
        whole = train(Net(make(*case)), batches(soft))
        for name, expected in whole.items():
            for found in (one[name], two[name]):
                same = torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
                assert same, f"{case}, soft={soft}, {name}: {found} instead of {expected}"


@pytest.mark.parametrize(
    ("case", "soft"),
    [(case, False) for case in CASES[::2]] + [(case, True) for case in SOFT_CASES],  # every loss, every reading
    ids=lambda value: "soft" * value if isinstance(value, bool) else "-".join(value),
)
def test_compiles_without_a_graph_break(case, soft):
    torch._dynamo.reset()  # every case is compiled anew, not counted as a recompilation of the last
    plain, compiled = make(*case), make(*case)
    loss = torch.compile(compiled.forward, fullgraph=True, backend="eager")
    update = torch.compile(compiled.update, fullgraph=True, backend="eager")
    random = torch.Generator().manual_seed(0)
    for _ in range(2):
        logits, features = torch.randn(8, 4, generator=random), torch.randn(8, 6, generator=random)
        targets = soften(torch.arange(8) % 4) if soft else torch.arange(8) % 4
        torch.testing.assert_close(loss(logits, features, targets), plain(logits, features, targets))
        update(features, targets)
        plain.update(features, targets)
        if plain.centers is not None:
            torch.testing.assert_close(compiled.centers, plain.centers)


def test_ldam_changes_its_weights_when_the_time_has_come():
    loss = losses.make_loss("ldam_drw", COUNTS, 6, drw_start=0.5, beta=0.9)
    loss.set_progress(0.4)
    assert loss.weights.tolist() == [1, 1, 1, 1]
    loss.set_progress(0.5)
    assert torch.equal(loss.weights, losses.effective_number_weights(COUNTS, 0.9))


def test_the_table_of_losses_names_them_all():
    from pathlib import Path

    table = (Path(losses.__file__).parent / "README.md").read_text(encoding="utf-8")
    for name in losses.LOSS_NAMES:
        assert f"| `{name}` |" in table, name
