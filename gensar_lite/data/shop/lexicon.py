"""The words of the built-in shop: its category tree, what its goods are made of, and how people call them.

Everything here is invented for this project. A leaf is one line of `TREE`:
    name | noun in titles | what else people call it | a common misspelling | materials | what it is for
The third and fourth word stand in no title and no description. This file knows no users; synthetic.py draws.
"""

from __future__ import annotations

from typing import NamedTuple


class Leaf(NamedTuple):
    """One bottom category: its place in the tree, its words, and the brands and styles of its root."""

    path: str  # "Outdoor > Camping > Tents"
    name: str  # "tents"
    noun: str  # "tent"
    synonym: str  # "bivouac"
    misspelling: str  # "tentts"
    materials: tuple[str, ...]
    use: str  # "nights far from the road"
    styles: tuple[str, ...]
    brands: tuple[str, ...]
    promises: tuple[str, ...]  # sentences, one of which stands in every description


# root: (brands, styles, promises), then three leaves for each of four middle categories
TREE = {
    "Outdoor": (
        "Norrhavn, Fellstone, Ridgeway, Tarnside, Kestrelby, Pinemark",
        "ultralight, rugged, packable, weatherproof",
        "The seams are taped and tested in driving rain.; Every strap can be worked with cold fingers.",
        {
            "Camping": """
        tents | tent | bivouac | tentts | nylon canvas polycotton | nights far from the road
        sleeping bags | sleeping bag | bedroll | sleepingbags | down fleece polyester | cold mornings in spring
        camp stoves | camp stove | burner | campstovs | steel titanium brass | a hot supper on bare ground""",
            "Hiking": """
        backpacks | backpack | rucksack | bakpacks | nylon canvas leather | long days on marked trails
        trekking poles | trekking pole | staff | treking poels | aluminium carbon bamboo | steep, loose ground
        water bottles | water bottle | canteen | waterbotles | steel glass tritan | drinking on the move""",
            "Climbing": """
        climbing ropes | climbing rope | cordage | climing roaps | nylon polyester hemp | short routes
        carabiners | carabiner | snaplink | carabeeners | aluminium steel titanium | clipping in without looking
        climbing harnesses | climbing harness | swami | climing harniss | nylon polyester dyneema | long walls""",
            "Fishing": """
        fishing rods | fishing rod | angling | fishng rodds | carbon bamboo fibreglass | quiet rivers
        lures | lure | bait | luers | rubber feather brass | pike, perch and patience
        waders | wader | galoshes | wadrs | neoprene rubber nylon | standing in a slow stream""",
        },
    ),
    "Kitchen": (
        "Hearthwell, Brasserie Nord, Oakladle, Saltmill, Copperkin, Mornay",
        "heavy-duty, stackable, handmade, everyday",
        "It goes straight from the stove to the table.; The handle stays cool and sits well in the hand.",
        {
            "Cookware": """
        frying pans | frying pan | skillet | fryingpans | steel iron ceramic | eggs that do not stick
        saucepans | saucepan | casserole | sorcepans | steel copper enamel | soups, sauces and porridge
        woks | wok | stirfryer | wocks | iron steel aluminium | fast suppers over high heat""",
            "Cutlery": """
        kitchen knives | kitchen knife | blade | kichen nives | steel ceramic damascus | clean cuts through anything
        spoons | spoon | scoop | spooons | steel wood silver | stirring, tasting and serving
        chopping boards | chopping board | butcherblock | choping bords | oak bamboo acacia | herbs and roots""",
            "Coffee & Tea": """
        teapots | teapot | brewer | teepots | porcelain glass iron | four cups in the afternoon
        coffee grinders | coffee grinder | pulveriser | cofee griders | steel wood ceramic | fresh grounds
        mugs | mug | beaker | mgus | stoneware enamel glass | the first drink of the day""",
            "Baking": """
        cake tins | cake tin | springform | caketins | steel silicone aluminium | birthdays and long Sundays
        rolling pins | rolling pin | doughroller | roling pinns | beech marble maple | pastry rolled thin and even
        mixing bowls | mixing bowl | basin | mixng bolws | glass steel stoneware | dough that needs room to rise""",
        },
    ),
    "Home": (
        "Lindholm, Velour House, Quietroom, Almanac, Stillwater, Bexley",
        "minimal, rustic, vintage, modern",
        "It looks as good in a hallway as by the bed.; No two pieces show quite the same grain.",
        {
            "Lighting": """
        table lamps | table lamp | luminaire | tabel lampps | brass glass rattan | late reading
        candles | candle | votive | candels | beeswax soy paraffin | slow dinners and power cuts
        string lights | string light | garland | stringlihgts | copper plastic glass | a glow along a shelf""",
            "Bedding": """
        duvets | duvet | comforter | duvays | down wool cotton | winters in an old house
        pillows | pillow | headrest | pilows | down latex buckwheat | side sleepers and light sleepers
        blankets | blanket | throw | blankits | wool cotton fleece | the cold end of the sofa""",
            "Storage": """
        baskets | basket | hamper | baskits | rattan felt seagrass | toys, yarn and firewood
        bookshelves | bookshelf | bookcase | bokshelves | oak pine steel | novels two rows deep
        coat hooks | coat hook | peg | cote hoocks | brass iron oak | jackets by the front door""",
            "Decor": """
        vases | vase | urn | vazes | glass stoneware porcelain | a few stems from the market
        mirrors | mirror | lookingglass | miror | oak brass rattan | making a narrow room wider
        rugs | rug | carpet | rgus | wool jute cotton | bare feet on wooden floors""",
        },
    ),
    "Garden": (
        "Thornbury, Greenacre, Wrenfield, Mossgate, Beanrow, Hedgerow & Co",
        "durable, compact, classic, frost-proof",
        "It can stay outside from March to November.; Rinse it with the hose and hang it up to dry.",
        {
            "Tools": """
        spades | spade | shovel | spaeds | steel ash bronze | heavy clay and new beds
        secateurs | secateur | pruner | secaturs | steel aluminium bronze | roses, vines and soft fruit
        rakes | rake | gatherer | raeks | steel bamboo plastic | leaves in autumn, moss in spring""",
            "Planting": """
        plant pots | plant pot | container | plantpotts | terracotta zinc fibre | herbs on a sunny sill
        seeds | seed | kernels | seads | organic heirloom hybrid | sowing straight into warm soil
        trellises | trellis | lattice | treliss | willow steel cedar | sweet peas and runner beans""",
            "Watering": """
        watering cans | watering can | sprinkler | watring canns | zinc copper plastic | tender seedlings
        hoses | hose | pipe | hozes | rubber vinyl fabric | the far corner of the lawn
        rain barrels | rain barrel | cistern | rainbarells | oak plastic steel | dry weeks in July""",
            "Patio": """
        deck chairs | deck chair | lounger | deckchares | teak canvas acacia | doing nothing after lunch
        parasols | parasol | sunshade | parrasols | canvas polyester bamboo | lunch outside at noon
        fire bowls | fire bowl | brazier | firebowels | iron steel copper | late talks in September""",
        },
    ),
    "Sports": (
        "Velotta, Stride North, Pacer, Lowgear, Halden, Apex Row",
        "breathable, reflective, cushioned, aerodynamic",
        "Tested by a local club over a whole season.; It weighs less than you expect and lasts longer.",
        {
            "Cycling": """
        bike lights | bike light | headlamp | bikelites | aluminium plastic rubber | riding home after dark
        cycling helmets | cycling helmet | headgear | cyling helmits | foam carbon cork | traffic and gravel
        panniers | pannier | saddlebag | paniers | canvas nylon leather | groceries and a change of clothes""",
            "Running": """
        running shoes | running shoe | sneakers | runing shoos | mesh knit rubber | the first ten kilometres
        running belts | running belt | bumbag | runing bellts | neoprene nylon elastane | keys and a phone
        headbands | headband | sweatband | hedbands | merino bamboo cotton | hot laps and cold ears""",
            "Yoga": """
        yoga mats | yoga mat | underlay | yogga matts | cork rubber jute | slow mornings on the floor
        yoga blocks | yoga block | brick | yogga bloks | cork foam bamboo | stiff hips and short hamstrings
        bolsters | bolster | pouffe | bolstors | cotton linen buckwheat | ten minutes of lying still""",
            "Swimming": """
        swimming goggles | swimming goggle | eyewear | swimmng gogles | silicone plastic rubber | early lanes
        swim caps | swim cap | bonnet | swimmcaps | silicone latex lycra | long hair and open water
        kickboards | kickboard | float | kikboards | foam cork plastic | strong legs and steady breath""",
        },
    ),
    "Tech": (
        "Voltaire, Nibble, Signal & Sons, Corewave, Monotone, Pixelgrove",
        "wireless, foldable, silent, rechargeable",
        "It charges over one cable and works without an account.; Spare parts are sold for ten years.",
        {
            "Audio": """
        headphones | headphone | earpieces | hedphones | leather plastic aluminium | music in a noisy carriage
        loudspeakers | loudspeaker | boombox | loudspeekers | walnut fabric aluminium | a whole album
        record players | record player | turntable | recordplayrs | walnut acrylic steel | vinyl on a rainy day""",
            "Computing": """
        keyboards | keyboard | keypad | keybords | aluminium plastic walnut | typing for hours
        laptop stands | laptop stand | lectern | labtop standds | aluminium bamboo steel | a straight back at the desk
        computer mice | computer mouse | trackball | computor mise | plastic aluminium cork | tired wrists""",
            "Photography": """
        tripods | tripod | gorillapod | trypods | carbon aluminium wood | long exposures and group pictures
        camera bags | camera bag | holdall | camra baggs | canvas leather nylon | two lenses and a notebook
        photo frames | photo frame | surround | foto fraims | oak brass walnut | faces you like to see daily""",
            "Smart Home": """
        thermostats | thermostat | heatcontrol | thermastats | plastic glass steel | rooms that are warm in time
        doorbells | doorbell | buzzer | doorbels | brass plastic steel | parcels and unannounced friends
        alarm clocks | alarm clock | timepiece | alarmcloks | walnut plastic brass | getting up without a phone""",
        },
    ),
    "Paper & Craft": (
        "Inkwell Lane, Foliant, Papermoth, Threadneedle, Margin, Quillby",
        "refillable, pocket-size, hand-bound, dotted",
        "The paper comes from a mill that recycles its water.; Left-handed people helped to design it.",
        {
            "Writing": """
        notebooks | notebook | jotter | notbooks | linen leather kraft | lists, sketches and plans
        fountain pens | fountain pen | biro | fountin penns | brass resin steel | letters that deserve ink
        pencils | pencil | crayon | pencills | cedar graphite basswood | drafts you mean to rub out""",
            "Painting": """
        watercolours | watercolour | aquarelle | watercolers | mineral vegan honey | skies that dry too fast
        paint brushes | paint brush | applicator | paintbrushs | sable bristle nylon | washes, lines and edges
        easels | easel | artstand | eesels | beech aluminium pine | painting where the light is""",
            "Sewing": """
        sewing kits | sewing kit | haberdashery | soing kitts | tin linen felt | a button lost at breakfast
        scissors | scissor | shears | sissors | steel titanium brass | cloth, card and thread
        yarns | yarn | worsted | yarnns | wool cotton alpaca | a scarf before the frost""",
            "Gifts": """
        greeting cards | greeting card | postcard | greating cardds | cotton kraft recycled | thanking someone
        gift wraps | gift wrap | packaging | giftwrapp | kraft tissue washi | presents nobody can guess
        jigsaws | jigsaw | puzzle | jigsors | card wood cork | rainy weeks at the coast""",
        },
    ),
    "Wardrobe": (
        "Marlowe, Ardent, Low Tide, Saltaire, Cinder, Birch & Vale",
        "slim, oversized, tailored, reversible",
        "It was cut and sewn in one small workshop.; Wash it cold and it will keep its shape.",
        {
            "Outerwear": """
        raincoats | raincoat | mackintosh | raincotes | rubber nylon cotton | showers that last all week
        parkas | parka | anorak | parcas | down cotton polyester | waiting for the night bus
        gloves | glove | mittens | gluvs | leather wool fleece | frost on the handlebar""",
            "Knitwear": """
        jumpers | jumper | pullover | jumprs | wool cotton cashmere | draughty rooms and cold trains
        cardigans | cardigan | buttonup | cardagins | merino cotton mohair | offices that are never warm
        scarves | scarf | muffler | scarffs | wool silk cashmere | wind from the harbour""",
            "Footwear": """
        walking boots | walking boot | stompers | walkingbutes | leather suede nubuck | wet grass and cobblestones
        slippers | slipper | houseshoes | slipers | felt sheepskin wool | cold tiles in the morning
        sandals | sandal | flipflops | sandles | leather cork rubber | ferries, beaches and heat""",
            "Accessories": """
        wallets | wallet | billfold | walets | leather canvas cork | cards, notes and one photo
        belts | belt | waistband | bellts | leather canvas suede | trousers that are a size too wide
        umbrellas | umbrella | brolly | umberellas | nylon wood fibreglass | sudden rain between two shops""",
        },
    ),
}


