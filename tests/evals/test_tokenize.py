"""The Java-free tokenizer, against the rules of the Penn Treebank and against the official Java tokenizer."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from evals.metrics import ptb
from evals.metrics.java import find_java
from evals.metrics.tokenize import split_words, tokenize, tokenize_all

needs_java = pytest.mark.skipif(find_java()[0] is None, reason="no Java here")

ODD = """
a man on a.|there is a man on a.|vitamin c.|exit b. A dog|a cat, b. dog|U.S. flag|u.s.-based|a U.S. The end
5 p.m. The cat|at 5 a.m. today|arranged 5p.m. sign|10:30am|10am|10:30|16:9|no. 5 bus|no. the|no.22|p. 5|St. Mary
main st.|main St. and|inc. The|Mr. Smith vs. Mrs. Jones etc.|dr.|6 ft. tall|10 lbs. of|Pa. x|pa. x|Fig. 2|fig. x
dog., cat|dogs.cats.|dog.A cat|3.5|.5 inch|v2.0|dog2.5|1,000,000|1,a|a,1|1 1/2 cups|1/2|3/4-inch|½ cup|1½|2-1/2 inch
5'10"|6" pizza|12"x12"|5'6'' tall|1990s|1990's|'90s|90's|mid-1990s|20th-century|1st|2nd,|747-400|b-52|24/7|1/2/03
(555) 555-1234|555 555 1234|100 200 300|$5|$.50|US$5|C$5|us$5|5$|£5|€5|5¢|50%|#1|#dog|##|### x|@home|@ home
me@home.com|me@home.com, x|www.a.com/bc|http://a.com/b.|google.com|dog.jpg|img_0001.jpg|a_b|_a_|__all__|a__b|AT&T|at&t
b&w|R&B|M&Ms|a & b|a+b|t+1|c++|C#|a*b|**a**|x = y|<unk>|<s> a dog </s>|[UNK]|a < b|<3|a->b|a => b|:)|;-)|:(|=D|a :p
a sign:dog|a:)|||| x|a|b|\\|//|a/b|and/or|a/b/c/d|his/her|w/o|t-shirt|black-and-white,|a - b|a -- b|a---b|-----
dog,black-and-white cat|x-ray|jack-o'-lantern|jack-o'lantern|man/woman|it's|IT'S|don't|DON'T|can't|won`t|cannot
cannot's|gonna|wanna go|gimme|lemme|shouldn't've|y'all|ain't|o'clock|O'Neill|d'oeuvre|l'eau|ma'am|c'mon|rock'n'roll
rock 'n' roll|mac 'n cheese|'tis|'twas|'tissue|'em|'til|'cause|'bout|dogs'|goin'|boss's|1's|ABC's|'stop' sign
the 'stop'|a ' b|"stop" sign|``x''|“stop”|‘stop’|«stop»|it’s|don’t|’90s|rock ’n’ roll|a’b|Ge'ez|Xi'an|stereo'Soccer
can'not|wow!!! ok??|wow!great|what?the|a!b|...|a...|dog...cat|. . .|a.. b|…|dog?!|.dog|dog .|(a) [b] {c}|dog(s)|1)
c. The|é|café|naïve|über-cool|日本語|한국어 x|русский текст|हिन्दी|a 😀 b|a😀b|❤️|★|☕|→|–|—|a–b|°|5°C|×|©
soft\u00adhyphen|zero\u200bwidth|non\u2011breaking|nb\u00a0space|&amp;|a &lt; b|&quot;a&quot;|don&#39;t|&nbsp;|a\tb|a  b
""".replace("\n", "|").split("|")

PLAIN = "a the man's dogs' two people U.S. t-shirt Street 5.5 10 it's don't street. red, skateboard surfing"


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A cat , sitting on top of a MAT .", "a cat sitting on top of a mat"),
        ("A man's dog, isn't it?", "a man 's dog is n't it"),
        ("He cannot go; they won't.", "he can not go they wo n't"),
        ("A 1960s-era street scene.", "a 1960s-era street scene"),
        ("5,000-seat arena at 3:30 p.m. today", "5,000-seat arena at 3:30 p.m. today"),
        ("a $5.00 sign (red) on the wall", "a $ 5.00 sign -lrb- red -rrb- on the wall"),
        ('a "quoted" word... and -- a dash', "a quoted word and a dash"),
        ("rock 'n' roll", "rock 'n' roll"),
        ("it’s a “nice” day", "it 's a nice day"),
        ("two lines\nin\tone", "two lines in one"),
        ("the dogs' bowls", "the dogs bowls"),
        ("wow!!! ok??", "wow !!! ok ??"),
        ("mr. smith near st. mary's", "mr. smith near st. mary 's"),
        ("a man sitting on a.", "a man sitting on a."),
        ("1 1/2 cups of <unk>", "1\u00a01/2 cups of <unk>"),
        ("half a pair: \ud83d", "half a pair"),
        (" . , ", ""),
        ("", ""),
    ],
)
def test_words_are_those_of_the_penn_treebank(caption: str, words: str) -> None:
    assert tokenize(caption) == words


def test_punctuation_is_split_off_before_it_is_dropped() -> None:
    assert split_words("A cat, a dog.") == ["a", "cat", ",", "a", "dog", "."]


def test_the_next_caption_decides_whether_a_letter_keeps_its_full_stop() -> None:
    assert tokenize_all(["vitamin c.", "The end"]) == ["vitamin c", "the end"]
    assert tokenize_all(["vitamin c.", "", "the end", "vitamin c."]) == ["vitamin c.", "", "the end", "vitamin c."]


@needs_java
def test_odd_captions_have_the_words_that_java_gives_them() -> None:
    captions = [caption + tail for tail in (" x", ".", "") for caption in ODD]
    assert dict(zip(captions, tokenize_all(captions), strict=True)) == dict(
        zip(captions, ptb.tokenize_all(captions), strict=True)
    )


@needs_java
def test_captions_strewn_with_punctuation_have_the_words_that_java_gives_them() -> None:
    draw = random.Random(0)
    words = PLAIN.split()
    marks = [*".,;:!?'\"()-&/#*%$", "...", "--", "’", "“", "”", "st.", "The", "There"]

    def word() -> str:
        return (
            draw.choice(words) + draw.choice(["", "", draw.choice(marks)])
            if draw.random() < 0.9
            else draw.choice(marks)
        )

    captions = [" ".join(word() for _ in range(draw.randint(1, 12))) for _ in range(2000)]
    differ = [
        (caption, ours, theirs)
        for caption, ours, theirs in zip(captions, tokenize_all(captions), ptb.tokenize_all(captions), strict=True)
        if ours != theirs
    ]
    assert differ == []


@needs_java
def test_java_stays_in_step_with_empty_captions_and_captions_of_several_lines() -> None:
    captions = ["a\ncat", "", "a\r\nred\u2028dog\x0b!", "  ", "a <b", "c> d", "half \ud83d", ""]
    assert ptb.tokenize_all(captions) == ["a cat", "", "a red dog", "", "a < b", "c > d", "half", ""]
    assert ptb.tokenize_all([]) == []
    assert ptb.tokenize_all([""]) == [""]


SETS = ["coco_karptest_25.vinvl_base", "coco_karptest_500.vinvl_base", "coco_karptest_500_human_vs_4.human",
        "coco_karpval_300.vinvl_base"]  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_words_agree_with_the_java_tokenizer(shared_fixtures, name: str) -> None:
    def read(kind: str):
        return json.loads(gzip.decompress((shared_fixtures / "caption" / f"{kind}.json.gz").read_bytes()))

    expected = read(f"{name}.expected")["tokenized"]
    references: dict[str, list[str]] = {}
    for row in read(f"{name.rpartition('.')[0]}.ann")["annotations"]:
        references.setdefault(str(row["image_id"]), []).append(row["caption"])
    for row in read(f"{name}.results"):
        image = str(row["image_id"])
        assert [tokenize(row["caption"])] == expected[image]["hyp"]
        assert [tokenize(text) for text in references[image]] == expected[image]["ref"]
