from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.parity.html import pieces


@given(st.text() | st.text(alphabet="<>/!-?&;=a\"' \n[]#"))
def test_the_pieces_of_a_page_are_the_page(source: str) -> None:
    assert "".join(piece.source for piece in pieces(source)) == source


def test_a_piece_knows_its_line_and_the_elements_that_it_lies_in() -> None:
    found = [(piece.source, piece.line, piece.inside) for piece in pieces('<main class="a b">\n<p>x<br>y</p></main>z')]
    assert found == [
        ('<main class="a b">', 1, ()),
        ("\n", 1, ("main.a.b",)),
        ("<p>", 2, ("main.a.b",)),
        ("x", 2, ("main.a.b", "p")),
        ("<br>", 2, ("main.a.b", "p")),
        ("y", 2, ("main.a.b", "p")),
        ("</p>", 2, ("main.a.b",)),
        ("</main>", 2, ()),
        ("z", 2, ()),
    ]
