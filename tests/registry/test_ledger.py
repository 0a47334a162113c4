import pytest

from spikeprint.registry.ledger import COLUMNS, append_move, describe_loss, read_moves


@pytest.fixture
def move():
    return dict.fromkeys(COLUMNS, "x") | {"model": "m", "version": "1", "alias": "staging"}


def test_moves_come_back_in_order(tmp_path, move):
    moves = [move, move | {"alias": "production", "gates": 'a "quoted", text'}]
    for one in moves:
        append_move(tmp_path, one)
    assert read_moves(tmp_path, "m") == moves


def test_moves_of_other_models_are_left_out(tmp_path, move):
    append_move(tmp_path, move)
    assert read_moves(tmp_path, "other") == []


def test_without_a_ledger_nothing_is_lost(tmp_path):
    assert describe_loss(read_moves(tmp_path, "m")) == ""


def test_the_last_holder_of_production_is_named(move):
    moves = [move | {"alias": "production", "bundle_sha256": sha * 64} for sha in "ab"]
    assert "@production was bundle bbbbbbbbbbbb " in describe_loss([*moves, move])


def test_a_ledger_without_production_says_so(move):
    assert describe_loss([move]).endswith("none held @production")