def _split(text: str, mark: str = ",") -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(mark))


COLOURS = ("olive", "navy", "rust", "cream", "charcoal", "mustard", "teal", "plum")
SIZES = ("small", "mid-sized", "large", "extra large")
SERIES = _split(
    "Aster, Cairn, Ember, Fjord, Gale, Isla, Juniper, Larch, Otter, Pebble, Quarry, Sorrel, Thistle, Vesper"
)
OPENINGS = (
    "Our {style} {noun} in {colour} {material} is made for {use}.",
    "This {style} {noun} of {colour} {material} is meant for {use}.",
    "Made for {use}, this {style} {noun} comes in {colour} {material}.",
)
CLOSINGS = (
    "One of the {size} {name} in our {middle} range.",
    "It is the {size} model among our {middle} {name}.",
)
# hidden interests: what people buy together, whatever shelf it stands on
TASTES = _split(
    "night cyclist, tea ritual, small balcony, first flat, sea kayak, band practice, slow Sunday, new parent, "
    "city beekeeper, winter hut, film camera, allotment, train commuter, sourdough, life drawing, open-water swimmer, "
    "bird watcher, student room, wedding guest, home office, village fair, night shift, dog walker, choir trip"
)


def leaves() -> list[Leaf]:
    """All 96 leaves in the order of the tree."""
    found = []
    for root, (brands, styles, promises, middles) in TREE.items():
        shared = _split(styles), _split(brands), _split(promises, ";")
        for middle, lines in middles.items():
            for line in lines.strip().splitlines():
                name, noun, synonym, misspelling, materials, use = _split(line, " | ")
                path = f"{root} > {middle} > {name.title()}"
                found.append(
                    Leaf(
                        path,
                        name,
                        noun,
                        synonym,
                        misspelling,
                        tuple(materials.split()),
                        use,
                        *shared,
                    )
                )
    return found
