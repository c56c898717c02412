"""Questions: random names, the frames and slips of people, and a grammar of questions that are not about rbee.
All of it is made by these patterns; nothing is copied from anywhere."""
import os, random, re

TOPICS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../roles/keeper/guide/topics.txt")

# ---------- patterns: {a|b} one of
def parse(s):
    pos = 0
    def seq(stop):
        nonlocal pos
        out, buf = [], ""
        while pos < len(s) and s[pos] not in stop:
            c = s[pos]
            if c == "{":
                if buf: out.append(buf); buf = ""
                pos += 1; alts = [seq("|}")]
                while s[pos] == "|": pos += 1; alts.append(seq("|}"))
                pos += 1; out.append(alts)
            else: buf += c; pos += 1
        if buf: out.append(buf)
        return out
    return seq("")
CACHE = {}
def tree(s):
    if s not in CACHE: CACHE[s] = parse(s)
    return CACHE[s]
def gen(s, r):
    def walk(t):
        o = ""
        for x in t:
            if isinstance(x, str): o += x
            else: o += walk(r.choice(x))
        return o
    return walk(tree(s))
# ---------- names: of machines, models, files; mostly letters put together at random
NAMES = "mac mini studio pi pi4 tower atlas bigbox server1 server2 node1 gpu1 workstation office lab home nas zeus apollo titan rex farm desk thor odin gamer blade box7 beast".split()
def syllables(r, n): return "".join(r.choice(["b","c","d","f","g","h","j","k","l","m","n","p","r","s","t","v","w","z","st","tr","br","pl","ch","sh","gr","fl","qu","y"]) + r.choice(["a","e","i","o","u","a","e","i","o","ea","oo","ai","ou","y"]) + r.choice(["","","","n","r","s","l","x","m","t","ck","nd"]) for _ in range(n))
PIECES = []   # the tokens of letters and digits, when there is a tokenizer
def mixed(r):
    """pieces of words and letters, so that every token of the vocabulary is copied some time"""
    k = r.random()
    if PIECES and r.random() < .6: return "".join(r.choice(PIECES) for _ in range(r.choice([1, 2, 2, 3])))
    if k < .25: return r.choice(WORDS)
    if k < .8: return "".join(w[(i := r.randrange(len(w))):i + r.randint(1, 5)] for w in r.choices(WORDS, k=r.choice([1, 2, 2, 3])))
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(2, 8)))
def randname(r):
    if r.random() < .1: return r.choice(NAMES)
    s = mixed(r) if r.random() < .75 else syllables(r, r.choice([1, 2, 2, 3]))
    if r.random() < .12: s = r.choice(["mac", "gpu", "lab", "srv", "home", "dev", "node", "pc"]) + r.choice(["-", "", "_"]) + s
    if r.random() < .1: s = s.capitalize()
    return s + r.choice(["", "", "", "", "1", "2", "-%d" % r.randint(1, 30), "%02d" % r.randint(1, 99), ".local", "-" + syllables(r, 1)])
ALIAS = "tinyllama gemma3:270m gemma3:1b qwen3:0.6b qwen3:4b qwen3:8b llama3.2:1b llama3.1:8b mistral:7b phi3:mini smollm2:360m".split()
def randmodel(r):
    k = r.random()
    if k < .12: return r.choice(ALIAS)
    if k < .6: return (mixed(r) if r.random() < .75 else syllables(r, r.choice([1, 2, 2]))) + r.choice(["", "1", "2", "3", "3.1", "-2.5"]) + r.choice(["", ":1b", ":3b", ":7b", ":%db" % r.randint(1, 90), ":%dm" % r.randint(100, 900), ":0.%db" % r.randint(1, 9), "-mini", "-instruct"])
    ref = randname(r) + "/" + (randname(r).title() if r.random() < .5 else randname(r)) + r.choice(["", "-7b", "-1b", "-8B-GGUF", "-gguf", "-%dB-Instruct-GGUF" % r.randint(1, 72), "%d.%d-GGUF" % (r.randint(1, 4), r.randint(0, 9))])
    return r.choice(["hf:", "hf:", ""]) + ref + r.choice(["", "", ":Q4_K_M", ":Q8_0", ":Q5_K_M", ":Q4_0", ":F16", ":IQ3_XS"])
