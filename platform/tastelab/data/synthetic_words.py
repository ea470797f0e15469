"""The vocabulary of the synthetic world: words of topics, words of style poles, and syllables of invented names.

Words are grouped by meaning, so that a text encoder finds two titles of one topic or one style alike although they
share no word.
"""

from __future__ import annotations

TOPICS: dict[str, dict[str, str]] = {
    "making": {
        "woodwork": """chisel plank dowel mortise tenon sawdust lathe bandsaw plywood veneer varnish workbench clamp
            router sander dovetail joinery oak walnut maple birch cabinet drawer shelf stool rasp mallet jigsaw grain
            knot lumber timber carpenter carpentry whittling bevel rabbet groove lacquer turnery bowl burl spindle
            trestle batten beam hinge dovetailing sapwood heartwood kiln marquetry inlay gouge drawknife jig sawhorse
            cedar pine mahogany teak bookcase wardrobe""",
        "gardening": """compost trellis seedling pruning mulch greenhouse tulip rosebush hedge lawn spade rake hoe
            wheelbarrow tomato courgette cucumber radish lettuce spinach bean pea rhubarb strawberry raspberry
            blackcurrant gooseberry orchard rootstock bulb tuber perennial shrub fern moss ivy wisteria lavender
            rosemary thyme slug aphid ladybird earthworm soil loam peat manure fertiliser irrigation hosepipe
            sprinkler allotment flowerbed border rockery petal stem stamen pollen sapling cutting cloche polytunnel
            secateurs dahlia marigold peony""",
        "cooking": """saucepan skillet whisk ladle oven simmer broth stew casserole risotto dumpling noodle omelette
            pancake sourdough dough yeast flour butter cream custard pudding pastry tart pie biscuit marinade
            vinaigrette mayonnaise garlic onion shallot leek carrot parsnip aubergine lentil chickpea couscous paprika
            cumin coriander turmeric saffron cinnamon nutmeg vanilla chocolate jam chutney pickle brisket sausage
            bacon mussel prawn soup salad gravy roast grill recipe supper breakfast colander tureen
            rolling-pin sieve""",
        "electronics": """resistor transistor diode soldering breadboard multimeter voltage amplifier circuit
            microcontroller relay inductor transformer rectifier potentiometer LED battery charger inverter waveform
            antenna receiver modem connector socket fuse breaker wiring cable heatsink solenoid motor sensor
            photodiode encoder potting etching solder ferrite impedance ohm ampere watt flip-flop bootloader MOSFET
            op-amp comparator multiplexer buzzer""",
        "textiles": """knitting crochet yarn wool mohair cotton linen silk velvet denim loom weaving warp spindle
            bobbin thimble needle stitch seam hem pleat buttonhole zipper quilt embroidery lace felt dyeing indigo
            madder sweater cardigan scarf mitten sock shawl blanket cushion curtain apron skirt blouse waistcoat
            jacket trouser tailor seamstress dressmaking pattern darning mending fleece spinning distaff skein hank
            purl satin chiffon flannel corduroy muslin""",
    },
    "outdoors": {
        "hiking": """trail summit ridge rucksack boot tent ravine valley footpath cairn compass glacier moraine scree
            cliff boulder abseil carabiner rope harness belay piton crampon snowshoe bothy shelter altitude descent
            ascent scramble traverse gully plateau moor heath bog stile gorge waterfall canyon foothill mountain
            mountaineer trekker rambler wilderness bivouac sleeping-bag canteen blister gaiter trekking backpacking
            hillwalking""",
        "birds": """sparrow finch heron kingfisher owl falcon kestrel buzzard eagle osprey swallow swift martin
            nightingale robin wren blackbird magpie raven rook jackdaw cuckoo pigeon dove pheasant grouse partridge
            lapwing curlew sandpiper gull tern puffin cormorant pelican stork crane swan goose duck teal mallard grebe
            nest egg fledgling plumage feather beak talon wingspan migration birdsong roost flock aviary binoculars
            hide ringing birdwatcher ornithologist hatchling""",
        "sailing": """yacht dinghy mast rigging sail spinnaker keel rudder tiller hull anchor harbour marina jetty
            buoy lighthouse tide swell cleat winch halyard boom deck galley bilge bow stern starboard regatta skipper
            helmsman crew navigator sextant chart mooring lock canal estuary lagoon reef breakwater trawler ferry
            schooner catamaran canoe kayak paddle oar rowing lifeboat lifejacket seamanship wake bosun ropework
            shipwreck""",
        "cycling": """bicycle derailleur sprocket chain pedal crank handlebar saddle spoke rim tyre pump pannier
            helmet peloton sprint climb breakaway tandem tricycle cyclist bikeshare cassette headset fork axle gear
            freewheel cadence drivetrain jersey bidon gravel bikepacking towpath cycleway dynamo mudguard kickstand
            inner-tube bell bottom-bracket cleat turbo-trainer""",
        "weather": """rainfall thunderstorm hurricane tornado blizzard drizzle hail sleet frost fog mist cloud cirrus
            barometer anemometer hygrometer isobar cyclone anticyclone monsoon drought heatwave flood gale breeze gust
            humidity temperature forecast forecaster meteorologist lightning thunder rainbow sunshine dew snowfall
            snowdrift icicle jet-stream trade-wind front precipitation evaporation climate season downpour squall
            whirlwind windchill radar rain-gauge sunset dawn overcast haze smog dust-storm avalanche""",
    },
    "science": {
        "astronomy": """telescope galaxy nebula comet asteroid meteor planet moon eclipse orbit supernova quasar
            black-hole constellation star observatory spectrograph redshift exoplanet Jupiter Saturn Mars Venus
            Mercury Neptune Uranus Pluto Milky-Way Andromeda dwarf-star cosmos cosmology satellite rocket astronaut
            spacecraft probe space-station gravity corona sunspot solar-flare aurora equinox solstice astronomer
            eyepiece starlight meteorite crater light-year accretion starfield""",
        "medicine": """surgeon clinic vaccine antibiotic stethoscope diagnosis symptom fever infection virus bacterium
            tumour biopsy anaesthetic hospital nurse pharmacist prescription tablet dosage injection insulin diabetes
            asthma arthritis migraine allergy eczema pneumonia heart artery vein blood kidney liver lung tendon
            ligament physiotherapy transplant dialysis transfusion ultrasound X-ray MRI pathology immunology oncology
            cardiology paediatrics geriatrics epidemic hygiene pulse nausea""",
        "chemistry": """molecule catalyst polymer titration reagent solvent acid alkali oxide isotope electron proton
            neutron ion crystal crystallography precipitate chromatography beaker flask laboratory chemist compound
            mixture solution reaction enzyme protein carbohydrate lipid ester ether alcohol aldehyde benzene methane
            ammonia chlorine sodium potassium sulphur phosphorus carbon nitrogen hydrogen helium periodic-table
            valence bond orbital electrolysis oxidation combustion corrosion alloy colloid emulsion""",
        "computing": """compiler algorithm database server software programmer laptop kernel thread cache pointer
            variable function recursion loop array stack hash-table binary-tree graph debugger repository commit merge
            branch deployment container virtual-machine router packet protocol firewall encryption password browser
            JavaScript Python spreadsheet operating-system filesystem disk memory processor bytecode interpreter
            parser regex query index schema backup latency bandwidth cloud microservice unit-test bug patch""",
        "mathematics": """theorem proof conjecture integer prime fraction polynomial equation inequality derivative
            integral matrix vector eigenvalue determinant topology manifold group ring field geometry triangle circle
            ellipse parabola hyperbola polygon polyhedron tessellation symmetry logarithm exponential trigonometry
            cosine sine tangent limit series sequence convergence probability statistics variance combinatorics
            permutation graph-theory number-theory set-theory axiom calculus arithmetic algebra mathematician abacus
            fractal infinity modulo Fibonacci Euclid Gauss Euler""",
    },
    "arts": {
        "music": """violin cello piano trumpet clarinet oboe flute harp guitar banjo drum cymbal timpani orchestra
            quartet symphony sonata concerto overture fugue aria opera libretto soprano alto tenor baritone choir hymn
            ballad folk-song jazz blues reggae techno synthesiser melody harmony rhythm arpeggio crescendo composer
            bandleader busker gramophone vinyl album recording mixtape rehearsal recital songwriter lyric refrain
            metronome bagpipe""",
        "painting": """canvas easel brushstroke watercolour gouache acrylic palette portrait landscape still-life
            sketch charcoal etching engraving lithograph fresco mural impressionist cubism surrealism gallery museum
            curator exhibition collage sculpture sculptor bronze marble pottery glaze ceramics mosaic stained-glass
            illustrator illustration ink pen-and-ink calligraphy perspective chiaroscuro sfumato ochre varnishing
            miniature self-portrait triptych altarpiece studio draughtsman linocut""",
        "film": """director screenplay camera actor actress cinema documentary thriller film-noir cameraman projector
            premiere trailer sequel prequel blockbuster screenwriter producer editor montage close-up dialogue scene
            storyboard soundtrack casting audition box-office Oscar film-festival cinematography celluloid animation
            cartoon special-effect costume make-up set-design subtitle dubbing voiceover popcorn biopic cameo
            clapperboard dolly-shot cliffhanger flashback""",
        "literature": """novel novelist poem poet haiku stanza verse ballad essay memoir biography autobiography diary
            manuscript publisher printing bookshop library librarian paperback hardback chapter paragraph plot
            narrator protagonist villain heroine metaphor simile allegory satire fable fairy-tale myth legend saga
            epic folklore anthology short-story novella playwright drama tragedy comedy translation translator
            dictionary reader readership bestseller literary-prize typewriter bookbinding ghostwriter prologue
            epilogue epigraph footnote""",
        "architecture": """cathedral facade arch vault pillar dome spire minaret courtyard balcony terrace staircase
            skyscraper tower bungalow cottage castle palace villa mansion blueprint scaffolding concrete brick steel
            glass roof thatch slate chimney fireplace foundation basement attic cornice portico plinth window doorway
            architect draughting masonry stonemason renovation extension insulation bridge viaduct pavilion
            amphitheatre colonnade gable""",
    },
    "society": {
        "finance": """mortgage pension dividend stock share broker banker bank loan interest inflation currency
            exchange-rate portfolio investor investment hedge-fund savings deposit credit debit overdraft insurance
            premium annuity tax taxation accountant audit ledger invoice balance-sheet profit loss revenue turnover
            asset liability equity bankruptcy creditor debtor shareholder takeover merger venture-capital commodity
            futures treasury central-bank recession budget-deficit wage salary payroll pay-slip stockbroker""",
        "law": """judge jury courtroom barrister solicitor lawyer attorney prosecutor defendant plaintiff witness
            testimony verdict sentence appeal statute constitution legislation contract negligence liability trademark
            copyright patent custody divorce inheritance probate will trustee affidavit subpoena warrant arrest bail
            parole prison tribunal arbitration mediation injunction lawsuit settlement damages fraud perjury burglary
            homicide felony misdemeanour magistrate notary bailiff cross-examination jurisprudence jurisdiction
            precedent acquittal""",
        "education": """classroom teacher pupil homework exam curriculum syllabus university college lecturer
            professor student undergraduate scholarship tuition kindergarten textbook notebook timetable lesson
            lecture seminar tutor mentor essay-writing dissertation thesis diploma degree graduation literacy spelling
            headteacher principal caretaker assembly detention report-card school schooling boarding-school
            apprenticeship campus dormitory faculty pedagogy alumni""",
        "politics": """election ballot candidate parliament senate senator congress minister president mayor
            councillor council referendum manifesto campaign coalition opposition cabinet diplomat embassy treaty
            summit-meeting sanction republic monarchy democracy dictatorship revolution lobbyist constituency voter
            turnout polling-station opinion-poll speech debate legislature filibuster veto impeachment campaigner
            activist demonstration petition trade-union federalism devolution governor ambassador chancellor
            party-conference""",
        "transport": """locomotive railway tram subway metro bus coach lorry motorway roundabout traffic-light
            pavement airport runway airliner helicopter ticket turnstile platform timetable carriage freight railcar
            monorail cable-car taxi car bumper petrol diesel charging-point parking garage congestion commuter-belt
            toll passport-control departure-lounge luggage trolleybus rickshaw""",
    },
}
"""Community → topic → nouns."""

