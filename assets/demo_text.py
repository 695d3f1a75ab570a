"""The text that the demo model is trained on, made from a small grammar.

Everything here is written by hand for this crate: names, facts, sentence patterns. `document(rng)` returns one
document as (kind, text), where the text of a chat is already in Llama 3's form, without the leading
<|begin_of_text|>. The text keeps its own books: what is lost is found where it was left, sums are right, pronouns
agree, and the last paragraph remembers the first, so a model must track entities to predict it well.
"""

import random

GIRLS = "Anna Bella Clara Dora Emma Fiona Grace Hanna Iris Julia Kate Lily Mia Nora Olive Rosa Sara Tina Vera Zoe".split()
BOYS = "Adam Ben Carl David Erik Felix George Henry Ivan Jack Leo Max Noah Oscar Paul Robin Sam Tom Victor Will".split()
TOWNS = "Millbrook Ashford Redhill Stonebridge Fairhaven Oakdale Westport Riverton Longfield Greenwood".split()
COLOURS = "red blue green yellow white black brown orange purple pink grey golden silver".split()
SIZES = "big small tiny huge long short round heavy light".split()
LOOKS = "old new shiny dusty broken pretty strange simple lovely wooden".split()
TOYS = "ball kite doll drum boat puzzle whistle marble puppet train rocket top".split()
THINGS = "book key lamp cup hat coat ring map bell basket box coin clock mirror spoon rope umbrella pencil letter scarf".split()
FRUITS = {"apple": "red", "banana": "yellow", "plum": "purple", "pear": "green", "cherry": "red", "lemon": "yellow",
          "orange": "orange", "peach": "pink"}
PLURALS = {"cherry": "cherries", "peach": "peaches", "box": "boxes", "mouse": "mice", "sheep": "sheep", "wolf": "wolves",
           "fox": "foxes", "goose": "geese", "fish": "fish", "city": "cities", "baby": "babies", "leaf": "leaves",
           "child": "children", "tooth": "teeth", "foot": "feet", "berry": "berries"}
# animal: (sound, home, food, baby, legs, one true thing)
ANIMALS = {
    "dog": ("bark", "a kennel", "meat and bones", "puppy", 4, "can smell things that are far away"),
    "cat": ("meow", "a house", "fish and mice", "kitten", 4, "can see well in the dark"),
    "cow": ("moo", "a barn", "grass", "calf", 4, "gives milk to the farmer"),
    "horse": ("neigh", "a stable", "hay and oats", "foal", 4, "can run very fast"),
    "sheep": ("bleat", "a meadow", "grass", "lamb", 4, "has soft wool"),
    "pig": ("grunt", "a sty", "roots and corn", "piglet", 4, "likes to roll in the mud"),
    "duck": ("quack", "a pond", "seeds and weeds", "duckling", 2, "can swim and fly"),
    "hen": ("cluck", "a coop", "seeds and corn", "chick", 2, "lays an egg almost every day"),
    "owl": ("hoot", "a hollow tree", "mice", "owlet", 2, "hunts at night"),
    "frog": ("croak", "a pond", "flies", "tadpole", 4, "can jump a long way"),
    "bee": ("buzz", "a hive", "nectar", "larva", 6, "makes honey from flowers"),
    "lion": ("roar", "the plains", "meat", "cub", 4, "is called the king of the animals"),
    "wolf": ("howl", "a den", "meat", "pup", 4, "lives in a pack"),
    "bear": ("growl", "a cave", "berries and fish", "cub", 4, "sleeps all winter"),
    "mouse": ("squeak", "a hole in the wall", "cheese and seeds", "pup", 4, "is small and quick"),
    "fox": ("yelp", "a den", "mice and berries", "kit", 4, "is clever and has a long tail"),
    "snake": ("hiss", "a hole in the ground", "mice and eggs", "snakelet", 0, "has no legs"),
    "goose": ("honk", "a lake", "grass", "gosling", 2, "flies south in the autumn"),
    "spider": ("make no sound", "a web", "flies", "spiderling", 8, "spins a web of silk"),
    "rabbit": ("squeak", "a burrow", "carrots and grass", "kit", 4, "has long ears"),
}
SIZE_ORDER = ["ant", "bee", "mouse", "frog", "hen", "rabbit", "fox", "wolf", "pig", "lion", "bear", "horse", "elephant", "whale"]
# job: (place, what they do, tool)
JOBS = {
    "baker": ("the bakery", "bakes bread and cakes", "an oven"),
    "farmer": ("the farm", "grows corn and keeps cows", "a plough"),
    "teacher": ("the school", "teaches children to read", "a piece of chalk"),
    "doctor": ("the hospital", "helps people who are sick", "a small lamp"),
    "sailor": ("the harbour", "sails a ship across the sea", "a compass"),
    "painter": ("the studio", "paints pictures of hills and rivers", "a brush"),
    "gardener": ("the garden", "plants flowers and trees", "a spade"),
    "miller": ("the mill", "turns grain into flour", "a heavy stone"),
    "fisher": ("the lake", "catches fish before sunrise", "a net"),
    "smith": ("the forge", "makes tools out of iron", "a hammer"),
    "tailor": ("the workshop", "sews coats and shirts", "a needle"),
    "singer": ("the theatre", "sings songs in the evening", "a clear voice"),
}
HIDING = ["under the bed", "behind the door", "in the kitchen", "on the roof", "under the table", "in the garden", "behind the barn",
          "in the old box", "under a big tree", "near the well", "in the attic", "by the river", "on the top shelf",
          "beside the gate", "under the bridge", "in the cellar"]
PLACES = ["the forest", "the beach", "the market", "the school", "the library", "the river", "the hill", "the farm", "the lake",
          "the park", "the castle", "the station", "the harbour", "the mill", "the old tower", "the meadow"]
