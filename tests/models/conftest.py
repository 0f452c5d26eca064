import pytest
import torch

from fer_utils.core import InputError


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Many small tensors: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture
def refused():
    """Check that a call ends in the project's own error: one line that holds what is expected."""

    def check(words, function, *args, **kwargs):
        with pytest.raises(InputError) as error:
            function(*args, **kwargs)
        message = str(error.value)
        assert "\n" not in message and len(message) < 1200
        for word in [words] if isinstance(words, str) else words:
            assert word in message

    return check


@pytest.fixture(scope="session")
def pixels():
    """RGB from 0 to 1, of an odd and oblong size: pools and strides cannot agree by chance."""
    return torch.rand(2, 3, 65, 50, generator=torch.Generator().manual_seed(3)).double()
