"""The guide in both libraries, on the same files, in float32."""

import pytest
import torch
import transformers

import lfm2chat
from lfm2chat.runtime.models import guide_folder


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small tensors gain nothing from a second thread, and other tests run beside these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def silent_oracle():
    """Its advice on lengths and kernels is no error of ours."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def model():
    return lfm2chat.AutoModelForCausalLM.from_pretrained("guide", dtype="float32")


@pytest.fixture(scope="module")
def theirs():
    return transformers.AutoModelForCausalLM.from_pretrained(guide_folder(), dtype="float32")


@pytest.fixture(scope="module")
def tokenizer():
    return lfm2chat.AutoTokenizer.from_pretrained("guide")


@pytest.fixture(scope="module")
def their_tokenizer():
    return transformers.AutoTokenizer.from_pretrained(guide_folder())


@pytest.fixture
def both(model, theirs):
    """Generate with the same seed in both; ours, after it was compared with the oracle's."""

    def generate(*prompt, seed=0, **options):
        torch.manual_seed(seed)
        expected = theirs.generate(*prompt, **options)
        torch.manual_seed(seed)
        found = model.generate(*prompt, **options)
        assert torch.equal(found, expected)
        return found

    return generate