AXES: dict[str, tuple[str, str]] = {
    "mood": (
        """cheerful joyful happy merry jolly sunny bright delightful playful radiant blissful upbeat uplifting
        heart-warming smiling laughing giggling funny amusing hilarious witty humorous light-hearted festive
        celebratory triumphant hopeful encouraging charming adorable sweet friendly jovial elated thrilled overjoyed
        beaming sparkling dancing good-natured feel-good rosy bubbly fun-filled cheery glad grateful proud lucky
        cheered happiest joyous lively laughable smiley laughter-filled rejoicing pleasant pleasing lovely wonderful
        marvellous fabulous splendid fantastic glorious glowing vivacious high-spirited frolicsome giddy amused
        entertaining goofy loving affectionate tender-hearted warm-hearted welcoming good-humoured fortunate
        celebrated partying inspiring enthusiastic""",
        """grim gloomy tragic bleak sorrowful miserable wretched sad tearful weeping grieving doomed despairing
        hopeless desolate abandoned haunted sinister menacing dreadful dire gruesome morbid deathly deadly fatal
        bloody cruel brutal harrowing horrifying terrifying ominous cursed disastrous catastrophic ruined shattered
        broken wounded suffering agonising painful anguished depressing saddened sorrowing grief-stricken crying
        dejected depressed anguishing tormented tortured traumatised traumatic horrific horrid horrible terrible
        awful atrocious murderous lethal poisonous venomous vicious evil malevolent demonic scary dying dead rotting
        devastated devastating pitiful distressed distressing afflicted lifeless tormenting threatening fearful
        dreaded""",
    ),
    "era": (
        """ancient antique traditional medieval Victorian old-fashioned vintage historic heritage ancestral
        centuries-old bygone archaic old-world rustic Georgian Edwardian Tudor Roman Byzantine-era feudal
        prehistoric Stone-Age Bronze-Age Iron-Age Renaissance baroque Gothic Elizabethan colonial-era
        nineteenth-century eighteenth-century weathered venerable parchment heirloom grandfatherly nostalgic
        patriarchal Norse Viking Celtic Babylonian archaeological antiquarian historical olden old oldest aged
        Anglo-Saxon Saxon Mesopotamian Sumerian Assyrian Aztec Incan Carolingian Ottoman Jacobean Regency Napoleonic
        Dickensian Shakespearean Arthurian chivalric knightly monastic pagan mythological fabled legendary
        palaeolithic neolithic Mesolithic fossil hieroglyphic cuneiform museum-kept relic excavated preserved
        twelfth-century sixteenth-century seventeenth-century""",
        """futuristic cutting-edge digital robotic automated high-tech smart next-generation state-of-the-art
        innovative experimental AI-powered solar-powered wireless virtual online app-based cloud-based
        drone-assisted computerised hydrogen-powered self-driving bionic cybernetic nanotech quantum up-to-date
        brand-new streaming touchscreen sensor-laden machine-learning algorithmic data-driven voice-controlled
        Bluetooth networked updated prototype technological electronic cyber internet-connected internet web-based
        broadband cellular mobile smartphone-ready software-driven code-driven programmable robot-made robot android
        autonomous driverless unmanned remote-controlled battery-powered photovoltaic superconducting microchip
        microelectronic silicon nanoscale biotech bioengineered augmented-reality virtual-reality interactive
        open-source blockchain crypto downloadable uploadable livestreamed viral advanced-tech tech-savvy tech
        satellite-linked GPS-guided sensor-driven next-wave""",
    ),
    "level": (
        """simple easy beginner basic elementary introductory first-time novice effortless straightforward foolproof
        step-by-step uncomplicated plain everyday starter child-friendly quick three-minute five-step hassle-free
        no-fuss painless accessible beginner-friendly entry-level jargon-free kindergarten-level self-explanatory
        user-friendly ready-made one-click newbie unskilled inexperienced minimal bite-sized handy casual ABC
        first-lesson toddler-proof for-dummies easygoing easy-to-follow learner unassuming bare-bones one-step
        two-minute dead-easy""",
        """advanced expert complex intricate sophisticated technical rigorous specialist professional masterly virtuoso
        challenging fiendish arcane esoteric scholarly academic doctoral postgraduate theoretical in-depth
        exhaustive comprehensive elaborate convoluted labyrinthine multi-layered meticulous high-precision veteran
        master-class graduate-level professional-grade expert-only hard-core research-grade highly-skilled
        painstaking formidable byzantine cryptic recondite erudite complicated knotty tricky daunting tortuous
        cerebral analytical peer-reviewed proficient accomplished elite-level expert-level tournament-grade
        hyper-detailed many-sided dense""",
    ),
    "price": (
        """cheap frugal thrifty inexpensive affordable budget bargain low-cost cut-price second-hand discounted
        penny-wise homemade reduced-price half-price shoestring scrimping money-saving dirt-cheap cost-cutting
        recycled hand-me-down cash-strapped subsidised giveaway marked-down flea-market charity-shop thrift-store
        make-do scrap leftover pocket-money coupon-clipping bargain-bin ten-dollar wallet-friendly low-budget
        low-priced bottom-dollar cheapo penny-pinching unpaid impoverished poor borrowed free cost-free rock-bottom""",
        """luxurious expensive lavish opulent sumptuous extravagant deluxe high-end gilded golden diamond-studded
        jewelled champagne five-star exclusive swanky plush palatial princely regal royal aristocratic wealthy
        millionaire billionaire dear precious platinum velvet-lined pearl-encrusted couture designer glamorous
        stately grand majestic magnificent prestigious elite pampered indulgent decadent gold-leaf high-priced
        high-class penthouse rich big-money ornate VIP""",
    ),
}
"""Style axis → (words of its negative pole, words of its positive pole)."""

