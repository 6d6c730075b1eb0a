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

SHAPES = (
    '<path d="M130 150h140l-14 150a20 20 0 0 1-20 18h-72a20 20 0 0 1-20-18z" fill="{ink}"/>'
    '<path d="M270 180h22a30 30 0 0 1 0 76h-28" fill="none" stroke="{ink}" stroke-width="16"/>'
    '<path d="M130 150h140l-3 30H133z" fill="{light}"/>',
    '<rect x="120" y="110" width="160" height="208" rx="18" fill="{ink}"/>'
    '<rect x="140" y="132" width="120" height="120" rx="10" fill="{light}"/>'
    '<circle cx="200" cy="286" r="14" fill="{light}"/>',
    '<path d="M200 92l96 56v112l-96 58-96-58V148z" fill="{ink}"/>'
    '<path d="M200 92l96 56-96 56-96-56z" fill="{light}"/><path d="M200 204v114" stroke="{light}" stroke-width="6"/>',
    '<circle cx="200" cy="208" r="110" fill="{ink}"/><circle cx="200" cy="208" r="74" fill="{light}"/>'
    '<circle cx="200" cy="208" r="22" fill="{ink}"/>',
    '<path d="M176 84h48v46c40 18 58 52 58 96v62a30 30 0 0 1-30 30H148a30 30 0 0 1-30-30v-62c0-44 18-78 58-96z"'
    ' fill="{ink}"/><rect x="118" y="214" width="164" height="58" fill="{light}"/>',
    '<path d="M200 96c70 0 104 50 104 96H96c0-46 34-96 104-96z" fill="{ink}"/>'
    '<rect x="190" y="192" width="20" height="112" fill="{light}"/><rect x="144" y="300" width="112" height="18" rx="9"'
    ' fill="{ink}"/>',
)


def draw(sku):
    """Return an SVG of 400 x 400 units."""
    digest = sha256(sku.encode()).digest()
    hue = digest[0] * 360 // 256
    shape = SHAPES[digest[1] % len(SHAPES)]
    colours = {"ink": f"hsl({(hue + 190) % 360} 38% {34 + digest[2] % 18}%)", "light": f"hsl({hue} 60% 94%)"}
    return DRAWING.format(
        sku=sku,
        hue=hue,
        shade=(hue + 40) % 360,
        shadow=100 + digest[3] % 30,
        shape=shape.format(**colours),
    )
