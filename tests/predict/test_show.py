"""`law_show` lists every law as data, and asking a question loads neither torch nor scipy."""

import json
import subprocess
import sys

import pytest

from bitlaw.errors import UnknownName
from bitlaw.laws import law_names
from bitlaw.predict import law_show


def test_every_law_is_listed_as_json() -> None:
    cards = law_show()
    assert tuple(card.name for card in cards) == law_names()
    for card in cards:
        content = json.loads(json.dumps(card.to_dict(), allow_nan=False))
        assert content["formula"]
        known = {name for published in content["published"] for name in published["values"]}
        assert {p["name"] for p in content["parameters"]} == set(card.missing) | known


def test_one_law_says_its_constants_and_what_is_missing() -> None:
    (unified,) = law_show("ouyang2024-unified")
    assert unified.published[0].values == {"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967}
    assert unified.missing == ()
    assert unified.variables["tokens"].symbol == "D"
    assert law_show("ouyang2024-tokens")[0].missing == ("k",)


def test_unknown_laws_offer_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'ouyang2024-3bit'"):
        law_show("ouyang2024-3bt")


def test_a_published_answer_loads_numpy_only() -> None:
    code = (
        "import sys; from bitlaw.predict import predict, tokens_to_train, law_show;"
        "predict(7e9, 2e12, 4); tokens_to_train(7e9, 4); law_show();"
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'torch', 'transformers', 'scipy', 'pandas', 'pyarrow', 'matplotlib', 'rich', 'jinja2'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
