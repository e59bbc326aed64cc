"""model.toml: what is read, and what is refused with which words."""

import re
from pathlib import Path

import pytest

from operators.model.files import load_model
from operators.model.specification import ModelError, parse_model

HEAD = 'name = "m"\n'


def feature(**fields: object) -> str:
    lines = "".join(f"{name} = {value}\n" for name, value in fields.items())
    return f'{HEAD}[[feature]]\nname = "a"\n{lines}'


def test_the_shipped_model_loads_and_names_what_it_needs() -> None:
    model = load_model("model.toml")
    assert model.name == "fraud-lr"
    assert {"amount", "old_balance", "mean_amount_ever_before", "count_1m"} <= set(model.names)
    assert not any("new_balance" in name or name in ("step", "event_time") for name in model.names)


def test_no_feature_of_the_shipped_model_is_the_equality_that_gives_paysim_away() -> None:
    model = load_model("model.toml")
    assert not any("==" in feature.value for feature in model.features)
    edges = next(f.bins for f in model.features if f.value == "amount / old_balance")
    below, above = max(edge for edge in edges if edge < 1), min(edge for edge in edges if edge > 1)
    assert above - below >= 0.2


def test_names_come_in_order_of_appearance_once_each_with_those_of_conditions() -> None:
    model = parse_model(
        HEAD + '[[feature]]\nname = "a"\nvalue = "amount / count_1h"\n'
        '[[feature]]\nname = "b"\nvalue = "log(amount)"\nwhen = "type == \\"X\\""\n'
    )
    assert model.names == ("amount", "count_1h", "type")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("name = ", "Invalid value"),
        ('[[feature]]\nname = "a"\nvalue = "amount"', "`name` is missing"),
        (HEAD + "feature = []", "at least one"),
        ('name = "no spaces"\nfeature = []', "name is 'no spaces': wanted a letter or digit, then up to 63 letters"),
        (HEAD + "prior = 1.5\nfeature = []", "prior"),
        (
            feature(value='"amount"', transfrom='"log"'),
            "feature 1, transfrom is an unknown field: wanted one of transform",
        ),
        (feature(value='"amount"', transform='"cube"'), "cube"),
        (feature(value='"amount +"'), "feature 'a': not an expression"),
        (feature(value='"amount"', when='"amount.real > 1"'), "feature 'a': an attribute is not allowed"),
        (feature(value='"amount"', transform='"bins"'), "`bins` (the inner edges) go with"),
        (feature(value='"amount"', bins="[1, 2]"), "`bins` (the inner edges) go with"),
        (feature(value='"amount"', transform='"bins"', bins="[2, 1]"), "ascending"),
        (feature(value='"amount"', transform='"bins"', bins="[1, inf]"), "finite"),
        (feature(value='"type"', transform='"onehot"'), "`values` (the texts told apart)"),
        (feature(value='"type"', transform='"onehot"', values='["a", "other"]'), "names of their own"),
        (feature(value='"amount"', missing="true"), "goes with bins, onehot and hashed"),
        (feature(value='"amount"', transform='"clip"'), "`low` < `high`"),
        (feature(value='"amount"', transform='"clip"', low="3", high="2"), "`low` < `high`"),
        (feature(value='"amount"') + '[[feature]]\nname = "a"\nvalue = "amount"', "there twice"),
        (feature(value='"amount"') + '[learning]\noptimiser = "adam"', "'adam': wanted one of adagrad, ftrl, sgd"),
        (
            feature(value='"amount"') + "[learning]\nrate = inf",
            "learning, rate is inf: wanted a number above 0 and up to 100",
        ),
        (
            feature(value='"amount"') + "[learning]\nrate = nan",
            "learning, rate is nan: wanted a number above 0 and up to 100",
        ),
        (feature(value='"amount"') + "[learning]\nl2 = -1", "learning, l2 is -1: wanted a number from 0 to"),
        (feature(value='"amount"') + "[learning]\nbalance_window = 100_000_000", "from 1 to 10,000,000"),
        (feature(value='"amount"') + "[monitor]\nwindow = 1e12", "window is 1000000000000.0: wanted a whole number"),
        (feature(value='"amount"') + "[publish]\nseconds = inf", "publish, seconds is inf: wanted a number above 0"),
        (feature(value='"amount"', transform='"log10"'), "feature 1, transform is 'log10': wanted one of number, log"),
        (feature(value='"amount"', bins='["a"]'), "feature 1, bins 1 is 'a': wanted a number"),
        ("x = " + "9" * 5_000, "not TOML"),
        ("x = " + "[" * 5_000, "not TOML"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_reason(source: str, words: str) -> None:
    with pytest.raises(ModelError) as refused:
        parse_model(source)
    assert words in str(refused.value)


def test_the_file_is_named_in_the_error(tmp_path: object) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.toml"):
        load_model(f"{tmp_path}/nowhere.toml")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('name = "m"\nname = 1', "2:9: not TOML: Cannot overwrite a value\n    2 | name = 1\n      |         ^"),
        ('name = "m m"', "1:8: name is 'm m': wanted a letter or digit"),
        (
            feature(value='"amount"') + "\n[learning]\nrate = -1\n",
            "7:8: learning, rate is -1: wanted a number above 0 and up to",
        ),
        (feature(value='"amount"', transform='"bin"'), "5:13: feature 1, transform is 'bin': wanted one of number"),
        (
            feature(value='"amont > 1"', transform='"flag"'),
            "4:10: feature 'a': unknown name 'amont'; nearest known: am",
        ),
        (feature(value='"amount"', when='"amount > 1 and amont > 2"'), "5:24: feature 'a': unknown name 'amont'"),
        (feature(value='"amount +"'), "4:18: feature 'a': not an expression"),
        (feature(value='"amount"', transform='"bins"', bins="[2, 1]"), "6:8: feature 'a': the edges in `bins` must"),
        (feature(value='"amount"', bins="[2, 1]"), "5:8: feature 'a': `bins` (the inner edges) go with"),
        (feature(value='"amount"') + '[[feature]]\nname = "a"\nvalue = "amount"', "6:8: feature 'a' is there twice"),
        (feature(value='"amount"').replace('"a"', '"it\'s"').replace("amount", "amont"), '4:10: feature "it\'s": unkn'),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(text: str, shown: str, tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text(text)
    with pytest.raises(ModelError) as refused:
        load_model(path, ())
    assert f"{path}:{shown}" in str(refused.value)
    assert re.search(r"\n +\d+ \| .*\n +\| +\^$", str(refused.value))
