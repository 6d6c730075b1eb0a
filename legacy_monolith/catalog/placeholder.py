"""Draw a picture for a product that has none: always the same one for the same article number."""

from hashlib import sha256

DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" role="img" aria-label="{sku}">
<defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1">
<stop offset="0" stop-color="hsl({hue} 45% 88%)"/><stop offset="1" stop-color="hsl({shade} 50% 76%)"/>
</linearGradient></defs>
<rect width="400" height="400" fill="url(#g)"/>
<ellipse cx="200" cy="322" rx="{shadow}" ry="14" fill="hsl({hue} 30% 35%)" opacity=".18"/>
{shape}
</svg>
"""

MUG = (
    '<path d="M130 150h140l-14 150a20 20 0 0 1-20 18h-72a20 20 0 0 1-20-18z" fill="{ink}"/>'
    '<path d="M270 180h22a30 30 0 0 1 0 76h-28" fill="none" stroke="{ink}" stroke-width="16"/>'
    '<path d="M130 150h140l-3 30H133z" fill="{light}"/>'
)
CARAFE = (
    '<path d="M176 84h48v46c40 18 58 52 58 96v62a30 30 0 0 1-30 30H148a30 30 0 0 1-30-30v-62c0-44 18-78 58-96z"'
    ' fill="{ink}"/><rect x="118" y="214" width="164" height="58" fill="{light}"/>'
)
PLATE = (
    '<circle cx="200" cy="208" r="110" fill="{ink}"/><circle cx="200" cy="208" r="74" fill="{light}"/>'
    '<circle cx="200" cy="208" r="22" fill="{ink}"/>'
)
FOLDED = (
    '<rect x="100" y="252" width="200" height="66" rx="30" fill="{ink}"/>'
    '<rect x="108" y="190" width="184" height="62" rx="28" fill="{light}"/>'
    '<rect x="116" y="130" width="168" height="60" rx="27" fill="{ink}"/>'
    '<path d="M150 130v188M172 130v188" stroke="{light}" stroke-width="6" opacity=".6"/>'
)
TOWEL = (
    '<path d="M120 110h160v190l-20 18-20-18-20 18-20-18-20 18-20-18-20 18-20-18z" fill="{ink}"/>'
    '<path d="M120 150h160M120 170h160M120 262h160" stroke="{light}" stroke-width="8"/>'
)
POTTED = (
    '<path d="M200 214c-70-10-86-66-70-112 50 4 74 50 70 112zm0 0c-4-50 24-84 76-86 6 50-24 84-76 86z" fill="{ink}"/>'
    '<path d="M128 214h144l-20 104H148z" fill="{light}"/><path d="M122 206h156v26H122z" fill="{ink}"/>'
)
BLOCK = (
    '<path d="M200 92l96 56v112l-96 58-96-58V148z" fill="{ink}"/>'
    '<path d="M200 92l96 56-96 56-96-56z" fill="{light}"/><path d="M200 204v114" stroke="{light}" stroke-width="6"/>'
)
MALLET = (
    '<rect x="120" y="100" width="160" height="84" rx="14" fill="{ink}"/>'
    '<rect x="184" y="184" width="32" height="136" rx="12" fill="{light}"/><path d="M144 100v84M256 100v84"'
    ' stroke="{light}" stroke-width="6"/>'
)
LAMP = (
    '<path d="M200 96c70 0 104 50 104 96H96c0-46 34-96 104-96z" fill="{ink}"/>'
    '<rect x="190" y="192" width="20" height="112" fill="{light}"/><rect x="144" y="300" width="112" height="18" rx="9"'
    ' fill="{ink}"/>'
)
BOOK = (
    '<rect x="120" y="100" width="160" height="218" rx="14" fill="{ink}"/>'
    '<path d="M148 100v218" stroke="{light}" stroke-width="8"/>'
    '<rect x="176" y="140" width="76" height="40" rx="6" fill="{light}"/>'
)
BAG = (
    '<path d="M150 170v-20a50 50 0 0 1 100 0v20" fill="none" stroke="{light}" stroke-width="14"/>'
    '<path d="M108 166h184l16 134a18 18 0 0 1-18 18H110a18 18 0 0 1-18-18z" fill="{ink}"/>'
    '<rect x="150" y="214" width="100" height="56" rx="10" fill="{light}"/>'
)
SHAPES = {
    "KIT": (MUG, CARAFE, PLATE),
    "TEX": (FOLDED, TOWEL),
    "GAR": (POTTED,),
    "WOR": (BLOCK, MALLET),
    "DES": (LAMP, BOOK),
    "TRA": (BAG, MUG),
}
OTHER = (BLOCK, CARAFE, BAG)


def draw(sku):
    """Return an SVG of 400 x 400 units."""
    digest = sha256(sku.encode()).digest()
    hue = digest[0] * 360 // 256
    shapes = SHAPES.get(sku[:3], OTHER)
    shape = shapes[digest[1] % len(shapes)]
    colours = {"ink": f"hsl({(hue + 190) % 360} 38% {34 + digest[2] % 18}%)", "light": f"hsl({hue} 60% 94%)"}
    return DRAWING.format(
        sku=sku,
        hue=hue,
        shade=(hue + 40) % 360,
        shadow=100 + digest[3] % 30,
        shape=shape.format(**colours),
    )
