"""Tables and fitted codebooks: entries, nearest entry, ties, k-means as a fixed point."""

import numpy as np
import pytest
import torch

from bitlaw.errors import InputError
from bitlaw.formats import bits_per_weight, parse_format, quantize_groups
from bitlaw.formats.codebook import nearest_entry
from bitlaw.formats.fitted_codebook import CodebookFormat
from bitlaw.formats.normal_float import FP4, NF4, TableFormat


def plain_nearest(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Walk up the table while the next entry is strictly nearer."""
    out = np.empty_like(values)
    for i, value in enumerate(values):
        j = 0
        while j + 1 < len(table) and value > (table[j] + table[j + 1]) / np.float32(2):
            j += 1
        out[i] = table[j]
    return out


@pytest.mark.parametrize("table", ["nf4", "fp4bnb"])
def test_tables_equal_a_walk_on_ties_and_neighbours(table: str) -> None:
    entries = np.array(NF4 if table == "nf4" else FP4, np.float32)
    ties = (entries[1:] + entries[:-1]) / np.float32(2)
    near = np.concatenate([entries, ties, np.nextafter(ties, np.float32(9)), np.nextafter(ties, np.float32(-9))])
    row = np.concatenate([near, np.random.default_rng(0).uniform(-1, 1, 300).astype(np.float32), [np.float32(1)]])
    for scale in (1.0, 2.0**-30, 2.0**40):
        got = quantize_groups(torch.from_numpy(row * np.float32(scale))[None], parse_format(f"{table}_row"))[0].numpy()
        assert (got == plain_nearest(row, entries) * np.float32(scale)).all()


def test_table_constants() -> None:
    assert len(NF4) == 16
    assert sorted(FP4) == list(FP4)
    assert len(FP4) == 15
    assert (NF4[0], NF4[7], NF4[15]) == (-1.0, 0.0, 1.0)
    # NF4 is made of normal quantiles (QLoRA, appendix E): 8 above zero and 7 below, ends at 0.9677083.
    from scipy.stats import norm

    above = norm.ppf(np.linspace(0.9677083, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(0.9677083, 0.5, 8)[:-1])
    want = np.sort(np.concatenate([above, [0.0], below])) / above.max()
    np.testing.assert_allclose(NF4, want, atol=2e-7)


@pytest.mark.parametrize("table", ["nf4", "fp4bnb"])
def test_bad_values_and_zeros(table: str) -> None:
    grid = TableFormat(table=table, group_size=4)
    assert quantize_groups(torch.zeros(1, 4), grid).tolist() == [[0.0] * 4]
    for bad in (float("nan"), float("inf")):
        got = quantize_groups(torch.tensor([[1.0, bad, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0]]), grid)
        assert got[0, :4].isnan().all()
        assert got[0, 4:].isfinite().all()
    assert bits_per_weight(128, grid) == 4 + 32 / 4


def test_nearest_entry_with_one_codebook_per_row() -> None:
    codebook = torch.tensor([[0.0, 1.0, 4.0], [-2.0, 0.0, 2.0]])
    values = torch.tensor([[0.5, 0.51, 2.5, 9.0, -9.0], [-1.0, 1.0, 1.01, torch.nan, torch.inf]])
    got = nearest_entry(values, codebook)
    assert got[0].tolist() == [0.0, 1.0, 1.0, 4.0, 0.0]
    assert got[1, :3].tolist() == [-2.0, 0.0, 2.0]
    assert got[1, 3].isnan()
    assert got[1, 4] == 2.0


def test_quantiles_are_numpys() -> None:
    weight = torch.randn(4, 100, generator=torch.Generator().manual_seed(1))
    for bits in (1, 3, 4):
        got = CodebookFormat(kind="quantile", bits=bits).parameters(weight).numpy()
        want = np.quantile(weight.numpy(), (np.arange(2**bits) + 0.5) / 2**bits, axis=1).T
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_clusters_are_means_of_their_weights_and_beat_quantiles() -> None:
    weight = torch.randn(5, 257, generator=torch.Generator().manual_seed(2))
    for bits in (2, 3, 4):
        grid = CodebookFormat(kind="kmeans", bits=bits)
        entries, quantized = grid.parameters(weight).numpy(), quantize_groups(weight, grid).numpy()
        for row in range(5):
            assert (np.diff(entries[row]) > 0).all()
            for entry in entries[row]:
                assert weight[row].numpy()[quantized[row] == entry].mean(dtype=np.float64) == pytest.approx(
                    entry, abs=1e-6
                )
        quantiles = quantize_groups(weight, CodebookFormat(kind="quantile", bits=bits)).numpy()
        error, other = (((q - weight.numpy()) ** 2).sum(1) for q in (quantized, quantiles))
        assert (error < other).all()


def test_clusters_equal_plain_lloyd() -> None:
    weight = np.random.default_rng(4).standard_normal((3, 64)).astype(np.float32)
    got = CodebookFormat(kind="kmeans", bits=2).parameters(torch.from_numpy(weight)).numpy()
    for row, found in zip(weight, got, strict=True):
        centres = np.quantile(row, (np.arange(4) + 0.5) / 4)
        for _ in range(100):
            nearest = np.abs(row[:, None] - centres).argmin(1)
            centres = np.array([row[nearest == i].mean() for i in range(4)])
        np.testing.assert_allclose(found, centres, atol=1e-5)


def test_groups_that_lie_as_columns_are_fitted_without_a_copy_each_time() -> None:
    """A sort keeps its input's strides; torch warns, once in a process, of a search in what is not contiguous."""
    weight = torch.randn(24, 5, generator=torch.Generator().manual_seed(4))
    grid = parse_format("kmeans3_row")
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        entries = grid.parameters(weight.T)
    finally:
        torch.set_warn_always(before)
    assert torch.equal(entries, grid.parameters(weight.T.contiguous()))


def test_a_weight_between_two_clusters_belongs_to_the_lower() -> None:
    entries = parse_format("kmeans1_row").parameters(torch.tensor([[0.0, 0.0, 1.0, 2.0, 2.0]]))
    assert entries.tolist() == [[pytest.approx(1 / 3), 2.0]]


def test_few_distinct_values_are_kept_exactly() -> None:
    row = torch.tensor([[1.0, 1.0, 2.0, 5.0, 5.0, 5.0]])
    for name in ("kmeans3_row", "kmeans4_row"):
        assert quantize_groups(row, parse_format(name)).tolist() == row.tolist()
    assert quantize_groups(torch.full((2, 5), 3.0), parse_format("kmeans1_row")).tolist() == [[3.0] * 5] * 2


@pytest.mark.parametrize("kind", ["quantile", "kmeans"])
def test_bad_groups_and_bits(kind: str) -> None:
    for bad in (float("nan"), float("inf"), -float("inf")):
        weight = torch.tensor([[1.0, bad, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
        got = quantize_groups(weight, CodebookFormat(kind=kind, bits=2))
        assert got[0].isnan().all()
        assert got[1].isfinite().all()
    assert bits_per_weight(1024, CodebookFormat(kind=kind, bits=3)) == 3 + 8 * 16 / 1024


def test_refuses_names_and_settings() -> None:
    for name in (
        "nf4",
        "nf4_g0",
        "nf4_k64",
        "nf3_g64",
        "fp4bnb",
        "kmeans_row",
        "kmeans0_row",
        "kmeans9_row",
        "quantile4",
    ):
        with pytest.raises(InputError):
            parse_format(name)
    with pytest.raises(InputError, match="whole number from 1 to 8"):
        CodebookFormat(kind="kmeans", bits=12)
    with pytest.raises(InputError, match="Known: quantile, kmeans"):
        CodebookFormat(kind="median", bits=3)
