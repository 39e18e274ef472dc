"""What other rooms of the package need of `space`, and no user: free to change."""

from jaxhpo.space._codec import children_of as children_of
from jaxhpo.space._layout import BranchNode as BranchNode
from jaxhpo.space._layout import ConstantNode as ConstantNode
from jaxhpo.space._layout import Leaf as Leaf
from jaxhpo.space._layout import LeafNode as LeafNode
from jaxhpo.space._layout import element_names as element_names
from jaxhpo.space._precision import sufficient as sufficient
from jaxhpo.space._sample import sample_unit as sample_unit
from jaxhpo.space._stored import rebuild as rebuild
from jaxhpo.space._stored import tree_of as tree_of
from jaxhpo.space._values import StaticValue as StaticValue
from jaxhpo.space._values import is_static_value as is_static_value
from jaxhpo.space.dimensions._choice import Choice as Choice
from jaxhpo.space.dimensions._choice import Ordinal as Ordinal
from jaxhpo.space.dimensions._choice import Static as Static
from jaxhpo.space.dimensions._dimension import Dimension as Dimension
from jaxhpo.space.dimensions._fixed import Fixed as Fixed
from jaxhpo.space.dimensions._normal import Normal as Normal
from jaxhpo.space.dimensions._normal import SteppedNormal as SteppedNormal
from jaxhpo.space.dimensions._options import Options as Options
from jaxhpo.space.dimensions._real import Real as Real
from jaxhpo.space.dimensions._stepped import Stepped as Stepped
from jaxhpo.space.readers._common import entry as entry
