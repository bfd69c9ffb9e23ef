"""Presets are checked strictly, and every problem says where, what and how to mend it."""

import pytest

from gureum import presets
from gureum.presets import PresetError


def problems(text, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(PresetError) as caught:
        presets.read(path)
    return [str(problem).replace(str(tmp_path) + "/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "projects:\n  - name: web\nuser:\n  - name: a\n",
            "p.yaml:3: user: unknown key (value [{'name': 'a'}]); did you mean users?",
        ),
        (
            "users:\n  - name: a\n    pasword: x\n",
            "p.yaml:3: users[0].pasword: unknown key (value 'x'); did you mean password?",
        ),
        ("users:\n  - name: a\n", "p.yaml:2: users[0].password: is missing; every one needs it"),
        (
            "users:\n  - name: a\n    password: b\n    roles:\n      - {role: membr, project: admin}\n",
            "p.yaml:5: users[0].roles[0].role: no role is called 'membr'; did you mean member?",
        ),
        (
            "flavors:\n  - {name: f, vcpus: 0, ram_mib: 1}\n",
            "p.yaml:2: flavors[0].vcpus: is 0; give 1 or more",
        ),
        (
            "flavors:\n  - {name: f, vcpus: two, ram_mib: 1}\n",
            "p.yaml:2: flavors[0].vcpus: is 'two', not a whole number",
        ),
        (
            "flavors:\n  - name: f\n    vcpus: 1\n    ram_mib: 1\n    public: 'yes'\n",
            "p.yaml:5: flavors[0].public: is 'yes', not true or false",
        ),
        (
            "networks:\n  - name: n\n    subnets:\n      - {name: s, cidr: 10.0.0.1/24}\n",
            "p.yaml:4: networks[0].subnets[0].cidr: '10.0.0.1/24' is no network (10.0.0.1/24 has"
            " host bits set); write it as 10.0.0.0/24",
        ),
        (
            "routers:\n  - {name: r, subnets: [nowhere]}\n",
            "p.yaml:2: routers[0].subnets[0]: no subnet is called 'nowhere'; define it in this file",
        ),
        (
            "images:\n  - {name: i, file: nothing.img}\n",
            "p.yaml:2: images[0].file: there is no file nothing.img; paths start at the preset",
        ),
        (
            "images:\n  - {name: i, size_mib: 1, visibility: pubic}\n",
            "p.yaml:2: images[0].visibility: is 'pubic', not one of public, private, shared,"
            " community; did you mean public?",
        ),
        (
            "security_groups:\n  - name: g\n    rules:\n      - {ports: 22}\n",
            "p.yaml:4: security_groups[0].rules[0].ports: '22' needs a protocol with ports; add"
            " `protocol: tcp`",
        ),
        (
            "projects:\n  - {name: a}\n  - {name: a}\n",
            "p.yaml:3: projects[1].name: 'a' stands twice; choose another name",
        ),
        ("projects: []\nprojects: []\n", "p.yaml:2: projects: stands here a second time; remove one"),
        ("projects: [\n", "p.yaml:2: document: is not YAML: expected the node content, but found"
                          " '<stream end>'"),
        ("- projects\n", "p.yaml:1: document: is ['projects'], not a mapping; write it as"
                         " `key: value` lines"),
        ("key_pairs:\n  - name: k\n", "p.yaml:2: key_pairs[0].public_key: give either public_key or"
                                      " public_key_file"),
    ],
)  # fmt: skip
def test_a_problem_names_line_key_value_and_fix(text, wanted, tmp_path):
    assert problems(text, tmp_path) == [wanted]


def test_every_problem_is_told_at_once(tmp_path):
    text = "networks:\n  - {name: n, mtu: -1, sharde: true}\nflavors:\n  - {vcpus: 1}\n"
    assert len(problems(text, tmp_path)) == 4


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(PresetError, match="cannot be read: No such file"):
        presets.read(tmp_path / "none.yaml")


def test_an_empty_preset_is_fine(tmp_path):
    (tmp_path / "p.yaml").write_text("# nothing yet\n")
    assert presets.read(tmp_path / "p.yaml").projects == []
