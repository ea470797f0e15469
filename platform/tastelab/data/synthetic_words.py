"""The vocabulary of the synthetic world: words of topics, words of style poles, and syllables of invented names.

Words are grouped by meaning, so that a text encoder finds two titles of one topic or one style alike although they
share no word.
"""

from __future__ import annotations

TOPICS: dict[str, dict[str, str]] = {
    "making": {
        "woodwork": """chisel plank dowel mortise tenon sawdust lathe bandsaw plywood veneer varnish workbench clamp
            router sander dovetail joinery oak walnut maple birch cabinet drawer shelf stool rasp mallet vise plane
            spokeshave jigsaw grain knot lumber timber carpenter carpentry whittling bevel rabbet groove shellac lacquer
            turnery bowl burl spindle trestle batten beam rafter crate hinge dovetailing sapwood heartwood kiln
            marquetry inlay gouge drawknife awl template jig sawhorse cedar pine mahogany teak bookcase wardrobe""",
        "gardening": """compost trellis seedling pruning mulch greenhouse tulip rosebush hedge lawn spade rake hoe
            wheelbarrow tomato courgette cucumber radish lettuce spinach bean pea rhubarb strawberry raspberry
            blackcurrant gooseberry orchard graft rootstock bulb tuber perennial annual shrub fern moss ivy wisteria
            clematis lavender rosemary thyme slug aphid ladybird earthworm soil loam peat manure fertiliser irrigation
            hosepipe sprinkler allotment flowerbed border rockery pond petal stem stamen pollen sapling cutting cloche
            polytunnel secateurs dahlia marigold peony""",
        "cooking": """saucepan skillet whisk ladle oven simmer broth stew casserole risotto dumpling noodle omelette
            pancake sourdough dough yeast flour butter cream custard pudding pastry tart pie biscuit marinade
            vinaigrette mayonnaise garlic onion shallot leek carrot parsnip aubergine lentil chickpea couscous paprika
            cumin coriander turmeric saffron cinnamon nutmeg vanilla chocolate caramel jam chutney pickle brisket
            sausage bacon trout mussel prawn soup salad gravy roast grill recipe supper breakfast banquet colander
            tureen rolling-pin sieve""",
        "electronics": """resistor capacitor transistor diode soldering breadboard oscilloscope multimeter voltage
            amplifier circuit microcontroller relay inductor transformer rectifier potentiometer thermistor LED battery
            charger inverter waveform oscillator antenna transmitter receiver radio modem connector socket fuse
            breaker wiring cable heatsink solenoid servo motor actuator sensor photodiode encoder potting etching
            flux solder ferrite impedance ohm ampere watt farad logic-gate flip-flop firmware bootloader logic
            regulator MOSFET op-amp comparator multiplexer crystal buzzer keypad""",
        "textiles": """knitting crochet yarn wool mohair cotton linen silk velvet denim tweed loom weaving weft warp
            spindle bobbin thimble needle thread stitch seam hem pleat buttonhole zipper quilt patchwork embroidery
            tapestry lace felt dyeing indigo madder sweater cardigan scarf mitten sock shawl blanket cushion curtain
            apron skirt blouse waistcoat jacket trouser tailor seamstress dressmaking pattern darning mending fleece
            spinning distaff skein hank purl brocade satin chiffon flannel corduroy muslin""",
    },
    "outdoors": {
        "hiking": """trail summit ridge rucksack boot campsite tent ravine valley footpath cairn map compass glacier
            moraine scree crag cliff boulder abseil carabiner rope harness belay piton crampon snowshoe bothy hut
            shelter waymark contour altitude descent ascent scramble traverse gully col pass plateau moor heath bog
            stile gorge waterfall canyon foothill mountain mountaineer trekker rambler wilderness bivouac
            sleeping-bag stove canteen blister gaiter trekking backpacking hillwalking""",
        "birds": """sparrow finch heron kingfisher owl falcon kestrel buzzard eagle osprey swallow swift martin
            nightingale robin wren blackbird thrush starling magpie raven rook jackdaw woodpecker cuckoo pigeon dove
            pheasant grouse partridge lapwing curlew plover sandpiper gull tern puffin gannet cormorant pelican stork
            crane swan goose duck teal mallard grebe nest egg fledgling plumage feather beak talon wingspan
            migration birdsong roost flock aviary binoculars hide ringing birdwatcher ornithologist hatchling""",
        "sailing": """yacht dinghy mast rigging sail jib spinnaker mainsail keel rudder tiller hull anchor harbour
            marina jetty buoy lighthouse tide swell knot cleat winch halyard boom deck galley bilge bow stern port
            starboard regatta skipper helmsman crew navigator sextant chart mooring lock canal estuary lagoon reef
            breakwater trawler ferry schooner ketch catamaran canoe kayak paddle oar rowing lifeboat lifejacket
            seamanship wake bosun ropework shipwreck""",
        "cycling": """bicycle derailleur sprocket chain pedal crank handlebar saddle spoke rim tyre puncture pump
            pannier helmet peloton velodrome sprint climb breakaway domestique tandem tricycle unicycle cyclist
            commuter bikeshare cassette headset fork frame hub axle brake caliper gear freewheel cadence drivetrain
            jersey bidon criterium time-trial stage gravel bikepacking towpath cycleway dynamo mudguard kickstand
            inner-tube bell basket bottom-bracket cleat turbo-trainer soigneur""",
        "weather": """rainfall thunderstorm hurricane tornado blizzard drizzle hail sleet frost fog mist cloud cumulus
            cirrus barometer anemometer thermometer hygrometer isobar cyclone anticyclone monsoon drought heatwave
            flood gale breeze gust humidity temperature forecast forecaster meteorologist lightning thunder rainbow
            sunshine dew snowfall snowdrift icicle jet-stream trade-wind front pressure precipitation evaporation
            climate season downpour squall whirlwind windchill satellite radar rain-gauge sunset dawn overcast haze
            smog dust-storm avalanche""",
    },
    "science": {
        "astronomy": """telescope galaxy nebula comet asteroid meteor planet moon eclipse orbit supernova pulsar
            quasar black-hole constellation star observatory spectrograph redshift parallax exoplanet Jupiter Saturn
            Mars Venus Mercury Neptune Uranus Pluto Milky-Way Andromeda dwarf-star cosmos cosmology satellite rocket
            astronaut spacecraft probe lander rover launch-pad space-station gravity corona sunspot solar-flare aurora
            equinox solstice zenith astronomer eyepiece refractor reflector starlight meteorite crater light-year
            magnetar accretion starfield""",
        "medicine": """surgeon clinic vaccine antibiotic stethoscope diagnosis symptom fever infection virus bacterium
            tumour biopsy scalpel anaesthetic hospital ward nurse midwife pharmacist prescription tablet dosage
            injection insulin diabetes asthma arthritis migraine allergy eczema pneumonia heart artery vein blood
            kidney liver lung bone fracture tendon ligament physiotherapy transplant dialysis transfusion ultrasound
            X-ray MRI pathology immunology oncology cardiology paediatrics geriatrics epidemic hygiene bandage
            splint pulse nausea""",
        "chemistry": """molecule catalyst polymer titration reagent solvent acid alkali oxide isotope electron proton
            neutron ion crystal crystallography precipitate distillation chromatography beaker flask pipette burette
            Bunsen-burner fume-hood laboratory chemist compound mixture solution reaction enzyme protein
            carbohydrate lipid ester ether alcohol aldehyde ketone benzene methane ammonia chlorine sodium potassium
            sulphur phosphorus carbon nitrogen hydrogen helium periodic-table valence bond orbital electrolysis
            oxidation combustion corrosion alloy colloid emulsion""",
        "computing": """compiler algorithm database server software programmer keyboard laptop kernel thread cache
            pointer variable function recursion loop array stack queue hash-table binary-tree graph debugger
            repository commit merge branch deployment container virtual-machine network router packet protocol
            firewall encryption password browser website JavaScript Python Rust spreadsheet operating-system
            filesystem disk memory processor bytecode interpreter parser regex query index schema backup latency
            bandwidth cloud microservice unit-test bug patch""",
        "mathematics": """theorem lemma proof conjecture integer prime fraction polynomial equation inequality
            derivative integral matrix vector eigenvalue determinant topology manifold group ring field geometry
            triangle circle ellipse parabola hyperbola polygon polyhedron tessellation symmetry logarithm
            exponential trigonometry cosine sine tangent limit series sequence convergence probability statistics
            variance combinatorics permutation graph-theory number-theory set-theory axiom calculus arithmetic algebra
            mathematician abacus fractal infinity modulo Fibonacci Euclid Gauss Euler""",
    },
    "arts": {
        "music": """violin cello piano trumpet clarinet oboe bassoon flute harp guitar banjo mandolin drum cymbal
            timpani orchestra quartet symphony sonata concerto overture fugue aria opera libretto soprano alto tenor
            baritone choir hymn ballad folk-song jazz blues reggae techno synthesiser chord melody harmony rhythm
            tempo octave arpeggio crescendo conductor composer bandleader busker gramophone vinyl album single
            recording mixtape rehearsal recital busking songwriter lyric refrain metronome bagpipe""",
        "painting": """canvas easel brushstroke watercolour gouache acrylic palette pigment portrait landscape
            still-life sketch charcoal pastel etching engraving lithograph fresco mural impressionist cubism
            surrealism gallery museum curator exhibition collage sculpture sculptor bronze marble pottery glaze
            ceramics mosaic stained-glass illustrator illustration ink pen-and-ink calligraphy perspective
            chiaroscuro sfumato vermilion ultramarine ochre sienna umber cobalt varnishing miniature self-portrait
            triptych altarpiece studio sitter draughtsman linocut woodcut""",
        "film": """director screenplay camera actor actress cinema documentary western thriller film-noir cameraman
            projector premiere trailer sequel prequel blockbuster screenwriter producer editor montage close-up
            dialogue scene storyboard soundtrack stuntman casting audition box-office Oscar film-festival
            cinematography celluloid animation cartoon puppetry special-effect costume make-up set-design subtitle
            dubbing voiceover matinee multiplex popcorn biopic screening cameo clapperboard dolly-shot
            cliffhanger flashback""",
        "literature": """novel novelist poem poet sonnet haiku stanza verse ballad essay memoir biography
            autobiography diary manuscript publisher printing bookshop library librarian paperback hardback chapter
            paragraph plot narrator protagonist villain heroine metaphor simile allegory satire fable fairy-tale myth
            legend saga epic folklore anthology short-story novella playwright drama tragedy comedy translation
            translator dictionary reader readership bestseller literary-prize typewriter bookbinding ghostwriter
            prologue epilogue epigraph footnote""",
        "architecture": """cathedral facade arch vault buttress column pillar dome spire minaret courtyard atrium
            balcony terrace staircase skyscraper tower bungalow cottage castle palace villa mansion blueprint
            scaffolding concrete brick mortar steel girder glass roof thatch slate chimney fireplace foundation
            basement attic cornice frieze portico pediment capital plinth window casement doorway threshold
            architect draughting masonry stonemason renovation extension cladding insulation aqueduct bridge
            viaduct pavilion amphitheatre colonnade gable""",
    },
    "society": {
        "finance": """mortgage pension dividend stock bond share broker banker bank loan interest inflation deflation
            currency exchange-rate portfolio investor investment hedge-fund savings deposit credit debit overdraft
            insurance premium annuity tax taxation accountant audit ledger invoice balance-sheet profit loss revenue
            turnover asset liability equity bankruptcy creditor debtor shareholder takeover merger start-up
            venture-capital commodity futures option treasury central-bank recession budget-deficit wage salary payroll
            pay-slip stockbroker""",
        "law": """judge jury courtroom barrister solicitor lawyer attorney prosecutor defendant plaintiff witness
            testimony verdict sentence appeal statute constitution legislation contract tort negligence liability
            trademark copyright patent custody divorce inheritance probate will trustee affidavit subpoena warrant
            arrest bail parole prison tribunal arbitration mediation injunction lawsuit settlement damages fraud
            perjury burglary homicide felony misdemeanour magistrate notary bailiff cross-examination jurisprudence
            jurisdiction precedent acquittal""",
        "education": """classroom teacher pupil homework exam curriculum syllabus university college lecturer
            professor student undergraduate scholarship tuition kindergarten nursery playground blackboard textbook
            notebook pencil satchel timetable lesson lecture seminar tutorial tutor mentor essay-writing
            dissertation thesis diploma degree graduation literacy numeracy phonics spelling reading-scheme
            headteacher principal caretaker assembly detention report-card school schooling boarding-school
            apprenticeship campus dormitory faculty pedagogy alumni""",
        "politics": """election ballot candidate parliament senate senator congress minister president mayor
            councillor council referendum manifesto campaign coalition opposition cabinet diplomat embassy treaty
            summit-meeting sanction republic monarchy democracy dictatorship revolution lobbyist constituency
            voter turnout polling-station opinion-poll speech debate legislature filibuster veto impeachment
            campaigner canvasser activist demonstration petition trade-union federalism devolution governor
            ambassador chancellor party-conference whip backbencher""",
        "transport": """locomotive railway tram subway metro bus coach lorry motorway roundabout junction
            traffic-light pavement crossing airport runway airliner pilot cockpit helicopter ticket turnstile
            platform timetable carriage sleeper freight container-ship tanker tunnel signal-box railcar monorail
            funicular cable-car taxi chauffeur motorcycle scooter moped car engine gearbox clutch bumper headlamp
            dashboard petrol diesel charging-point parking garage congestion commuter-belt toll passport-control
            departure-lounge luggage trolleybus rickshaw""",
    },
}
"""Community → topic → nouns."""

