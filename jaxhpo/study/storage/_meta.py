"""A study's stored description, and the check that an opened study matches it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax

from jaxhpo._base import Sampler
from jaxhpo._checks import describe, unknown_name
from jaxhpo.ask_tell import bare_space, proposal_shape_of
from jaxhpo.space.internal import tree_of
from jaxhpo.study.storage._errors import StudyMismatchError

if TYPE_CHECKING:
    from jaxhpo.space import Space
    from jaxhpo.study.storage._store import Store

logger = logging.getLogger("jaxhpo")

# The study attribute that holds all of it, as JSON.
META_ATTR = "jaxhpo"
_FORMAT = 1
# Ready samplers that older versions named by the file that their functions stood in.
_ONCE_CALLED = (
    {"nsga2", "nsga_rounds"}, {"nsga3", "nsga_rounds"}, {"with_restarts", "restarts"},
)  # fmt: skip


def open_meta(
    store: Store,
    space: Space,
    sampler: SamplerDescription,
    seed: int | None,
    change_sampler: bool = False,
) -> dict[str, Any]:
    """Writes the description of a new study, or checks it against the stored one.

    Args:
        store: the open study.
        space: the space that was passed.
        sampler: what proposes.
        seed: the seed that was passed; None takes the stored one, 0 in a new study.
        change_sampler: whether another sampler than the stored study's may take over.

    Returns:
        The study's description: space, space_hash, sampler, seed, versions.

    Raises:
        StudyMismatchError: the stored study has another space, seed or sampler; the message shows
            the difference. Nothing was written.
    """
    records = space.describe()
    meta = {
        "format": _FORMAT,
        "space": records,
        "space_hash": _hash(records),
        "tree": tree_of(space),
        "constraints": space.describe_constraints(),
        "sampler": sampler.text,
        "sampler_name": sampler.name,
        "seed": 0 if seed is None else seed,
        "key_impl": str(jax.config.jax_default_prng_impl),  # type: ignore[attr-defined]
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
        "versions": {"jaxhpo": _own_version(), "jax": jax.__version__},
    }
    stored = store.attrs().get(META_ATTR)
    if stored is None:
        if not store.is_new:
            _check_foreign(store, space)
        store.set_attr(META_ATTR, meta)
        return meta
    if stored["space_hash"] != meta["space_hash"]:
        raise StudyMismatchError(
            f"Study: `space` must be that of the stored study {store.name!r} in "
            f"{store.display_name}. {space_difference(stored['space'], records)} "
            "Choose another `name` for a study of the new space."
        )
    known = stored.get("constraints", meta["constraints"])
    if known != meta["constraints"]:
        raise StudyMismatchError(
            f"Study: `space` must have the constraints of the stored study {store.name!r}, "
            f"{known}, got {meta['constraints']}. "
            "Choose another `name` for a study of the new space."
        )
    if seed is not None and seed != stored["seed"]:
        raise StudyMismatchError(
            f"Study: `seed` must be that of the stored study {store.name!r}, {stored['seed']}, got "
            f"{seed}. Omit it to continue the study, or choose another `name`."
        )
    known_sampler = _described_sampler(stored)
    if not change_sampler and not sampler.is_same(known_sampler):
        raise StudyMismatchError(
            f"Study: `sampler` must be that of the stored study {store.name!r}, "
            f"{known_sampler.text}, got {sampler.text}. Omit it to continue with the study's own "
            "sampler, or pass change_sampler=True to switch to this one."
        )
    return _continue(store, stored, meta)


def _continue(store: Store, stored: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Updates what may change between runs: sampler, versions, precision."""
    own = ("tree", "sampler", "sampler_name", "x64", "versions")
    merged = {**stored, **{key: meta[key] for key in own}}
    if not _described_sampler(meta).is_same(_described_sampler(stored)):
        before = stored.get("samplers", [[0, stored["sampler"]]])
        merged["samplers"] = [*before, [len(store.history()), meta["sampler"]]]
        logger.warning(
            "study %r continues with sampler %s; its previous trials used %s",
            store.name,
            meta["sampler"],
            stored["sampler"],
        )
    if stored["x64"] != meta["x64"] or stored["key_impl"] != meta["key_impl"]:
        logger.warning(
            "study %r continues with another float precision or key type: its proposals will "
            "differ from those of an uninterrupted study",
            store.name,
        )
    if merged != stored and not store.is_read_only:
        store.set_attr(META_ATTR, merged)
    return merged


@dataclasses.dataclass(frozen=True)
class SamplerDescription:
    """A study's stored description of its sampler.

    Attributes:
        text: name and settings, as `samplers._description` gives them.
        name: the name it was made by; None where a ready sampler was passed.
    """

    text: str
    name: str | None

    def is_same(self, other: SamplerDescription) -> bool:
        """Whether both make the same proposals, as far as the descriptions tell.

        Of two that were made by name the names decide: defaults may differ between versions. Of
        others the settings that both descriptions have.
        """
        if self.name is not None and other.name is not None:
            return self.name == other.name
        (own, settings), (name, others) = _parse(self.text), _parse(other.text)
        is_named_alike = own == name or {own, name} in _ONCE_CALLED
        shared = settings.keys() & others
        return is_named_alike and all(settings[key] == others[key] for key in shared)


def _parse(text: str) -> tuple[str, dict[str, str]]:
    """Name and settings of a text such as "qmc(sequence=sobol, batch_size=1)"."""
    name, _, rest = text.partition("(")
    parts = (part.partition("=") for part in rest.removesuffix(")").split(", ") if "=" in part)
    return name, {key: value for key, _, value in parts}


