"""Words that say little of what a question is about: those that only ask, and those that are in texts of any subject.

The first are left out, and the second count for less. Both were written down before anything was measured.
"""

from __future__ import annotations

import re
from functools import lru_cache

from nexus_core.toolkit import terms

_AROUND_WORDS = "\"'“”‘’«»()[]{}.,;:!?…-–—؟،।"
_ASKING = {
    "english": """
        what which who whom whose when where why how do does did don't doesn't didn't done can can't could would should
        may might must shall have has had is isn't am were was been being i i'm you he she we us our your my me mine its
        it's his her them what's who's there's much many long often one ones some any all each from about than also so
        please tell give show explain describe happens happen mean means get gets got
    """,
    "german": """
        was wer wem wen wessen wann wo wohin woher warum wieso weshalb wie welche welcher welches welchem welchen viel
        viele der die das den dem des ein eine einen einem einer eines und oder ist sind war waren wird werden wurde
        wurden hat haben kann können muss müssen darf dürfen soll sollen ich du er sie es wir ihr man mein meine mir
        mich in im an am auf aus bei mit nach von vom vor zu zum zur für über unter bis nicht bitte
    """,
    "french": """
        que quoi qui quand où pourquoi comment combien quel quelle quels quelles est-ce qu'est-ce le la les un une des
        du de au aux et ou est sont était a ont peut peut-on doit doit-on faut-il y je tu il elle on nous vous ils elles
        mon ma mes en dans sur sous par pour avec sans ne pas se
    """,
    "spanish": """
        qué quién quiénes cuándo dónde adónde por para cómo cuánto cuánta cuántos cuántas cuál cuáles el la los las un
        una unos unas y o es son era fue hay ha han puede pueden debe deben se me mi mis su sus de del al a en con
        sin no
    """,
    "italian": """
        che cosa chi quando dove perché come quanto quanta quanti quante quale quali il lo la i gli le un una uno e o è
        sono era fu ha hanno può possono deve devono si mi mio mia di del della dei delle a al alla da dal in nel nella
        con per su non
    """,
    "portuguese": """
        que quê quem quando onde por porque como quanto quanta quantos quantas qual quais o a os as um uma uns umas e ou
        é são era foi há tem têm pode podem deve devem se me meu minha de do da dos das ao em no na com sem para não
    """,
    "dutch": """
        wat wie wanneer waar waarom hoe hoeveel welk welke de het een en of is zijn was waren wordt worden werd heeft
        hebben kan kunnen moet moeten mag mogen ik je jij hij zij we men mijn van in op aan bij met naar voor uit te
        niet
    """,
    "russian": """
        что кто где когда куда откуда почему зачем как какой какая какое какие какого какому каким каком какую какими
        каких сколько скольких чем чего чему кого кому ком чей ли который которая которое которые и или а но в во на с
        со по к у из за до от о об при для не это я мы он она они мне меня можно нужно ли был была было были есть
    """,
    "arabic": """
        ما ماذا متى أين كيف كم من هل لماذا لم بم أي أية هو هي في على إلى عن التي الذي لا أن كان كانت يكون تكون هذا هذه
    """,
    "hindi": """
        क्या कब कहाँ कहां कौन कौनसा किस किसे किसने किसका किसकी किसके किसमें किन कितना कितने कितनी क्यों कैसे कैसा कैसी
        है हैं था थी थे हो होता होती होते का की के को में से पर और या यह वह
    """,
}
"""Words of questions that are seldom in answers; for languages other than English with their function words."""
_ASKING_SETS = {language: frozenset(words.split()) for language, words in _ASKING.items()}

_ASKING_UNSPACED = (
    # Chinese
    "怎么办|什么意思|什么时候|什麼時候|多少钱|多少錢|可以|应该|應該|需要|必须|必須|"
    "为什么|為什麼|什么|什麼|怎么样|怎样|怎么|怎麼|如何|哪里|哪裡|哪儿|哪些|哪个|哪|谁|誰|多少|多久|多长时间|多长|多大|多高|多重|"
    "是不是|能不能|请问|几|吗|嗎|呢|吧|的|了|"
    # Japanese
    "なければなりません|てはいけない|てもいい|どういう意味|"
    "どのくらい|どのように|どうやって|どうすれば|いつまで|いくつ|いくら|どこ|いつ|だれ|どんな|どの|どれ|どう|なぜ|何|"
    "でしょうか|ましたか|ませんか|ますか|ですか|ください|"
    # Thai
    "เมื่อไหร่|เมื่อไร|เมื่อใด|ที่ไหน|ไหน|อย่างไร|ยังไง|อะไร|ทำไม|เท่าไหร่|เท่าไร|เท่าใด|แค่ไหน|"
    "หรือไม่|หรือเปล่า|ใคร|กี่|ไหม|บ้าง|"
    # Korean
    "무엇|무슨|뭐라고|뭐|언제|어디|누구|누가|어떻게|얼마나|얼마|며칠|몇|어느|어떤|왜|"
    "습니까|입니까|합니까|됩니까|인가요|하나요|되나요|있나요|나요|까요"
)
"""What only asks in writing where words are not cut by spaces."""

