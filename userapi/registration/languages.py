"""The language that whoever registers prefers."""

from pydantic import TypeAdapter, ValidationError

from userapi.models import Locale

_locale: TypeAdapter[str] = TypeAdapter(Locale)


def preferred(accept_language: str | None) -> str | None:
    """Return the first of the languages that a header likes best (RFC 9110 section 12.5.4), if it is a tag as ours."""
    ranges = [part.partition(";") for part in (accept_language or "").split(",")]
    weighted = [(_weight(parameters), language.strip()) for language, _, parameters in ranges]
    weight, best = max(weighted, key=lambda pair: pair[0])
    try:
        return _locale.validate_python(best) if weight > 0 else None
    except ValidationError:
        return None


def _weight(parameters: str) -> float:
    try:
        return float(parameters.strip().removeprefix("q=") or 1)
    except ValueError:
        return 0