AXES: dict[str, tuple[str, str]] = {
    "mood": (
        """cheerful joyful happy merry jolly sunny bright delightful playful gleeful jubilant radiant blissful upbeat
        uplifting heart-warming smiling laughing giggling funny amusing comical hilarious witty humorous
        light-hearted carefree exuberant festive celebratory triumphant hopeful optimistic encouraging charming
        lovable adorable sweet cosy friendly kind-hearted jovial buoyant elated ecstatic thrilled overjoyed beaming
        sparkling dancing singing whimsical good-natured feel-good rosy perky bubbly chirpy rollicking fun-filled
        cheery glad contented grateful proud lucky cheered happiest joyous lively zestful gladdened laughable smiley
        laughter-filled rejoicing euphoric rapturous enchanting heavenly pleasant pleasing lovely wonderful
        marvellous fabulous splendid fantastic glorious glowing sunlit sunshiny vivacious spirited high-spirited
        frolicsome mirthful giddy tickled amused entertaining zany goofy silly droll comic loving affectionate
        tender-hearted warm-hearted welcoming good-humoured blessed fortunate celebrated partying exhilarated
        exhilarating gratified inspiring heartening reassuring enthusiastic""",
        """grim gloomy tragic bleak sorrowful mournful dreary dismal melancholy miserable wretched heartbreaking sad
        unhappy tearful weeping grieving doomed despairing hopeless desolate abandoned lonely haunted sinister
        menacing dreadful dire ghastly gruesome morbid deathly deadly fatal bloody cruel brutal savage harrowing
        horrifying terrifying frightening ominous cursed ill-fated disastrous catastrophic ruined shattered broken
        wounded suffering agonising painful bitter anguished depressing dark shadowy brooding saddened sorrowing
        sorry grief-stricken heartbroken tearstained crying sobbing wailing despondent dejected depressed downcast
        disheartened dispirited inconsolable anguishing tormented tortured traumatised traumatic horrific horrid
        horrible terrible awful appalling atrocious murderous bloodstained bloodthirsty lethal poisonous venomous
        vicious ruthless merciless heartless hateful evil wicked malevolent hellish infernal demonic ghostly
        ghoulish spooky eerie creepy scary dying dead decaying rotting devastated devastating calamitous apocalyptic
        woeful pitiful pitiable distressed distressing afflicted lifeless tormenting threatening fearful dreaded""",
    ),
    "era": (
        """ancient antique traditional medieval Victorian old-fashioned vintage historic heritage ancestral
        centuries-old bygone classical archaic old-world time-honoured rustic Georgian Edwardian Tudor Roman
        Byzantine-era feudal prehistoric Stone-Age Bronze-Age Iron-Age Renaissance baroque Gothic Elizabethan
        colonial-era pre-war wartime nineteenth-century eighteenth-century sepia dusty weathered moss-grown yellowed
        venerable age-old long-forgotten outmoded fossilised hand-forged horse-drawn candle-lit parchment heirloom
        grandfatherly nostalgic primeval patriarchal pharaonic Norse Viking Celtic Babylonian quaint archaeological
        antiquarian historical olden old oldest time-worn ageing aged ageless elderly forefatherly Anglo-Saxon
        Saxon Mesopotamian Sumerian Assyrian Etruscan Spartan Aztec Incan Mayan
        Carolingian Merovingian Ottoman Jacobean Stuart Regency Napoleonic Dickensian Shakespearean Arthurian
        chivalric knightly monastic druidic pagan mythological biblical fabled legendary palaeolithic
        neolithic Mesolithic Jurassic ice-age fossil hieroglyphic cuneiform illuminated archival museum-kept relic
        excavated preserved twelfth-century sixteenth-century seventeenth-century""",
        """futuristic cutting-edge new contemporary digital robotic automated high-tech smart next-generation
        state-of-the-art innovative ground-breaking pioneering experimental AI-powered solar-powered wireless
        virtual online app-based cloud-based 3D-printed drone-assisted laser-guided computerised electric
        hydrogen-powered self-driving bionic cybernetic nanotech quantum space-age twenty-first-century tomorrow's
        up-to-date brand-new trailblazing disruptive trendy internet-age streaming touchscreen holographic
        sensor-laden machine-learning algorithmic data-driven streamlined hyper-modern voice-controlled Bluetooth
        networked gene-edited sci-fi updated prototype technological electronic cyber internet-connected internet
        web-based broadband cellular mobile smartphone-ready software-driven code-driven programmable robot-made
        robot android autonomous driverless unmanned remote-controlled battery-powered rechargeable nuclear-powered
        photovoltaic superconducting optical fibre-optic photonic microchip microelectronic silicon semiconductor
        nanoscale biotech bioengineered genomic synthetic augmented-reality virtual-reality metaverse interactive
        crowd-sourced open-source blockchain crypto tokenised downloadable uploadable livestreamed podcasted viral
        tweeted hashtagged upgraded rebooted reinvented modernised advanced-tech tech-savvy tech
        satellite-linked GPS-guided sensor-driven neural predictive intelligent ultra-fast next-wave
        emerging""",
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
