"""What the seeded shop is made of: its categories, what stands in them, and what customers say."""

# Top category -> sub category -> what is sold there. A few go a level deeper by "a > b".
TREE = {
    "Kitchen": {
        "Pans & Pots": ["Frying Pan", "Saucepan", "Casserole", "Stockpot", "Crêpe Pan", "Cocotte"],
        "Pans & Pots > Lids": ["Pot Lid", "Splatter Guard"],
        "Knives": ["Chef's Knife", "Paring Knife", "Santoku", "Bread Knife", "Brotmesser", "Sharpening Steel"],
        "Tableware": ["Dinner Plate", "Soup Bowl", "Espresso Cup", "Mug", "Butterdose", "Carafe"],
        "Coffee & Tea": ["Hand Grinder", "Pour-Over Dripper", "Teapot", "Kettle", "Matcha Whisk", "急須 Kyusu Teapot"],
        "Baking": ["Loaf Tin", "Rolling Pin", "Mixing Bowl", "Küchenwaage", "Proofing Basket"],
    },
    "Textiles": {
        "Blankets": ["Blanket", "Throw", "Quilt", "Picnic Rug", "Åre Plaid"],
        "Bed Linen": ["Duvet Cover", "Pillowcase", "Fitted Sheet", "Bed Set"],
        "Bath": ["Bath Towel", "Hand Towel", "Bathrobe", "Gästehandtuch", "Bath Mat"],
        "Kitchen Linen": ["Tea Towel", "Apron", "Oven Mitt", "Napkin Set", "Tischläufer"],
        "Kitchen Linen > Aprons": ["Cross-Back Apron", "Waist Apron"],
    },
    "Garden": {
        "Hand Tools": ["Trowel", "Hori-Hori Knife", "Weeder", "Hand Fork", "Dibber", "Secateurs"],
        "Watering": ["Watering Can", "Plant Mister", "Rain Gauge", "Hose Reel"],
        "Pots & Planters": ["Flower Pot", "Hanging Planter", "Raised Bed", "Seed Tray"],
        "Outdoor Living": ["Folding Chair", "Lantern", "Fire Bowl", "Hängematte"],
    },
    "Workshop": {
        "Woodworking": ["Block Plane", "Chisel Set", "Marking Gauge", "Dovetail Saw", "Mallet", "Hobelbank"],
        "Woodworking > Japanese Saws": ["Ryoba 両刃", "Dozuki 胴付", "Kataba"],
        "Measuring": ["Folding Rule", "Try Square", "Spirit Level", "Calliper"],
        "Care & Repair": ["Polish", "Linseed Oil", "Darning Set", "Beeswax", "Repair Kit"],
    },
    "Desk": {
        "Notebooks": ["Notebook", "Sketchbook", "Weekly Planner", "Reporter's Pad"],
        "Writing": ["Fountain Pen", "Mechanical Pencil", "Ink Bottle", "Pencil Set", "Tintenfass"],
        "Storage": ["Desk Tray", "Archive Box", "Bookend", "Pen Rest"],
        "Light": ["Desk Lamp", "Clamp Light", "Reading Light"],
    },
    "Travel": {
        "Bags": ["Weekender", "Rucksack", "Tote", "Messenger Bag", "Dopp Kit"],
        "Camp": ["Camp Mug", "Spork", "Camp Stove", "Bivvy Bag", "Pocket Knife"],
        "Wear": ["Rain Cape", "Hiking Socks", "Beanie", "Wachsjacke", "Scarf"],
    },
}

MANNERS = [
    "Classic",
    "Small",
    "Large",
    "Everyday",
    "Slow",
    "Sturdy",
    "Folding",
    "Hand-Forged",
    "Plain",
    "Round",
    "Deep",
    "Little",
    "Grand",
    "Northern",
    "Coastal",
    "Alpine",
    "Heritage",
    "Modern",
    "Compact",
    "Honest",
    "Quiet",
    "Market",
    "Orchard",
    "Harbour",
    "Meadow",
    "Übergroß",
    "Ländlich",
    "Señorial",
    "Léger",
    "Île-de-Ré",
]

MATERIALS = {
    "Kitchen": ["Steel", "Copper", "Iron", "Enamel", "Stoneware", "Porcelain", "Glass", "Walnut", "Olive Wood"],
    "Textiles": ["Linen", "Wool", "Cotton", "Hemp", "Lambswool", "Alpaca"],
    "Garden": ["Ash", "Steel", "Copper", "Zinc", "Oak", "Willow"],
    "Workshop": ["Beech", "Steel", "Brass", "Oak", "Hornbeam", "Pear Wood"],
    "Desk": ["Walnut", "Brass", "Leather", "Oak", "Felt", "Birch", "Slate"],
    "Travel": ["Canvas", "Leather", "Wool", "Hemp", "Merino", "Steel"],
}