_GENERAL = """
    able about above accept according account across act action active actual add again against age ago agree ahead
    allow almost alone along already although always amount announce annual another answer anybody anyone anything
    appear apply area around arrive available average avoid away back bad ban base basic became because become before
    began begin behind believe below beside best better between beyond big bit born both bottom bring build business buy
    call came carry case cause certain change check choose clear close come common company complete consider consist
    contain continue control correct cost count country couple course create current daily date day deal decide deep
    define depend detail determine develop die died differ difference different difficult direct discover down draw drop
    due during early earlier easy effect either else end enough enter especially even evening event ever every everybody
    everyone everything exact example except exist expect fact fall famous far fast faster fee feel few final find first
    five follow forbid forbidden form former forward found founded four free frequent full further future gave general
    give given go goes going good great ground group grow half hand handle hard hear held help here high higher hold
    home
    hour however idea identify important improve include increase indicate individual information inside instead invent
    involve issue itself job join just keep kind knew know known lack land large last late later latest lead least leave
    left length less let level lie life like likely limit line list little live local locate location longer look lose
    lost lot low lower made main major make man matter maximum maybe measure meet member men method midday minimum
    minute
    moment money month monthly more morning most move name near nearly necessary need never new next night nobody none
    noon normal note nothing now number occur off offer old once only onto open operate opposite option order original
    other out outside over own paid part particular pass past pay people per percent perform perhaps permit person place
    plan play point position possible prefer prepare present prevent previous price probably problem process produce
    prohibit proper provide public publish purpose put quality question quick quiet quite raise range rate rather reach
    read ready real really reason receive recent recommend reduce refer regard relate release remain remains remove
    require respond responsible result return right role rule run same say second see seem seen sell send separate serve
    set several short side similar simple simply since single situation situate size slow small smaller somebody someone
    something sometimes soon sort special specific stand start state stay step still stop story strong such suggest
    suit support suppose sure system take taken talk ten term test thing think third though three through throughout
    thus
    time today together too top total toward towards try turn twice two type typical under unit until up upon upper use
    used useful user usual value various very view wait walk want watch way week weekly well went while whole wide
    without
    woman women word work world worth write written wrong wrote year yearly yes yesterday yet young
"""
"""English words that are in texts of any subject; numbers, times and measures among them."""
_HIRAGANA = re.compile("[\u3041-\u309f]+")
_HAN_AND_KANA = re.compile("[\u3041-\u30ff\u3400-\u9fff]+")
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3400-\u9fff\uac00-\ud7fb]|[\u3041-\u30ff]")


def telling_words(words: list[str], language: str) -> list[str]:
    """Return the words of a question without those that only ask."""
    asking = _ASKING_SETS.get(language, frozenset())
    telling = [word for word in words if not _only_asks(word, asking)]
    return [_asking_unspaced().sub(" ", word) if not word.isascii() else word for word in telling]


def _only_asks(word: str, asking: frozenset[str]) -> bool:
    bare = word.strip(_AROUND_WORDS)
    is_name = len(bare) > 1 and bare.isupper() and bare.isascii()  # US, WHO
    return not is_name and bare.lower().replace("’", "'") in asking


@lru_cache(1)
def _asking_unspaced() -> re.Pattern[str]:
    return re.compile(_ASKING_UNSPACED)


def is_general(term: str, language: str) -> bool:
    """Tell whether a term says little: a general word of English, a single character, hiragana alone."""
    if term.isascii():
        return language == "english" and term in _general()
    return (len(term) == 1 and _NO_SPACES.match(term) is not None) or _HIRAGANA.fullmatch(term) is not None


def is_written_without_spaces(term: str) -> bool:
    """Tell whether a term is in Chinese characters or kana: its parts are neighbours, and words are not known."""
    return _HAN_AND_KANA.fullmatch(term) is not None


@lru_cache(1)
def _general() -> frozenset[str]:
    return frozenset(terms(_GENERAL, "english"))