def randfile(r): return r.choice(["/data/", "~/", "./", "/models/", "~/Downloads/", "/mnt/%s/" % syllables(r, 1), "/home/%s/" % syllables(r, 2), ""]) + randname(r) + r.choice(["", "-q4", ".Q8_0", "-7b"]) + ".gguf"
def randworker(r): return r.choice(["w-", "w", "worker-", ""]) + "".join(r.choice("0123456789abcdef") for _ in range(r.choice([2, 4, 6])))
RANDOM = {"NODE": randname, "MODEL": randmodel, "FILE": randfile, "WORKER": randworker, "NUMBER": lambda r: str(r.choice([r.randint(1, 9), r.randint(10, 99), r.randint(100, 9999), 1 << r.randint(8, 16)]))}

# ---------- frames for goals (bare verb phrases)
FRAMES = [("how do i %s",12),("how can i %s",6),("how to %s",7),("how do you %s",2),("how does one %s",1),("how would i %s",2),("how should i %s",1),("how do we %s",1),("how could i %s",1),("how might i %s",.5),
 ("what's the command to %s",2),("what is the command to %s",1),("which command do i use to %s",1),("which command lets me %s",.7),("what command can i use to %s",.7),("what do i type to %s",1),("what do i run to %s",.7),("what should i do to %s",1),("what do i need to do to %s",1),("what do i have to do to %s",.7),
 ("what is the best way to %s",1),("what's the easiest way to %s",1),("easiest way to %s",.5),("is there a way to %s",2),("is there any way to %s",.7),("any way to %s",.5),("is there a command to %s",1),("is it possible to %s",1.5),
 ("can i %s",3),("can you %s",.7),("could i %s",.5),("can rbee %s",1),("could you tell me how to %s",1),("can you tell me how to %s",1),("can you show me how to %s",.7),("can you help me %s",1),("could you help me to %s",.7),("please tell me how to %s",.7),("tell me how to %s",1),("show me how to %s",1),("explain how to %s",1),("explain to me how i can %s",.5),
 ("i want to %s",4),("i need to %s",3),("i'd like to %s",2),("i would like to %s",1),("i have to %s",1),("i wish to %s",.4),("i am trying to %s",1),("i'm trying to %s",1),("trying to %s",.7),("want to %s",.7),("need to %s",.7),("i can't figure out how to %s",.7),("i don't know how to %s",.7),("i forgot how to %s",.7),("help me %s",1),("help me to %s",.5),("let me %s",.5),("let's %s",.5),("please %s",1),("%s",6),("%s please",1),
 ("how is it possible to %s",.4),("do you know how to %s",.7),("what if i want to %s",.7),("where can i %s",.5),("where do i %s",.5),("steps to %s",.5),("command to %s",.7),("command for how to %s",.2),("what must i do to %s",.5),("i was wondering how to %s",.5),("does rbee let me %s",.5),("how do i get rbee to %s",.5),("how do i make rbee %s",.4),("so how do i %s",.5),("and how do i %s",.7),("ok, how do i %s",.5),("what about when i want to %s",.3),("which command should i use if i want to %s",.5),("what would i do to %s",.4),("how do i actually %s",.4),("how do i quickly %s",.4),("is there an easy way to %s",.5)]
