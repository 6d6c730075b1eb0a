"""The pages, for the OpenAPI document: the generator knows the API alone."""

_LANGUAGE = {"name": "language", "in": "path", "required": True, "schema": {"enum": ["en", "de"]}}
_SLUG = {"name": "slug", "in": "path", "required": True, "schema": {"type": "string"}}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
_PAGE = {"content": {"text/html": {"schema": {"type": "string"}}}}
_SHOWN = {"description": "The page", **_PAGE}
_MISSING = {"description": "Not there", **_PAGE}
_FORGED = {"description": "Not sent by a page of this site", **_PAGE}
_ELSEWHERE = {"description": "To the product's reviews, or to where visitors log in"}


def _posted(name, summary):
    responses = {"302": _ELSEWHERE, "403": _FORGED, "404": _MISSING}
    return {"operationId": name, "summary": summary, "responses": responses}


PAGES = {
    "/{language}/reviews/of/{slug}/": {
        "parameters": [_LANGUAGE, _SLUG],
        "get": {
            "operationId": "page_reviews_of",
            "summary": "What customers say of a product",
            "responses": {"200": _SHOWN, "404": _MISSING},
        },
    },
    "/{language}/reviews/write/{slug}/": {
        "parameters": [_LANGUAGE, _SLUG],
        "get": {
            "operationId": "page_reviews_form",
            "summary": "The form for a review",
            "responses": {"200": _SHOWN, "302": _ELSEWHERE, "404": _MISSING},
        },
        "post": {
            **_posted("page_reviews_write", "Write a review"),
            "responses": {"200": _SHOWN, "302": _ELSEWHERE, "403": _FORGED, "404": _MISSING},
        },
    },
    "/{language}/reviews/delete/{id}/": {
        "parameters": [_LANGUAGE, _ID],
        "post": _posted("page_reviews_delete", "Take a review of one's own back"),
    },
    "/{language}/reviews/vote/{id}/": {
        "parameters": [_LANGUAGE, _ID],
        "post": _posted("page_reviews_vote", "Say whether a review helped"),
    },
}
