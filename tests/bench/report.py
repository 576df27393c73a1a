"""Results as a table, as JSON and as a chart."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from itertools import groupby
from statistics import median
from typing import Any

from tests.bench.load import Sample
from tests.bench.operations import OURS, TITLES


@dataclass(frozen=True)
class Row:
    """The medians of the rounds of one operation, as done by one subject; errors are summed."""

    database: str
    users: int
    operation: str
    subject: str
    connections: int
    sample: Sample
    rates: tuple[float, ...]  # requests a second, of each round
    size: int | None  # bytes of an answer

    def as_json(self) -> dict[str, Any]:
        own = {name: value for name, value in asdict(self).items() if name != "sample"}
        figures = asdict(self.sample).items()
        return own | {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in figures
        }


def medians(samples: Sequence[Sample]) -> Sample:
    """Make one sample of those of all rounds."""
    cpus = [sample.cpu_us for sample in samples if sample.cpu_us is not None]
    return Sample(
        median(sample.requests_per_second for sample in samples),
        median(sample.p50_ms for sample in samples),
        median(sample.p99_ms for sample in samples),
        median(cpus) if cpus else None,
        sum(sample.errors for sample in samples),
        next((sample.example for sample in samples if sample.example), ""),
    )


def number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value < 10 else f"{value:.1f}"


def _ratio(part: float | None, whole: float | None) -> str:
    return f"{part / whole:.2f}x" if part and whole else "-"


def aligned(head: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    """A table in plain text, the first `left` columns aligned to the left."""
    table = [head, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )


def compared(rows: Sequence[Row]) -> str:
    """The table of operations and subjects, with userapi's throughput and CPU time as multiples of the others'."""
    lines = []
    for (operation, connections), group in groupby(rows, lambda row: (row.operation, row.connections)):
        of_operation = list(group)
        ours = next(row.sample for row in of_operation if row.subject == OURS)
        for row in of_operation:
            s = row.sample
            figures = [number(value) for value in (s.requests_per_second, s.p50_ms, s.p99_ms, s.cpu_us)]
            ratios = [_ratio(ours.requests_per_second, s.requests_per_second), _ratio(ours.cpu_us, s.cpu_us)]
            title = TITLES[operation] if row.subject == OURS else ""
            lines.append(
                [
                    title,
                    row.subject,
                    str(connections),
                    *figures,
                    str(s.errors),
                    *(ratios if row.subject != OURS else ["", ""]),
                ]
            )
    head = ["operation", "of", "conns", "req/s", "p50 ms", "p99 ms", "CPU us", "errors", "req/s ratio", "CPU ratio"]
    return aligned(head, lines, 2)


def scaled(rows: Sequence[Row]) -> str:
    """The table of what each operation costs at each number of users, and how it grows from the first to the last."""
    counts = sorted({row.users for row in rows})
    lines = []
    for (operation, subject), group in groupby(
        sorted(rows, key=lambda row: ([*TITLES].index(row.operation), row.subject != OURS, row.users)),
        lambda row: (row.operation, row.subject),
    ):
        samples = [row.sample for row in group]
        p50s, cpus = [sample.p50_ms for sample in samples], [sample.cpu_us for sample in samples]
        errors = str(sum(sample.errors for sample in samples))
        figures = [*map(number, p50s), _ratio(p50s[-1], p50s[0]), *map(number, cpus), _ratio(cpus[-1], cpus[0])]
        lines.append([TITLES[operation], subject, *figures, errors])
    head = [*(f"ms {count:,}" for count in counts), "growth", *(f"us {count:,}" for count in counts), "growth"]
    return aligned(["operation", "of", *head, "errors"], lines, 2)


def processes(found: Sequence[dict[str, Any]]) -> str:
    """The lines about each server's start and memory, where they were measured."""
    lines = []
    for one in found:
        memory = one["memory_mib"] or {}
        figures = [number(value) for value in (one["start_ms"], memory.get("rss"), memory.get("pss"))]
        if figures != ["-", "-", "-"]:
            lines.append([one["subject"], *figures])
    return "\n" + aligned(["process", "first answer ms", "RSS MiB", "PSS MiB"], lines, 1) + "\n" if lines else ""


def chart(rows: Sequence[Row], title: str, titles: Mapping[str, str]) -> str:
    """An SVG of throughput on a logarithmic scale, a bar for each row."""
    several = {name: len({getattr(row, name) for row in rows}) > 1 for name in ("database", "users", "connections")}
    shown = [replace(row, users=row.users if several["users"] else 0) for row in rows]
    low, high = (edge(row.sample.requests_per_second for row in shown) for edge in (min, max))
    floor, ceiling = math.floor(math.log10(max(low, 0.1) * 0.99)), math.ceil(math.log10(max(high, 1)))
    left, width, step = 330, 520, 18

    def x(value: float) -> float:
        return left + width * (math.log10(max(value, 10**floor)) - floor) / max(ceiling - floor, 1)

    parts, y = [f'<text x="10" y="20" font-size="14">{escape(title)}</text>'], 40
    tops = y
    for (database, users, operation, connections), group in groupby(
        shown, lambda row: (row.database, row.users, row.operation, row.connections)
    ):
        labels = [titles[operation]]
        labels += [database] if several["database"] else []
        labels += [f"{users:,} users"] if several["users"] else []
        labels += [f"{connections} connections"] if several["connections"] else []
        parts.append(f'<text x="10" y="{y + 12}">{escape(", ".join(labels))}</text>')
        for row in group:
            rate, errors = row.sample.requests_per_second, row.sample.errors
            colour = "#c0392b" if errors else "#2c6fbb" if row.subject == OURS else "#b8c2cc"
            said = f"{number(rate)} {row.subject}" + (f", {errors} errors" if errors else "")
            parts.append(f'<rect x="{left}" y="{y}" width="{x(rate) - left:.1f}" height="13" fill="{colour}"/>')
            parts.append(f'<text x="{x(rate) + 4:.1f}" y="{y + 11}">{escape(said)}</text>')
            y += step
        y += 8
    for power in range(floor, ceiling + 1):
        at = x(10**power)
        parts.insert(0, f'<path d="M{at:.1f} {tops}V{y}" stroke="#e5e8eb"/>')
        parts.append(f'<text x="{at:.1f}" y="{y + 14}" text-anchor="middle" fill="#666">{10**power:,g}</text>')
    style = 'font-family="sans-serif" font-size="11"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 190}" height="{y + 24}" {style}>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )
