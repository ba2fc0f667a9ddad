"""Penn-Treebank tokens of a line of text, as Stanford's PTBTokenizer (CoreNLP 3.4.1, ``-lowerCase``) cuts them.

The rules were found by asking that program: about 1,300 odd strings, and every character of Unicode's first plane
between two letters. As there, the rule that takes most characters wins at each position, what it has to look ahead at
counted in, and of several the first one. A rule may look at case; the tokens are lower-case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# Letters and digits, and the marks and hyphens that stand within words; not superscripts and circled numbers.
_MARKS = (
    "\u02c2-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065e\u0670\u0900-\u0963\u0981-\u0df3\u0e31"
    "\u0e34-\u0e3a\u0e47-\u0e4e\u058a\u2010-\u2011"
)
_HYPHENS = "\u058a\u2010\u2011"
_NOT_IN_WORDS = (
    "_\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u218b\u2460-\u24ff\u2776-\u2793\U00010000-\U0010ffff"
)
_L = rf"[^\W\d{_NOT_IN_WORDS}]"
_W = rf"(?:[^\W{_NOT_IN_WORDS}]|[{_MARKS}])"
_SYMBOLS = (
    "!-/:-@[-`{-~\u00a1-\u00ac\u00ae-\u00b9\u00bb-\u00bf\u00d7\u00f7\u037e\u0387\u0589\u05be\u05c0\u05c3\u060b-\u060c"
    "\u061b\u061e-\u061f\u066a\u06d4\u0964\u0965\u0e3f\u2012-\u2027\u2030-\u2044\u2070-\u208e\u20a0\u20a4\u20ac"
    "\u2100-\u2144\u214a-\u214f\u2153-\u215e\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40"
    "\uff5b-\uff65\uffe0-\uffe6"
)

# A full stop belongs to these at any place, in any case; to the next ones only with a capital, or a small second
# letter; to the last ones only before a number.
_ABBREVIATIONS = """
    adm al ala apr ariz assn assoc asst atty attys aug ave bancorp bhd bldg blvd brig bros calif capt cf cmdr co col
    colo comdr conn corp cos cpl ct dak dec dept det dr drs elec esq est etc ext feb fla fri ft ga gen gov govs hon inc
    ind intl invt jan jr jul jun kan kans ky lieut lt ltd maj mar md messrs mich minn mlle mme mo mon mont mr mrs ms mt
    natl neb nev nov oct okla penn pfc ph plc pres prof profs pvt rd rep reps rev rt sen sens sep sept seq sgt spc sq sr
    st ste supt supts sys tel tenn thu thurs treas tue tues univ va vs vt wed wis wisc wyo ed.d ph.d
"""
_CAPITAL = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"
_SMALL_SECOND = "mfg mtg pte pty ptys"
_BEFORE_NUMBER = "art|ca|figs?|nos?|pp?|prop"

# After a single letter with its full stop, these begin a sentence, and the full stop is a token of its own.
_OPENERS = """
    A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Mr. Ms. Now
    Once One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet You