def _described_sampler(meta: dict[str, Any]) -> SamplerDescription:
    """The sampler of a stored description; files of older versions hold the text alone."""
    text = meta["sampler"]
    return SamplerDescription(
        text, meta["sampler_name"] if "sampler_name" in meta else _parse(text)[0]
    )


def stored_sampler(store: Store, sampler: Any) -> Any:
    """The sampler to continue with where the user leaves it to the study.

    Args:
        store: the open study.
        sampler: what the user passed; "auto" leaves it to the study.

    Returns:
        `sampler`, or the name of the stored study's.

    Raises:
        StudyMismatchError: the stored study's was passed ready-made, so that no name makes it.
    """
    stored = store.attrs().get(META_ATTR)
    if sampler != "auto" or stored is None:
        return sampler
    description = _described_sampler(stored)
    if description.name is None:
        raise StudyMismatchError(
            f"Study: `sampler` must be given for the stored study {store.name!r}, which was run "
            f"with a ready-made {description.text}: pass one made with the same settings, or pass "
            "another with change_sampler=True."
        )
    return description.name


def space_difference(stored: list[dict[str, Any]], given: list[dict[str, Any]]) -> str:
    """Says in one line how two described spaces differ.

    Args:
        stored: records of `Space.describe`, from the study.
        given: records of the space that was passed.

    Returns:
        What was added, removed and changed, by name.

    Example:
        >>> space_difference([{"name": "x", "high": 1}], [{"name": "x", "high": 2}])
        'changed: x (high: 1 stored, 2 given).'
    """
    old = {record["name"]: record for record in stored}
    new = {record["name"]: record for record in given}
    parts = []
    if added := [name for name in new if name not in old]:
        parts.append(f"added: {', '.join(added)}")
    if removed := [name for name in old if name not in new]:
        parts.append(f"removed: {', '.join(removed)}")
    changed = []
    for name in old:
        if name in new and old[name] != new[name]:
            keys = [k for k in {**old[name], **new[name]} if old[name].get(k) != new[name].get(k)]
            details = [f"{k}: {old[name].get(k)} stored, {new[name].get(k)} given" for k in keys]
            changed.append(f"{name} ({'; '.join(details)})")
    if changed:
        parts.append(f"changed: {', '.join(changed)}")
    return f"{'; '.join(parts) or 'the order of names differs'}."


def _check_foreign(store: Store, space: Space) -> None:
    """Accepts a study made by another program if its complete trials lie in the space."""
    for trial in store.trials():
        if trial.state.name != "COMPLETE":
            continue
        try:
            space.encode([space.unflatten_params(trial.params)])
        except (ValueError, TypeError) as error:
            raise StudyMismatchError(
                f"Study: `name` {store.name!r} names a study of another program, and its "
                f"trial {trial.number} {describe(trial.params)} does not lie in `space`: {error}"
            ) from error


def _hash(records: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()[:16]


def _own_version() -> str:
    from importlib import metadata

    try:
        return metadata.version("jaxhpo")
    except metadata.PackageNotFoundError:
        return "source"


def make_sampler(
    sampler: Any, space: Space, num_objectives: int = 1, *, has_constraints: bool = False
) -> tuple[Sampler, jax.ShapeDtypeStruct]:
    """Makes a sampler from its name, or takes a ready one that fits the space.

    Args:
        sampler: what the user passed.
        space: the study's space.
        num_objectives: values of a trial.
        has_constraints: whether trials say by how much they violate constraints.

    Returns:
        The sampler, and the shape of one ask of it.

    Raises:
        TypeError: neither a name nor a sampler.
        ValueError: an unknown name, or a sampler over a space of another size or for another number
            of objectives.
    """
    from jaxhpo import samplers
    from jaxhpo.samplers.internal import check_objectives, settings_for

    if not isinstance(sampler, str | Sampler):
        expected = f"a name ({', '.join(samplers.names())}) or a Sampler"
        raise TypeError(f"Study: `sampler` must be {expected}, got {describe(sampler)}.")
    if isinstance(sampler, str) and sampler not in samplers.names():
        raise unknown_name("Study", "sampler", samplers.names(), sampler)
    settings = settings_for(sampler, num_objectives, has_constraints)
    made = samplers.get(sampler, bare_space(space, settings), **settings)
    proposal_shape = proposal_shape_of(made, space, sampler)
    if proposal_shape.shape[1] != space.num_dims:
        expected = f"over a space of {space.num_dims} unit dimensions, as `space` is"
        raise ValueError(
            f"Study: `sampler` must be {expected}, got one over {proposal_shape.shape[1]}."
        )
    if num_objectives > 1:
        check_objectives("Study", made, num_objectives)
    return made, proposal_shape


def constrained_maker(
    sampler: Any, space: Space, num_objectives: int
) -> Callable[[], tuple[Sampler, jax.ShapeDtypeStruct]] | None:
    """What makes the sampler of a name anew once there are constraints; None if it is the same."""
    from jaxhpo.samplers.internal import settings_for

    if settings_for(sampler, num_objectives, True) == settings_for(sampler, num_objectives):
        return None
    return functools.partial(make_sampler, sampler, space, num_objectives, has_constraints=True)


def describe_sampler(sampler: Any, made: Sampler) -> SamplerDescription:
    """Describes a sampler as a study stores it.

    Args:
        sampler: what the user passed.
        made: the sampler itself.
    """
    from jaxhpo.samplers.internal import describe as in_words

    name = sampler if isinstance(sampler, str) else None
    return SamplerDescription(in_words(made, name), name)
