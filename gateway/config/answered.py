"""What must be true of routes that are answered here: logouts, and metadata. Floor 2."""

from gateway.config.case import Case
from gateway.config.logouts import VERIFIER, issuer_of
from gateway.config.model import Route
from gateway.config.report import KeyPath
from gateway.rules.resources import host_of, metadata_path
from gateway.values import RouteKind


def logout(case: Case, path: KeyPath, route: Route) -> None:
    """Refuse to take logouts that nothing could prove."""
    if route.kind is not RouteKind.BACKCHANNEL_LOGOUT:
        if route.logout is not None:
            case.report.problem(
                (*path, "logout"), f"expected kind: {RouteKind.BACKCHANNEL_LOGOUT}"
            )
        return
    if route.logout is None:
        case.report.missing((*path, "logout"))
    provider = case.config.providers.get(route.provider)
    if provider is None:
        return
    proves = VERIFIER in provider.verify
    if not proves or not issuer_of(provider.settings(VERIFIER)):
        case.report.problem(
            (*path, "provider"),
            "expected a provider with `jwt` in verify, and an issuer or discovery "
            "there: they prove logout tokens",
        )
    if provider.token_lifetime is None:
        case.report.warn(
            (*path, "provider"),
            "without its token_lifetime the mark of a logout is kept for ever, and "
            "one day there is no room for another",
        )


def resource(case: Case, path: KeyPath, route: Route) -> None:
    """Refuse metadata where no client would look for them, or that tell nothing."""
    described = route.resource
    if route.kind is not RouteKind.PROTECTED_RESOURCE:
        if described is not None:
            case.report.problem(
                (*path, "resource"), f"expected kind: {RouteKind.PROTECTED_RESOURCE}"
            )
        return
    if described is None:
        case.report.missing((*path, "resource"))
        return
    wanted = {"host": host_of(described.url), "path": metadata_path(described.url)}
    for key, value in wanted.items():
        if getattr(route.match, key) != value:
            # RFC 9728 §3.1
            text = f"expected {value}: there clients look for it"
            case.report.problem((*path, "match", key), text)
