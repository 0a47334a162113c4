"""Products of small matrices: the numbers of torch, whatever the number of columns, in whatever part of an array."""

import pytest
import torch

from spikeprint.cvae.products import PIECE, Product, multiply


@pytest.mark.parametrize("n", [1, 15, 16, 200, 1000])
@pytest.mark.parametrize(("n_out", "n_in"), [(32, 47), (1, 32), (3, PIECE // 24)])
def test_the_products_are_those_of_torch(n_out: int, n_in: int, n: int) -> None:
    weight, x = torch.randn(2, n_out, n_in), torch.randn(2, n_in, n)
    out = torch.empty(2, 2, n_out, n)[:, 1]
    multiply(weight, x, out)
    torch.testing.assert_close(out, weight @ x, atol=1e-5 * n_in**0.5, rtol=1e-5)


def test_a_product_reads_and_writes_its_memory_at_every_call() -> None:
    weight, whole, out = torch.randn(2, 3, 4), torch.randn(2, 4, 100), torch.empty(2, 3, 40)
    product = Product(weight, whole[..., 30:70], out)
    for _ in range(2):
        whole.normal_()
        product()
        torch.testing.assert_close(out, weight @ whole[..., 30:70])
