"""A module's forward written anew, so that every activation in it is a module of its own.

Only the one forward that needs it is followed by `torch.fx`; the modules that it calls stay whole.
The network keeps its modules, their classes (each rewritten one gets a subclass of its own) and
the keys of its weights. `torch.fx` freezes what a forward asks of `self.training`, so that it is
followed twice.
"""

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import fx, nn

from damagenet.errors import ConfigError
from models.swap.known import Known, known_function, known_module
from models.swap.recording import Kind, Place

Forward = Callable[..., object]


class _Shallow(fx.Tracer):
    """Follows one forward and none of the modules it calls."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return True: no module is entered."""
        del m, module_qualified_name
        return True


def rewritten_class(
    owner: nn.Module,
    names: Mapping[Place, str],
    *,
    recorded: Mapping[bool, Collection[Place]],
    given: Collection[str],
    wanted: Callable[[Known], bool],
    path: str,
) -> type[nn.Module]:
    """Return a subclass of an owner's class whose forward calls attributes in place of functions.

    The owner itself is left as it is.

    Args:
        owner: The module.
        names: The attribute that each chosen call becomes.
        recorded: All calls in the owner that were seen, in training (True) and evaluation.
        given: Names of the arguments that its callers give; others keep their defaults.
        wanted: Which activations were recorded.
        path: Where the owner stands, for messages.

    Raises:
        ConfigError: If its forward cannot be followed, or takes other ways than were seen.
    """
    graphs: dict[str, fx.Graph] = {}
    for training in (True, False):
        graph = _follow(owner, training, given, path)
        nodes = dict(_places(owner, graph, wanted))
        if recorded[training] and set(nodes) != set(recorded[training]):
            raise ConfigError(
                f"activations of {path} cannot be swapped: its forward calls "
                f"{len(recorded[training])} on the example, but {len(nodes)} can be followed"
            )
        for place, name in names.items():
            if place in nodes:
                _call_module(graph, nodes[place], name, path)
        graphs.setdefault(graph.python_code("self").src, graph)
    # One forward where the two modes run the same code, else that of training and of evaluation.
    forward, *other = (_compiled(graph) for graph in graphs.values())
    kept = type(owner)
    forward = _either(forward, *other) if other else forward
    known_as = {key: getattr(kept, key) for key in ("__module__", "__qualname__", "__doc__")}
    return type(kept.__name__, (kept,), {"forward": forward, **known_as})


def _follow(owner: nn.Module, training: bool, given: Collection[str], path: str) -> fx.Graph:
    parameters = inspect.signature(owner.forward).parameters.values()
    left_out = {
        each.name: each.default
        for each in parameters
        if each.default is not each.empty and each.name not in given
    }
    with _flag(owner, training):
        try:
            return _Shallow().trace(owner, concrete_args=left_out or None)
        except Exception as err:
            reason = (str(err).strip() or type(err).__name__).splitlines()[0]
            raise ConfigError(
                f"activations of {path} ({type(owner).__name__}) cannot be swapped: it calls them "
                f"in a forward that torch.fx cannot follow: {reason}"
            ) from err


@contextmanager
def _flag(owner: nn.Module, training: bool) -> Iterator[None]:
    before = owner.training
    owner.training = training
    try:
        yield
    finally:
        owner.training = before


def _places(
    owner: nn.Module, graph: fx.Graph, wanted: Callable[[Known], bool]
) -> Iterator[tuple[Place, fx.Node]]:
    """Yield the wanted activations of a graph as the recording names them."""
    seen: Counter[object] = Counter()
    for node in graph.nodes:
        place = _place(owner, node, seen, wanted)
        if place is not None:
            seen[place.kind, place.target] += 1
            yield place, node


def _place(
    owner: nn.Module, node: fx.Node, seen: Counter[object], wanted: Callable[[Known], bool]
) -> Place | None:
    if node.op == "call_module":
        module = owner.get_submodule(str(node.target))
        known = known_module(module)
        if known is None or not wanted(known):
            return None
        return Place(owner, "module", module, seen["module", module])
    if node.op not in ("call_function", "call_method"):
        return None
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    known = known_function(name, node.args, node.kwargs)
    if known is None or not wanted(known):
        return None
    kind: Kind = "method" if node.op == "call_method" else "functional"
    return Place(owner, kind, known.function, seen[kind, known.function])


def _call_module(graph: fx.Graph, node: fx.Node, name: str, path: str) -> None:
    """Put a call of the attribute `name` in an activation's place."""
    if not node.users:
        raise ConfigError(
            f"activations of {path} cannot be swapped: it uses {node.target} only to overwrite "
            "what enters"
        )
    with graph.inserting_after(node):
        fresh = graph.call_module(name, (node.all_input_nodes[0],))
    node.replace_all_uses_with(fresh)
    graph.erase_node(node)


def _compiled(graph: fx.Graph) -> Forward:
    """Return a graph as a method; what it calls is looked up in the module that it runs in."""
    needed = [str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")]
    stand_ins = {target: nn.Identity() for target in needed}
    forward: Forward = type(fx.GraphModule(stand_ins, graph)).forward
    return forward


def _either(in_training: Forward, in_evaluation: Forward) -> Forward:
    # With its signature, by which a later swap follows it again.
    @functools.wraps(in_training)
    def forward(self: nn.Module, *arguments: torch.Tensor, **options: torch.Tensor) -> object:
        chosen = in_training if self.training else in_evaluation
        return chosen(self, *arguments, **options)

    return forward
