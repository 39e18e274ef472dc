"""Storage URLs as they may be shown, and the secrets that were in them kept out of messages."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

# Names of query settings whose values are secret, as the drivers call them.
_SECRET_SETTING = re.compile(r"pass|pwd|secret|token|credential|api_?key|odbc_connect", re.I)
_HIDDEN = "***"
# Every secret of a URL that this process was given. A driver may quote it in its own message.
_SECRETS: set[str] = set()


def redact_url(url: str) -> str:
    """A URL without its secrets; without anything after `://` where it cannot be taken apart.

    Args:
        url: what the user typed, perhaps no URL at all.

    Returns:
        What may be printed, logged and stored. A path is returned as it is.

    Example:
        >>> redact_url("postgresql://me:sesame@host/base?sslpassword=open")
        'postgresql://me:***@host/base?sslpassword=***'
        >>> redact_url("postgresql://me:ses@me@host/base")
        'postgresql://***'
    """
    import sqlalchemy

    text = url.strip()
    scheme, mark, rest = text.partition("://")
    if not mark:
        # "postgresql:user:sesame@host": no URL, and no path that anybody has either.
        return f"{text.split(':')[0]}:{_HIDDEN}" if re.search(r":.*@", text) else text
    nothing = (scheme if re.fullmatch(r"[\w+.-]+", scheme) else "") + f"://{_HIDDEN}"
    try:
        parsed = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        _remember(rest.rpartition("@")[0].partition(":")[2])
        return nothing
    secret = {name for name in parsed.query if _SECRET_SETTING.search(name)}
    _remember(parsed.password)
    for name in secret:
        _remember(*_listed(parsed.query[name]))
    has_user = parsed.password is not None or parsed.username is not None
    open_settings = [v for k in parsed.query.keys() - secret for v in _listed(parsed.query[k])]
    if has_user and any("@" in (p or "") for p in (parsed.host, parsed.database, *open_settings)):
        # The password has an "@" of its own, and what follows it may be more of the password.
        _remember(rest.rpartition("@")[0].partition(":")[2])
        return nothing
    hidden = parsed.update_query_dict(dict.fromkeys(secret, _HIDDEN)) if secret else parsed
    rendered = hidden.render_as_string(hide_password=True).replace("%2A%2A%2A", _HIDDEN)
    # What SQLAlchemy escapes in passing stays as it was typed where there was nothing to hide.
    return text if not secret and parsed.password is None else rendered


def redact_secrets(text: str) -> str:
    """A text of a driver, with every secret that this process was given replaced by stars."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        # Short ones as words only: a password "a" must not eat every letter a.
        edge = r"(?<!\w)" if len(secret) < 4 else ""
        pattern = f"{edge}{re.escape(secret)}{edge.replace('<', '')}"
        text = re.sub(pattern, _HIDDEN, text)
    return text


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _remember(*secrets: Any) -> None:
    """Takes note of secrets, also in the forms in which a URL writes them."""
    for secret in secrets:
        if secret:
            plain = str(secret)
            forms = {plain, urllib.parse.quote(plain, safe=""), urllib.parse.quote_plus(plain)}
            _SECRETS.update(form for form in (*forms, urllib.parse.unquote(plain)) if form)
