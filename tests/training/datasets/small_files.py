"""Tiny data sets in every supported format, written by the tests themselves."""

from __future__ import annotations

import pathlib

RATINGS = (  # user, item, rating, time: not in order of time, one tie
    ("7", "20", "5", "300"),
    ("9", "20", "2", "100"),
    ("7", "10", "4", "200"),
    ("9", "30", "1", "300"),
    ("8", "10", "3", "300"),
)


def write(folder: pathlib.Path, name: str, lines: list[str]) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def recbole(folder: pathlib.Path, *, graph: bool = True) -> pathlib.Path:
    """A data set `tiny`; user 6 and item 40 have no interaction, item 30 no line in `.item`."""
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    write(folder, "tiny.inter", [header, *("\t".join(row) for row in RATINGS)])
    write(
        folder,
        "tiny.user",
        [
            "user_id:token\tage:token\tgender:token\theight:float",
            "6\t30\tF\t160",
            "7\t24\tM\t180",
            "8\t17\tF\t",
        ],
    )
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\t"
    header += "format:token\tembedding:float_seq"
    write(
        folder,
        "tiny.item",
        [
            header,
            "10\tUsual Suspects, The\t1995\tCrime Thriller\t35 mm\t0.5 0.5",
            "20\tToy Story\t1995\tAnimation Children's\tDigital\t0.1 0.2",
            "40\tM\t1931\tCrime\t35 mm\t0.3 0.4",
        ],
    )
    if graph:
        write(folder, "tiny.link", ["item_id:token\tentity_id:token", "10\tm.a", "20\tm.b"])
        write(
            folder,
            "tiny.kg",
            [
                "head_id:token\trelation_id:token\ttail_id:token",
                "m.a\tfilm.film.country\tm.09c7w0",
                "m.a\tfilm.film.country\tm.0345h",
                "m.b\tfilm.film.country\tm.09c7w0",
                "m.a\tfilm.film.rating\tm.0kprd8",
                "m.b\tfilm.film.rating\tm.0kprls",  # a British certificate
                "m.b\tfilm.film.directed_by\tm.04jspq",
                "m.a\tfilm.film.directed_by\tm.nobody",
                "m.a\tfilm.film.sequel\tm.b",
                "m.09c7w0\tlocation.country.films\tm.a",
            ],
        )
    return folder


def tab(folder: pathlib.Path) -> pathlib.Path:
    """The three files of MovieLens 100K."""
    flags = {"10": "crime thriller", "20": "animation childrens", "30": "unknown"}
    names = ["unknown", "action", "adventure", "animation", "childrens", "comedy", "crime"]
    names += ["documentary", "drama", "fantasy", "film-noir", "horror", "musical", "mystery"]
    names += ["romance", "sci-fi", "thriller", "war", "western"]
    titles = {"10": "Usual Suspects, The (1995)", "20": "Toy Story (1995)", "30": "unknown"}
    write(folder, "u.data", ["\t".join(row) for row in RATINGS])
    write(folder, "u.user", ["7|24|M|writer|00000", "8|17|F|student|00000", "9|61|F|none|00000"])
    write(
        folder,
        "u.item",
        [
            "|".join([i, titles[i], "", "", "", *("01"[n in flags[i].split()] for n in names)])
            for i in flags
        ],
    )
    return folder


def dat(folder: pathlib.Path, *, people: bool = True) -> pathlib.Path:
    """The `::` files; without `people`, `users.dat` lists ids alone."""
    write(folder, "ratings.dat", ["::".join(row) for row in RATINGS])
    films = [
        "10::Usual Suspects, The (1995)::Crime|Thriller",
        "20::Toy Story (1995)::Animation|Children's",
        "030::Never Rated: A Film (2001)::",
    ]
    write(folder, "movies.dat", films)
    lines = ["7::M::18::20::0", "8::F::1::10::0", "9::F::56::9::0"] if people else ["7::123456"]
    write(folder, "users.dat", lines)
    return folder


def comma(folder: pathlib.Path) -> pathlib.Path:
    """The csv files of the newer MovieLens releases."""
    rows = ["userId,movieId,rating,timestamp", *(",".join(row) for row in RATINGS)]
    write(folder, "ratings.csv", rows)
    films = [
        "movieId,title,genres",
        '10,"Usual Suspects, The (1995)",Crime|Thriller',
        "20,Toy Story (1995),Animation|Children",
        '30,"Say ""No"" (2001)",(no genres listed)',
    ]
    write(folder, "movies.csv", films)
    return folder
