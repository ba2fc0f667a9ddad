"""Bring LaVIT's released weights into this suite's format: safetensors and a config.json.

DIR is a released checkpoint as its authors publish it. Nothing is downloaded: get it from them, under their licence.
  DIR/visual_tokenizer/tokenizer_encoder.bin           tokenizer
  DIR/language_model/visual_weight.bin                 understanding: the LLM's own copy of merger and projector
  DIR/language_model/                                  llm: a Llama folder of transformers (.bin or .safetensors)
  DIR/visual_tokenizer/tokenizer_decoder.bin           low, with DIR/pixel_decoding/{unet,vae,scheduler}
  DIR/visual_tokenizer/highres_tokenizer_decoder.bin   high, with DIR/highres_pixel_decoding/{unet,vae,scheduler}

Parts that are not there are named and left out. Every tensor is accounted for: if one is missing, left over or of
another shape, it is named, nothing is written, and the exit code is 1. Pickles (.bin) are read by torch's restricted
reader: one that wants to run code is refused.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
examples:
  lavit import-official LaVIT-7B-v2                              into runs/official/LaVIT-7B-v2
  lavit import-official LaVIT-7B-v2 /data/tokenizer --only tokenizer,low
  lavit import-official LaVIT-7B-v2 --check --keys             every name, and what it becomes; writes nothing
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="DIR", help="folder of the released checkpoint")
    parser.add_argument("out", metavar="OUT", nargs="?", help="folder to be made (default: runs/official/NAME of DIR)")
    parser.add_argument(
        "--only", metavar="PARTS", help="of tokenizer, understanding, llm, low, high: these, which must then be there"
    )
    parser.add_argument(
        "--ignore", metavar="PATTERN", action="append", default=[], help="leave out left-over tensors of this name"
    )
    parser.add_argument("--check", action="store_true", help="look and report; write nothing")
    parser.add_argument("--keys", action="store_true", help="list every tensor with the name that it gets")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.set_defaults(overrides=[])


def execute(arguments: argparse.Namespace) -> int:
    """Import and report."""
    import json
    import sys
    from pathlib import Path

    from experiments.errors import LavitError

    if arguments.overrides:
        raise LavitError(f"import-official takes a folder and a target, not '{arguments.overrides[0]}' as well")

    from lavit.official.importing import ImportRefusedError, import_official, survey
    from lavit.official.keyreport import render

    source = Path(arguments.source)
    out = Path(arguments.out) if arguments.out else Path("runs") / "official" / source.resolve().name
    only = [part.strip() for part in arguments.only.split(",")] if arguments.only else []
    refused: ImportRefusedError | None = None
    try:
        if arguments.check:
            found = survey(source, only, arguments.ignore)
            found.require_clean()
        else:
            found = import_official(source, out, only, arguments.ignore)
    except ImportRefusedError as error:
        refused, found = error, error.survey
    if arguments.json:
        reports = [report.to_dict() for report in found.reports]
        print(json.dumps({"reports": reports, "absent": found.absent}, indent=1, ensure_ascii=False))
    else:
        print(render(found.reports, arguments.keys))
        for part, path in found.absent.items():
            print(f"{part}: not in this folder ({path})")
    if refused is not None:
        print(f"lavit: {refused}", file=sys.stderr)
        return 1
    if not arguments.check and not arguments.json:
        print(f"\n{out}: {found.bytes / 1e9:.2f} GB written")
    return 0
