"""What all film data sets share: titles, years, age groups, and features made of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from training.datasets.encode import Encoded, categorical, multi, numeric, slug

_ARTICLE = re.compile(
    r"^(?P<name>.+), (?P<article>The|A|An|Le|La|Les|L'|Il|Lo|I|El|Los|Las|Der|Die|Das|Det|Den|"
    r"O|Un|Une|Ein|Eine|Gli)(?P<rest>( \(.*\))*)$"
)
_YEAR = re.compile(r"^(?P<title>.*\S)\s*\((?P<year>\d{4})\)\s*$")
# MovieLens 1M's own groups; it stores the lower end of each as the age.
_AGES = (
    (18, "under-18"),
    (25, "18-24"),
    (35, "25-34"),
    (45, "35-44"),
    (50, "45-49"),
    (56, "50-55"),
)


def readable_title(title: str) -> str:
    """Puts an article that was moved behind a comma for sorting back in front.

    >>> readable_title("Usual Suspects, The"), readable_title("Postino, Il (The Postman)")
    ('The Usual Suspects', 'Il Postino (The Postman)')
    """
    found = _ARTICLE.match(title)
    if found is None:
        return title
    article = found["article"]
    gap = "" if article.endswith("'") else " "
    return f"{article}{gap}{found['name']}{found['rest']}"


def split_year(title: str) -> tuple[str, str]:
    """Splits "Toy Story (1995)" into title and year; the year is "" where there is none.

    >>> split_year("Toy Story (1995)"), split_year("unknown")
    (('Toy Story', '1995'), ('unknown', ''))
    """
    found = _YEAR.match(title)
    return (found["title"], found["year"]) if found else (title.strip(), "")


def full_title(title: str, year: str) -> str:
    """Title and year as people write them: "The Usual Suspects (1995)"."""
    readable = readable_title(title)
    return f"{readable} ({year})" if year else readable


def age_group(age: float) -> str:
    """The age group of MovieLens 1M that holds `age`; "" when the age is not known.

    >>> age_group(24), age_group(25), age_group(1), age_group(70)
    ('18-24', '25-34', 'under-18', '56-plus')
    """
    if not np.isfinite(age) or age <= 0:
        return ""
    return next((group for limit, group in _AGES if age < limit), "56-plus")


def film_features(
    genres: Sequence[Sequence[str]], years: Sequence[str]
) -> tuple[list[Encoded], dict[str, list[list[str]]]]:
    """Features and filter attributes that every film data set can offer.

    Args:
        genres: Per film, as the source spells them; a source's "no genre" marks are left out.
        years: Per film four digits, or "".
    Returns:
        Encoded genre (multi), decade (categorical), year (numeric); attributes genre, decade
        and year, such as "sci-fi", "1990s", "1995".
    """
    slugs = [sorted({slug(genre) for genre in row} - _NO_GENRE) for row in genres]
    decades = [f"{year[:3]}0s" if year else "" for year in years]
    encoded = [
        multi("genre", slugs),
        categorical("decade", decades),
        numeric("year", [float(year) if year else np.nan for year in years]),
    ]
    attributes = {
        "genre": slugs,
        "decade": [[decade] if decade else [] for decade in decades],
        "year": [[year] if year else [] for year in years],
    }
    return encoded, attributes


_NO_GENRE = {"", "unknown", "no_genres_listed"}