NOUNS = """account advice afternoon agreement answer argument attempt autumn beginning belief bet challenge
    chance change chapter circle claim clue collection comparison compromise conversation corner decade decision delay
    demand detail discovery discussion doubt edition effort evening event evidence example experience experiment
    explanation fashion favour feature finding fortnight friendship future gathering gift glimpse goal guess guide habit
    heading history hobby holiday idea impression improvement insight instinct interview invitation issue journey
    kind lesson-plan letter list look market measure meeting memory message method mistake moment month morning
    mystery nickname note opening opinion option outcome overview page parcel partner passion past pause
    piece place plan point possibility practice preference problem procedure project promise proposal puzzle question
    quarrel reason reminder reply request result reunion review riddle routine rumour search secret
    setback shortlist sign solution sort souvenir state step story strategy subject success suggestion summary surprise
    survey talk task theory thought tip topic tour tradition tribute trouble turn update version
    viewpoint visit weekend wish wonder workshop year"""
"""Nouns of no topic and no style."""

VERBS = """accepted admired adopted altered answered arranged assembled assessed avoided borrowed-from bought brought
    carried catalogued changed checked chose circulated collected compared completed considered copied counted covered
    defended delivered described designed discovered discussed displayed documented doubted drew examined exchanged
    explained explored filmed finished followed found gathered handled hid ignored imagined improved inherited inspected
    introduced invented kept labelled learned listed loved maintained measured mentioned mislaid missed moved named
    needed noticed offered opened ordered organised packed photographed planned praised prepared preserved presented
    proposed protected questioned reached recommended recorded rejected remembered repaired replaced reported rescued
    restored returned reviewed revived saved selected sent shared showed sold sorted started stored studied suggested
    supplied surveyed swapped tested tracked traded transformed tried understood uncovered used visited wanted watched
    weighed wrapped wrote-about"""