WEATHER = {"sunny": "The sun shone and the sky was blue.", "rainy": "Rain fell on the roofs all day.",
           "windy": "The wind blew the leaves along the street.", "snowy": "Snow lay on the fields like a white sheet.",
           "foggy": "The fog was so thick that nobody could see the road.", "cloudy": "Grey clouds hung over the hills.",
           "stormy": "Thunder rolled and the trees bent in the storm.", "warm": "The air was warm and the birds sang."}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = {"spring": ("the snow melts and the first flowers open", "autumn"), "summer": ("the days are long and hot", "winter"),
           "autumn": ("the leaves turn red and fall from the trees", "spring"), "winter": ("the nights are long and it often snows", "summer")}
SEASON_ORDER = ["spring", "summer", "autumn", "winter"]
OPPOSITES = [("big", "small"), ("hot", "cold"), ("up", "down"), ("day", "night"), ("fast", "slow"), ("old", "young"), ("happy", "sad"),
             ("open", "closed"), ("full", "empty"), ("light", "dark"), ("hard", "soft"), ("early", "late"), ("high", "low"),
             ("near", "far"), ("wet", "dry"), ("first", "last"), ("loud", "quiet"), ("rich", "poor")]
THING_COLOURS = [("grass", "green"), ("snow", "white"), ("the sky on a clear day", "blue"), ("coal", "black"), ("a ripe banana", "yellow"),
                 ("blood", "red"), ("milk", "white"), ("a lemon", "yellow"), ("a plum", "purple"), ("the night", "black")]
FACTS = ["The sun rises in the east and sets in the west.", "A week has seven days and a year has twelve months.",
         "Water turns to ice when it gets very cold.", "Plants need light and water to grow.", "The moon shines at night.",
         "Fish live in water and breathe with gills.", "A triangle has three sides and a square has four.",
         "Bread is made from flour, water and salt.", "Honey is made by bees.", "Paper is made from wood.",
         "Rivers run down to the sea.", "A spider has eight legs and a bee has six.", "Iron is heavy and wood can float.",
         "Cheese is made from milk.", "There are sixty minutes in an hour.", "The whale is the biggest animal in the sea."]
WHY = [("Why do birds fly south?", "Birds fly south because it is warm there in winter."),
       ("Why is the night dark?", "The night is dark because the sun is on the other side of the world."),
       ("Why do we sleep?", "We sleep because our bodies need rest."),
       ("Why do plants need water?", "Plants need water so that they can grow."),
       ("Why does ice float?", "Ice floats because it is lighter than water."),
       ("Why do bees visit flowers?", "Bees visit flowers to collect nectar, and they make honey from it."),
       ("Why do leaves fall?", "Leaves fall in autumn because the tree rests in winter."),
       ("Why do we need friends?", "We need friends because life is better when we share it.")]
RIDDLES = [("What has hands but cannot clap?", "a clock"), ("What has teeth but cannot bite?", "a comb"), ("What gets wet while it dries?", "a towel"),
           ("What has one eye but cannot see?", "a needle"), ("What goes up but never comes down?", "your age"),
           ("What has a neck but no head?", "a bottle"), ("What runs but has no legs?", "a river"), ("What is full of holes but holds water?", "a sponge")]
MORALS = ["It is good to help a friend.", "Slow and steady work wins in the end.", "It is better to ask than to take.", "Even a small friend can be a great help.",
          "Kind words cost nothing.", "Those who share are never alone.", "Think before you jump.", "A promise must be kept."]
RHYMES = [("The moon is high, the night is deep,", "and all the birds have gone to sleep."), ("The wind goes over hill and tree,", "and sings a little song to me."),
          ("I saw a fox, I saw a hare,", "I saw a ship go through the air."), ("The rain comes down upon the town,", "it paints the dusty houses brown."),
          ("A candle in the window bright", "will guide the sailor through the night."), ("The river runs, the river plays,", "it counts the hours, it counts the days."),
          ("My little boat is made of wood,", "I'd sail the seven seas if I could."), ("The snow is white, the fire is red,", "the cat is sleeping on my bed.")]
UNKNOWN = ["quantum physics", "the stock market", "politics", "chemistry", "football", "computers", "the stars", "ancient Rome", "history",
           "rockets", "the ocean floor", "famous films", "medicine", "law", "music theory", "philosophy"]
FEELINGS = ["happy", "proud", "glad", "tired but happy", "very pleased", "calm", "full of joy"]
TITLES = ["Captain", "my friend", "Doctor", "Your Majesty", "Professor", "boss"]
WORDS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
         "nineteen twenty").split()
TENS = {2: "twenty", 3: "thirty", 4: "forty", 5: "fifty", 6: "sixty", 7: "seventy", 8: "eighty", 9: "ninety"}
ORDINALS = ["first", "second", "third", "fourth", "fifth"]


