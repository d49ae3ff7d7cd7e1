"""Ways to learn a token's facts, one file each, named as in configuration. Floor 3.

To add one: a module with `Settings` (a `config.fields.Model`), `knows(settings)` (which
facts it can tell) and `build(settings, context)` (the `Verifier`).
"""

from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from gateway.config.fields import PLAIN_HTTP
from gateway.config.units import expected
from gateway.rules.endpoints import secure_endpoint


def _secure(url: str, info: ValidationInfo) -> str:
    plain_http = (info.context or {}).get(PLAIN_HTTP, False)
    try:
        return secure_endpoint(url, plain_http=plain_http)
    except ValueError as error:
        raise expected(str(error).removeprefix("expected ")) from None


Endpoint = Annotated[str, AfterValidator(_secure)]
"""A provider's URL: https, or http on loopback or where configuration allows it."""
