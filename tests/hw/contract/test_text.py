"""Sentences and tables for people."""

from hw.contract.text import none_of


def test_a_name_that_is_none_of_the_choices():
    boards = ("icebreaker", "ulx3s_85f")
    assert (
        none_of("Board", "arty", boards) == "Board must be one of icebreaker, ulx3s_85f, not 'arty'"
    )
    assert none_of("Board", "icebraker", boards, " here") == (
        "Board must be one of icebreaker, ulx3s_85f here, not 'icebraker': "
        "did you mean 'icebreaker'?"
    )
    assert none_of("Board", None, []) == "Board must be one of , not None"