FW = [w for _, w in FRAMES]; FP = [f for f, _ in FRAMES]
PRE = ["hello, ", "hi, ", "hey, ", "please, ", "quick question: ", "question: ", "hi there, ", "excuse me, ", "sorry, ", "hey rbee, ", "rbee, ", "ok so ", "um, ", "one more thing: ", "also, ", "hello! ", "dumb question, ", "i am a beginner. ", "i'm stuck. ", "help! ", "first time user here: ", "now "]
POST = [" please", " with rbee", " in rbee", " thanks", ", please", " using rbee", " again", " now", " here", ", thanks", " on linux", " quickly", " from the terminal", " from here", " for me", " exactly", " then", " somehow", " on my machine", " today", " at home", " at work"]
SWAPS = [("what's","what is"),("what's","whats"),("i'm","im"),("i'm","i am"),("don't","dont"),("can't","cant"),("doesn't","doesnt"),("isn't","isnt"),("won't","wont"),("i've","ive"),("you","u"),("please","pls"),("please","plz"),("and","&"),("are","r"),("to","2"),("thanks","thx"),("does not","doesn't"),("do not","don't"),("want to","wanna"),("going to","gonna"),("how do i","how i"),("how to","howto"),("rbee","bee"),("rbee","the bee"),("rbee","it"),("my ","our "),("i ","we "),("the ",""),("a ",""),("model","modle"),("machine","machien"),("memory","mem"),("download","dl"),("configuration","cfg"),("computer","comp"),("delete","del")]
def typo(s, r):
    i = r.randrange(len(s))
    k = r.random()
    if not s[i].isalpha(): return s
    if k < .3: return s[:i] + s[i+1:]
    if k < .55 and i + 1 < len(s): return s[:i] + s[i+1] + s[i] + s[i+2:]
    if k < .75: return s[:i] + s[i] + s[i:]
    return s[:i] + r.choice("abcdefghijklmnoprstuvwy") + s[i+1:]
CTX = ["i have two computers at home. ", "i work in a small team. ", "i just installed this. ", "i use ubuntu. ", "i come from ollama. ", "i have read the readme. ", "i have a macbook and a linux box. ", "i'm not a programmer. ", "we are a small office. ", "my friend told me about rbee. ", "i have a pc with an rtx 3090. ", "i only have an old laptop. ", "yesterday it still worked. ", "everything is installed now. ", "i'm on debian. ", "i have a raspberry pi and a big pc. ", "let's say i have three machines. ", "this is my first day with it. ", "i did not find it in the docs. ", "so i set everything up. ", "ok that worked. ", "it is late and i am tired. ", "my boss wants to know. ", "i'm writing a script. ", "i can ssh everywhere. "]
STOPW = set("i do how to the a an my is are can of it on in for with there what's please this that you me".split())
def noise(q, r, keep=(), small=False):
    if not small:
        k = r.random()
        if k < .07: q = r.choice(CTX) + q
        elif k < .15 and len(ws := [x for x in q.split() if x.strip("?.,!").lower() not in STOPW]) > 1: q = " ".join(ws)   # key words only
        if r.random() < .12: q = r.choice(PRE) + q
        if r.random() < .10: q = q + r.choice(POST)
    if r.random() < .25:
        for a, b in r.sample(SWAPS, 8):
            if (" " + a) in (" " + q) and not keep: q = (" " + q).replace(" " + a, " " + b, 1)[1:]
    if not keep and r.random() < .14 and len(q) > 6:
        for _ in range(r.choice([1, 1, 2])): q = typo(q, r)
    k = r.random()
    if k < .42: q = q[:1].upper() + q[1:]
    elif k < .44 and not keep: q = q.upper()
    if k < .42 or r.random() < .4: q = re.sub(r"\bi\b", "I", q) if not keep else q
    isq = re.match(r"(hello|hi|hey|please|ok|so|and|now|\W|hi there)*\s*(how|what|which|where|who|is|are|can|could|do|does|will|would|why|when)\b", q.lower())
    if q and q[-1] not in "?!.":
        if isq: q += "?" if r.random() < .65 else ("??" if r.random() < .03 else "")
        else: q += r.choice([".", "", "", "", "?", "!"] if not small else ["", "", "", "!"])
    return q