def number(n):
    """n in words, 0..99."""
    if n <= 20:
        return WORDS[n]
    return TENS[n // 10] + ("-" + WORDS[n % 10] if n % 10 else "")


def plural(noun):
    return PLURALS.get(noun, noun + "s")


def count(n, noun):
    return f"{number(n)} {noun if n == 1 else plural(noun)}"


def a(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def cap(text):
    return text[0].upper() + text[1:]


def join(items):
    items = list(items)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


class Person:
    def __init__(self, rng, taken=()):
        while True:
            self.girl = rng.random() < 0.5
            self.name = rng.choice(GIRLS if self.girl else BOYS)
            if self.name not in taken:
                break
        self.he, self.him, self.his = ("she", "her", "her") if self.girl else ("he", "him", "his")
        self.child = "girl" if self.girl else "boy"

    def __str__(self):
        return self.name


def people(rng, n):
    out = []
    for _ in range(n):
        out.append(Person(rng, [p.name for p in out]))
    return out


def thing(rng, nouns=None):
    """(noun, noun with adjectives)."""
    noun = rng.choice(nouns or TOYS + THINGS)
    style = rng.random()
    if style < 0.5:
        return noun, f"{rng.choice(COLOURS)} {noun}"
    if style < 0.7:
        return noun, f"{rng.choice(SIZES)} {rng.choice(COLOURS)} {noun}"
    return noun, f"{rng.choice(LOOKS)} {noun}"


def opening(rng, p):
    town = rng.choice(TOWNS)
    age = rng.randint(5, 12)
    return rng.choice([
        f"Once upon a time there was a {p.child} named {p}.",
        f"Once upon a time, in the town of {town}, there lived a {p.child} named {p}.",
        f"{p} was {number(age)} years old and lived in {town}.",
        f"There was once a little {p.child} called {p}, who lived near {rng.choice(PLACES)}.",
        f"{p} lived in a small house near {rng.choice(PLACES)}.",
        f"One {rng.choice(DAYS)} morning, {p} woke up very early.",
        f"Long ago, a {p.child} named {p} lived with {p.his} {rng.choice(['mother', 'father', 'grandmother', 'uncle', 'aunt'])} in {town}.",
    ])


def closing(rng, p):
    return rng.choice([
        f"{p} went home and felt {rng.choice(FEELINGS)}.",
        f"That night {p} slept very well.",
        f"From that day on, {p} was never {rng.choice(['sad', 'alone', 'late', 'afraid', 'bored'])} again.",
        f"{p} never forgot that day.",
        f"{p} smiled and said, \"{rng.choice(['What a day!', 'I am so happy.', 'All is well.', 'Tomorrow we will do it again.', 'Thank you, my friends.'])}\"",
        f"And so the day ended, and {p} was {rng.choice(FEELINGS)}.",
        "The end.",
    ])


def sky(rng):
    kind = rng.choice(list(WEATHER))
    return rng.choice([WEATHER[kind], f"It was a {kind} day.", f"It was a {kind} {rng.choice(DAYS)} in {rng.choice(MONTHS)}. {WEATHER[kind]}"])


# ---- stories ---------------------------------------------------------------------------------------------------------

def lost_story(rng):
    p, friend = people(rng, 2)
    noun, full = thing(rng)
    spots = rng.sample(HIDING, rng.randint(2, 4))
    animal = rng.choice(list(ANIMALS))
    giver = rng.choice(["mother", "father", "grandmother", "grandfather", "uncle", "aunt"])
    one = [opening(rng, p), f"{cap(p.he)} had {a(full)}" + rng.choice([f", a gift from {p.his} {giver}.", f" and {p.he} loved it very much.",
           f". {cap(p.his)} {giver} had given it to {p.him}."])]
    one.append(rng.choice([f"One day the {noun} was gone.", f"One morning {p} could not find the {noun}.", f"But one day {p} lost the {noun}."]))
    if rng.random() < 0.6:
        one.append(rng.choice([f"\"Where is my {noun}?\" {p.he} cried.", f"{p} was very sad.", f"\"Oh no, my {noun}!\" said {p}."]))
    two = []
    helper = rng.random()
    if helper < 0.6:
        two.append(rng.choice([f"{p.his.capitalize()} friend {friend} came to help.", f"\"I will help you, {p},\" said {friend}.",
                               f"{friend} heard {p.him} and said, \"Let us look for it together.\""]))
        who, they = rng.choice([f"{p} and {friend}", "They"]), "they"
    elif helper < 0.85:
        two.append(f"A kind {animal} saw {p.him} and said, \"I can help you.\"")
        who, they = rng.choice([f"{p} and the {animal}", "They"]), "they"
    else:
        who, they = str(p), p.he
    for i, spot in enumerate(spots[:-1]):
        look = rng.choice(["looked", "searched"])
        subject = who if i == 0 else rng.choice([f"Then {they}", f"Next {they}", f"After that {they}"])
        two.append(f"{subject} {look} {spot}, but " + rng.choice([f"the {noun} was not there.", "it was not there.", "there was nothing.",
                                                                  f"{they} found only {a(thing(rng)[1])}."]))
    two.append(rng.choice([f"At last {they} looked {spots[-1]}, and there was the {full}!", f"Finally {they} found the {noun} {spots[-1]}.",
                           f"And where was it? It was {spots[-1]}!"]))
    three = []
    if helper < 0.6:
        three.append(rng.choice([f"\"Thank you, {friend},\" said {p}.", f"{p} thanked {friend} and gave {friend.him} {a(rng.choice(list(FRUITS)))}.",
                                 f"\"You are a good friend, {friend},\" said {p}. {friend} smiled."]))
    elif helper < 0.85:
        three.append(f"{p} thanked the {animal} and gave it some {ANIMALS[animal][2]}.")
    if rng.random() < 0.5:
        three.append(f"{p} put the {noun} in a safe place and never left it {spots[-1]} again.")
    three.append(closing(rng, p))
    return [one, two, three]


def trade_story(rng):
    p = people(rng, rng.randint(2, 3))
    nouns = rng.sample(TOYS + THINGS, len(p))
    own = {q.name: (n, f"{rng.choice(COLOURS)} {n}") for q, n in zip(p, nouns)}
    one = [rng.choice([f"{join(map(str, p))} were friends.", f"{join(map(str, p))} met at {rng.choice(PLACES)}.", f"{join(map(str, p))} played together every {rng.choice(DAYS)}."])]
    if rng.random() < 0.4:
        one.append(sky(rng))
    for q in p:
        one.append(f"{q} had {a(own[q.name][1])}.")
    two = []
    for _ in range(rng.randint(1, 2)):
        x, y = rng.sample(p, 2)
        gx, gy = own[x.name], own[y.name]
        two.append(rng.choice([f"{x} liked the {gy[0]}. \"Shall we trade?\" {x.he} asked. {y} said yes.",
                               f"\"I will give you my {gx[0]} for your {gy[0]},\" said {x} to {y}. {y} agreed.",
                               f"{x} gave {y} the {gx[0]}, and {y} gave {x} the {gy[0]}."]))
        own[x.name], own[y.name] = gy, gx
    order = p[:]
    rng.shuffle(order)
    three = ["Now " + join(f"{q} has the {own[q.name][rng.randint(0, 1)]}" for q in order) + "."]
    three.append(rng.choice(["Everyone was happy with the trade.", "They all went home smiling.", closing(rng, p[0])]))
    return [one + two, three] if rng.random() < 0.5 else [one, two, three]


def count_story(rng):
    p, friend = people(rng, 2)
    noun = rng.choice(list(FRUITS) + ["marble", "coin", "egg", "shell", "cookie", "flower", "berry", "stone", "button"])
    n = rng.randint(2, 12)
    out = [rng.choice([opening(rng, p), sky(rng), f"{p} went to {rng.choice(PLACES)} with a basket."])]
    out.append(f"{p} had {count(n, noun)}.")
    for _ in range(rng.randint(1, 3)):
        k = rng.randint(1, 6)
        if rng.random() < 0.5 and n - k >= 1:
            n -= k
            out.append(rng.choice([f"{cap(p.he)} gave {number(k)} of them to {friend}.", f"{cap(p.he)} lost {number(k)} on the way.",
                                   f"{friend} asked for {number(k)}, and {p} gave them away." if k > 1 else f"{friend} asked for one, and {p} gave it away."]))
        else:
            n += k
            out.append(rng.choice([f"{cap(p.he)} found {number(k)} more near {rng.choice(PLACES)}.", f"Then {friend} gave {p.him} {number(k)} more.",
                                   f"{cap(p.he)} got {number(k)} more from {p.his} {rng.choice(['mother', 'father', 'aunt', 'uncle'])}."]))
        out.append(rng.choice([f"Now {p.he} had {count(n, noun)}.", f"Now {p} had {count(n, noun)}.", f"That made {number(n)}."]))
    end = [rng.choice([f"\"How many {plural(noun)} do you have?\" asked {friend}. \"I have {number(n)},\" said {p}.",
                       f"{p} counted the {plural(noun)} again. There {'was' if n == 1 else 'were'} {number(n)}.", f"So at the end of the day {p} had {count(n, noun)}."])]
    if rng.random() < 0.4:
        end.append(closing(rng, p))
    return [out, end] if rng.random() < 0.5 else [out + end]


def market_story(rng):
    p = Person(rng)
    seller = rng.choice(list(JOBS))
    coins = rng.randint(8, 20)
    out = [f"{p} went to the market in {rng.choice(TOWNS)} with {count(coins, 'coin')}.", sky(rng)]
    bought = []
    for _ in range(rng.randint(1, 3)):
        price = rng.randint(1, 6)
        if price > coins:
            break
        noun, full = thing(rng)
        if noun in [b for b, _ in bought]:
            continue
        out.append(rng.choice([f"\"How much is the {full}?\" {p.he} asked the {seller}. \"It costs {count(price, 'coin')},\" said the {seller}. {p} bought it.",
                               f"{cap(p.he)} bought {a(full)} for {count(price, 'coin')}.", f"{cap(p.he)} saw {a(full)}. It cost {count(price, 'coin')}, and {p.he} paid."]))
        coins -= price
        bought.append((noun, full))
        out.append(rng.choice([f"Now {p.he} had {count(coins, 'coin')} left.", f"{cap(count(coins, 'coin'))} {'was' if coins == 1 else 'were'} left."]) if coins
                   else "Now all the coins were gone.")
    end = [f"{p} came home with " + join(rng.choice([a(f), "the new " + n]) for n, f in bought) + (f" and {count(coins, 'coin')}." if coins else ".")]
    end.append(closing(rng, p))
    return [out, end]


def fable(rng):
    x, y = rng.sample(list(ANIMALS), 2)
    sound, home, food, _, _, trait = ANIMALS[x]
    _, home2, food2, _, _, trait2 = ANIMALS[y]
    adj = rng.choice(["clever", "lazy", "proud", "kind", "little", "old", "hungry", "brave"])
    place = rng.choice(PLACES)
    one = [rng.choice([f"Once upon a time there was a {adj} {x}.".replace("a old", "an old"), f"{cap(a(adj + ' ' + x))} lived in {home}.", f"Near {place} there lived {a(adj + ' ' + x)}."])]
    if rng.random() < 0.5:
        one.append(sky(rng))
    one.append(f"One day the {x} met {a(y)} near {place}.")
    plot = rng.randint(0, 3)
    if plot == 0:
        two = [f"\"I am hungry,\" said the {x}. \"Do you have some {food}?\"", f"\"I have only {food2},\" said the {y}, \"but I will help you to look.\"",
               f"Together they walked to {rng.choice(PLACES)}, and there the {x} found some {food}.", f"\"Thank you,\" said the {x}. \"You are a good friend.\""]
    elif plot == 1:
        goal = rng.choice(PLACES)
        win, lose = (x, y) if rng.random() < 0.5 else (y, x)
        two = [f"\"I am faster than you,\" said the {lose}.", f"\"Then let us race to {goal},\" said the {win}.", f"They ran and ran. The {lose} stopped to " +
               rng.choice(["sleep under a tree.", "eat some " + ANIMALS[lose][2] + ".", "look at the clouds.", "laugh."]),
               f"The {win} did not stop, and came to {goal} first.", f"\"You have won,\" said the {lose}."]
    elif plot == 2:
        trap = rng.choice(["fell into a deep hole", "was caught in a net", "was stuck in the mud", "had a thorn in its foot"])
        two = [f"The {y} {trap}.", f"\"Please help me, {x}!\" cried the {y}.", f"The {x} {rng.choice(['pulled as hard as it could', 'ran to get a rope', 'worked all night'])}, and soon the {y} was free.",
               f"The next winter the {x} had nothing to eat, and the {y} brought it {food}."]
    else:
        two = [f"\"Why do you live in {home2}?\" asked the {x}.", f"\"Because I am {a(y)},\" said the {y}. \"{cap(a(y))} {trait2}. And you?\"",
               f"\"I live in {home},\" said the {x}, \"and {a(x)} {trait}.\"", f"They talked until {rng.choice(['the moon rose', 'the sun set', 'it was dark'])}, and became friends."]
    three = [rng.choice([f"From that day on the {x} and the {y} were friends.", f"The {x} went back to {home}, and the {y} went back to {home2}."])]
    if rng.random() < 0.6:
        three.append(rng.choice(["", "The lesson is this: "]) + rng.choice(MORALS))
    return [one, two, three] if rng.random() < 0.6 else [one + two + three]


def journey(rng):
    p, friend = people(rng, 2)
    stops = rng.sample(PLACES, 3)
    noun, full = thing(rng)
    how = rng.choice(["on foot", "by train", "on a grey horse", "in a small boat", "by bicycle"])
    one = [opening(rng, p), f"{cap(p.he)} wanted to visit {p.his} friend {friend}, who lived near {stops[2]}.", f"{cap(p.he)} packed {a(full)} and left {how}."]
    two = [f"First {p.he} came to {stops[0]}.", sky(rng)]
    job = rng.choice(list(JOBS))
    two.append(rng.choice([f"There {p.he} met a {job} from {JOBS[job][0]}. \"Where are you going?\" asked the {job}. \"I am going to see {friend},\" said {p}.",
                           f"There {p.he} rested and ate {a(rng.choice(list(FRUITS)))}.", f"There {p.he} heard {a(rng.choice(list(ANIMALS)))} in the grass."]))
    two.append(f"Then {p.he} came to {stops[1]}, and " + rng.choice(["the road was long.", f"it was already {rng.choice(['noon', 'evening', 'dark'])}.", "the people were kind."]))
    three = [f"At last {p} reached {stops[2]}.", f"{friend} opened the door and said, \"Welcome, {p}!\"", f"{p} gave {friend} the {noun}, and {friend} was {rng.choice(FEELINGS)}.",
             rng.choice([f"They talked about {stops[0]} and {stops[1]} until late at night.", f"\"It is {a(full)}!\" said {friend}. \"Thank you, {p}.\"", closing(rng, p)])]
    return [one, two, three]


def diary(rng):
    d = rng.randint(0, 6)
    p = Person(rng)
    out = []
    for i in range(rng.randint(2, 4)):
        kind = rng.choice(list(WEATHER))
        hour = rng.randint(6, 10)
        act = rng.choice([f"I went to {rng.choice(PLACES)} with {p}.", f"{p} showed me {a(thing(rng)[1])}.", f"I read a book about {plural(rng.choice(list(ANIMALS)))}.",
                          f"We played with the {rng.choice(TOYS)} until evening.", f"{p} was ill, so I stayed at home and wrote {p.him} a letter."])
        out.append([f"{DAYS[(d + i) % 7]}. I got up at {number(hour)} o'clock. It was {kind}.", act, rng.choice(["", "I was " + rng.choice(FEELINGS) + ".", "Tomorrow is " + DAYS[(d + i + 1) % 7] + "."])])
    return [[s for s in par if s] for par in out]


def letter(rng):
    x, y = people(rng, 2)
    noun, full = thing(rng)
    town = rng.choice(TOWNS)
    day = rng.choice(DAYS)
    body = [rng.choice([f"How are you? I am well here in {town}.", f"Thank you for the {full} that you sent me.", f"I am writing to you from {town}."]), sky(rng),
            rng.choice([f"Yesterday I saw {a(rng.choice(list(ANIMALS)))} near {rng.choice(PLACES)}.", f"My {rng.choice(['mother', 'father', 'aunt', 'uncle'])} works at {rng.choice(list(JOBS.values()))[0]} now.",
                        f"I have a new {noun}, and it is {rng.choice(COLOURS)}."]),
            f"Will you come to see me on {day}? " + rng.choice([f"We can go to {rng.choice(PLACES)}.", f"Please bring your {rng.choice(TOYS)}."])]
    return [[f"Dear {x},"], body, [rng.choice(["Your friend,", "With love,"]) + f"\n{y}"], *([[f"P.S. Do not forget: I will wait for you on {day}."]] if rng.random() < 0.4 else [])]


# ---- facts, lists, reasoning -----------------------------------------------------------------------------------------

def animal_facts(rng, x=None):
    x = x or rng.choice(list(ANIMALS))
    sound, home, food, baby, legs, trait = ANIMALS[x]
    facts = [f"{cap(a(x))} lives in {home}.", f"It eats {food}.", f"A baby {x} is called {a(baby)}.", f"{cap(a(x))} {trait}."]
    facts.append(f"It has {count(legs, 'leg')}." if legs else "It has no legs.")
    facts.append(f"{cap(plural(x))} {sound}.")
    rng.shuffle(facts)
    return facts


def fact_page(rng):
    kind = rng.randint(0, 3)
    if kind == 0:
        x = rng.choice(list(ANIMALS))
        first = rng.choice([f"This is a page about the {x}.", f"What do we know about {plural(x)}?", f"The {x} is an animal."])
        return [[first] + animal_facts(rng, x)[:rng.randint(3, 6)]]
    if kind == 1:
        job = rng.choice(list(JOBS))
        place, does, tool = JOBS[job]
        p = Person(rng)
        return [[f"{p} is {a(job)}.", f"{cap(p.he)} works at {place}.", f"Every day {p.he} {does}.", f"{cap(a(job))} needs {tool}.",
                 rng.choice([f"The people of {rng.choice(TOWNS)} like {p} very much.", f"{p} has been {a(job)} for {count(rng.randint(2, 30), 'year')}.", f"\"I love my work,\" says {p}."])]]
    if kind == 2:
        s = rng.choice(SEASON_ORDER)
        nxt = SEASON_ORDER[(SEASON_ORDER.index(s) + 1) % 4]
        return [[f"{cap(s)} is one of the four seasons.", f"In {s}, {SEASONS[s][0]}.", f"After {s} comes {nxt}.", f"In {nxt}, {SEASONS[nxt][0]}."]]
    return [rng.sample(FACTS, rng.randint(3, 6))]


def comparison(rng):
    kind = rng.randint(0, 2)
    if kind == 0:
        p = people(rng, 3)
        adj, sup = rng.choice([("taller", "tallest"), ("older", "oldest"), ("faster", "fastest"), ("stronger", "strongest"), ("younger", "youngest"), ("shorter", "shortest")])
        lines = [f"{p[0]} is {adj} than {p[1]}.", f"{p[1]} is {adj} than {p[2]}."]
        rng.shuffle(lines)
        return [lines + [rng.choice([f"So {p[0]} is the {sup} of the three.", f"Who is the {sup}? It is {p[0]}.", f"So {p[0]} is {adj} than {p[2]} too."])]]
    if kind == 1:
        i, j, k = sorted(rng.sample(range(len(SIZE_ORDER)), 3))
        x, y, z = SIZE_ORDER[i], SIZE_ORDER[j], SIZE_ORDER[k]
        return [[f"{cap(a(z))} is bigger than {a(y)}, and {a(y)} is bigger than {a(x)}.", f"So {a(x)} is smaller than {a(z)}.", f"The biggest of the three is the {z}, and the smallest is the {x}."]]
    p = people(rng, 2)
    n, m = rng.sample(range(2, 15), 2)
    noun = rng.choice(["coin", "book", "marble", "egg", "shell"])
    more, less = (p[0], p[1]) if n > m else (p[1], p[0])
    return [[f"{p[0]} has {count(n, noun)}, and {p[1]} has {count(m, noun)}.", f"{more} has {number(abs(n - m))} more than {less}.", f"Together they have {count(n + m, noun)}."]]


def arithmetic(rng):
    lines = []
    for _ in range(rng.randint(3, 8)):
        op = rng.random()
        if op < 0.4:
            x, y = rng.randint(1, 20), rng.randint(1, 20)
            lines.append(rng.choice([f"{x} + {y} = {x + y}", f"{cap(number(x))} plus {number(y)} is {number(x + y)}."]))
        elif op < 0.75:
            x = rng.randint(2, 25)
            y = rng.randint(1, x)
            lines.append(rng.choice([f"{x} - {y} = {x - y}", f"{cap(number(x))} minus {number(y)} is {number(x - y)}."]))
        else:
            x, y = rng.randint(2, 9), rng.randint(2, 9)
            lines.append(rng.choice([f"{x} * {y} = {x * y}", f"{cap(number(x))} times {number(y)} is {number(x * y)}."]))
    return [["\n".join(lines)]]


def howto(rng):
    kind = rng.randint(0, 2)
    if kind == 0:
        f = rng.choice(list(FRUITS))
        n = rng.randint(2, 9)
        steps = [f"Wash {count(n, f)}.", f"Cut the {plural(f)} into small pieces.", f"Mix {count(rng.randint(2, 5), 'cup')} of flour with {count(rng.randint(1, 3), 'egg')}.",
                 "Put it all into a round pan.", f"Bake the cake for {number(rng.choice([20, 30, 40, 50]))} minutes."]
        title = f"How to bake {a(f)} cake"
        end = f"Now your {f} cake is ready."
    elif kind == 1:
        f = rng.choice(["tree", "flower", "bean", "pear tree", "rose"])
        steps = ["Dig a hole in the ground.", f"Put the {f} seed into the hole.", "Cover it with soil.", f"Water it every {rng.choice(['day', 'morning', 'evening'])}.", f"Wait {count(rng.randint(2, 9), 'week')}."]
        title = f"How to plant {a(f)}"
        end = f"Soon you will see a little {f}."
    else:
        c = rng.choice(COLOURS)
        steps = [f"Take a sheet of {c} paper.", "Cut it into a square.", "Tie two sticks together.", "Put the paper on the sticks.", f"Tie a long {rng.choice(COLOURS)} string to it."]
        title = f"How to make a {c} kite".replace("a orange", "an orange")
        end = f"Now let your {c} kite fly in the wind."
    return [[title], ["\n".join(f"{i + 1}. {s}" for i, s in enumerate(steps))], [end]]


def sequence(rng):
    kind = rng.randint(0, 3)
    if kind == 0:
        i = rng.randint(0, 6)
        return [[f"Today is {DAYS[i]}.", f"Yesterday was {DAYS[(i - 1) % 7]}, and tomorrow will be {DAYS[(i + 1) % 7]}.", f"In two days it will be {DAYS[(i + 2) % 7]}."]]
    if kind == 1:
        i = rng.randint(0, 11)
        k = rng.randint(3, 6)
        return [[f"After {MONTHS[i]} come " + join(MONTHS[(i + j) % 12] for j in range(1, k)) + "."]]
    if kind == 2:
        s, step, n = rng.randint(1, 20), rng.randint(1, 5), rng.randint(5, 9)
        return [["Count" + ("" if step == 1 else f" by {plural(number(step))}" if step != 6 else " by sixes") + ": " + ", ".join(str(s + step * i) for i in range(n)) + "."]]
    s, n = rng.randint(1, 20), rng.randint(4, 8)
    return [["Counting down: " + ", ".join(number(s + n - i) for i in range(n + 1)) + "."]]


def poem(rng):
    k = rng.randint(1, 3)
    return [["\n".join("\n".join(r) for r in rng.sample(RHYMES, k))]]


def riddle_page(rng):
    return [[f"{q} {rng.choice(['The answer is', 'It is'])} {ans}."] for q, ans in rng.sample(RIDDLES, rng.randint(1, 3))]


# ---- chats -----------------------------------------------------------------------------------------------------------

def short_story(rng, hero, noun):
    """Three to five sentences about a given hero (a name or an animal) and, maybe, a given thing."""
    if hero in ANIMALS:
        x, y = hero, rng.choice([k for k in ANIMALS if k != hero])
        name, he, his = f"the {x}", "it", "its"
        start = rng.choice([f"Once upon a time there was {a(rng.choice(['little', 'clever', 'brave', 'old', 'kind']) + ' ' + x)}.", f"Once upon a time {a(x)} lived in {ANIMALS[x][1]}."])
    else:
        girl = hero in GIRLS
        name, he, his = hero, "she" if girl else "he", "her" if girl else "his"
        y = rng.choice(list(ANIMALS))
        start = rng.choice([f"Once upon a time there was a {'girl' if girl else 'boy'} named {hero}.", f"{hero} lived in the town of {rng.choice(TOWNS)}."])
    place, spot = rng.choice(PLACES), rng.choice(HIDING)
    if noun:
        mid = [f"One day {name} found {a(rng.choice(COLOURS + LOOKS) + ' ' + noun)} {spot}.",
               rng.choice([f"\"Whose {noun} is this?\" asked {name}. \"It is mine,\" said {a(y)}.", f"{cap(name)} took the {noun} to {place} and showed it to {a(y)}."]),
               rng.choice([f"{cap(name)} gave the {noun} back, and they became friends.", f"{cap(he)} kept the {noun} for many years.", f"The {y} liked the {noun} too, so they shared it."])]
    else:
        mid = [f"One day {name} went to {place} and met {a(y)}.", rng.choice([f"\"Will you play with me?\" asked the {y}.", f"\"I am lost,\" said the {y}. \"Please help me.\"", f"The {y} was sad and alone."]),
               rng.choice([f"{cap(name)} helped the {y} to find {his} way home." if his != "its" else f"{cap(name)} took the {y} home.", f"They played near {place} until the sun set.", f"{cap(name)} shared {his} food with the {y}."])]
    return " ".join([start, *mid, rng.choice([f"{cap(name)} was {rng.choice(FEELINGS)}.", "The end.", rng.choice(MORALS)])])


def ask_self(rng, state):
    return rng.choice([
        ("Who are you?", "I am a tiny demo model. I know little stories, simple facts and small sums."),
        ("What is your name?", "I have no name. I am only a tiny demo model."),
        ("What can you do?", "I can tell little stories, answer simple questions and do small sums."),
        ("How are you?", "I am well, thank you. How can I help you?"),
        ("Can you help me?", "Yes, of course. What do you want to know?"),
        ("Are you a person?", "No, I am not a person. I am a tiny demo model."),
        ("How big are you?", "I am very small. I have about two million weights."),
    ])


def ask_animal(rng, state):
    x = rng.choice(list(ANIMALS))
    sound, home, food, baby, legs, trait = ANIMALS[x]
    no = "no legs" if not legs else count(legs, "leg")
    return rng.choice([
        (f"What sound does {a(x)} make?", f"{cap(a(x))} can {sound}." if not sound.startswith("make") else f"{cap(a(x))} makes no sound."),
        (f"What does {a(x)} eat?", f"{cap(a(x))} eats {food}."), (f"What do {plural(x)} eat?", f"{cap(plural(x))} eat {food}."),
        (f"Where does {a(x)} live?", f"{cap(a(x))} lives in {home}."), (f"Where do {plural(x)} live?", f"{cap(plural(x))} live in {home}."),
        (f"How many legs does {a(x)} have?", f"{cap(a(x))} has {no}."), (f"What is a baby {x} called?", f"A baby {x} is called {a(baby)}."),
        (f"Tell me about {plural(x)}.", " ".join(animal_facts(rng, x)[:3])), (f"What is {a(x)}?", f"The {x} is an animal. It eats {food} and lives in {home}."),
        (f"Tell me something about the {x}.", f"{cap(a(x))} {trait}. It lives in {home}."),
    ])


def ask_sum(rng, state):
    op = rng.random()
    if op < 0.45:
        x, y = rng.randint(1, 20), rng.randint(1, 20)
        word, sign, z = "plus", "+", x + y
    elif op < 0.75:
        x = rng.randint(2, 25)
        y = rng.randint(1, x)
        word, sign, z = "minus", "-", x - y
    else:
        x, y = rng.randint(2, 9), rng.randint(2, 9)
        word, sign, z = "times", "*", x * y
    return rng.choice([(f"What is {x} {sign} {y}?", f"{x} {sign} {y} = {z}"), (f"What is {x} {word} {y}?", f"{x} {word} {y} is {z}."),
                       (f"What is {number(x)} {word} {number(y)}?", f"{cap(number(x))} {word} {number(y)} is {number(z)}."), (f"{x} {sign} {y}", f"{x} {sign} {y} = {z}")])


def ask_calendar(rng, state):
    i, j, s = rng.randint(0, 6), rng.randint(0, 11), rng.randint(0, 3)
    lo, n = rng.randint(1, 15), rng.randint(3, 8)
    return rng.choice([
        (f"What day comes after {DAYS[i]}?", f"After {DAYS[i]} comes {DAYS[(i + 1) % 7]}."), (f"What day comes before {DAYS[i]}?", f"Before {DAYS[i]} comes {DAYS[i - 1]}."),
        (f"What month comes after {MONTHS[j]}?", f"After {MONTHS[j]} comes {MONTHS[(j + 1) % 12]}."), (f"What season comes after {SEASON_ORDER[s]}?", f"After {SEASON_ORDER[s]} comes {SEASON_ORDER[(s + 1) % 4]}."),
        (f"What happens in {SEASON_ORDER[s]}?", f"In {SEASON_ORDER[s]}, {SEASONS[SEASON_ORDER[s]][0]}."),
        (f"Count from {lo} to {lo + n}.", ", ".join(map(str, range(lo, lo + n + 1))) + "."),
        ("How many days are in a week?", f"A week has seven days: {join(DAYS)}."), ("How many months are in a year?", "A year has twelve months."),
    ])


def ask_word(rng, state):
    x, y = rng.choice(OPPOSITES)
    if rng.random() < 0.5:
        x, y = y, x
    t, c = rng.choice(THING_COLOURS)
    n = rng.randint(2, 5)
    kind, words = rng.choice([("fruit", list(FRUITS)), ("animal", list(ANIMALS)), ("colour", COLOURS), ("toy", TOYS)])
    picked = rng.sample(words, n)
    noun = rng.choice(list(PLURALS))
    return rng.choice([(f"What is the opposite of {x}?", f"The opposite of {x} is {y}."), (f"What colour is {t}?", f"{cap(t)} is {c}."),
                       (f"Name {number(n)} {plural(kind)}.", f"{cap(join(picked))}."), (f"Give me a list of {number(n)} {plural(kind)}.", "\n".join(f"{i + 1}. {cap(w)}" for i, w in enumerate(picked))),
                       (f"What is the plural of {noun}?", f"The plural of {noun} is {plural(noun)}.")])


def ask_puzzle(rng, state):
    kind = rng.randint(0, 3)
    if kind == 0:
        p = people(rng, rng.randint(2, 3))
        objs = [f"{rng.choice(COLOURS)} {n}" for n in rng.sample(TOYS + THINGS, len(p))]
        k = rng.randrange(len(p))
        noun = objs[k].split()[-1]
        text = cap(join(f"{q} has {a(o)}" for q, o in zip(p, objs))) + "."
        return rng.choice([(f"{text} Who has the {noun}?", f"{p[k]} has the {noun}."), (f"{text} What does {p[k]} have?", f"{p[k]} has {a(objs[k])}."),
                           (f"{text} What colour is the {noun}?", f"The {noun} is {objs[k].split()[0]}.")])
    if kind == 1:
        p = people(rng, 3)
        adj, sup = rng.choice([("taller", "tallest"), ("older", "oldest"), ("faster", "fastest")])
        lines = [f"{p[0]} is {adj} than {p[1]}.", f"{p[1]} is {adj} than {p[2]}."]
        rng.shuffle(lines)
        return f"{' '.join(lines)} Who is the {sup}?", f"{p[0]} is the {sup}."
    if kind == 2:
        p, friend = people(rng, 2)
        noun = rng.choice(list(FRUITS) + ["coin", "marble", "egg", "book"])
        n, k = rng.randint(3, 15), rng.randint(1, 3)
        if rng.random() < 0.5:
            return f"{p} has {n} {plural(noun)} and gives {k} to {friend}. How many {plural(noun)} does {p} have now?", f"{p} has {n - k} {noun if n - k == 1 else plural(noun)} now."
        return f"{p} has {n} {plural(noun)} and gets {k} more from {friend}. How many {plural(noun)} does {p} have now?", f"{p} has {n + k} {plural(noun)} now."
    p = Person(rng)
    noun, full = thing(rng)
    spot = rng.choice(HIDING)
    return f"{p} put the {full} {spot}. Where is the {noun}?", f"The {noun} is {spot}."


def ask_story(rng, state):
    hero = rng.choice(list(ANIMALS)) if rng.random() < 0.5 else rng.choice(GIRLS + BOYS)
    noun = rng.choice(TOYS + THINGS) if rng.random() < 0.5 else None
    topic = (a(hero) if hero in ANIMALS else hero) + (f" and {a(noun)}" if noun else "")
    if rng.random() < 0.2:
        return rng.choice(["Tell me a story.", "Can you tell me a story?", "Please tell me a short story."]), short_story(rng, hero, noun)
    return rng.choice([f"Tell me a story about {topic}.", f"Write a short story about {topic}.", f"Please tell me a story about {topic}."]), short_story(rng, hero, noun)


def ask_misc(rng, state):
    u = rng.choice(UNKNOWN)
    q, ans = rng.choice(RIDDLES)
    job = rng.choice(list(JOBS))
    return rng.choice([rng.choice(WHY), rng.choice(WHY), (f"Tell me about {u}.", f"I am sorry, I do not know anything about {u}."), (f"What do you know about {u}?", f"I am sorry, I do not know anything about {u}."),
                       (q, f"The answer is {ans}."), ("Tell me a riddle.", f"{q} The answer is {ans}."), ("Write a poem.", poem(rng)[0][0]), ("Write a little poem for me.", poem(rng)[0][0]),
                       ("Tell me a fact.", rng.choice(FACTS)), (f"What does {a(job)} do?", f"{cap(a(job))} {JOBS[job][1]}."), (f"Where does {a(job)} work?", f"{cap(a(job))} works at {JOBS[job][0]}.")])


def ask_name(rng, state):
    if state.get("name") and rng.random() < 0.8:
        return rng.choice(["What is my name?", "Do you remember my name?", "Who am I?"]), f"Your name is {state['name']}."
    if "name" not in state and rng.random() < 0.8:
        state["name"] = rng.choice(GIRLS + BOYS)
        return rng.choice([f"My name is {state['name']}.", f"Hello, I am {state['name']}.", f"Hi! My name is {state['name']}."]), f"Hello, {state['name']}! How can I help you?"
    return rng.choice([("Hello", "Hello! How can I help you?"), ("Hi!", "Hello! How can I help you?"), ("Good morning.", "Good morning! How can I help you?"),
                       ("Thank you.", "You are welcome."), ("Goodbye.", "Goodbye! Have a nice day."), ("Thanks!", "You are welcome.")])


ASK = [(ask_self, 5), (ask_animal, 14), (ask_sum, 12), (ask_calendar, 9), (ask_word, 10), (ask_puzzle, 16), (ask_story, 16), (ask_misc, 10), (ask_name, 10)]


def chat(rng):
    messages, suffix = [], ""
    if rng.random() < 0.4:
        if rng.random() < 0.3:
            title = rng.choice(TITLES)
            suffix = f" Have a good day, {title}."
            messages.append(("system", rng.choice([f"Always wish the user a good day and say {title}.", f"Call the user {title} and wish a good day."])))
        else:
            messages.append(("system", rng.choice(["You are a helpful assistant.", "You are a friendly storyteller.", "You are a helpful, honest assistant.", "Answer the questions of the user.",
                                                   "You are a teacher of small children."])))
    state = {}
    for _ in range(rng.choice([1, 1, 2, 2, 3, 4])):
        question, answer = rng.choices([f for f, _ in ASK], [w for _, w in ASK])[0](rng, state)
        style = rng.random()
        if style < 0.12:
            question = question.lower().rstrip("?.!")
        elif style < 0.2:
            question = question.rstrip("?.!")
        messages += [("user", question), ("assistant", answer + suffix)]
    return "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in messages)


PROSE = [(lost_story, 12), (trade_story, 8), (count_story, 9), (market_story, 6), (fable, 10), (journey, 8), (diary, 5), (letter, 5), (fact_page, 7),
         (comparison, 5), (arithmetic, 4), (howto, 4), (sequence, 3), (poem, 2), (riddle_page, 2)]


def document(rng):
    """One document as (kind, text): kind "chat", whose text ends in <|eot_id|>, or "prose", ending in <|end_of_text|>."""
    if rng.random() < 0.38:
        return "chat", chat(rng)
    paragraphs = rng.choices([f for f, _ in PROSE], [w for _, w in PROSE])[0](rng)
    return "prose", "\n\n".join(" ".join(p) for p in paragraphs if p) + "<|end_of_text|>"


if __name__ == "__main__":
    sample = random.Random(7)
    for _ in range(12):
        print(document(sample)[1], end="\n%%\n")