"""Past tenses of no topic and no style."""

FIRST_NAMES = """Ada Adele Agnes Aiko Alba Alec Alma Amara Amir Anders Anita Anouk Arjun Astrid Aurel Basil Beatriz Bela
    Bianca Boris Bruno Camille Carla Cedric Chiara Clara Cyrus Dalia Damian Daria Desmond Diego Dora Edgar Edith Elias
    Elin Emil Enzo Esther Ewan Fatima Felix Fiona Flora Franz Freya Gemma Giles Gina Greta Gustav Hana Harriet Hector
    Helga Hugo Ida Igor Ilse Imran Ines Ingrid Ivan Jamal Jasper Joana Jonas Judith Kaito Karim Kasia Kofi Lars Leila
    Lena Leon Linnea Lorenzo Lotte Lucia Magnus Malik Marek Marta Mateo Mei Milan Mina Moira Nadia Naomi Niko Nora
    Octavia Olaf Olga Omar Oskar Otto Paloma Pavel Petra Philippa Priya Quentin Rafael Ramona Ravi Renata Rosa Rupert
    Ruth Samir Sanjay Selma Sergei Sigrid Silas Sonia Stefan Suki Sven Tamar Tariq Thea Theo Tobias Ulla Ursula Valerie
    Vera Viktor Wanda Wilma Xenia Yara Yusuf Yvette Zainab Zoltan Zora"""

SURNAME_STARTS = """Ald Ash Bar Bex Brad Brin Cald Cor Crow Dal Den Dray Ell Ever Farn Fen Gar Glen Gran Hal Har Hol
    Ing Kel Kirk Lam Lang Mar Mel Nor Oak Os Pem Quin Rad Ren Ros Sel Stan Thorn Tre Ul Van Ves Wel Win Wy Yar"""
SURNAME_ENDS = "ander bury combe dale dell er ford gate ham house ington kin land ley low man mere more son wick worth"
PLACE_STARTS = """Amber Apple Badger Bell Birk Black Bram Cedar Chal Clear Cold Copper Dun East Elm Falcon Fern Flax
    Fox Gold Green Hare Haw High Iron Kings Lake Lark Lime Long Mill Moor North Old Otter Pebble Queens Red Ripple Rook
    Sand Silver South Stone Swan West White Wood"""
PLACE_ENDS = (
    "beck borough bourne bridge brook by cliff cross dene field grove haven hill holm mouth pool port stead ton"
)
