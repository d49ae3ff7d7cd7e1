import json

from gateway.admin.openapi import openapi


def test_every_reference_leads_somewhere():
    """A tool that reads it fails on the first that does not."""
    text = json.dumps(openapi())
    schemas = openapi()["components"]["schemas"]
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert referred <= schemas.keys()
    assert {"Overview", "RouteRow", "ShownExchange", "ShownMark"} <= schemas.keys()


def test_whatever_changes_something_needs_the_token():
    """`{}` in a security list means: nobody is asked."""
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            open_to_all = {} in operation["security"]
            reading = method == "get" and path != "/api/revocations"
            assert reading == open_to_all, (method, path)


def test_every_answer_is_worded():
    """Clients see the refusals too."""
    for methods in openapi()["paths"].values():
        for operation in methods.values():
            assert {"401", "403", "421", "503"} <= operation["responses"].keys()
            assert all(each["description"] for each in operation["responses"].values())


def test_exactly_one_thing_is_revoked_of_a_known_provider():
    """What the types cannot say is said beside them."""
    body = openapi(("melon", "nugu"))["components"]["schemas"]["RevokeBody"]

    assert ["melon", "nugu"] == body["properties"]["provider"]["enum"]
    assert [["token"], ["token_id"], ["subject"], ["client"], ["session"], ["all"]] == [
        choice["required"] for choice in body["oneOf"]
    ]
