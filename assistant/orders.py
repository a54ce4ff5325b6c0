"""A sentence -> what in it tells somebody to do something. What is to be done, entries say: a model only points to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

from assistant.wording import CJK, word_set
from indexer import lexical

_VERBS = word_set(
    "add allow append apply attach avoid block boot buy cancel change chmod clean clear click close comment configure"
    " contact convert copy create cut deactivate decrease delete deploy disable discard disconnect divide double"
    " downgrade download drop edit email enable erase export fetch fix force format halve ignore import increase"
    " initialise initialize insert install kill launch limit lower merge mount move multiply mute open overwrite pass"
    " paste pin post press print publish pull purge push put raise reboot rebuild recompile reduce refresh register"
    " reinstall reload remount remove rename repair replace report reset resize restart restore resume retrain retry"
    " return revert roll run save scale send set share shorten shrink shut skip stop submit suppress swap switch tell"
    " terminate trust turn uninstall unload unplug unset update upgrade upload visit wipe wrap write"
)
_ORDER = re.compile(
    r"^(?:(?:so|then|and|or|but|also|first|next|now|finally|just|simply|please|always|never|instead|to (?:mend|fix) it"
    r"|do not|don't|you (?:should|must|need to|have to|can|could|may)|(?:it is|it's) (?:best|better|safe) to"
    r"|(?:I|we) (?:suggest|recommend)(?: to| you)?|(?:try|consider|recommend) to|make sure (?:to|you)"
    r"|the (?:fix|solution|remedy) is to),? )*"
    rf"(?P<verb>{'|'.join(sorted(_VERBS))})\b(?! (?:is|are|was|were|has|had|does|did|shows?|says?|means?|of)\b)",
    re.IGNORECASE,
)
_ORDER_IN_CHINESE = re.compile(
    r"^(?:请|先|再|然后|接着|最后|首先|直接|可以|应该|应当|必须|需要|建议|最好|务必|千万|不要|别|不用|不必|要|你|并|或者|也|就|，)*"
    r"(?:把|将|重装|重启|重置|重新安装|格式化|删|清空|清除|关掉|关闭|杀掉|杀死|停掉|停用|禁用|启用|打开|卸载|安装|装上|升级|降级|更新"
    r"|替换|换成|换用|改成|改为|改用|修改|设成|设为|设置|调大|调小|调高|调低|降低|提高|增加|减少|加上|添加|去掉|移除|上传|发到|发送"
    r"|发给|公开|联系|拔|跳过|忽略|下载|复制|拷贝|移动|执行|运行)"
)
_JUDGEMENT = re.compile("是|会|才|能|说明|之后|以后")
_CLAUSE = re.compile(r"[.;:!?](?:\s|$)|[。；：！？，、]|,\s|\s(?:and|or|then|but)\s|并且?|然后|再")
# What says nothing of what is to be done.
_EMPTY = word_set(
    "a an the it its this that these those them they he she you your we our i my all any each every both one ones"
    " other others own some to of in on at by for from with without into onto off out up down over under again once"
    " more most less least only also so as than if when while before after until because since unless is are be been"
    " being was were do does did not no never and or but then there here now first next just simply please always"
    " instead still too very much many few same such what which who how why will would can could should must may might"
    " need have has had exactly meanwhile back away"
    " newer older newest latest larger smaller longer shorter higher better"
)
# Verbs that tell to do the same.
_SAME = [
    {"install", "upgrade", "update"},
    {"lower", "reduce", "decrease", "shorten"},
    {"raise", "increase"},
    {"turn", "switch"},
]
MOST_UNKNOWN_IN_CHINESE = 0.5  # Pairs of characters straddle words, so not all of them stand in an entry that says the same.


def orders_in(text: str) -> Iterator[str]:
    """The clauses of a text that are orders."""
    for clause in _CLAUSE.split(text):
        clause = clause.strip(" \t\"'`*_()（）")
        if _ORDER.match(clause) or (_ORDER_IN_CHINESE.match(clause) and not _JUDGEMENT.search(clause)):
            yield clause


def is_known_order(clause: str, part: Set[str], entry: Set[str], paste: Set[str]) -> bool:
    """Whether an entry gives an order: its verb stands in the cited part, its other words in the entry or the paste."""
    if re.search(rf"[{CJK}]", clause):
        pairs = [term for term in lexical.tokens(clause) if term >= "\u3400"]
        return sum(pair not in entry for pair in pairs) <= MOST_UNKNOWN_IN_CHINESE * len(pairs)
    found = _ORDER.match(clause)
    verb = found["verb"].lower() if found else ""
    verbs = next((same for same in _SAME if verb in same), {verb})
    words = (word for word in clause.lower().split() if word.strip(".,:;'\"`") not in _EMPTY)
    terms = {term for word in words for term in lexical.tokens(word) if not term.isdigit()}
    forms = set(lexical.tokens(" ".join(verbs)))
    return bool(forms & part) and terms - set(lexical.tokens(verb)) <= entry | paste
