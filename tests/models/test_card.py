"""What is chosen by the GPU at hand."""

import jax
import jax.numpy as jnp
import pytest

from merclip_jax.models import attention, card, depthwise


class Device:
    def __init__(self, compute_capability):
        self.compute_capability = compute_capability


@pytest.fixture
def gpu(monkeypatch):
    def have(capability):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr(jax, "local_devices", lambda: [Device(capability)])

    return have


def test_no_gpu_here():
    assert card.compute_capability() == 0
    assert not attention._cudnn_takes(jnp.bfloat16, 64)


@pytest.mark.parametrize(
    ("capability", "found"), [("9.0", 9.0), ("7.5", 7.5), ("gfx942", 0.0)]
)
def test_an_amd_card_has_no_capability(gpu, capability, found):
    gpu(capability)
    assert card.compute_capability() == found


def test_cudnn_attends_in_bfloat16_since_ampere(gpu):
    gpu("8.0")
    assert attention._cudnn_takes(jnp.bfloat16, 64)
    assert not attention._cudnn_takes(jnp.float32, 64)
    assert not attention._cudnn_takes(jnp.bfloat16, 192)
    gpu("7.5")
    assert not attention._cudnn_takes(jnp.bfloat16, 64)


@pytest.mark.parametrize(("capability", "kernel"), [("9.0", True), ("7.5", False)])
def test_old_cards_sum_shifted_products(gpu, capability, kernel):
    gpu(capability)
    x, taps = jnp.zeros((1, 2, 4, 3, 128)), jnp.zeros((3, 3, 3, 128))
    # A function of its own: JAX remembers what it has traced.
    text = str(jax.make_jaxpr(lambda *a: depthwise.depthwise_conv(*a))(x, taps))
    assert ("pallas_call" in text) == kernel
