"""How pages look, and how they tell families apart: by a colour and a shape, never by one alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from genpipe.families.registry import all_families
from genpipe.reporting.templates import open_template


@dataclass(frozen=True)
class Look:
    """A colour on a light page, one on a dark page, and a shape."""

    light: str
    dark: str
    shape: str

    @property
    def swatch(self) -> str:
        """The shape of a small block of the colour, in CSS."""
        return {
            "circle": "border-radius: 50%",
            "square": "border-radius: 1px",
            "diamond": "border-radius: 1px; transform: rotate(45deg) scale(0.9)",
            "triangle": "clip-path: polygon(50% 0, 100% 100%, 0 100%)",
        }[self.shape]


# In the order of the families; a seventh begins again. Each has a contrast of 4.5 and more.
LOOKS = (
    Look("#0a62a8", "#6db8ff", "circle"),
    Look("#b04a00", "#ffa45c", "square"),
    Look("#00735a", "#4fd3ab", "diamond"),
    Look("#7a3fb0", "#cfa3ff", "triangle"),
    Look("#a3195b", "#ff8fbf", "circle"),
    Look("#5a6100", "#c9d352", "square"),
)


def looks() -> Mapping[str, Look]:
    """The look of each family, by its name, which is its class in a page's style sheet."""
    return {name: LOOKS[number % len(LOOKS)] for number, name in enumerate(all_families())}


def style_sheet() -> Markup:
    """The style sheet that all pages on runs share."""
    template = open_template(Path(__file__).with_name("page.css.j2"))
    return Markup(template.render(looks=looks()))


def folding_script() -> Markup:
    """The script of all pages on runs that folds details on a phone, and opens what is linked."""
    return Markup(Path(__file__).with_name("folding.js").read_text(encoding="utf-8"))


def marker(style: str, x: float, y: float) -> str:
    """The mark of a point, in SVG: a family's shape, or of another style a cross."""
    look = looks().get(style)
    match look.shape if look else "cross":
        case "circle":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        case "square":
            return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
        case "diamond":
            return f'<path d="M{x:.1f} {y - 6:.1f}l6 6-6 6-6-6z"/>'
        case "triangle":
            return f'<path d="M{x:.1f} {y - 5.5:.1f}l5.5 10h-11z"/>'
        case _:
            return f'<path class="cross" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8"/>'
