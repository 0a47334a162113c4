import pytest

from spikeprint.registry.ledger import (
    COLUMNS,
    add_to_ledger,
    describe_loss,
    find_previous,
    last_holder,
    read_ledger,
    read_moves,
    write_move,
)


@pytest.fixture
def move():
    return dict.fromkeys(COLUMNS, "x") | {"model": "m", "version": "1", "alias": "staging", "kind": "promoted"}


def moves_of(text):
    """``"1 2 <1"``: 1 and 2 promoted, then rolled back to 1."""
    return [
        {"alias": "production", "version": word.strip("<"), "kind": "rolled back" if "<" in word else "promoted"}
        for word in text.split()
    ]


def test_moves_come_back_in_order(tmp_path, move):
    moves = [move, move | {"alias": "production", "gates": 'a "quoted", text'}]
    add_to_ledger(tmp_path, moves[:1])
    add_to_ledger(tmp_path, moves)
    assert read_ledger(tmp_path, "m") == moves


def test_a_move_is_added_once(tmp_path, move):
    add_to_ledger(tmp_path, [move])
    add_to_ledger(tmp_path, [move])
    assert len(read_ledger(tmp_path)) == 1


def test_a_file_of_before_gains_the_new_columns(tmp_path, move):
    old = [name for name in COLUMNS if name not in ("kind", "reason")]
    (tmp_path / "reports").mkdir()
    path = tmp_path / "reports" / "promotions.csv"
    path.write_text(",".join(old) + "\n" + ",".join(["x"] * len(old)) + "\n")
    add_to_ledger(tmp_path, [move])
    first, second = read_ledger(tmp_path)
    assert (first["reason"], first["gates"], second) == ("", "x", move)


def test_moves_of_other_models_are_left_out(tmp_path, move):
    add_to_ledger(tmp_path, [move])
    assert read_ledger(tmp_path, "other") == []


def test_a_move_survives_as_a_tag(move):
    tags = dict([write_move(move | {"version": "2"}, 2), write_move(move, 1)])
    assert read_moves(tags | {"other": "y"}, "m") == [move, move | {"version": "2"}]


@pytest.mark.parametrize(
    ("history", "before", "now"),
    [
        ("", "", ""),
        ("1", "", "1"),
        ("1 2", "1", "2"),
        ("1 2 3 <2", "1", "2"),
        ("1 2 3 <2 <1", "", "1"),
        ("1 2 <1 3", "1", "3"),
    ],
)
def test_the_way_back_skips_what_was_rolled_back(history, before, now):
    moves = moves_of(history)
    assert (find_previous(moves, "production"), last_holder(moves, "production")) == (before, now)
    assert find_previous(moves, "staging") == ""


def test_without_a_ledger_nothing_is_lost(tmp_path):
    assert describe_loss(read_ledger(tmp_path, "m")) == ""


def test_the_last_holder_of_production_is_named(move):
    moves = [move | {"alias": "production", "bundle_sha256": sha * 64} for sha in "ab"]
    assert "@production was bundle bbbbbbbbbbbb " in describe_loss([*moves, move])


def test_a_ledger_without_production_says_so(move):
    assert describe_loss([move]).endswith("none held @production")
