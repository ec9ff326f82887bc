import pytest

from mimir_rw.api.routes import ROUTES, SERVER
from mimir_rw.app.modules import BASE, GATE, NEEDS, components_of, known_targets, modules_text, targets
from mimir_rw.config.errors import ConfigError


def test_all_runs_every_component():
    assert components_of(["all"]) == ("ingester", "distributor", "querier")
    assert components_of(["querier", "distributor", "ingester"]) == components_of(["all"])
    assert components_of(["ingester"]) == ("ingester",)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["write"], "not available yet"),
        (["all", "read"], "not available yet"),
        (["distributor"], "distributor needs ingester"),
        (["querier"], "-target=ingester,querier"),
        (["nonsense"], "not one of all, distributor"),
    ],
)
def test_what_cannot_run_yet_says_so(names, text):
    with pytest.raises(ConfigError, match=text):
        components_of(names)


def test_every_component_is_a_target_of_its_own_and_a_module():
    for target in targets().values():
        for component in target.components:
            assert targets()[component].components == (component,)
            assert component in NEEDS
            assert component in NEEDS[GATE]


def test_needs_name_modules_that_come_before():
    order = list(NEEDS)
    for name, needs in NEEDS.items():
        assert all(order.index(need) < order.index(name) for need in needs)
    assert set(BASE) < set(order)


def test_routes_of_targets_are_those_of_the_table():
    for component in targets()["all"].components:
        table = [route.path for route in ROUTES if route.component == component]
        assert sorted(targets()[component].routes) == sorted(table)
    assert {route.component for route in ROUTES} == {SERVER, *targets()["all"].components}


def test_modules_text_marks_the_parts_of_all():
    lines = modules_text().splitlines()
    assert lines[0].startswith("  all")
    assert any(line.startswith("* ingester") for line in lines)
    assert {line[2:].split()[0] for line in lines[:-2]} <= set(known_targets())
