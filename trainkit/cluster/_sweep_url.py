"""The URL of a study's database: checked before anything is written, shown without its password."""

from __future__ import annotations

import re
from pathlib import Path

from trainkit.errors import UsageError

_EXPECTED = "--study takes the URL of a database, such as sqlite:///study.db or postgresql://user@host/name."


def url_of_file(path: Path) -> str:
    """Return the URL of an SQLite file, whatever letters its folders have."""
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def checked_url(url: str) -> str:
    """Return the URL of a database that any process can open; that of a file with the whole path.

    Raises:
        UsageError: it is no URL of a database, or that of one in the memory of a process.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(with_driver(url))
        parsed.get_dialect()
    except UsageError:
        raise
    except (ArgumentError, ValueError) as error:
        raise no_database(url) from error
    if parsed.get_backend_name() != "sqlite":
        return url
    database = parsed.database or ""
    if not database or database == ":memory:" or database.startswith("file:"):
        raise UsageError(
            "A study in memory is gone with its process, and no other one sees it. Expected a file, such as "
            f"sqlite:///study.db. Received: {url}"
        )
    return parsed.set(database=str(Path(database).absolute())).render_as_string(hide_password=False)


def no_database(url: str) -> UsageError:
    """Say what a URL of a database is."""
    return UsageError(f"{_EXPECTED} Received: {without_password(url)}")


def with_driver(url: str) -> str:
    """Return a URL that names the driver which comes with the extra, where it names none."""
    scheme, colon, rest = url.partition("://")
    if not colon:
        raise no_database(url)
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url


def without_password(url: str) -> str:
    """Return a URL that may be shown."""
    url = re.sub(r"(?<=[?&]password=)[^&]*", "***", url)
    scheme, colon, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{colon}{user.partition(':')[0]}:***{at}{host}" if ":" in user else url