"""
_FILES = (
    "bat|bmp|c|cgi|class|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|"
    "x|xml|zip"
)

_FUSED = {
    "cannot": ["can", "not"], "gonna": ["gon", "na"], "gotta": ["got", "ta"], "wanna": ["wan", "na"],
    "gimme": ["gim", "me"], "lemme": ["lem", "me"],
}  # fmt: skip

_SPELLED = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
    '"': "''", "“": "``", "”": "''", "«": "``", "»": "''", "‘": "`", "‛": "`", "‹": "`", "’": "'", "›": "'",
    "–": "--", "—": "--", "―": "--", "…": "...", "\x96": "--", "\x97": "--",
    "¢": "cents", "£": "#", "€": "$", "¤": "$", "₠": "$", "\x80": "$",
    "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3",
    "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&apos;": "'",
}  # fmt: skip
_BRACKETS = re.compile(r"[()]")


def _openers() -> str:
    return "|".join(f"(?-i:{word[0]}){re.escape(word[1:])}" for word in _OPENERS.split())


def _abbreviations() -> str:
    always = "|".join(sorted((re.escape(word) for word in _ABBREVIATIONS.split()), key=len, reverse=True))
    capital = "|".join(f"(?-i:{word[0]}){word[1:]}" for word in _CAPITAL.split())
    small = "|".join(f"{word[0]}(?-i:{word[1]}){word[2:]}" for word in _SMALL_SECOND.split())
    return rf"(?:{always}|{capital}|{small})\."


def _plain(token: str) -> list[str]:
    return [token.lower()]


def _spell(token: str) -> list[str]:
    return [_SPELLED.get(token, token)]


def _straight(token: str) -> list[str]:
    return [token.lower().replace("’", "'").replace("‘", "`")]


def _solid(token: str) -> list[str]:
    """One token, though there are blanks in it; round brackets are named, except in a tag."""
    token = token.lower().replace(" ", "\u00a0")
    return [token if token.startswith("<") else _BRACKETS.sub(lambda match: _SPELLED[match[0]], token)]


def _fused(token: str) -> list[str]:
    return _FUSED[token.lower()]


_Rule = tuple[str, Callable[[str], list[str]]]
# What stands in a group is the token; what follows it is only looked at.
_RULES: list[_Rule] = [
    (r"<[a-z][\w.:-]*(?:\ +[\w.:-]+(?:=\"[^\"]*\"|='[^']*')?)*\ */?>|</[a-z][\w.:-]*\ *>|<[!?][a-z-][^>]*>", _solid),
    (rf"([a-z])\.\s+(?:{_openers()}|</?[a-z][^<>\s]*>)\s", _plain),
    (r"(?:cannot|gonna|gotta|wanna|gimme|lemme)(?![\w'’-])", _fused),
    (r"('t)(?:is|was)", _plain),
    (rf"({_L}*[^\W\d_n])n['’`‘]t", _plain),
    (rf"({_W}+)['’](?:s|m|d|re|ve|ll)(?![a-z])", _plain),
    (r"n['’`‘]t", _straight),
    (r"n['’]t[a-z]+", _plain),
    (r"'(?:s|m|d|re|ve|ll)(?![a-z])|’(?:s|m|d|re|ve|ll)", _straight),
    (rf"(?-i:{_W}+[aeiouyAEIOUY]['’][aeiouA-Z]){_L}*|(?-i:[A-HJ-XZ]['’]){_L}{{2}}{_W}*", _plain),
    (rf"[dol]['’]{_W}{{2,}}|c'mon|(?:s'mores|n?e'er|o'er|cap'n|nat'l)(?!\w)|ol'", _plain),
    (r"([dly]['’])[a-z]|(l')", _plain),
    (r"pro-|anti-", _plain),
    (r"['’](?:n['’]|em|till?|cause)|'n(?![\w.])|’n", _plain),
    (r"['’]\d\d(?:s|(?=\s|$))", _plain),
    (r"https?://[^\s\"<>|(){}]+[^\s\"<>|.!?(){},-]", _plain),
    (
        r"(?:www\.(?:[^\s\"<>|.!?,]+\.)+[a-z]{2,4}|(?:[^\s\"`'<>|.!?,\-_$/:;=@()\[\]\\{}\d]+\.)+(?:com|net|org|edu))"
        r"(?:/[^\s\"<>|(){}]+[^\s\"<>|.!?(){},-])?",
        _plain,
    ),
    (r"<?[a-z0-9][^\s\"<>|(){}]*@(?:[^\s\"<>|(){}.]+\.)*[^\s\"<>|(){}.]+>?", _plain),
    (r"#[a-z]+|@[a-z_][a-z0-9_]*|[cf]\#|c\+\+", _plain),
    (r"(?-i:[A-Z]+(?:&[A-Z]+)+)|(?-i:[A-Z]+\$)", _plain),
    (r"(?:\d{1,4}[-\ \xa0])?\d{1,4}/\d{1,4}", _solid),
    (r"(?:\(\d{2,3}\)\ ?|\+{0,2}(?:\d{2,4}[-\ ])?\d{2,4}[-\ ])\d{3,4}[-\ ]?\d{3,5}", _solid),
    (r"[-+]?(?:\d*(?:[.,:]\d+)+|\d+)", _plain),
    (r"[a-z](?:\.[a-z])*\.", _plain),
    (_abbreviations(), _plain),
    (rf"((?:{_BEFORE_NUMBER})\.)\ ?-?\d", _plain),
    (rf"({_W}+(?:[.-]{_W}+)*\.)[,;:]", _plain),
    (rf"{_W}+(?:_{_W}+)*", _plain),
    (
        rf"(?:{_W}(?:{_W}|[.,])*|{_W}+(?:_{_W}+)*)(?:-(?:[dol]['’](?={_W}{_W}))?(?:[a-z](?:\.[a-z])+\.|{_W}+(?:_{_W}+)*))+",
        _plain,
    ),
    (rf"{_L}{_W}*(?:[.!?]{_L}{_W}*)+|{_W}+(?:\.{_W}+)*\.(?:{_FILES})(?=[\s.,]|$)", _plain),
    (r"[a-z0-9]+(?:-[a-z]+){0,2}(?:\\?/[a-z0-9]+(?:-[a-z]+){0,2}){1,2}", _plain),
    (r">?(?:[:;=](?:-|(?-i:o))?[()dp]|:'\()(?![a-z])|:(?:[|\[\]3]|\\(?![a-z]))|\^_\^|-_-", _solid),
    (r"\.\.\.|\.\ \.\ \.", lambda token: ["..."]),
    (r"-{2,4}(?!-)", lambda token: ["--"]),
    (r"-{5,}|\*+|\#+|@+|_+|[!?]{2,}|>>|<<|''|``", _plain),
    (r"&(?:amp|lt|gt|quot|apos);|&\#\d+;", _spell),
    (r"&nbsp;", lambda token: []),
    (rf"[{_SYMBOLS}\x80\x91-\x94\x96\x97]", _spell),
]
_COMPILED = [(re.compile(pattern, re.IGNORECASE), spell) for pattern, spell in _RULES]
# Nearly all of a usual caption, without trying every rule: a word before a blank or a comma, and the last word.
_EASY = re.compile(r"([A-Za-z]+)?(,(?=\s|\Z)|\.(?=\s*\Z))?(?=\s|\Z)")
_NOT_EASY = {*_FUSED, *_ABBREVIATIONS.split(), *_CAPITAL.lower().split(), *_SMALL_SECOND.split()}


def split(line: str, following: str = "") -> Iterator[str]:
    """The tokens of a line, lower-case, punctuation still in.

    Args:
        line: without line breaks.
        following: the next line with anything on it; how it begins may decide over the last full stop.
    """
    line = line.replace("\u00ad", "")
    text = f"{line}\n{following}\n" if following else line
    at = 0
    while at < len(line):
        if text[at].isspace():
            at += 1
            continue
        easy = _EASY.match(line, at)
        if easy:
            word, mark = (easy[1] or "").lower(), easy[2]
            if word not in _NOT_EASY and not (len(word) == 1 and mark == "."):
                yield from filter(None, (word, mark))
                at = easy.end()
                continue
        best: re.Match[str] | None = None
        for pattern, rule in _COMPILED:
            match = pattern.match(text, at)
            if match and (best is None or match.end() > best.end()):
                best, spell = match, rule
        if best is None or not best[0].strip(_HYPHENS):
            at += 1  # a character that the tokenizer does not know and leaves out
            continue
        token = next((group for group in best.groups() if group), best[0])
        yield from spell(token)
        at += len(token)
