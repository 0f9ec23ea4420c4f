"""Pictures of the lessons: boxes, arrows and charts as small SVG text. Pure; follows the reader's dark or light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from math import log10

__all__ = ["Chart", "Sketch", "bars"]

_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1d2129}.s{fill:#5d6573;font-size:11px}.b{font-weight:600}.m{font-family:monospace}"
    ".mid{text-anchor:middle}.end{text-anchor:end}.n{fill:#fff;font-weight:600;font-size:11px;text-anchor:middle}"
    ".w{fill:#f1efea}.g{stroke:#d9d6cf;stroke-width:1}.a{stroke:#1d2129;stroke-width:1.3;fill:none}.o{stroke:#1d2129;stroke-width:2}"
    ".dash{stroke-dasharray:4 3}"
    ".c0{fill:#c8321d}.c1{fill:#b4630c}.c2{fill:#857000}.c3{fill:#2e7d42}.c4{fill:#2470b3}.c5{fill:#6f4fb8}"
    ".k0{stroke:#c8321d}.k1{stroke:#b4630c}.k2{stroke:#857000}.k3{stroke:#2e7d42}.k4{stroke:#2470b3}.k5{stroke:#6f4fb8}"
    ".k0,.k1,.k2,.k3,.k4,.k5{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e8e6e1}.s{fill:#9aa2b1}.w{fill:#23272e}.g{stroke:#3a404a}.n{fill:#14161a}"
    ".a,.o{stroke:#e8e6e1}.c0{fill:#ff6b52}.c1{fill:#f5a742}.c2{fill:#dcc43a}.c3{fill:#63c178}.c4{fill:#55a7ee}.c5{fill:#a488ea}"
    ".k0{stroke:#ff6b52}.k1{stroke:#f5a742}.k2{stroke:#dcc43a}.k3{stroke:#63c178}.k4{stroke:#55a7ee}.k5{stroke:#a488ea}}"
)


@dataclass
class Sketch:
    """A canvas of ``width`` by ``height`` pixels; ``title`` is for those who cannot see it."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Words whose baseline begins (or, with class ``mid`` or ``end``, has its middle or end) at (x, y)."""
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, kind: str, words: str = "") -> None:
        """A rectangle, with words in its middle."""
        shape = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{max(height, 0.5):.1f}" rx="3"'
        self.parts.append(f'<rect class="{kind}" {shape}/>')
        if words:
            self.text(x + width / 2, y + height / 2 + 4, words, "mid" if kind.startswith("w") else "n")

    def line(self, points: Sequence[tuple[float, float]], kind: str = "a") -> None:
        """A line through some points."""
        self.parts.append(f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')

    def arrow(self, start: tuple[float, float], end: tuple[float, float], kind: str = "a") -> None:
        """A line with a head at its end, along or across."""
        (x0, y0), (x, y) = start, end
        self.line([start, end], kind)
        if abs(x - x0) >= abs(y - y0):
            back = -5 if x > x0 else 5
            self.line([(x + back, y - 3.5), (x, y), (x + back, y + 3.5)], "a")
        else:
            back = -5 if y > y0 else 5
            self.line([(x - 3.5, y + back), (x, y), (x + 3.5, y + back)], "a")

    def dot(self, x: float, y: float, kind: str, radius: float = 4) -> None:
        """A point of a chart."""
        self.parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>')

    def svg(self) -> str:
        """The file."""
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(self.title)}</title>'
        return "\n".join([head, f"<style>{_STYLE}</style>", *self.parts, "</svg>\n"])


@dataclass
class Chart:
    """Axes on a sketch: ``x`` and ``y`` are (least, greatest) values; ``log`` names the axes with logarithmic scale."""

    sketch: Sketch
    x: tuple[float, float]
    y: tuple[float, float]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    x_label: str
    y_label: str
    log: str = ""
    area: tuple[float, float, float, float] = (56, 30, 420, 230)
    """Left, top, width, height."""
    tick: Callable[[float], str] = "{:g}".format

    def __post_init__(self) -> None:
        """Draw the axes."""
        left, top, width, height = self.area
        for value in self.y_ticks:
            _, at = self.at(self.x[0], value)
            self.sketch.line([(left, at), (left + width, at)], "g")
            self.sketch.text(left - 6, at + 4, self.tick(value), "s end")
        for value in self.x_ticks:
            at, _ = self.at(value, self.y[0])
            self.sketch.text(at, top + height + 16, f"{value:g}", "s mid")
        self.sketch.text(left, top - 12, self.y_label, "s")
        self.sketch.text(left + width, top + height + 32, self.x_label, "s end")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a pair of values."""
        left, top, width, height = self.area
        return left + width * _share(x, self.x, "x" in self.log), top + height * (1 - _share(y, self.y, "y" in self.log))

    def series(
        self, pairs: Sequence[tuple[float, float]], colour: int, *, dots: bool = True, line: bool = True, dash: str = ""
    ) -> None:
        """A line, dots, or both; ``dash="dash"`` for a broken line."""
        points = [self.at(*pair) for pair in pairs]
        if line:
            self.sketch.line(points, f"k{colour} {dash}".rstrip())
        if dots:
            for x, y in points:
                self.sketch.dot(x, y, f"c{colour}")

    def legend(self, names: Sequence[tuple[str, int]], x: float, y: float) -> None:
        """Names beside their colours, one below the other."""
        for row, (name, colour) in enumerate(names):
            self.sketch.dot(x, y + 18 * row - 4, f"c{colour}", 5)
            self.sketch.text(x + 11, y + 18 * row, name)


def bars(
    sketch: Sketch,
    values: Sequence[tuple[str, float, int]],
    area: tuple[float, float, float, float],
    top: float,
    form: str = "{:g}",
) -> None:
    """Upright bars: (name, value, colour) each, the highest value of the scale being ``top``; values are written above them."""
    left, y, width, height = area
    each = width / len(values)
    sketch.line([(left, y + height), (left + width, y + height)], "g")
    for place, (name, value, colour) in enumerate(values):
        tall = height * value / top
        sketch.box(left + each * (place + 0.15), y + height - tall, each * 0.7, tall, f"c{colour}")
        sketch.text(left + each * (place + 0.5), y + height - tall - 5, form.format(value), "s mid")
        sketch.text(left + each * (place + 0.5), y + height + 16, name, "s mid")


def _share(value: float, ends: tuple[float, float], logarithmic: bool) -> float:
    """Where a value lies between the ends, 0 to 1."""
    low, high = ends
    if logarithmic:
        value, low, high = log10(value), log10(low), log10(high)
    return (value - low) / (high - low)