# ---------- off topic
L = lambda s: [x.strip() for x in s.split(",")]
COUNTRY = L("France,Germany,Italy,Spain,Japan,China,India,Brazil,Canada,Mexico,Egypt,Kenya,Norway,Sweden,Finland,Poland,Greece,Turkey,Peru,Chile,Argentina,Australia,New Zealand,Portugal,Ireland,Scotland,Iceland,Denmark,Austria,Switzerland,Belgium,the Netherlands,Hungary,Romania,Bulgaria,Ukraine,Russia,Korea,Vietnam,Thailand,Indonesia,Nigeria,Ghana,Morocco,Cuba,the USA,England,Europe,Africa,Asia,Mongolia,Nepal,Iran,Israel,Croatia,Estonia")
CITY = L("Paris,London,Berlin,Rome,Madrid,Tokyo,Beijing,New York,Chicago,Moscow,Vienna,Amsterdam,Lisbon,Oslo,Athens,Cairo,Sydney,Toronto,Dublin,Prague,Warsaw,Hamburg,Munich,Milan,Seoul,Delhi,Lima,Boston,San Francisco,Zurich,Istanbul")
PERSON = L("Einstein,Newton,Napoleon,Shakespeare,Mozart,Bach,Beethoven,Goethe,Plato,Aristotle,Cleopatra,Caesar,Lincoln,Washington,Gandhi,Darwin,Marie Curie,Tesla,Galileo,Columbus,Picasso,Van Gogh,Leonardo da Vinci,Elvis,Madonna,Taylor Swift,Messi,Ronaldo,Obama,Churchill,Alan Turing,Ada Lovelace,Linus Torvalds,Steve Jobs,Bill Gates,Elon Musk,Kant,Nietzsche,Freud,Homer,Dante,Tolstoy,Kafka,Hemingway,Tolkien,Batman,Harry Potter,Sherlock Holmes,the pope,the president,the king,my mother,my boss,my neighbour,the mayor")
THING = L("photosynthesis,gravity,the moon,the sun,the universe,black holes,quantum physics,relativity,evolution,dna,atoms,electricity,magnetism,water,fire,ice,steel,gold,silver,diamonds,salt,sugar,coffee,tea,wine,beer,bread,cheese,pizza,pasta,chocolate,apples,bananas,tomatoes,potatoes,rice,soup,cake,cookies,honey,butter,milk,eggs,fish,chicken,beef,cats,dogs,horses,elephants,lions,tigers,whales,sharks,birds,eagles,penguins,snakes,spiders,ants,butterflies,trees,flowers,roses,mushrooms,mountains,rivers,oceans,islands,deserts,volcanoes,earthquakes,storms,clouds,rain,snow,wind,rainbows,football,tennis,basketball,chess,poker,golf,swimming,skiing,yoga,running,cycling,dancing,music,jazz,guitars,pianos,drums,violins,movies,books,poems,novels,paintings,photography,cameras,cars,bicycles,trains,planes,ships,rockets,bridges,houses,castles,churches,money,taxes,stocks,bitcoin,banks,insurance,inflation,democracy,war,peace,love,happiness,sleep,dreams,memory loss,headaches,fever,vitamins,cancer,vaccines,teeth,blood,the heart,the brain,bones,hair,skin,school,universities,exams,homework,english grammar,latin,french verbs,history,geography,biology,chemistry,physics,philosophy,psychology,religion,god,the bible,buddhism,ghosts,aliens,dinosaurs,the roman empire,world war two,the french revolution,the cold war,the middle ages,pirates,vikings,samurai,pyramids,blockchain,recursion,pointers,binary search,sorting,hash maps,regular expressions,javascript,python,rust,java,html,css,sql,docker,kubernetes,git,react,excel,word,powerpoint,windows,android,iphones,printers,wifi routers,televisions,washing machines,fridges,lamps,batteries,solar panels,engines,tires,brakes,gardens,lawns,roofs,windows and doors,carpets,furniture,shoes,jackets,watches,rings,toys,babies,weddings,birthdays,christmas,easter,holidays,hotels,airports,visas,passports,jobs,salaries,interviews,cv writing,contracts,lawyers,police,prisons,elections,the weather,climate change,plastic,recycling,oil,gas,coal,nuclear power,neural networks,statistics,probability,calculus,geometry,algebra,prime numbers,pi,infinity,zero,fractions,matrices,vectors,logarithms,triangles,time travel,the speed of light,the internet,social media,video games,minecraft,lego,magic,card tricks,knitting,sewing,painting walls,gardening,fishing,camping,hiking,surfing,boxing,karate,makeup,perfume,soap,candles,paper,glass,wood,concrete,leather,cotton,silk,wool")
OFFGOAL = L("bake bread,cook rice,boil an egg,make a pizza,make pancakes,cook pasta,roast a chicken,make soup,brew coffee,make tea,lose weight,gain muscle,sleep better,stop smoking,learn french,learn spanish,learn to code,learn python,learn to swim,learn the piano,play chess,play the guitar,tie a tie,tie my shoes,write a letter,write a cv,write an essay,write an email to my boss,write a poem,write a novel,write a resignation letter,write a python script,write a for loop in c,reverse a string in java,sort a list in python,center a div,parse xml in go,write a regex,undo a commit in git,merge two branches,write a sql query,join two tables,create an html page,build a website,make an app,fix a flat tire,change a tire,change the oil in my car,check my oil,repair a bicycle,paint a wall,plant tomatoes,grow roses,mow the lawn,remove a stain,clean my windows,wash a wool sweater,iron a shirt,fold a shirt,unclog a drain,fix a leaking tap,install a printer,install windows,install a washing machine,set up a printer,reset my iphone,delete my facebook account,update my phone,connect bluetooth headphones,add two numbers,multiply matrices,divide fractions,calculate a percentage,solve a quadratic equation,integrate x squared,convert miles to kilometres,convert celsius to fahrenheit,count to ten in german,list all countries in europe,list the planets,list the prime numbers,remove a tooth,remove a tick,check the weather,check my blood pressure,check my email,stop hiccups,stop a nosebleed,stop my dog from barking,start a business,start a car,start a fire,run a marathon,run faster,run a company,pull a muscle,pull a tooth,save money,buy a house,rent a car,book a flight,get a visa,renew my passport,pay taxes,invest in stocks,buy bitcoin,find a job,ask for a raise,make friends,get a girlfriend,propose to my girlfriend,plan a wedding,train a dog,feed a cat,raise chickens,keep bees,catch a fish,build a house,build a tree house,build a table,draw a horse,draw a face,take good photos,edit a video,sing better,dance tango,whistle,juggle,meditate,become rich,become a doctor,become famous,win the lottery,survive in the desert,climb a mountain,travel to japan,translate a sentence into french,translate this text,summarise a book,explain a poem,spell necessary,pronounce croissant,say hello in chinese,say thank you in japanese,remember names,pass an exam,do my homework,solve a rubik's cube,beat my brother at chess,get rid of ants,get rid of mice,remove rust,sharpen a knife,store potatoes,freeze bread,open a jar,open a wine bottle,tune a guitar,print a document,scan a photo,write a unit test in javascript,use a switch statement in c++,allocate memory in c,declare a variable in rust,read a file in python,create a class in java,connect to a postgres database in python,deploy a website,configure nginx,make an excel chart,compute a factorial,find the area of a circle")
ADJ = L("best,biggest,smallest,oldest,fastest,longest,highest,deepest,most expensive,most famous,most dangerous,richest,most beautiful,tallest,heaviest,strongest,hottest,coldest,loudest,smartest")
NOUN = L("animal,country,city,river,mountain,building,car,movie,book,song,language,planet,star,ocean,lake,dog,cat,bird,insect,person,actor,singer,footballer,company,phone,food,fruit,drink,sport,island,desert,tree,flower,bridge,train,plane,ship,poem,painting,king,president,programming language,website,university,restaurant,hotel,football team,band,mineral,metal,disease,war,number")
OFFQ = ["what is the {capital|population|currency|flag|language|president|area|anthem|highest mountain|longest river|history} of %C","where is {%C|%Y}","how far is {it from |}%Y {to|from} %Y","what is the weather {in|like in} %Y{ today| tomorrow|}","will it rain {today|tomorrow|in %Y|this week}","who {is|was} %P","when was %P born","where was %P born","what did %P {do|write|invent|say|discover}","how old is %P","tell me about {%P|%T|%C|%Y}","what {is|are} %T","explain %T{ to me| to a child| in simple words| briefly|}","how {does|do} %T work","why {is|are} %T {important|blue|expensive|good|bad|dangerous|green|so popular}","who invented %T","what is the {history|meaning|price|origin|future|purpose} of %T","what do you {think about|know about} {%T|%P|%C}","do you like %T","which %N is the %A","what is the %A %N{ in the world| in %C| of all time|}","what's the %A %N{ in the world| in %C|}","how {tall|big|heavy|old|long|fast} is {the %A %N|%P|%T}","who won the {world cup|election|nobel prize|war|race|super bowl|match yesterday|olympics}{ in %D|}","what happened in %D","when {did|was} {the second world war|the french revolution|the moon landing|rome founded|%C founded} {end|start|happen|}","who {wrote|painted|composed|directed|sang} {the odyssey|hamlet|faust|the mona lisa|that song|the bible|war and peace|the magic flute|that book|this movie}",
 "what is %d {plus|minus|times|divided by|+|-|*|/|x} %d","%d {+|-|*|/} %d","{calculate|compute|solve|how much is|what's} %d {+|-|*|times|plus|minus|/} %d","what is the {square root|factorial|half|double|square} of %d","is %d {prime|a prime number|even|odd}","how many {days|hours|seconds|minutes} are in a {year|week|day|month}","what is %d {percent|%} of %d","convert %d {miles to km|euros to dollars|pounds to kilograms|feet to metres|celsius to fahrenheit}","solve {x + %d = %d|%dx = %d|the equation x^2 = %d}","what {time|day|date|year} is it{ now| today|}","what's the time",
 "write {a|me a|an} {poem|haiku|song|essay|letter|short story|novel|speech|limerick|summary|blog post|email|tweet|product description|cover letter} {about|on|for} {%T|%P|%C|a %N}","write {a|me a} {python|javascript|java|c|go|rust|c++|bash} {function|program|script|class} {that sorts a list|to reverse a string|for fibonacci|that prints hello world|to read a csv file|to find prime numbers|that adds two numbers|to parse json|for a calculator|for tic tac toe|to count words}","{debug|fix|review|explain|optimise} {my|this} {python|javascript|java|c|sql|rust} {code|program|function|query|script}","what is the difference between %T and %T","translate {good morning|hello|i love you|the house is red|cat|where is the station} {to|into} {french|german|spanish|italian|japanese|latin|chinese}","how do you say {hello|goodbye|cat|thank you|beer|love|bread} in {french|german|spanish|italian|japanese|latin}","give me {a|the} recipe for {%T|pancakes|lasagna|goulash|apple pie|curry|a birthday cake}","what should i {eat|cook|wear|watch|read|do} {today|tonight|tomorrow|this weekend}","recommend {me |}a {book|movie|restaurant|song|game|tv series|wine|hotel in %Y}","{summarise|summarize} {the plot of hamlet|world war two|this article|the news|the bible|%T}","what are the {symptoms|causes|side effects} of {a cold|the flu|fever|cancer|diabetes|aspirin|covid}","i have a {headache|cold|fever|stomach ache|cough|broken arm}, what should i do","is {%T|%C|%P} {good|bad|safe|dangerous|healthy|real|dead|big|famous}","should i {buy|eat|sell|learn|marry|visit|read} {%T|%C|%P|a %N}","what is the meaning of {life|the word %W|love|my dream|%W}","what {is|are} {a |an |the |}%W","who is %W","where is %W","tell me about %W","how does {a |the |}%W work","what does %W mean","define {%W|%T|love|entropy|irony}","why is the sky blue","how many {legs has a spider|people live in %C|planets are there|bones do we have|moons does jupiter have|stars are there|letters are in the alphabet}","what are {the |}{news|headlines|lottery numbers|football results|stock prices}{ today|}","what's the {news|score|price of %T}","{play|sing|draw|paint} {me |}{some music|a song|chess with me|a cat|a house|jazz|a picture of %T}","set {an alarm|a timer|a reminder}{ for %d minutes| for tomorrow|}","call {my mother|a taxi|an ambulance|%P}","order {a pizza|%T} {for me|}","which {came first, the chicken or the egg|is better, %T or %T|is bigger, %C or %C}","name {three|five|ten} {%N|countries|cities|rivers|animals|fruits|colours|books}{s|}","list {all|some|ten} {countries|kings of %C|planets|cities in %C|prime numbers|rivers in %C|movies with %P|elements}","can you {drive a car|speak %L|feel pain|dream|sing|dance|think|count to %d|play chess|draw|see me}","do you speak %L","%L{ please|}","{do|can} {cats|dogs|fish|birds|plants|babies} {dream|swim|fly|sleep|think|talk}","are {%T} {healthy|dangerous|real|expensive|alive}","what is your {favourite|favorite} {colour|color|food|movie|book|song|animal}","what if {the sun exploded|i could fly|dinosaurs lived|there was no moon|everyone was rich}","prove {that |}{there are infinitely many primes|the pythagorean theorem|god exists|pi is irrational}","%T","%P","%C","%W","%W %W","%W %W %W","my {dog|cat|car|wife|husband|boss|phone|tv|printer|bike} {is sick|is broken|is angry|won't start|does not work|hates me|ran away}","i {am|feel} {sad|lonely|hungry|bored|tired|sick|happy|angry|in love}","i love %T","i hate %T","what colour is {%T|the sky|grass|an orange}","how much {does|do} {%T|a %N} cost","how many calories are in %T","where can i buy {%T|a %N|shoes}","when is {easter|christmas|the next election|the next full moon|mother's day|ramadan}","how long does it take to {%G}","why {can't|should} i %G"]
