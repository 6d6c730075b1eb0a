"""The administration of rows around which there is a fence.

``GUESTBOOK_PYTHON`` is the Python of an environment of its own, as in ``test_fence``.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from tests.fixtures.fenced import Bed
from tests.integration.strangler_django.test_fence import posted


def test_an_admin_of_what_a_service_owns_is_to_be_looked_at(bed: Bed) -> None:
    ours = {"add": True, "change": True, "delete": True, "view": True}
    [answer] = posted(bed, "/administration/")
    assert json.loads(answer["body"]) == {
        "book": ours,
        "inline": ours,
        "other": ours,
        "actions": ["delete_selected", "restock", "tell"],
        "banner": 'The service “shop-books” owns these now: they are shown here as they are there. <a href="https:'
        '//books.test/?a=1&amp;b=2">Change them there.</a>',
    }
    bed.up()
    [answer] = posted(bed, "/administration/")
    told = json.loads(answer["body"])
    theirs = {"add": False, "change": False, "delete": False, "view": True}
    assert (told["book"], told["inline"], told["other"], told["actions"]) == (theirs, theirs, ours, ["tell"])


def sent(bed: Bed, address: str, form: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a form of the administration, as a browser sends it."""
    [answer] = posted(bed, f"FORM /admin/fenced/{address}?{urlencode(form)}")
    return answer


def test_an_action_that_asks_the_owner_says_itself_who_may_not(bed: Bed) -> None:
    form = {"action": "withdraw", "index": 0, "_selected_action": 3}
    bed.up()
    refused = sent(bed, "book/", form)
    assert (refused["status"], "Not changed here" in refused["body"]) == (403, False)
    rows = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": 3, "form-0-title": "Anew", "_save": "Save"}
    refused = sent(bed, "book/", {**form, **rows})
    assert (refused["status"], "Not changed here" in refused["body"]) == (403, True), "the list is saved, and no action"
    bed.down()
    assert sent(bed, "book/", form)["status"] == 403


OTHERS = {"id": 1, "note": "After"}
# Two rows of an inline, of which a page sends no more than this where they may only be looked at.
SHOWN = {
    **{f"page_set-{name}_FORMS": number for name, number in (("TOTAL", 2), ("INITIAL", 2))},
    "page_set-0-id": 3,
    "page_set-0-other": 1,
    "page_set-1-id": 4,
    "page_set-1-other": 1,
}
CHANGED = {
    **SHOWN,
    "page_set-0-title": "Book 3",
    "page_set-0-body": "",
    "page_set-1-title": "Book 4",
    "page_set-1-body": "More of it,\r\nin <two> lines.",
}


def test_a_form_with_rows_that_could_be_changed_when_it_was_opened_is_refused_as_a_whole(bed: Bed) -> None:
    bed.owner("insert into other values (1, 'Before')")
    bed.up()
    before = bed.rows
    refused = sent(bed, "other/1/change/", {**OTHERS, **CHANGED})
    assert refused["status"] == 403
    for told in (
        "<h1>Not changed here</h1><p>The service “shop-books” owns a part of this form now. Nothing of the form was"
        " saved. What you typed stands below, to be copied.</p>",
        '<li><a href="https://books.test/?a=1&amp;b=2">Change them there</a></li>',
        '<li><a href="/admin/fenced/other/1/change/">See them as they are now</a></li>',
        '<dl class="typed"><dt>note</dt><dd>After</dd>'
        "<dt>page 2: body</dt><dd>More of it,\r\nin &lt;two&gt; lines.</dd></dl>",
    ):
        assert told in refused["body"]
    assert bed.owner("select note from other") == [("Before",)]
    assert bed.rows == before


def test_what_is_ticked_to_be_deleted_and_what_is_new_is_refused_too(bed: Bed) -> None:
    bed.owner("insert into other values (1, 'Before')")
    bed.up()
    new = {**SHOWN, "page_set-TOTAL_FORMS": 3, "page_set-2-title": "New"}
    for form in ({**SHOWN, "page_set-1-DELETE": "on"}, new):
        assert sent(bed, "other/1/change/", {**OTHERS, **form})["status"] == 403
    assert "<dt>page 3: title</dt><dd>New</dd>" in sent(bed, "other/add/", {"id": 2, "note": "Two", **new})["body"]
    assert bed.owner("select id, note from other") == [(1, "Before")]


def test_a_form_whose_inlines_are_shown_only_is_saved(bed: Bed) -> None:
    bed.owner("insert into other values (1, 'Before')")
    bed.up()
    assert sent(bed, "other/1/change/", {**OTHERS, **SHOWN})["status"] == 302
    assert bed.owner("select note from other") == [("After",)]
    bed.down()
    assert sent(bed, "other/1/change/", {**OTHERS, "note": "Then", **CHANGED})["status"] == 302
    assert bed.owner("select note from other") == [("Then",)]
    assert bed.owner("select body from book where id = 4") == [("More of it,\r\nin <two> lines.",)]