COLOURS = [
    "natural",
    "moss",
    "sand",
    "indigo",
    "rust",
    "charcoal",
    "cream",
    "sage",
    "clay",
    "night-blue",
    "grün",
    "écru",
]
ORIGINS = ["Germany", "Portugal", "Denmark", "Japan", "France", "Österreich", "España", "Türkiye", "Česko", "Sweden"]
TAGS = [
    "handmade",
    "gift",
    "repairable",
    "plastic-free",
    "new",
    "bestseller",
    "vegan",
    "limited",
    "für-zuhause",
    "outdoor",
]
PRICES = ["4.90", "9.90", "12.50", "14.90", "19.90", "24.00", "29.90", "39.00", "49.90", "79.00", "129.00"]

OPENINGS = (
    "Made in a workshop of {people} people in {origin}.",
    "Designed to be used every day, and to look better for it.",
    "The one that stays when the others have been given away.",
    "Our bestselling {noun} since {year}.",
    "Small in the cupboard, generous on the table.",
    "A {noun} as your grandmother knew it – only lighter.",
)
MIDDLES = (
    "{material} from certified sources, finished by hand with natural oils.",
    "The {material} is left untreated, so that it ages with grace.",
    "Every part can be replaced; we keep spares for {years} years.",
    "Packed without plastic, “naturally”.",
    "It measures {size} cm and weighs about {weight} g.",
)
ENDINGS = (
    "Wash by hand, dry at once.",
    "With care it will outlast us all.",
    "Comes in {colour}.",
    "Guaranteed for {years} years. Größe und Farbe können leicht abweichen.",
    "A fine present – 👌 says our packing team.",
)

FIRST_NAMES = [
    "Anna",
    "Ben",
    "Chloé",
    "David",
    "Elif",
    "Finn",
    "Greta",
    "Hugo",
    "Ida",
    "Jonas",
    "Katharina",
    "Léon",
    "Mia",
    "Noah",
    "Olga",
    "Paul",
    "Quentin",
    "Rosa",
    "Sören",
    "Theo",
    "Ursula",
    "Valentin",
    "Wanda",
    "Xaver",
    "Yuki",
    "Zoë",
    "Tomáš",
    "Nuñez",
    "İpek",
    "Björn",
]
LAST_NAMES = [
    "Müller",
    "Schmidt",
    "Fischer",
    "Weber",
    "Wagner",
    "Becker",
    "Hoffmann",
    "Schäfer",
    "Koch",
    "Richter",
    "Klein",
    "Wolf",
    "Schröder",
    "Neumann",
    "Braun",
    "García",
    "O'Brien",
    "Dvořák",
    "Nowak",
    "Lindqvist",
    "Jørgensen",
    "Yılmaz",
    "Tanaka",
    "Rossi",
    "Dubois",
]
CITIES = ["Berlin", "Hamburg", "München", "Köln", "Leipzig", "Wien", "Zürich", "Göteborg", "Kraków", "Lyon"]
STREETS = ["Lindenallee", "Hauptstraße", "Am Markt", "Goethestraße", "Kirchweg", "Rue des Écoles", "Bergstraße"]

VERDICTS = {
    1: ("Sent it back", "Not what I hoped for", "Leider enttäuscht", "Broke in a week"),
    2: ("Has its flaws", "Meh", "Zu teuer", "Nice idea, poor finish"),
    3: ("It is fine", "Decent", "Ganz okay", "Does what it should"),
    4: ("Very good", "Nearly perfect", "Sehr schön", "Would buy again"),
    5: ("Love it!", "Exactly right", "Großartig", "Best in the house", "Perfect gift ♥"),
}
REMARKS = (
    "I use it every day.",
    "Delivery took {days} days.",
    "The colour differs a little from the picture.",
    "Feels heavier than expected, in a good way.",
    "My neighbour has ordered one too.",
    "The handle could be longer.",
    "Die Verarbeitung ist tadellos.",
    "Packaging without any plastic – thank you.",
    "After {days} months it still looks new.",
    "Für den Preis in Ordnung.",
    "Customer care answered within the hour.",
)

COUPONS = ["WELCOME", "SPRING", "FRIENDS", "SORRY", "WINTER"]
CARRIERS = ["DHL", "DPD", "Hermes", "UPS"]
SUPPLIERS = [
    "Schmiede Berger",
    "Tecelagem do Porto",
    "Nordisk Uld",
    "Sakai Hamono",
    "Atelier Léger",
    "Manufaktur Öhler",
    "Česká Sklárna",
    "Göteborgs Läder",
]
COLLECTIONS = [
    "For two",
    "Winter",
    "On the balcony",
    "Breakfast",
    "Under 20 €",
    "Made in Österreich",
    "For the long way",
    "Repairs",
    "Presents",
    "Slow mornings",
]