LANGS = L("french,german,spanish,italian,chinese,japanese,russian,dutch,polish,latin,arabic,hindi,portuguese,swedish")
def word(r):
    return "".join(r.choice(["b","c","d","f","g","h","l","m","n","p","r","s","t","v","st","tr","br","gl","ch","sh","qu","k","z","th"]) + r.choice(["a","e","i","o","u","ea","oo","ai","io"]) for _ in range(r.choice([1,2,2,3]))) + r.choice(["", "n", "r", "s", "t", "l", "x", "m", "ng", "tion", "ism", "ist", "er", "ity"])
def offtopic(r):
    if r.random() < .30:
        q = r.choices(FP, FW)[0] % r.choice(OFFGOAL)
    else:
        q = gen(r.choice(OFFQ), r)
        while m := re.search(r"%([CYPTNADdWLG])", q):
            k = m.group(1)
            v = {"C": lambda: r.choice(COUNTRY), "Y": lambda: r.choice(CITY), "P": lambda: r.choice(PERSON), "T": lambda: r.choice(THING), "N": lambda: r.choice(NOUN), "A": lambda: r.choice(ADJ), "D": lambda: str(r.choice([r.randint(1000, 2025), 1945, 1989, 2020])), "d": lambda: str(r.choice([r.randint(0, 20), r.randint(0, 100), r.randint(0, 9999)])), "W": lambda: word(r), "L": lambda: r.choice(LANGS), "G": lambda: r.choice(OFFGOAL)}[k]()
            q = q[:m.start()] + v + q[m.end():]
    if r.random() < .5: q = q.lower()
    return noise(q, r)
WORDS = sorted({w.lower() for l in (COUNTRY, CITY, PERSON, THING, NOUN, ADJ, OFFGOAL, CTX, PRE, FP) for x in l for w in re.findall("[A-Za-z]{3,}", x)} | {w.lower() for w in re.findall("[A-Za-z]{3,}", open(TOPICS).read())})
