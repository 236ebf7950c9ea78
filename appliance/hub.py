"""The job kind ``fetch``: bring a base model from the hub into this machine's Hugging Face cache.

The only thing of Luthier that leaves the machine, and only where ``network.offline = false`` allows it. Configuration,
tokenizer and safetensors weights are taken; pickles and code are left where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance.errors import InvalidBaseModel, JobFailed, NotFound

if TYPE_CHECKING:
    from appliance.work import Work

WANTED = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "LICENSE*", "README.md")


def run(work: Work) -> dict[str, Any]:
    """``{"base": folder}`` of the model that ``spec.model`` names; what is here already is not brought again."""
    name = str(work.job.spec["model"])
    work.phase(f"fetching {name}")
    return {"base": _snapshot(name)}


def _snapshot(name: str) -> str:
    """The folder of a hub id; the one place that turns the hub's failures into ours."""
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return str(snapshot_download(name, allow_patterns=list(WANTED)))
    except GatedRepoError as error:
        hint = "Accept its terms on the hub, then `hf auth login`."
        raise InvalidBaseModel(f"The hub gives '{name}' only to those who accepted its terms.", hint=hint) from error
    except RepositoryNotFoundError as error:
        raise NotFound(f"The hub has no model '{name}', or it is private.", hint="Check the spelling.") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
        raise JobFailed(
            f"'{name}' could not be fetched: {error}", hint="When the network is back, `luthier job rerun` goes on."
        ) from error
