"""Connectors over grids: what lies at row r, column c ends in the right cell, and grids that do not fit are refused."""

import pytest
import torch
from torch import Tensor

from lavit.connectors.c_abstractor import CAbstractor
from lavit.connectors.image import initial_positions
from lavit.connectors.pixel_shuffle import PixelShuffle, shuffle_factor, space_to_depth
from lavit.connectors.windows import WindowedQueries
from lavit.errors import LavitError

SIZES = {"feature_dim": 3, "width": 5, "patches": 16}


def numbered() -> Tensor:
    """A grid of 4 x 4 features that say where they lie: row, column, and their number in raster order."""
    at_N = torch.arange(16)
    return torch.stack([at_N // 4, at_N % 4, at_N], -1).float()[None]


def test_pixel_shuffle_keeps_rows_rows_and_columns_columns() -> None:
    cells_MKC = space_to_depth(numbered(), 2)[0].unflatten(-1, (4, 3))
    # The second cell of the first row: rows 0 and 1, columns 2 and 3; a transposed grid would hold rows 2 and 3.
    assert cells_MKC[1, :, :2].tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert cells_MKC[2, :, 2].tolist() == [8, 9, 12, 13]
    assert sorted(cells_MKC[..., 2].flatten().tolist()) == list(range(16))  # nothing lost, nothing twice
    wide = space_to_depth(torch.arange(36.0).view(1, 36, 1), 3)[0]
    assert wide[0].tolist() == [0, 1, 2, 6, 7, 8, 12, 13, 14]
    assert wide[1].tolist() == [3, 4, 5, 9, 10, 11, 15, 16, 17]


@pytest.mark.parametrize("single", [False, True])
def test_each_shuffled_embedding_knows_its_own_cell_alone(single: bool) -> None:
    torch.manual_seed(0)
    connector = PixelShuffle(tokens=4, single=single, **SIZES)
    assert torch.equal(moved_by_patch(connector), own_cell())


def test_each_windowed_query_sees_its_own_window_alone() -> None:
    torch.manual_seed(0)
    connector = WindowedQueries(tokens=4, depth=2, hidden=8, heads=2, **SIZES)
    assert torch.equal(moved_by_patch(connector), own_cell())


def test_the_abstractor_keeps_the_grid_too() -> None:
    torch.manual_seed(0)
    connector = CAbstractor(tokens=4, depth=0, **{**SIZES, "hidden": 3})
    assert connector.positions_NC is not None
    connector.positions_NC.data.zero_()
    assert torch.equal(moved_by_patch(connector), own_cell())  # without blocks it pools and projects
    deep = CAbstractor(tokens=4, depth=1, hidden=6, **SIZES)
    moved_MN = moved_by_patch(deep)
    assert (moved_MN >= own_cell()).all()
    assert moved_MN.sum() > own_cell().sum()  # convolutions look beyond a cell


def moved_by_patch(connector: torch.nn.Module) -> Tensor:
    """Which patch (column) moves which embedding (row) [4, 16]."""
    features_BNC, mask_BN = torch.randn(1, 16, 3), torch.ones(1, 16, dtype=torch.bool)
    before = connector(features_BNC, mask_BN)
    found = torch.zeros(4, 16, dtype=torch.bool)
    for patch in range(16):
        other = features_BNC.clone()
        other[0, patch] += torch.tensor([1.0, -2.0, 0.5])
        found[:, patch] = (connector(other, mask_BN) - before)[0].abs().amax(-1) > 1e-6
    return found


def own_cell() -> Tensor:
    """Which patch lies in which cell of 2 x 2 [4, 16]."""
    at_N = torch.arange(16)
    cell_N = at_N // 4 // 2 * 2 + at_N % 4 // 2
    return cell_N == torch.arange(4)[:, None]


@pytest.mark.parametrize(("kind", "options"), [(PixelShuffle, {}), (WindowedQueries, {"hidden": 8, "heads": 2})])
def test_cells_that_are_no_square_or_do_not_divide_the_patches_are_refused(kind: type, options: dict[str, int]) -> None:
    with pytest.raises(LavitError, match=r"connector\.tokens=6 is no square number.*\n.*1, 4, 16"):
        kind(tokens=6, **SIZES, **options)
    with pytest.raises(LavitError, match=r"connector\.tokens=9: 3 x 3 cells do not divide 4 x 4"):
        kind(tokens=9, **SIZES, **options)
    with pytest.raises(LavitError, match="number of patches=12 is no square number"):
        kind(tokens=4, **{**SIZES, "patches": 12}, **options)
    assert shuffle_factor(1024, 64) == 4


def test_the_abstractor_needs_a_square_of_at_most_as_many() -> None:
    with pytest.raises(LavitError, match=r"connector\.tokens=6 is no square number"):
        CAbstractor(tokens=6, hidden=4, depth=1, **SIZES)
    with pytest.raises(LavitError, match=r"connector\.tokens=25 are more than the 16 patches"):
        CAbstractor(tokens=25, hidden=4, depth=1, **SIZES)
    three = CAbstractor(tokens=9, hidden=4, depth=1, **SIZES)  # pooling is adaptive: 3 need not divide 4
    assert three(torch.randn(2, 16, 3), torch.ones(2, 16, dtype=torch.bool)).shape == (2, 9, 5)


def test_places_of_one_row_begin_alike() -> None:
    torch.manual_seed(0)
    place_GGC = initial_positions(16, 8).view(4, 4, 8)
    between_GC = place_GGC[:, 0] - place_GGC[:, 1]
    assert torch.allclose(between_GC, between_GC[:1].expand(4, -1), atol=1e-6)  # a column differs alike in every row
    assert initial_positions(12, 8).shape == (12, 8)  # no square grid: a vector of its own for each
