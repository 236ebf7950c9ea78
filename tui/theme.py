"""Two themes of our own, dark and light: blue is well, orange wants you, and neither is ever the only sign."""

from __future__ import annotations

from textual.theme import Theme

# Blue against orange stays apart for every common kind of colour blindness (Okabe and Ito, 2008).
LUTHIER = Theme(
    name="luthier",
    primary="#7fb4ea",
    secondary="#8f9bb3",
    accent="#d9b382",
    success="#6cc3d5",
    warning="#e8c468",
    error="#f0884f",
    foreground="#d7dae0",
    background="#14161b",
    surface="#191c22",
    panel="#242831",
    dark=True,
    variables={
        "quiet": "#7d8696",
        "faint": "#565f70",
        "line": "#363c49",
        "block-cursor-background": "#2c3546",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#20242c",
        "block-cursor-blurred-foreground": "#d7dae0",
        "input-selection-background": "#7fb4ea 30%",
        "scrollbar": "#363c49",
        "scrollbar-background": "#14161b",
        "scrollbar-corner-color": "#14161b",
    },
)
LUTHIER_LIGHT = Theme(
    name="luthier-light",
    primary="#1f5fa8",
    secondary="#5c6675",
    accent="#8a5a1c",
    success="#10707f",
    warning="#8a6100",
    error="#b84a10",
    foreground="#22262e",
    background="#faf9f6",
    surface="#f3f1ec",
    panel="#e7e4dc",
    dark=False,
    variables={
        "quiet": "#646c79",
        "faint": "#a3a7ae",
        "line": "#cfcbc1",
        "block-cursor-background": "#d5e2f2",
        "block-cursor-foreground": "#10141a",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#e9e7e1",
        "block-cursor-blurred-foreground": "#22262e",
        "scrollbar": "#cfcbc1",
        "scrollbar-background": "#faf9f6",
        "scrollbar-corner-color": "#faf9f6",
    },
)
THEMES = (LUTHIER, LUTHIER_LIGHT)


def extra_variables(dark: bool) -> dict[str, str]:
    """Defaults of the variables that only our themes define, so that every other theme can be used too."""
    source = LUTHIER if dark else LUTHIER_LIGHT
    return {name: source.variables[name] for name in ("quiet", "faint", "line")}
