"""model.toml: what is read, and what is refused with which words."""

import pytest

from operators.model.specification import ModelError, load_model, parse_model

HEAD = 'name = "m"\n'


def feature(**fields: object) -> str:
    lines = "".join(f"{name} = {value}\n" for name, value in fields.items())
    return f'{HEAD}[[feature]]\nname = "a"\n{lines}'


def test_the_shipped_model_loads_and_names_what_it_needs() -> None:
    model = load_model("model.toml")
    assert model.name == "fraud-lr"
    assert {"amount", "old_balance", "mean_amount_30d_before", "count_1m"} <= set(model.names)
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
        ('[[feature]]\nname = "a"\nvalue = "amount"', "missing required field `name`"),
        (HEAD + "feature = []", "at least one"),
        ('name = "no spaces"\nfeature = []', "matching regex"),
        (HEAD + "prior = 1.5\nfeature = []", "prior"),
        (feature(value='"amount"', transfrom='"log"'), "unknown field `transfrom`"),
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
        (feature(value='"amount"') + '[learning]\noptimiser = "adam"', "adam"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_reason(source: str, words: str) -> None:
    with pytest.raises(ModelError) as refused:
        parse_model(source)
    assert words in str(refused.value)


def test_the_file_is_named_in_the_error(tmp_path: object) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.toml"):
        load_model(f"{tmp_path}/nowhere.toml")
