import pytest
import torch

from fer_utils.errors import InputError


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Many small tensors: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def refused():
    """Check that a call is refused by the project's own error, in one line that matches."""

    def check(match, function, *args, **kwargs):
        with pytest.raises(InputError, match=match) as error:
            function(*args, **kwargs)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1000

    return check
